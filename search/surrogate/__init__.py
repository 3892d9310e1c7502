"""A sampler of our own: surrogate models of the objectives choose what is evaluated next."""
