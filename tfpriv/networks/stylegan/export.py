"""SavedModels of generators: latents in, pictures out."""

import os

import keras
import tensorflow as tf

from tfpriv.networks.stylegan.generator import PSI, TRUNCATED_LAYERS, StyleGAN
from tfpriv.support.models import file_errors
from tfpriv.support.outputs import check_new, new_directory

ENDPOINTS = {"z": "serve", "w": "from_w", "wp": "from_wp"}


def export_generator(
    generator: StyleGAN,
    folder: str | os.PathLike,
    *,
    psi: float = PSI,
    layers: int = TRUNCATED_LAYERS,
    noise: str = "fixed",
) -> None:
    """Writes a SavedModel with an endpoint for each space, for any number of latents.

    `serve` takes z `(n, latent_dim)`, `from_w` w, both truncated, and `from_wp` W+
    `(n, num_layers, latent_dim)`; each returns float32 pictures
    `(n, size, size, 3)`, cut to -1 to 1.

    Args:
        generator: The generator.
        folder: Where to, whole or not at all; it must not exist yet, or be empty.
        psi: As in `StyleGAN.truncate`.
        layers: As in `StyleGAN.truncate`.
        noise: `"fixed"` or `"random"`.

    Raises:
        FileExistsError: There is something in `folder`.
        OSError: It cannot be written.
    """
    check_new(folder)
    archive = keras.export.ExportArchive()
    archive.track(generator)
    for space, name in ENDPOINTS.items():
        painter = generator.painter(space, psi, layers, noise)
        shape = (None, *generator.latent_shape(space))
        signature = [tf.TensorSpec(shape, tf.float32, name=space)]
        archive.add_endpoint(name, painter.call, signature)
    with new_directory(folder) as new, file_errors(folder):
        archive.write_out(str(new), verbose=False)
