"""Studies: budgets, samplers, trials, storage, the front."""
