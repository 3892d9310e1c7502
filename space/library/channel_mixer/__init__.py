"""Mixers of channels at each position."""
