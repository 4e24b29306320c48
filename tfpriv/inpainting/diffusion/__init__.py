"""Latent diffusion that repaints what a mask covers, in Keras."""
