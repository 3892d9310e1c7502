"""Increases of resolution."""
