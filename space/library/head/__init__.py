"""Heads: from the last feature map to what the task scores."""
