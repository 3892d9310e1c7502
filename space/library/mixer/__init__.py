"""Mixers of positions."""
