"""From a study to a Pareto report: one HTML file."""
