"""What a network costs: exact counts, devices, measuring, tables and predictors, memory, energy, efficiency."""
