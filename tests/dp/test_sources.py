"""Data that can be sampled, in every form that users have it."""

import random

import keras
import numpy as np
import pytest
import small
import tensorflow as tf

import tfpriv.dp as dp
from tfpriv.dp import sources as sources_module
from tfpriv.dp.sources import as_source


class LikeTfds:
    """As `tfds.data_source`: items are dicts, and there is no `__iter__`."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return {"image": self.x[index], "label": self.y[index]}


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y, size):
        super().__init__()
        self.x, self.y, self.size = x, y, size

    def __len__(self):
        return len(self.x) // self.size

    def __getitem__(self, index):
        rows = slice(index * self.size, (index + 1) * self.size)
        return self.x[rows], self.y[rows]


def files(x, y, folder):
    paths = []
    for i, (a, b) in enumerate(zip(x, y, strict=True)):
        paths.append(folder / f"{i}.npz")
        np.savez(paths[-1], x=a, y=b)
    return paths


def load_file(path):
    with np.load(path) as stored:
        return stored["x"], stored["y"]


def sources(x, y, folder):
    return {
        "arrays": ((x, y), None),
        "tensors": ((tf.constant(x), tf.constant(y)), None),
        "files": (files(x, y, folder), load_file),
        "items": (LikeTfds(x, y), lambda item: (item["image"], item["label"])),
        "pydataset": (Batches(x, y, 1), None),
        "pairs": (list(zip(x, y, strict=True)), None),
    }


KINDS = ("arrays", "tensors", "files", "items", "pydataset", "pairs")


@pytest.mark.parametrize("kind", KINDS)
def test_every_source_gives_the_same_examples(kind, tmp_path):
    x, y = small.data(7)
    source = as_source(*sources(x, y, tmp_path)[kind])
    assert len(source) == 7
    taken = source.take(np.array([4, 0, 4]))
    np.testing.assert_array_equal(taken["x"], x[[4, 0, 4]])
    np.testing.assert_array_equal(taken["y"], y[[4, 0, 4]])
    none = source.take(np.array([], dtype=int))
    assert none["x"].shape == (0, 3)
    assert none["y"].dtype == y.dtype


@pytest.mark.parametrize("kind", ["files", "items", "pydataset"])
def test_fit_samples_from_it(kind, tmp_path):
    data, load = sources(*small.data(7), tmp_path)[kind]
    model = small.private()
    model.fit(dp.PoissonSampler(data, 2, load=load), verbose=0)
    assert len(model.privacy.ledger) == 4


def test_fit_takes_dicts_and_tuples():
    a, b = keras.Input((2,), name="a"), keras.Input((3,), name="b")
    joined = keras.layers.Concatenate()([a, b])
    model = keras.Model({"a": a, "b": b}, {"out": keras.layers.Dense(1)(joined)})
    dp.make_private(model)
    small.compiled(model, loss={"out": "mse"})
    x = {"a": np.ones((6, 2)), "b": np.ones((6, 3))}
    model.fit(x, {"out": np.ones((6, 1))}, batch_size=2, verbose=0)
    assert len(model.privacy.ledger) == 3


def test_a_pydataset_with_larger_batches_is_refused():
    with pytest.raises(ValueError, match="batch_size=1"):
        as_source(Batches(*small.data(8), 4)).take(np.array([0]))


@pytest.mark.parametrize(
    "data",
    [
        (np.ones((3, 1)), np.ones((2, 1))),
        (np.ones(3), np.ones(3), np.ones(3), np.ones(3)),
        (1.0, 2.0),
        tf.data.Dataset.range(3),
        {1, 2, 3},
    ],
)
def test_what_cannot_be_sampled_is_refused(data):
    with pytest.raises(ValueError, match="Received"):
        as_source(data)


def test_empty_data_is_refused():
    with pytest.raises(ValueError, match="at least one example"):
        dp.PoissonSampler(np.ones((0, 2)), 1)


def draws_of(items, monkeypatch):
    """What `load` draws for each item, from a fixed sequence of seeds of the system."""
    seeds = iter(bytes([i]) * 32 for i in range(1, 100))
    monkeypatch.setattr(sources_module.os, "urandom", lambda size: next(seeds)[:size])

    def load(item):
        extra = np.random.normal(size=item)  # items draw unequal numbers of values
        return (np.array([random.random(), np.random.uniform(), extra.sum()]),)

    source = as_source(list(items), load)
    return source.take(np.arange(len(source)))["x"]


def test_what_an_item_draws_does_not_depend_on_the_others(monkeypatch):
    keras.utils.set_random_seed(7)
    few = draws_of([1, 2], monkeypatch)
    after = np.random.uniform()
    keras.utils.set_random_seed(7)
    assert np.random.uniform() == after  # the user's own sequence is left as it was
    np.testing.assert_array_equal(draws_of([1, 2, 3], monkeypatch)[:2], few)
    changed = draws_of([5, 2, 3], monkeypatch)
    assert changed[1, 0] == few[1, 0]
    np.testing.assert_array_equal(changed[1], few[1])


def test_planted_draws_that_items_share_are_found(monkeypatch):
    monkeypatch.setattr(sources_module, "seed_generators", lambda seed: None)
    keras.utils.set_random_seed(7)
    few = draws_of([1, 2], monkeypatch)
    keras.utils.set_random_seed(7)
    assert draws_of([5, 2], monkeypatch)[1, 1] != few[1, 1]


def test_draws_of_items_do_not_follow_the_seed():
    def drawn():
        keras.utils.set_random_seed(7)
        source = as_source([0, 0], lambda item: (np.random.uniform(size=4),))
        return source.take(np.array([0, 1]))["x"]

    first, second = drawn(), drawn()
    assert not np.any(first == second)
    assert not np.any(first[0] == first[1])
