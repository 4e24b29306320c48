"""Faces in a generator's latent space, and the private release of their attributes."""
