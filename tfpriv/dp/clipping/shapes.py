"""Reshaping with few operations: sizes known when traced are constants of the graph."""

import tensorflow as tf


def sizes(tensor):
    """A list with the size of each axis: an int where known, else a scalar tensor."""
    if tensor.shape.is_fully_defined():
        return list(tensor.shape)
    dynamic = tf.shape(tensor)
    return [dynamic[i] if n is None else n for i, n in enumerate(tensor.shape)]


def reshape(tensor, shape):
    """`tf.reshape`, of a list of ints and scalar tensors.

    A single unknown size becomes -1, which needs no operation to compute.
    """
    known = [size for size in shape if not tf.is_tensor(size)]
    if len(known) == len(shape) - 1 and -1 not in known and 0 not in known:
        shape = [-1 if tf.is_tensor(size) else size for size in shape]
    return tf.reshape(tensor, shape)


def merge_axes(tensor, count):
    """Makes one axis of the first `count` axes."""
    return reshape(tensor, [-1, *sizes_from(tensor, count)])


def sizes_from(tensor, axis):
    """`sizes` of the axes from `axis` on."""
    if tensor.shape[axis:].is_fully_defined():
        return list(tensor.shape[axis:])
    return sizes(tensor)[axis:]
