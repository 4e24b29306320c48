"""Losses against NumPy, one picture at a time."""

import keras
import numpy as np
import pytest

from tfpriv.editing import losses


@pytest.fixture
def pictures():
    return np.random.default_rng(0).uniform(-1, 1, (2, 3, 8, 8, 3)).astype("float32")


def test_pixels(pictures):
    expected = ((pictures[0] - pictures[1]) ** 2).mean((1, 2, 3))
    np.testing.assert_allclose(losses.PixelLoss()(*pictures), expected, rtol=1e-5)


def test_features(pictures):
    inputs = keras.Input((8, 8, 3))
    first = keras.layers.Conv2D(4, 3)(inputs)
    network = keras.Model(inputs, [first, keras.layers.Conv2D(5, 3)(first)])
    maps = [network((p + 1) * 127.5) for p in pictures]
    expected = sum(
        weight * ((np.asarray(a) - np.asarray(b)) ** 2).mean((1, 2, 3))
        for weight, a, b in zip((1, 0.5), *maps, strict=True)
    )
    loss = losses.FeatureLoss(network, (1, 0.5))
    np.testing.assert_allclose(loss(*pictures), expected, rtol=1e-4)
    # Of another size, pictures are brought to the network's.
    large = np.repeat(np.repeat(pictures, 2, 2), 2, 3)
    assert loss(*large).shape == (3,)
    with pytest.raises(ValueError, match="Received: 3 weights"):
        losses.FeatureLoss(network, (1, 1, 1))


def test_a_network_of_any_size_takes_pictures_as_they_are(pictures):
    inputs = keras.Input((None, None, 3))
    network = keras.Model(inputs, [keras.layers.Rescaling(1 / 127.5)(inputs)])
    expected = losses.PixelLoss()(*pictures)
    np.testing.assert_allclose(
        losses.FeatureLoss(network)(*pictures), expected, rtol=1e-4
    )


def test_channel_difference_is_the_seeds(pictures):
    red, green, blue = np.moveaxis((pictures[0] + 1) / 2, -1, 0)
    pairs = ((red, green), (red, blue), (green, blue))
    expected = sum(((a - b) ** 2).mean((1, 2)) for a, b in pairs)
    found = losses.ChannelDifference()(*pictures)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    grey = np.repeat(pictures[:, :, :, :, :1], 3, -1)
    np.testing.assert_allclose(losses.ChannelDifference()(*grey), 0, atol=1e-12)


def test_sum(pictures):
    total = losses.Sum(
        pixels=(2.0, losses.PixelLoss()), grey=(2.5, losses.ChannelDifference())
    )
    expected = 2.0 * np.asarray(losses.PixelLoss()(*pictures))
    expected += 2.5 * np.asarray(losses.ChannelDifference()(*pictures))
    np.testing.assert_allclose(total(*pictures), expected, rtol=1e-6)
    assert total.names == ("pixels", "grey")
