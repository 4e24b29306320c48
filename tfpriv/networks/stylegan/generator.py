"""The generator: z to w, w to a style for each layer, styles to a picture.

Reference: T. Karras, S. Laine, T. Aila, "A Style-Based Generator Architecture for
Generative Adversarial Networks", CVPR 2019.
"""

import hashlib
import json

import keras
import numpy as np
from keras import ops

from tfpriv.networks.stylegan.layers import EqualisedDense, leaky_relu, pixel_norm
from tfpriv.networks.stylegan.synthesis import FIRST, Synthesis
from tfpriv.support.weights import digest_of

PSI, TRUNCATED_LAYERS = 0.7, 8
MAPPING_RATE = 0.01  # learning rate of the mapping in units of the synthesis's
RESOLUTIONS = tuple(2**n for n in range(3, 11))
SPACES = ("z", "w", "wp")
FUSED_FROM = 128


def standard_channels(resolution: int) -> tuple[int, ...]:
    """Channels of the published networks at 4, 8, ... `resolution` pixels."""
    levels = resolution.bit_length() - FIRST.bit_length() + 1
    return tuple(min(512, 16384 // (FIRST << level)) for level in range(levels))


class Mapping(keras.layers.Layer):
    """From z to w: the norm of z, and dense layers with a low learning rate.

    Args:
        latent_dim: Dimensions of z and w.
        depth: Number of dense layers.
    """

    def __init__(self, latent_dim: int, depth: int = 8, **options):
        super().__init__(**options)
        self.latent_dim = latent_dim
        self.layers = [
            EqualisedDense(latent_dim, rate=MAPPING_RATE, name=f"dense{number}")
            for number in range(depth)
        ]

    def build(self, shape=None):
        """Creates the weights."""
        for layer in self.layers:
            layer.build((None, self.latent_dim))
        self.built = True

    def call(self, z):
        """Maps `(n, latent_dim)` to `(n, latent_dim)`."""
        x = pixel_norm(z)
        for layer in self.layers:
            x = leaky_relu(layer(x))
        return x


@keras.saving.register_keras_serializable(package="tfpriv")
class StyleGAN(keras.Model):
    """StyleGAN's generator; called on z `(n, latent_dim)` it returns pictures.

    Its parts stand alone: `mapping(z)` is w, `truncate(w)` a w for each layer (W+), and
    `synthesis(wp)` the pictures.

    Args:
        resolution: Pixels of a side, a power of two from 8 to 1024.
        latent_dim: Dimensions of z and w.
        channels: Of the resolutions 4, 8, ... `resolution`; by default the published.
        fused_from: Resolution from which the layers that double were trained as
            transposed convolutions, as published 128.
        mapping_layers: Dense layers from z to w.
        seed: Of random noise; by default another one each time.

    Raises:
        ValueError: For another resolution, or channels that do not fit it.
    """

    def __init__(
        self,
        resolution: int = 1024,
        latent_dim: int = 512,
        channels: tuple[int, ...] | None = None,
        fused_from: int = FUSED_FROM,
        mapping_layers: int = 8,
        seed: int | None = None,
        **options,
    ):
        super().__init__(**options)
        self.channels = _checked_channels(resolution, channels)
        self.resolution, self.latent_dim = resolution, latent_dim
        self.fused_from, self.mapping_layers = fused_from, mapping_layers
        self.mapping = Mapping(latent_dim, mapping_layers, name="mapping")
        self.synthesis = Synthesis(self.channels, fused_from, seed, name="synthesis")
        self._painters = _Painters(self)
        self.build()

    def build(self, shape=None):
        """Creates the weights, which the arguments determine."""
        if self.built:
            return
        self.mapping.build()
        self.synthesis.build(self.latent_dim)
        self.w_avg = self.add_weight(
            (self.latent_dim,), "zeros", trainable=False, name="w_avg"
        )
        self.built = True

    @property
    def num_layers(self) -> int:
        """Layers that take a style: 18 for 1024 pixels."""
        return len(self.synthesis.layers)

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that tell this generator from others.

        SHA-256 over what fixes a picture: the weights, fixed noise and mean w included,
        in the order of the network, and the form of its layers. Other files of the same
        weights give the same.
        """
        layers = [layer.form for layer in self.synthesis.layers]
        content = json.dumps([layers, digest_of(self.weights)])
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def call(self, z, psi=PSI, layers=TRUNCATED_LAYERS, noise="fixed"):
        """Maps z `(n, latent_dim)` to pictures `(n, size, size, 3)`, about -1 to 1."""
        wp = self.truncate(self.mapping(z), psi, layers)
        return self.synthesis(wp, noise=noise)

    def truncate(self, w, psi: float = PSI, layers: int = TRUNCATED_LAYERS):
        """A w for each layer, the first ones pulled towards the mean.

        Args:
            w: `(n, latent_dim)`, or W+ `(n, num_layers, latent_dim)`.
            psi: What remains of the distance from the mean: 1 leaves w as it is, 0
                makes it the mean.
            layers: How many layers, from the coarsest, are pulled.

        Returns:
            W+ `(n, num_layers, latent_dim)`.
        """
        w = ops.convert_to_tensor(w, self.compute_dtype)
        if len(w.shape) == 2:
            w = ops.repeat(w[:, None], self.num_layers, axis=1)
        if psi == 1 or layers == 0:
            return w
        kept = np.ones((self.num_layers, 1), np.float32)
        kept[:layers] = psi
        return self.w_avg + (w - self.w_avg) * kept

    def generate(
        self,
        latents,
        space: str = "w",
        *,
        psi: float = PSI,
        layers: int = TRUNCATED_LAYERS,
        noise: str = "fixed",
        batch_size: int = 4,
    ) -> np.ndarray:
        """Pictures of latents, computed in batches.

        Args:
            latents: `(n, latent_dim)` of z or w, `(n, num_layers, latent_dim)` of W+;
                or a single one.
            space: `"z"`, `"w"` or `"wp"`.
            psi: As in `truncate`; W+ is never truncated.
            layers: As in `truncate`.
            noise: `"fixed"` or `"random"`.
            batch_size: Pictures at a time.

        Returns:
            float32 `(n, size, size, 3)`, cut to -1 to 1; `(size, size, 3)` of a single
            latent.

        Raises:
            ValueError: For latents of another shape, NaN, or another space.
        """
        given = self.checked(latents, space)
        single = given.shape == self.latent_shape(space)
        painter = self.painter(space, psi, layers, noise)
        pictures = painter.predict(
            given[None] if single else given, batch_size=batch_size, verbose=0
        )
        return pictures[0] if single else pictures

    def checked(self, latents, space: str) -> np.ndarray:
        """Latents as a float32 array, if they are ones of this generator.

        Raises:
            ValueError: For another shape, NaN or infinity, or another space.
        """
        if space not in SPACES:
            raise ValueError(
                f"`space` must be one of {SPACES}. Received: space={space!r}"
            )
        latents = np.asarray(latents, np.float32)
        one = self.latent_shape(space)
        if latents.shape != one and latents.shape[1:] != one:
            raise ValueError(
                f"Latents of the space {space!r} of this generator have the shape "
                f"{one} or (n, {', '.join(map(str, one))}). "
                f"Received: shape={latents.shape}"
            )
        if not np.isfinite(latents).all():
            raise ValueError("Latents must be finite. Received: NaN or infinity")
        return latents

    def latent_shape(self, space: str) -> tuple[int, ...]:
        """The shape of one latent of a space."""
        one = (self.latent_dim,)
        return (self.num_layers, *one) if space == "wp" else one

    def painter(self, space: str, psi: float, layers: int, noise: str) -> "Painter":
        """The network from a space to pictures; the same one when asked again.

        Args:
            space: `"z"`, `"w"` or `"wp"`.
            psi: As in `truncate`.
            layers: As in `truncate`.
            noise: `"fixed"` or `"random"`.
        """
        return self._painters(space, psi, layers, noise)

    def get_config(self):
        """What `from_config` needs."""
        return super().get_config() | {
            "resolution": self.resolution,
            "latent_dim": self.latent_dim,
            "channels": list(self.channels),
            "fused_from": self.fused_from,
            "mapping_layers": self.mapping_layers,
        }


class Painter(keras.Model):
    """A generator from one of its spaces, in the form that `predict` compiles.

    See `StyleGAN.painter`.
    """

    def __init__(self, generator, space, psi, layers, noise):
        super().__init__(name="painter")
        self.generator = generator
        self.space, self.psi, self.truncated = space, psi, layers
        self.noise = noise

    def call(self, latents):
        """Maps latents to pictures, cut to -1 to 1."""
        if self.space == "z":
            latents = self.generator.mapping(latents)
        if self.space != "wp":
            latents = self.generator.truncate(latents, self.psi, self.truncated)
        pictures = self.generator.synthesis(latents, noise=self.noise)
        return ops.clip(pictures, -1.0, 1.0)


class _Painters:
    """The painters of a generator, each compiled once.

    Not a container that Keras knows: they hold the generator, not it them.
    """

    def __init__(self, generator):
        self._generator, self._made = generator, {}

    def __call__(self, *how):
        if how not in self._made:
            self._made[how] = Painter(self._generator, *how)
        return self._made[how]


def _checked_channels(resolution, channels):
    if resolution not in RESOLUTIONS:
        raise ValueError(
            f"`resolution` must be one of {RESOLUTIONS}. "
            f"Received: resolution={resolution}"
        )
    expected = standard_channels(resolution)
    if channels is None:
        return expected
    if len(channels) != len(expected) or min(channels) < 1:
        raise ValueError(
            f"`channels` must name the channels at each of {len(expected)} "
            f"resolutions, 4 to {resolution} pixels. Received: channels={channels}"
        )
    return tuple(channels)
