"""From a picture and a mask to the picture with what was masked painted anew."""

import copy
import dataclasses
import os
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfpriv.networks.diffusion import loading
from tfpriv.networks.diffusion.schedulers import Scheduler
from tfpriv.networks.diffusion.tokenizer import Tokenizer
from tfpriv.networks.diffusion.unet import UNet
from tfpriv.networks.diffusion.vae import VAE
from tfpriv.support import images as pictures_door


@dataclasses.dataclass(frozen=True)
class Step:
    """What a callback sees after a step, and may change.

    Attributes:
        number: Steps done.
        total: Steps in all.
        timestep: Time at which the network was asked.
        latents: tf.Variable `(n, h, w, c)`; assign to it to alter the latents.
    """

    number: int
    total: int
    timestep: int
    latents: tf.Variable


class StableDiffusionInpainter:
    """Repaints what masks cover, by Stable Diffusion inpainting.

    What is under a mask is set to grey before anything else sees the picture, so that
    nothing of it can show; what is outside is kept to the last bit.

    Args:
        unet: Sees the noisy latent, the mask and the masked picture's latent.
        vae: Between pictures and latents.
        scheduler: From noise to a latent.
        text_encoder: CLIP's; without one there are no prompts.
        tokenizer: For it.

    Raises:
        ValueError: The networks don't belong together.

    Reference: R. Rombach, A. Blattmann, D. Lorenz, P. Esser, B. Ommer, "High-Resolution
    Image Synthesis with Latent Diffusion Models", CVPR 2022.
    """

    def __init__(
        self,
        unet: UNet,
        vae: VAE,
        scheduler: Scheduler,
        text_encoder: keras.Model | None = None,
        tokenizer: Tokenizer | None = None,
    ):
        latent = vae.config["latent_channels"]
        sizes = unet.config["in_channels"], unet.config["out_channels"]
        if sizes != (2 * latent + 1, latent):
            raise ValueError(
                f"For latents of {latent} channels the UNet must take {2 * latent + 1} "
                f"(latent, mask, masked latent) and return {latent}. Received: "
                f"in_channels={sizes[0]}, out_channels={sizes[1]}"
            )
        if (text_encoder is None) != (tokenizer is None):
            raise ValueError(
                "A text encoder and a tokenizer go together. Received: "
                f"text_encoder={text_encoder}, tokenizer={tokenizer}"
            )
        self.unet, self.vae, self.scheduler = unet, vae, scheduler
        self.text_encoder, self.tokenizer = text_encoder, tokenizer
        # Compiled into graphs, which free a tensor when its last reader is done.
        self._encode = tf.function(vae.encode, autograph=False)
        self.decode = tf.function(vae.decode, autograph=False)
        self._noise = tf.function(unet.__call__, autograph=False)

    @classmethod
    def from_diffusers(cls, folder: str | os.PathLike, dtype=None):
        """Reads a folder as diffusers saves it.

        Args:
            folder: With `model_index.json`, `unet/`, `vae/`, `scheduler/` and, unless
                the index leaves them out, `text_encoder/` and `tokenizer/`. Other parts
                are not read.
            dtype: Of weights and computations, as Keras has it, such as
                `"mixed_bfloat16"`; by default Keras' own.

        Raises:
            FileNotFoundError: A file is missing.
            ValueError: A weight is missing, too many or of another shape, or a
                configuration is not built here; names it.
        """
        return cls(**loading.read_folder(folder, dtype))

    def save_diffusers(self, folder: str | os.PathLike) -> None:
        """Writes the same folder, whole or not at all.

        Args:
            folder: It must not exist yet, or be empty.

        Raises:
            FileExistsError: There is something in it.
        """
        loading.write_folder(
            folder,
            unet=self.unet,
            vae=self.vae,
            scheduler=self.scheduler,
            text_encoder=self.text_encoder,
            tokenizer=self.tokenizer,
        )

    @property
    def divisor(self) -> int:
        """Height and width of pictures must be multiples of this: 64 as published."""
        return self.vae.factor * self.unet.divisor

    def __call__(
        self,
        images: np.ndarray,
        masks: np.ndarray,
        prompt: str = "",
        steps: int = 50,
        guidance_scale: float = 7.5,
        seed: int | Sequence[int] = 0,
        *,
        callback: Callable[[Step], bool | None] | None = None,
    ) -> np.ndarray:
        """Repaints what the masks cover.

        Args:
            images: uint8 `(n, h, w, 3)`; h and w multiples of `divisor`.
            masks: bool `(n, h, w)`, true where it is repainted.
            prompt: What is to be painted.
            steps: Of the scheduler.
            guidance_scale: How far to go from the network's answer without the prompt
                beyond that with it; up to 1 there is no guidance. Without a prompt both
                answers are the same, and the network is asked once.
            seed: Of the noise that it begins with; or one for each picture.
            callback: Called after each step; returns True to end here.

        Returns:
            uint8 `(n, h, w, 3)`, equal to `images` outside of the masks.

        Raises:
            ValueError: For arrays of another shape or type, or a prompt without a text
                encoder.
        """
        images, masks = self._checked(images, masks)
        seen = self.seen(images, masks)
        contexts = self.contexts(prompt, guidance_scale, len(images))
        scheduler = copy.copy(self.scheduler)
        scheduler.set_timesteps(steps)
        shape = self.latent_shape(*images.shape[1:3])
        latents = tf.Variable(initial_noise(seed, len(images), shape))
        total = len(scheduler.timesteps)
        for number, time in enumerate(scheduler.timesteps, 1):
            value = latents.value()
            noise = self.guided(value, seen, time, contexts, guidance_scale)
            latents.assign(scheduler.step(noise, time, value))
            if callback is not None and callback(
                Step(number, total, int(time), latents)
            ):
                break
        painted = np.asarray(self.decode(latents.value()))
        return np.where(masks[..., None], pictures_door.to_uint8(painted), images)

    def _checked(self, images, masks):
        images, masks = np.asarray(images), np.asarray(masks)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
            raise ValueError(
                "Expected uint8 images (n, height, width, 3). Received: "
                f"{images.dtype} of shape {images.shape}"
            )
        if masks.dtype != np.bool_ or masks.shape != images.shape[:3]:
            raise ValueError(
                f"Expected bool masks of shape {images.shape[:3]}. Received: "
                f"{masks.dtype} of shape {masks.shape}"
            )
        if not len(images) or any(
            not side or side % self.divisor for side in images.shape[1:3]
        ):
            raise ValueError(
                "There must be at least one image, and height and width must be "
                f"multiples of {self.divisor}. Received: shape={images.shape}"
            )
        return images, masks

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """`(h, w, c)` of the latent of a picture."""
        factor = self.vae.factor
        return height // factor, width // factor, self.vae.config["latent_channels"]

    def seen(self, images, masks):
        """What the network is shown beside the latents: nothing of what masks cover.

        Args:
            images: uint8 `(n, h, w, 3)`, array or tensor.
            masks: bool `(n, h, w)`.

        Returns:
            float `(n, ...latent_shape)`: the mask, and the latent of the picture that
            is grey where it is covered.
        """
        masks = ops.cast(masks, "float32")[..., None]
        signed = ops.cast(images, "float32") / 127.5 - 1
        # Not a product: what is covered must not matter, whatever it is.
        visible = ops.where(masks > 0, 0.0, signed)
        factor = self.vae.factor
        return ops.concatenate(
            [masks[:, ::factor, ::factor], self._encode(visible)], axis=-1
        )

    def contexts(self, prompt: str, guidance_scale: float, count):
        """What the network is asked with: with the prompt, and perhaps without.

        Args:
            prompt: What is to be painted.
            guidance_scale: Up to 1, or without a prompt, it is asked once.
            count: Pictures, a number or a tensor.

        Returns:
            One or two tensors `(count, tokens, size)`.

        Raises:
            ValueError: For a prompt without a text encoder.
        """
        if self.text_encoder is None:
            if prompt:
                raise ValueError(
                    "This inpainter has no text encoder and takes no prompt. "
                    f"Received: prompt={prompt!r}"
                )
            return [empty_context(self.unet, count)]
        prompts = [prompt, ""] if prompt and guidance_scale > 1 else [prompt]
        tokens = self.tokenizer(prompts)
        found = self.text_encoder({"token_ids": tokens})
        return [tf.repeat(one[None], count, axis=0) for one in found]

    def guided(self, latents, seen, time: int, contexts, guidance_scale: float):
        """The noise in the latents, as the prompt would have it.

        Args:
            latents: `(n, h, w, c)`.
            seen: What `seen` returned.
            time: At which the network is asked.
            contexts: What `contexts` returned.
            guidance_scale: As for a call.

        Returns:
            `(n, h, w, c)`.
        """
        x = ops.concatenate([latents, seen], axis=-1)
        times = ops.full((ops.shape(x)[0],), int(time), dtype="int32")
        noise = self._noise(x, times, contexts[0])
        if len(contexts) == 1:
            return noise
        without = self._noise(x, times, contexts[1])
        return without + guidance_scale * (noise - without)


def initial_noise(
    seed: int | Sequence[int], count: int, shape: tuple[int, ...]
) -> np.ndarray:
    """What latents begin with, of each picture's own seed.

    Args:
        seed: One, from which each picture's follows by its place; or one for each.
        count: Number of pictures.
        shape: `(h, w, c)` of a latent.

    Returns:
        float32 `(count, h, w, c)`, standard normal.

    Raises:
        ValueError: There are more or fewer seeds than pictures.
    """
    seeds = [(seed, n) for n in range(count)] if np.ndim(seed) == 0 else list(seed)
    if len(seeds) != count:
        raise ValueError(
            f"There must be one seed, or one for each of {count} pictures. Received: "
            f"{len(seeds)} seeds"
        )
    generators = map(np.random.default_rng, seeds)
    return np.stack([g.standard_normal(shape, np.float32) for g in generators])


def empty_context(unet: UNet, count):
    """What a UNet without a text encoder is asked with: zeros `(count, 2, size)`.

    Two tokens, because Keras warns of a softmax over one.
    """
    return ops.zeros((count, 2, unet.config["cross_attention_dim"]))
