"""FaceNets from files: facenet-pytorch's weights, and our own."""

import os
from pathlib import Path

import numpy as np
from keras import layers

from tfpriv.networks.facenet.network import PHOTOGRAPHS, FaceNet
from tfpriv.support import weights
from tfpriv.support.models import load_model

# The classifier over the pictures that the weights were trained on, of which no
# embedding needs any; and counts of steps, which only PyTorch's training reads.
_UNUSED = ("logits.weight", "logits.bias")
_COUNTER = "num_batches_tracked"
_NORMALIZATION = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_SHOWN = 6  # names of one kind in an error


def load_facenet(path: str | os.PathLike) -> FaceNet:
    """Loads a FaceNet.

    Args:
        path: By its ending: facenet-pytorch's `.pt` (`20180402-114759-vggface2.pt`,
            `20180408-102900-casia-webface.pt`: the weights, of which the classifier is
            left out), or our own `.keras`.

    Returns:
        The network. Nothing in a file is executed. `trained_on` is `"photographs"` for
        facenet-pytorch's weights, and what a `.keras` file says for others.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Another ending; a damaged file, or one that holds more than weights;
            weights that are missing, extra, misshapen or not finite, by their names.
    """
    path = Path(path)
    if path.suffix not in (".keras", ".pt", ".pth"):
        raise ValueError(
            f"A FaceNet's file ends in .pt, .pth or .keras. Received: {path}"
        )
    if not path.is_file():
        raise FileNotFoundError(f"There is no FaceNet here. Received: {path}")
    if path.suffix == ".keras":
        return load_model(path, "a FaceNet of tfpriv", FaceNet)
    network = FaceNet(trained_on=PHOTOGRAPHS)  # VGGFace2 or CASIA-WebFace
    _assign(network, weights.read_torch(path), path)
    return network


def _assign(network, arrays, path) -> None:
    """Gives every variable its array, if all of them are there and fit."""
    arrays = {
        name: array
        for name, array in arrays.items()
        if name not in _UNUSED and not name.endswith(f".{_COUNTER}")
    }
    wanted = dict(_names(network))
    found = {name: _ours(array) for name, array in arrays.items() if name in wanted}
    faults = {
        "missing": [name for name in wanted if name not in arrays],
        "extra": [name for name in arrays if name not in wanted],
        "misshapen": [
            f"{name} {arrays[name].shape}"
            for name, array in found.items()
            if array.shape != tuple(wanted[name].shape)
        ],
        "not finite": [n for n, array in found.items() if not np.isfinite(array).all()],
    }
    if any(faults.values()):
        listed = "; ".join(f"{k}: {_some(v)}" for k, v in faults.items() if v)
        raise ValueError(
            "The weights are not those of facenet-pytorch's InceptionResnetV1. "
            f"Received: {path} ({listed})"
        )
    for name, variable in wanted.items():
        variable.assign(found[name])


def _names(network):
    """Pairs of facenet-pytorch's name of a weight, and our variable."""
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            for ours, theirs in _NORMALIZATION.items():
                yield f"{layer.name}.{theirs}", getattr(layer, ours)
        elif isinstance(layer, layers.Conv2D | layers.Dense):
            yield f"{layer.name}.weight", layer.kernel
            if layer.use_bias:
                yield f"{layer.name}.bias", layer.bias


def _ours(array):
    """PyTorch's (outputs, inputs, height, width) in Keras' order."""
    return array.transpose((2, 3, 1, 0)) if array.ndim == 4 else array.T


def _some(names):
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
