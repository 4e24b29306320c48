"""The mean of networks has the mean of their weights, and statistics of its own."""

import keras
import numpy as np
import pytest
from reading import read

from tfpriv import cli
from tfpriv.shuffling import averaging, data, experiments


def network(seed, filters=3):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Conv2D(filters, 3, strides=4),
            keras.layers.BatchNormalization(momentum=0.7, name="norm"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(4),
        ]
    )


@pytest.fixture(scope="module")
def shapes():
    return data.shapes(1100, 20)


@pytest.fixture
def saved(tmp_path):
    """Two files of networks, and the networks."""
    found = {}
    for seed in (1, 2):
        path = tmp_path / f"{seed}.keras"
        found[path] = network(seed)
        found[path].save(path)
    return found


def test_weights_and_statistics(saved, shapes):
    model = averaging.average(list(saved), shapes)
    trained = (network.trainable_weights for network in saved.values())
    for mean, one, other in zip(model.trainable_weights, *trained, strict=True):
        np.testing.assert_allclose(mean, (one.numpy() + other.numpy()) / 2, atol=1e-7)
    norm, convolution = model.get_layer("norm"), model.layers[0]
    # By hand: three batches, of 500, 500 and 100, each a third.
    order = np.random.default_rng(0).permutation(1100)
    batches = [order[:500], order[500:1000], order[1000:]]
    pictures = shapes.train_images.astype("float32")
    planes = [np.asarray(convolution(pictures[b])) for b in batches]
    means = np.mean([p.mean((0, 1, 2)) for p in planes], 0)
    variances = np.mean([p.var((0, 1, 2)) for p in planes], 0)
    np.testing.assert_allclose(norm.moving_mean, means, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(norm.moving_variance, variances, rtol=1e-3)
    assert norm.momentum == 0.7


def test_networks_that_differ(saved, shapes, tmp_path):
    network(3, filters=4).save(tmp_path / "other.keras")
    one = next(iter(saved))
    for wrong in ([one], [one, tmp_path / "other.keras"]):
        with pytest.raises(ValueError, match="two networks of one architecture"):
            averaging.average(wrong, shapes)


def test_command(saved, tmp_path, capsys):
    output = tmp_path / "mean"
    models = [str(path) for path in saved]
    words = [*models, "--data", "shapes", "--output", str(output)]
    assert cli.main(["shuffle", "average", *words]) == 0
    assert "Right: " in capsys.readouterr().out
    again = experiments.load_network(output / experiments.MODEL_NAME)
    assert again.count_params() == next(iter(saved.values())).count_params()
    assert (output / experiments.MANIFEST_NAME).is_file()
    page = read(output / "report.html").words
    assert "trained without differential privacy" in page
    assert "Not for publishing" in page  # whatever the networks were trained on
