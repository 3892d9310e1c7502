"""Backbones that yield several resolutions."""
