"""Convolution-like maps that hosts put between their own normalisations and activations."""
