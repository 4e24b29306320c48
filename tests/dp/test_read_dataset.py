"""`PoissonSampler.from_dataset`: the examples of a `tf.data.Dataset`, each once."""

import keras
import numpy as np
import pytest
import small
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from tfpriv import dp
from tfpriv.support.randomness import Randomness

X, Y = small.data(12)
SLICES = tf.data.Dataset.from_tensor_slices


def everything(sampler):
    """One batch with every unit."""
    assert sampler.sampling_probability == 1.0
    _, batch = next(sampler.batches(lambda: 0, Randomness(0)))
    return batch


@pytest.mark.parametrize(
    "dataset",
    [
        SLICES((X, Y)),
        SLICES((X, Y)).batch(5).unbatch(),
        SLICES((X, Y)).shuffle(12).map(lambda x, y: (x, y)).prefetch(2),
        SLICES((X, Y)).filter(lambda x, y: True).cache(),
    ],
)
def test_each_example_is_read_once(dataset):
    batch = everything(dp.PoissonSampler.from_dataset(dataset, 12))
    order = np.lexsort(batch["x"].T), np.lexsort(X.T)
    np.testing.assert_array_equal(batch["x"][order[0]], X[order[1]])
    np.testing.assert_array_equal(batch["y"][order[0]], Y[order[1]])


def test_structures_weights_and_texts_are_kept():
    inputs = {"image": X, "word": np.array([b"a", b"b"] * 6)}
    weights = np.arange(12, dtype="float32")
    batch = everything(dp.PoissonSampler.from_dataset(SLICES((inputs, Y, weights)), 12))
    np.testing.assert_array_equal(batch["x"]["image"], X)
    assert list(batch["x"]["word"]) == list(inputs["word"])
    np.testing.assert_array_equal(batch["sample_weight"], weights)


def test_weights_without_targets_stay_weights():
    weighted = SLICES((X, np.arange(12.0))).map(lambda x, w: (x, None, w))
    batch = everything(dp.PoissonSampler.from_dataset(weighted, 12))
    assert set(batch) == {"x", "sample_weight"}
    np.testing.assert_array_equal(batch["sample_weight"], np.arange(12.0))


def test_random_steps_are_drawn_once():
    noisy = SLICES(X).map(lambda x: x + tf.random.normal([3]))
    sampler = dp.PoissonSampler.from_dataset(noisy, 12)
    np.testing.assert_array_equal(everything(sampler)["x"], everything(sampler)["x"])


def test_events_are_those_of_arrays():
    model, other = small.private(), small.private()
    model.fit(dp.PoissonSampler.from_dataset(SLICES((X, Y)), 4), epochs=2, verbose=0)
    other.fit(X, Y, batch_size=4, epochs=2, verbose=0)
    (one,), (two,) = model.privacy.ledger.entries, other.privacy.ledger.entries
    assert (one.mechanism, one.count) == (two.mechanism, two.count)


def test_images_from_a_directory(tmp_path):
    for i in range(6):
        folder = tmp_path / "ab"[i % 2]
        folder.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (i, 0, 0)).save(folder / f"{i}.png")
    dataset = keras.utils.image_dataset_from_directory(
        tmp_path, image_size=(8, 8), batch_size=None, verbose=False
    )
    batch = everything(dp.PoissonSampler.from_dataset(dataset, 6))
    assert batch["x"].shape == (6, 8, 8, 3)
    assert sorted(batch["x"][:, 0, 0, 0]) == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(batch["x"][:, 0, 0, 0] % 2, batch["y"])


def test_tensorflow_datasets():
    with tfds.testing.mock_data(num_examples=5):
        dataset = tfds.load("mnist", split="train", as_supervised=True)
    batch = everything(dp.PoissonSampler.from_dataset(dataset, 5))
    assert batch["x"].shape == (5, 28, 28, 1)


def test_groups_say_whose_examples_are_repeated():
    groups = np.arange(24) % 12
    sampler = dp.PoissonSampler.from_dataset(
        SLICES((X, Y)).repeat(2), 12, groups=groups, max_examples_per_group=2
    )
    assert sampler.population == 12


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (SLICES((X, Y)).batch(4), "single examples"),
        (SLICES((X, Y)).repeat(2), "several examples of one unit"),
        (SLICES((X, Y)).take(0), "empty data set"),
        (SLICES([1, 2]).map(lambda n: tf.zeros([n]), deterministic=True), "one shape"),
        ((X, Y), "Expected a `tf.data.Dataset`"),
    ],
)
def test_data_sets_that_cannot_be_sampled_are_refused(dataset, message):
    with pytest.raises(ValueError, match=message):
        dp.PoissonSampler.from_dataset(dataset, 1)


def test_flat_map_warns_that_units_may_be_repeated():
    copies = SLICES(X[:1]).flat_map(lambda x: SLICES([x, x]))
    with pytest.warns(UserWarning, match="several examples of one unit"):
        dp.PoissonSampler.from_dataset(copies, 1)


def test_generators_are_read_without_a_warning(recwarn):
    spec = tf.TensorSpec([3], tf.float32)
    rows = tf.data.Dataset.from_generator(lambda: iter(X), output_signature=spec)
    dp.PoissonSampler.from_dataset(rows, 1)
    assert not [w for w in recwarn if "several examples" in str(w.message)]


def test_infinite_data_set_is_refused():
    endless = SLICES(X).repeat()
    with pytest.raises(ValueError, match="finite"):
        dp.PoissonSampler.from_dataset(
            endless, 1, groups=np.arange(12), max_examples_per_group=1
        )


def test_fit_names_the_line_for_a_data_set():
    with pytest.raises(ValueError, match=r"PoissonSampler\.from_dataset\(dataset\.unb"):
        small.private().fit(SLICES((X, Y)).batch(4))
