"""tfpriv's Stable Diffusion inpainting: a step of the UNet, and the pipeline."""

import numpy as np
import tensorflow as tf

from competitors import worker, workload
from tfpriv.networks.diffusion import VAE, StableDiffusionInpainter, UNet
from tfpriv.networks.diffusion.schedulers import DDIMScheduler
from tfpriv.networks.diffusion.text_encoder import text_encoder
from tfpriv.networks.diffusion.tokenizer import Tokenizer

_WORDS = ("a", "a</w>", "aa</w>", "!", "<|startoftext|>", "<|endoftext|>")


def build(network, batch_size, form):
    """See `worker.main`. Its forms: `"step"`, `"pipeline"`, `"default"`."""
    sizes = workload.DIFFUSERS[network]
    unet = UNet(sizes.unet)
    weights = sum(int(np.prod(w.shape)) for w in unet.trainable_weights)
    if form == "step":
        latents, context = map(tf.constant, workload.latents(network, batch_size))
        times = tf.fill((batch_size,), 500)
        call = tf.function(unet.__call__, autograph=False)
        return (lambda: call(latents, times, context).numpy()), weights
    encoder = text_encoder(sizes.text)
    words = {word: number for number, word in enumerate(_WORDS)}
    inpainter = StableDiffusionInpainter(
        unet,
        VAE(sizes.vae),
        DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        encoder,
        Tokenizer(words, ["a a</w>"], pad_token="!"),
    )
    pictures, masks = workload.pictures(network, batch_size)
    steps = workload.scheduler_steps(form)
    return (lambda: inpainter(pictures, masks, steps=next(steps))), weights


if __name__ == "__main__":
    worker.main(build)
