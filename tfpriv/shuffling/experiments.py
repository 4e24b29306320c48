"""The paper's experiments: plain pictures, shuffled ones, and those with a key."""

import dataclasses
import importlib
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfpriv.shuffling.data import Dataset
from tfpriv.shuffling.keyed_model import keyed
from tfpriv.shuffling.keys import Key
from tfpriv.shuffling.networks import preresnet110, small_cnn, vgg16_bn, whiten
from tfpriv.shuffling.pictures import new_nonces, shuffle
from tfpriv.shuffling.recipes import RECIPES
from tfpriv.shuffling.train import predictions, train
from tfpriv.support import tables
from tfpriv.support.models import load_model, save_model
from tfpriv.support.outputs import write_json

NETWORKS = {
    "small_cnn": small_cnn,
    "vgg16_bn": vgg16_bn,
    "preresnet110": preresnet110,
}
MODEL_NAME, MANIFEST_NAME = "model.keras", "manifest.json"
WHITENED_ON = 5000  # pictures: enough for the 78 numbers of a covariance


@dataclasses.dataclass(frozen=True)
class AccuracyRow:
    """One line of the table.

    Attributes:
        experiment: what was done.
        correct: pictures of the test set that were classified rightly.
        pictures: how many there are.
        same: pictures that got the class that the plain network gave them plain.
    """

    experiment: str
    correct: int
    pictures: int
    same: int

    @property
    def accuracy(self) -> float:
        """The part that is right, from 0 to 1."""
        return self.correct / self.pictures


def compare(
    model: keras.Model,
    data: Dataset,
    key: Key,
    *,
    finetuned: keras.Model | None = None,
) -> list[AccuracyRow]:
    """Tests a network in every way of the paper's table.

    Args:
        model: trained on plain pictures; returns logits.
        data: whose test pictures are shuffled with the key.
        key: the right key. The wrong one is new.
        finetuned: a network trained further on pictures shuffled with the key in the
            fixed mode, without being given the key.

    Returns:
        The table's rows.
    """
    plain, labels = data.test_images, data.test_labels
    nonces = new_nonces(len(plain))
    fixed, own = shuffle(plain, key), shuffle(plain, key, nonces)
    twin, wrong = keyed(model, key), keyed(model, Key.generate())
    expected = predictions(model, plain)
    found = {
        "plain network, plain pictures": expected,
        "plain network, shuffled": predictions(model, fixed),
        "with key": predictions(twin, fixed),
        "with a wrong key": predictions(wrong, fixed),
        "plain network, a permutation per picture": predictions(model, own),
        "with key and nonces": predictions(twin, own, nonces),
        "with a wrong key and the nonces": predictions(wrong, own, nonces),
    }
    if finetuned is not None:
        found["fine-tuned on shuffled"] = predictions(finetuned, fixed)
    return [
        AccuracyRow(
            name, int((p == labels).sum()), len(labels), int((p == expected).sum())
        )
        for name, p in found.items()
    ]


def as_table(rows: list[AccuracyRow]) -> str:
    """The rows in Markdown.

    Args:
        rows: what `compare` returned.

    Returns:
        A table with one line for each.
    """
    cells = (
        (
            row.experiment,
            f"{row.correct} of {row.pictures}",
            f"{100 * row.accuracy:.2f} %",
            str(row.same),
        )
        for row in rows
    )
    head = ("experiment", "right", "accuracy", "answers as plain")
    return tables.markdown(head, cells)


def run_training(
    data: Dataset,
    output: str | os.PathLike,
    *,
    network: str,
    recipe: str,
    view: str,
    key: Key | None,
    epochs: int | None,
    batch_size: int | None,
    seed: int,
    weights: str | os.PathLike | None,
    command: str,
) -> dict[str, Any]:
    """Trains a network and writes it with its manifest.

    Args:
        data: the pictures.
        output: folder that gets `model.keras` and `manifest.json`, and keeps the state
            after each epoch in `training/` until all is done.
        network: one of `NETWORKS`.
        recipe: one of `RECIPES`.
        view: as for `train`.
        key: as for `train`.
        epochs: as for `train`.
        batch_size: as for `train`.
        seed: of the first weights and the order of pictures.
        weights: a model to train further, in place of `network`.
        command: what was typed.

    Returns:
        The manifest.
    """
    output = check_output(output)
    output.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(seed)
    model = _model(network, data, weights)
    train(
        model,
        data,
        view=view,
        key=key,
        recipe=RECIPES[recipe],
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        folder=output / "training",
    )
    return save(model, data, output, command=command, view=view, key=key, seed=seed)


def check_output(output: str | os.PathLike) -> Path:
    """The folder, if no network is in it; what a killed training left may be.

    Args:
        output: a folder, which need not exist.

    Raises:
        FileExistsError: there is a network in it.
    """
    output = Path(output)
    if (output / MODEL_NAME).exists():
        raise FileExistsError(
            "There is a network in this folder already; name another. "
            f"Received: {output}"
        )
    return output


def save(
    model: keras.Model,
    data: Dataset,
    output: str | os.PathLike,
    *,
    command: str,
    view: str,
    key: Key | None,
    seed: int,
) -> dict[str, Any]:
    """Tests a network and writes it with its manifest.

    Args:
        model: the network.
        data: whose test pictures it is tested on.
        output: folder that gets `model.keras` and `manifest.json`.
        command: what was typed.
        view: as for `train`: how it sees the test pictures.
        key: for shuffled ones.
        seed: that the command had.

    Returns:
        The manifest.
    """
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    save_model(model, output / MODEL_NAME)
    seen = shuffle(data.test_images, key) if view == "shuffled" else data.test_images
    right = predictions(model, seen) == data.test_labels
    manifest = {
        "command": command,
        "data": data.name,
        "classes": list(data.class_names),
        "network": model.name,
        "weights": model.count_params(),
        "view": view,
        "seed": seed,
        "test_pictures": len(right),
        "test_right": int(right.sum()),
    }
    write_json(output / MANIFEST_NAME, manifest)
    return manifest


def _model(network: str, data: Dataset, weights) -> keras.Model:
    if weights is not None:
        return load_network(weights)
    shape, classes = data.train_images.shape[1:], len(data.class_names)
    model = NETWORKS[network](shape, classes)
    if network == "small_cnn":
        whiten(model, data.train_images[:WHITENED_ON].astype(np.float32))
    return model


def load_network(path: str | os.PathLike) -> keras.Model:
    """Loads a network, out of a twin if it is one.

    Args:
        path: a `.keras` file.

    Returns:
        The plain network.

    Raises:
        ValueError: for what is no Keras model.
    """
    importlib.import_module("tfpriv.dp")  # with it, Keras knows private models
    model = load_model(path)
    return getattr(model, "plain", model)
