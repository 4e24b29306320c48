"""System 1: image captioning trained with differential privacy."""
