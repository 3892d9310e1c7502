"""Stems: from an image to the first feature map."""
