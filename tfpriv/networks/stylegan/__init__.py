"""StyleGAN: the generator, its weights, and a small one to train."""

from tfpriv.networks.stylegan.generator import StyleGAN
from tfpriv.networks.stylegan.loading import load_generator, save_generator

__all__ = ["StyleGAN", "load_generator", "save_generator"]
