"""Blocks: the residual units that stages repeat."""
