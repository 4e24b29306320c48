"""Masks by a network: GradCAM and input gradients beside slow oracles."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from tfpriv.inpainting import FaceNet, grad_cam, identity_classifier, input_gradients
from tfpriv.inpainting.masks import saliency, smoothing
from tfpriv.networks.facenet.network import standardised

LAYER, SIZE = "repeat_2.9.relu", 96


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(2)
    return FaceNet(0.125)


@pytest.fixture(scope="module")
def classifier(network):
    return identity_classifier(network, 3)


@pytest.fixture
def pictures(rng):
    return rng.integers(0, 256, (2, 64, 64, 3), np.uint8)


def heat_oracle(picture, network, target):
    """By a difference of the similarity for each channel's mean, slowly."""
    inner = keras.Model(network.input, network.get_layer(LAYER).output)
    x = standardised(picture[None], SIZE)
    maps = tf.Variable(inner(x, training=False))
    rest = keras.Model(network.get_layer(LAYER).output, network.output)
    with tf.GradientTape() as tape:
        (embedding,) = rest(maps, training=False)
        similarity = -keras.losses.cosine_similarity(target, embedding)
    gradient = tape.gradient(similarity, maps)[0].numpy()
    found = np.zeros(gradient.shape[:2])
    for channel in range(gradient.shape[-1]):
        found += gradient[..., channel].mean() * maps.numpy()[0, ..., channel]
    found = np.maximum(found, 0)
    if not found.any():
        return np.zeros((64, 64))
    found = (found - found.min()) / (found - found.min()).max()
    grown = np.asarray(
        tf.image.resize(found[..., None], (64, 64), antialias=False)[..., 0]
    )
    return (grown - grown.min()) / (grown - grown.min()).max()


@pytest.fixture
def opposites(pictures, rng):
    """One picture twice, and opposite targets: for one of them at least it speaks."""
    target = rng.normal(size=512)
    return pictures[[0, 0]], np.stack([target, -target])


def test_grad_cam_is_the_oracles(network, opposites):
    pictures, targets = opposites
    options = {"size": SIZE, "layer": LAYER}
    heat = saliency.similarity_heat(pictures, network, targets, **options)
    assert heat.any()
    for picture, target, found in zip(pictures, targets, heat, strict=True):
        expected = heat_oracle(picture, network, target.astype(np.float32))
        np.testing.assert_allclose(found, expected, atol=2e-3)
    warm = np.floor(heat * 255) > 120
    warm[~warm.any((1, 2))] = True
    masks = grad_cam(pictures, network, targets, **options)
    np.testing.assert_array_equal(masks, warm)
    assert masks.dtype == bool


def test_a_mask_is_the_same_in_any_company(network, classifier, pictures, rng):
    target = rng.normal(size=512)
    options = {"size": SIZE, "layer": LAYER}
    together = grad_cam(pictures, network, target, **options)
    alone = grad_cam(pictures[1:], network, target, **options)
    np.testing.assert_array_equal(together[1:], alone)
    together = input_gradients(pictures, classifier, np.array([0, 1]))
    alone = input_gradients(pictures[1:], classifier, np.array([1]))
    np.testing.assert_array_equal(together[1:], alone)


def test_gradients_are_those_of_the_cross_entropy(classifier, pictures):
    labels = np.array([2, 0])
    x = tf.Variable(standardised(pictures))
    with tf.GradientTape() as tape:
        chances = tf.nn.softmax(classifier(x, training=False))
        loss = -tf.math.log(chances[0, 2]) - tf.math.log(chances[1, 0])
    expected = tape.gradient(loss, x).numpy()
    found = saliency.loss_gradients(pictures, classifier, labels)
    largest = np.abs(expected).max()
    assert np.abs(found - expected).mean() < 1e-4 * largest
    masks = input_gradients(pictures, classifier, labels)
    for mask, gradient in zip(masks, found, strict=True):
        np.testing.assert_array_equal(mask, smoothing.around_largest(gradient, 64))


def test_a_frozen_network_has_gradients(network, classifier, opposites):
    assert not network.trainable
    pictures, targets = opposites
    heat = saliency.similarity_heat(pictures, network, targets, size=SIZE, layer=LAYER)
    assert heat.max() == pytest.approx(1, abs=1e-3)


def test_what_shows_nothing_is_covered_whole():
    """A flat heat, a gradient of zero or of no numbers: nothing would be hidden."""
    masks = np.zeros((3, 4, 4), bool)
    masks[1, 2, 2] = True
    found = saliency.covered_if_empty(masks)
    assert found[0].all()
    assert found[2].all()
    assert found[1].sum() == 1
    assert not saliency._stretched(np.zeros((3, 3))).any()
    assert not saliency._stretched(np.full((3, 3), np.nan)).any()
    for gradient in (np.zeros((8, 8, 3)), np.full((8, 8, 3), np.nan)):
        assert not smoothing.around_largest(gradient, 16).any()


def test_arguments_are_checked(network, classifier, pictures):
    for targets in (np.zeros(5), np.zeros((3, 512))):
        with pytest.raises(ValueError, match="Received: targets of shape"):
            grad_cam(pictures, network, targets)
    with pytest.raises(ValueError, match="size=64"):
        grad_cam(pictures, network, np.ones(512), size=64)
    for labels in (np.array([0, 3]), np.array([0]), np.array([0.0, 1.0])):
        with pytest.raises(ValueError, match="a label below 3"):
            input_gradients(pictures, classifier, labels)


def test_patch_scores_are_means(rng):
    heat = rng.uniform(size=(2, 12, 12))
    found = saliency.patch_scores(heat, 4)
    for row in range(4):
        for column in range(4):
            part = heat[:, 3 * row : 3 * row + 3, 3 * column : 3 * column + 3]
            np.testing.assert_allclose(found[:, row, column], part.mean((1, 2)))


# Smoothing.


def test_a_quarter_of_the_pixels_is_what_is_blurred(rng, monkeypatch):
    seen = []
    blur = smoothing.blurred
    monkeypatch.setattr(
        smoothing, "blurred", lambda v, s=1.0: seen.append(v) or blur(v, s)
    )
    smoothing.around_largest(rng.normal(size=(20, 20, 3)), 20)
    assert (seen[0] == 255).mean() == 0.25


def test_blurring_is_a_gaussians_middle(rng):
    values = rng.uniform(size=(40, 40))
    ours = smoothing.blurred(values)
    reference = ndimage.gaussian_filter(values, 11.0, mode="mirror", radius=6)
    np.testing.assert_allclose(ours, reference, atol=1e-12)
    np.testing.assert_array_equal(smoothing.blurred(values, 1 / 16), values)


@pytest.mark.parametrize("kind", ["linear", "cubic"])
@pytest.mark.parametrize("size", [7, 10, 23])
def test_resizing_keeps_what_is_even_and_what_fits(kind, size, rng):
    even = smoothing.resized(np.full((7, 5), 3.0), size, kind)
    np.testing.assert_allclose(even, 3.0)
    values = rng.normal(size=(7, 7, 2))
    np.testing.assert_allclose(smoothing.resized(values, 7, kind), values, atol=1e-12)
    ramp = np.linspace(0, 1, 7)[:, None] * np.ones(7)
    grown = smoothing.resized(ramp, 14, "linear")[1:-1]
    np.testing.assert_allclose(np.diff(grown, axis=0), 1 / 12, atol=1e-12)
