"""Reductions of resolution between stages."""
