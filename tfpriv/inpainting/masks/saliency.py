"""Masks of what a network looks at: GradCAM, and gradients of the input.

Pictures go through the network one by one, so that a mask is the same in any company.
Where a network sees nothing, so that there is nothing to threshold, the whole picture
is covered: an empty mask would publish it.
"""

import functools

import keras
import numpy as np
import tensorflow as tf

from tfpriv.inpainting.masks import smoothing
from tfpriv.networks.facenet.network import LEAST_SIZE, SIZE, FaceNet, standardised
from tfpriv.support.images import checked

THRESHOLD = 120  # of 255
SEEN = 512  # pixels at which the published GradCAM shows pictures to the network
LAYER = "block8.branch1.2.relu"  # the published layer: the last branch's end


def grad_cam(
    pictures: np.ndarray,
    network: FaceNet,
    targets: np.ndarray,
    threshold: int = THRESHOLD,
    *,
    size: int = SEEN,
    layer: str = LAYER,
) -> np.ndarray:
    """Covers what speaks for a person.

    Args:
        pictures: uint8 (n, s, s, 3).
        network: embeds them.
        targets: float (n, 512) or (512,), the embeddings of the persons, as those of
            other pictures of them.
        threshold: covered is what is warmer, of 0 to 255.
        size: at which the network sees pictures, in pixels, at least 75.
        layer: of the network, whose maps are weighed.

    Returns:
        bool (n, s, s). All True where nothing speaks for the person.

    Raises:
        ValueError: if an argument is out of range.
    """
    heat = similarity_heat(pictures, network, targets, size=size, layer=layer)
    masks = (heat * 255).astype(np.uint8) > threshold
    return covered_if_empty(masks)


def similarity_heat(
    pictures: np.ndarray,
    network: FaceNet,
    targets: np.ndarray,
    *,
    size: int = SEEN,
    layer: str = LAYER,
) -> np.ndarray:
    """GradCAM on the cosine similarity to an embedding.

    Args:
        pictures: as for `grad_cam`.
        network: as for `grad_cam`.
        targets: as for `grad_cam`.
        size: as for `grad_cam`.
        layer: as for `grad_cam`.

    Returns:
        float32 (n, s, s), 0 to 1, the warmest pixel of each picture 1; all 0 where
        nothing speaks for the person.

    Raises:
        ValueError: if an argument is out of range.

    Reference: R. Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks
    via Gradient-based Localization", arXiv:1610.02391.
    """
    pictures, targets = checked(pictures), np.asarray(targets, np.float32)
    wide = network.output_shape[-1]
    if targets.shape not in ((wide,), (len(pictures), wide)) or size < LEAST_SIZE:
        raise ValueError(
            f"Expected targets of {wide} numbers, and a size of at least "
            f"{LEAST_SIZE}. Received: targets of shape {targets.shape}, size={size}"
        )
    weighed = similarity_maps(network, layer)
    heat = np.zeros(pictures.shape[:3], np.float32)
    targets = np.broadcast_to(targets, (len(pictures), wide))
    for i, (picture, target) in enumerate(zip(pictures, targets, strict=True)):
        maps = weighed(standardised(picture[None], size), target).numpy()
        grown = smoothing.resized(_stretched(maps), pictures.shape[1], "linear")
        heat[i] = _stretched(grown)
    return heat


def input_gradients(
    pictures: np.ndarray, classifier: keras.Model, labels: np.ndarray
) -> np.ndarray:
    """Covers where a change would move a classifier most away from the person.

    Those 25 % of the pixels whose gradient is largest, and their neighbourhoods:
    smoothed and cut as published, at 512 pixels or in proportion.

    Args:
        pictures: uint8 (n, s, s, 3).
        classifier: a model from pictures as `facenet.standardised` gives them to
            logits, as `identity_classifier` makes it.
        labels: int (n,), the persons' numbers.

    Returns:
        bool (n, s, s). All True where there is no gradient.

    Raises:
        ValueError: if an argument is out of range.
    """
    gradients = loss_gradients(pictures, classifier, labels)
    size = pictures.shape[1]
    masks = [smoothing.around_largest(g, size) for g in gradients]
    return covered_if_empty(np.reshape(masks, pictures.shape[:3]).astype(bool))


def loss_gradients(
    pictures: np.ndarray, classifier: keras.Model, labels: np.ndarray
) -> np.ndarray:
    """The gradients of a classifier's cross-entropy with respect to its input.

    Args:
        pictures: as for `input_gradients`.
        classifier: as for `input_gradients`.
        labels: as for `input_gradients`.

    Returns:
        float32 (n, 160, 160, 3).

    Raises:
        ValueError: if an argument is out of range.
    """
    pictures, labels = checked(pictures), np.asarray(labels)
    classes = classifier.output_shape[-1]
    inside = (labels >= 0) & (labels < classes) if labels.dtype.kind in "iu" else False
    if labels.shape != (len(pictures),) or not np.all(inside):
        raise ValueError(
            f"Expected a label below {classes} for each picture. Received: "
            f"{labels.dtype} of shape {labels.shape} for {len(pictures)} pictures"
        )
    gradient = _loss_gradient(classifier)
    found = [
        gradient(standardised(picture[None]), label).numpy()
        for picture, label in zip(pictures, labels.astype(np.int32), strict=True)
    ]
    return np.reshape(found, (len(pictures), SIZE, SIZE, 3)).astype(np.float32)


def covered_if_empty(masks: np.ndarray) -> np.ndarray:
    """Masks that cover nothing cover everything.

    Args:
        masks: bool (n, height, width).

    Returns:
        The same, with all of an empty mask True.
    """
    return masks | ~masks.any((1, 2), keepdims=True)


def patch_scores(heat: np.ndarray, grid: int) -> np.ndarray:
    """The mean heat of each patch.

    Args:
        heat: (n, s, s), 0 to 1, s a multiple of `grid`.
        grid: patches on a side.

    Returns:
        float (n, grid, grid), 0 to 1.
    """
    n, size = heat.shape[:2]
    parts = heat.reshape(n, grid, size // grid, grid, size // grid)
    return parts.mean((2, 4))


# Two networks, say one for masks and one to judge them, are traced once.
@functools.lru_cache(maxsize=4)
def similarity_maps(network, layer):
    """A function from a picture and a target to (height, width), not negative."""
    maps = network.get_layer(layer).output
    inner = keras.Model(network.input, [maps, network.output])

    @tf.function
    def weighed(picture, target):
        with tf.GradientTape() as tape:
            tape.watch(picture)  # a frozen network's maps are watched as well
            maps, embedding = inner(picture, training=False)
            # The embedding has length 1: the target's length does not matter.
            similarity = tf.reduce_sum(embedding * tf.math.l2_normalize(target))
        gradients = tf.cast(tape.gradient(similarity, maps), tf.float32)
        weights = tf.reduce_mean(gradients, (1, 2), keepdims=True)
        return tf.nn.relu(tf.reduce_sum(weights * tf.cast(maps, tf.float32), -1))[0]

    return weighed


@functools.lru_cache(maxsize=4)
def _loss_gradient(classifier):
    @tf.function
    def gradient(picture, label):
        with tf.GradientTape() as tape:
            tape.watch(picture)
            logits = tf.cast(classifier(picture, training=False), tf.float32)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits([label], logits)
        return tape.gradient(loss, picture)[0]

    return gradient


def _stretched(values):
    """From 0 to 1; all 0 where there is no difference, or no number."""
    values = values - values.min()
    values = values / (1e-7 + values.max())
    return np.where(np.isfinite(values), values, 0)
