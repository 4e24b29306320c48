"""The small StyleGAN trains, stops, goes on, and comes out the same."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from tfpriv.networks.stylegan import StyleGAN, load_generator, train, training
from tfpriv.networks.stylegan.discriminator import Discriminator, with_deviation
from tfpriv.support.training import batches

RECIPE = training.StyleGANRecipe(steps=2, batch_size=4, r1_every=1, half_life=20)


def new_generator(seed=0):
    import keras

    keras.utils.set_random_seed(seed)
    return StyleGAN(16, 8, (8, 8, 8))


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def uninterrupted(pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return train.train(pictures, folder, new_generator(), RECIPE), folder


def test_training_changes_all_that_is_trained(uninterrupted):
    found, folder = uninterrupted
    start = new_generator()
    for variable, before in zip(found.weights, start.weights, strict=True):
        moved = np.abs(np.asarray(variable) - np.asarray(before)).max()
        fixed = variable.name == "noise"
        assert np.isfinite(moved)
        assert (moved == 0) == fixed, variable.path
    assert load_generator(folder / train.GENERATOR).fingerprint == found.fingerprint
    assert (folder / train.SAMPLES).stat().st_size


@pytest.mark.slow
def test_a_killed_training_goes_on_as_if_it_had_not_been(pictures, tmp_path):
    recipe = dataclasses.replace(RECIPE, steps=4, r1_every=2)
    wanted = train.train(pictures, tmp_path / "whole", new_generator(), recipe)
    folder, seen = tmp_path / "killed", []

    def kill(done, total):
        seen.append((done, total))
        if done == 3:
            raise KeyboardInterrupt

    arguments = {"save_every": 2, "progress": kill}
    with pytest.raises(KeyboardInterrupt):
        train.train(pictures, folder, new_generator(), recipe, **arguments)
    assert seen == [(1, 4), (2, 4), (3, 4)]
    assert not (folder / train.GENERATOR).exists()
    again = train.train(pictures, folder, new_generator(5), recipe)
    assert again.fingerprint == wanted.fingerprint


def test_a_checkpoint_of_another_training_is_refused(uninterrupted, pictures, tmp_path):
    checkpoint = (uninterrupted[1] / train.CHECKPOINT).read_bytes()
    (tmp_path / train.CHECKPOINT).write_bytes(checkpoint)
    other = dataclasses.replace(RECIPE, learning_rate=1e-3)
    with pytest.raises(ValueError, match=r"another recipe.*training\.npz"):
        train.train(pictures, tmp_path, new_generator(), other)
    for data in (pictures[1:], pictures[::-1]):
        with pytest.raises(ValueError, match=r"data; choose.*training\.npz"):
            train.train(data, tmp_path, new_generator(), RECIPE)
    (tmp_path / train.CHECKPOINT).write_bytes(checkpoint[:500])
    with pytest.raises(ValueError, match=r"damaged.*training\.npz"):
        train.train(pictures, tmp_path, new_generator(), RECIPE)


def test_every_picture_comes_once_in_each_pass(pictures):
    numbered = np.broadcast_to(
        np.arange(20, dtype=np.float32)[:, None, None, None], (20, 16, 16, 3)
    )
    fed = batches(numbered, 16, 4, 0, 0)
    seen = [next(fed)[:, 0, 0, 0] for _ in range(10)]
    for start in (0, 5):
        assert sorted(np.concatenate(seen[start : start + 5])) == list(range(20))
    assert not np.array_equal(seen[:5], seen[5:])
    later = batches(numbered, 16, 4, 0, 7)
    np.testing.assert_array_equal(next(later)[:, 0, 0, 0], seen[7])


def test_data_sets_go_on_where_they_stopped(pictures):
    data = tf.data.Dataset.from_tensor_slices(pictures).repeat()
    found = [next(batches(data, 16, 4, 0, start)) for start in (0, 6)]
    scaled = pictures.astype(np.float32) / 127.5 - 1
    np.testing.assert_array_equal(found[0], scaled[:4])
    np.testing.assert_array_equal(found[1], scaled[4:8])


def test_pictures_that_do_not_fit_are_refused(pictures, tmp_path):
    with pytest.raises(ValueError, match=r"16, 16, 3.*Received: shape=\(1, 16, 8, 3\)"):
        train.train(pictures[:, :, :8], tmp_path, new_generator(), RECIPE)
    with pytest.raises(ValueError, match="Received: 3 pictures"):
        train.train(pictures[:3], tmp_path, new_generator(), RECIPE)


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": 6},
        {"steps": 0},
        {"learning_rate": 0.0},
        {"mixing": 1.5},
        {"r1": float("nan")},
        {"half_life": float("inf")},
    ],
)
def test_recipes_that_make_no_sense_are_refused(change):
    with pytest.raises(ValueError, match="Received"):
        training.StyleGANRecipe(**change)


def test_the_penalty_is_the_squared_gradient():
    """Of a linear score it is known."""
    weight = np.random.default_rng(0).normal(size=(16, 16, 3)).astype(np.float32)

    def score(x):
        return ops.sum(x * weight, (1, 2, 3))

    found = training.gradient_penalty(score, tf.random.normal((4, 16, 16, 3)))
    np.testing.assert_allclose(found, np.sum(weight**2), rtol=1e-5)


def test_losses_of_scores():
    real, generated = np.array([[2.0], [-1.0]]), np.array([[0.5], [0.0]])
    wanted = np.log1p(np.exp(-real)).mean() + np.log1p(np.exp(generated)).mean()
    np.testing.assert_allclose(
        training.discriminator_loss(real, generated), wanted, rtol=1e-6
    )
    wanted = np.log1p(np.exp(-generated)).mean()
    np.testing.assert_allclose(training.generator_loss(generated), wanted, rtol=1e-6)


def test_the_deviation_is_that_of_groups():
    x = np.random.default_rng(0).normal(size=(8, 2, 2, 3)).astype(np.float32)
    found = np.asarray(with_deviation(x))
    np.testing.assert_array_equal(found[..., :3], x)
    for start in range(2):  # pictures 0, 2, 4, 6 are a group
        wanted = x[start::2].std(0).mean()
        np.testing.assert_allclose(found[start::2, ..., 3], wanted, rtol=1e-5)


def test_the_discriminator_sees_that_all_pictures_are_the_same():
    network = Discriminator((8, 8, 8))
    picture = np.random.default_rng(0).normal(size=(1, 16, 16, 3)).astype(np.float32)
    alone, among = picture.repeat(4, 0), picture.repeat(4, 0)
    among[1:] = 0
    assert network(alone).shape == (4, 1)
    assert abs(float(network(alone)[0, 0] - network(among)[0, 0])) > 1e-4


def test_the_small_generator_is_small():
    assert train.small_generator(64).count_params() < 2_400_000
    with pytest.raises(ValueError, match="channels"):
        train.small_generator(128)
