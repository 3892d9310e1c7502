"""Ray: candidates, trainings and measurements on the machines of a cluster."""
