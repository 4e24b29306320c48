"""One network from the ends of several training runs: the mean of their weights."""

import os
from collections.abc import Sequence

import keras
import numpy as np

from tfpriv.shuffling.data import Dataset
from tfpriv.shuffling.experiments import load_network

STATISTICS_ON, _BATCH = 20_000, 500  # training pictures for the batch statistics


def average(paths: Sequence[str | os.PathLike], data: Dataset, seed: int = 0):
    """Averages networks, each of which was trained on from the one before.

    All have the same say. The means and variances of batch normalisation, which do not
    average, are computed anew from training pictures.

    Args:
        paths: at least two `.keras` files of one architecture.
        data: whose training pictures are drawn, up to 20,000.
        seed: of the draw.

    Returns:
        The network.

    Raises:
        ValueError: for fewer than two, or networks that differ.

    Reference: P. Izmailov et al., "Averaging Weights Leads to Wider Optima and Better
    Generalization", arXiv:1803.05407.
    """
    networks = [load_network(path) for path in paths]
    shapes = [[w.shape for w in network.weights] for network in networks]
    if len(networks) < 2 or any(other != shapes[0] for other in shapes):
        raise ValueError(
            "There must be two networks of one architecture, or more. Received: "
            f"{', '.join(map(str, paths))}"
        )
    model = networks[0]
    weights = zip(*(network.get_weights() for network in networks), strict=True)
    model.set_weights([np.mean(group, axis=0) for group in weights])
    _renew_statistics(model, data.train_images, seed)
    return model


def _renew_statistics(model, pictures, seed) -> None:
    """Gives batch normalisations the mean of the statistics of batches."""
    order = np.random.default_rng(seed).permutation(len(pictures))[:STATISTICS_ON]
    layers = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    kept = [layer.momentum for layer in layers]
    for number, first in enumerate(range(0, len(order), _BATCH)):
        for layer in layers:
            layer.momentum = number / (number + 1)  # of n batches each counts 1 / n
        batch = pictures[order[first : first + _BATCH]]
        model(batch.astype(np.float32), training=True)
    for layer, momentum in zip(layers, kept, strict=True):
        layer.momentum = momentum
