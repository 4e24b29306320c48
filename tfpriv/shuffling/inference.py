"""One picture through a network: its class, and what the layers make of it."""

import dataclasses
import os
from pathlib import Path

import keras
import numpy as np

from tfpriv.shuffling import codec
from tfpriv.shuffling.experiments import MANIFEST_NAME
from tfpriv.shuffling.keyed_model import keyed
from tfpriv.shuffling.keys import Key
from tfpriv.support import images
from tfpriv.support.files import read_json

SHOWN = 3  # likeliest classes
MAPS = 8  # channels that are drawn of each convolution


@dataclasses.dataclass(frozen=True)
class Given:
    """A picture for a network.

    Attributes:
        pixels: uint8 array of shape (1, height, width, 3), shuffled if it is protected.
        key: the key of a protected picture.
        nonces: uint8 array of shape (1, 12) of one with a permutation of its own.
    """

    pixels: np.ndarray
    key: Key | None = None
    nonces: np.ndarray | None = None

    def seen_by(self, model: keras.Model) -> tuple[keras.Model, object]:
        """The network or its twin, and what to call it with."""
        pixels = self.pixels.astype(np.float32)
        if self.key is None:
            return model, pixels
        inputs = pixels if self.nonces is None else (pixels, self.nonces)
        return keyed(model, self.key), inputs


def read(path: str | os.PathLike, key: Key | None) -> Given:
    """Reads a picture: protected where a key is given, else plain.

    Args:
        path: a picture file.
        key: the key that protects it, or `None`.

    Returns:
        The picture, still shuffled.

    Raises:
        ValueError: for a protected picture without a key, and the reverse.
    """
    if key is None:
        return Given(_rgb(codec.read_plain(path).pixels, path))
    picture = codec.read_protected(path, key)
    nonce = picture.record.nonce
    nonces = None if nonce is None else np.frombuffer(nonce, np.uint8)[None]
    return Given(_rgb(picture.pixels, path), key, nonces)


def _rgb(pixels: np.ndarray, path) -> np.ndarray:
    if pixels.dtype != np.uint8:
        raise ValueError(f"Expected a picture of 8 bits. Received: {path}")
    if pixels.shape[-1] < 3:  # grey, perhaps with alpha
        pixels = pixels[..., :1].repeat(3, -1)
    return pixels[None, ..., :3]


def class_names(model_path: str | os.PathLike) -> list[str] | None:
    """The names in the manifest beside a model.

    Args:
        model_path: the model's file.

    Returns:
        A name for each class, or `None` without a manifest.
    """
    manifest = Path(model_path).with_name(MANIFEST_NAME)
    if not manifest.exists():
        return None
    names = read_json(manifest).get("classes")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"The manifest must hold the names of the classes. Received: {manifest}"
        )
    return names


def classify(
    model: keras.Model, picture: Given, names: list[str] | None = None
) -> list[tuple[str, float]]:
    """The likeliest classes of a picture.

    Args:
        model: the plain network; returns logits.
        picture: what `read` returned.
        names: of the classes; numbers without.

    Returns:
        Up to three pairs (name, probability), the likeliest first.

    Raises:
        ValueError: for a picture of another size than the network's.
    """
    if picture.pixels.shape[1:] != tuple(model.input_shape[1:]):
        raise ValueError(
            f"The network takes pictures of shape {model.input_shape[1:]}. Received: "
            f"{picture.pixels.shape[1:]}. A protected picture cannot be scaled: scale "
            "before you protect"
        )
    network, inputs = picture.seen_by(model)
    logits = np.asarray(network(inputs, training=False), np.float64)[0]
    probabilities = np.exp(logits - logits.max())
    probabilities /= probabilities.sum()
    likeliest = np.argsort(-probabilities)[:SHOWN]
    return [
        (str(i) if names is None else names[i], float(probabilities[i]))
        for i in likeliest
    ]


def draw_feature_maps(
    model: keras.Model, picture: Given, path: str | os.PathLike
) -> None:
    """Draws what each convolution puts out, in the order in which it lies in memory.

    Args:
        model: the plain network.
        picture: what `read` returned.
        path: PNG file to write.
    """
    network, inputs = picture.seen_by(model)
    if network is model:
        layers = [x for x in model.layers if isinstance(x, keras.layers.Conv2D)]
        probe = keras.Model(model.inputs[0], {x.name: x.output for x in layers})
        kept = probe(inputs, training=False)
    else:
        kept = network.feature_maps(inputs)
    maps, labels = [], []
    for name, outputs in kept.items():
        for channel in range(min(MAPS, outputs.shape[-1])):
            plane = np.asarray(outputs[0, ..., channel], np.float32)
            plane = (plane - plane.min()) / (np.ptp(plane) or 1)
            maps.append((255 * plane[..., None].repeat(3, -1)).astype(np.uint8))
            labels.append(f"{name} {channel}")
    images.save(path, images.contact_sheet(maps, labels, columns=MAPS, cell=64))
