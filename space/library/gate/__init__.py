"""Gates: rescale a feature map with weights computed from it."""
