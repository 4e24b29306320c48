"""Any other layer: its own weights are differentiated example by example."""

import dataclasses
import math

import tensorflow as tf

from tfpriv.dp import keras_internals
from tfpriv.dp.clipping import vectorized
from tfpriv.dp.clipping.per_example import Whole
from tfpriv.dp.clipping.rules import NotCoveredError


def rule(layer, call, record, *args, **kwargs):
    """Runs the layer, and once more for each example when gradients are asked for."""
    with keras_internals.counted_draws(layer) as draws:
        outputs = call(*args, **kwargs)
    if draws:
        raise NotCoveredError(
            f"there is no rule for layer '{layer.name}' ({type(layer).__name__}), and "
            "it draws random numbers, so that it cannot be run again"
        )
    flat = tf.nest.flatten(outputs)
    if len(flat) == 1:
        record(flat[0], _gradients_through(layer, call, args, kwargs, 0))
        return outputs
    # One output may be made from another, or be another; copies are not.
    copies = {id(t): keras_internals.copy_of(t) for t in flat if tf.is_tensor(t)}
    for i, output in enumerate(flat):
        copy = copies.get(id(output))
        if copy is not None and copy.dtype.is_floating and not _is_again(flat, i):
            record(copy, _gradients_through(layer, call, args, kwargs, i))
    return tf.nest.map_structure(lambda t: copies.get(id(t), t), outputs)


def _is_again(flat, i):
    return any(flat[i] is earlier for earlier in flat[:i])


def _gradients_through(layer, call, args, kwargs, position):
    """Function from the gradient at one output to those of the layer's own weights."""
    weights = [v for v in keras_internals.own_variables(layer) if v.trainable]
    flat = tf.nest.flatten((args, kwargs))
    given = {
        i: keras_internals.Output.of(t) for i, t in enumerate(flat) if _has_examples(t)
    }

    def of_one(rows):
        rows = tf.nest.map_structure(lambda t: tf.expand_dims(t, 0), rows)
        inputs = list(flat)
        for (place, whole), parts in zip(given.items(), rows["inputs"], strict=True):
            inputs[place] = dataclasses.replace(whole, **parts).attach()
        again, options = tf.nest.pack_sequence_as((args, kwargs), inputs)
        values = [v.value for v in weights]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            with keras_internals.autocast(layer):
                output = tf.nest.flatten(call(*again, **options))[position]
        g = tf.cast(rows["gradient"], output.dtype)
        found = tape.gradient(output, values, output_gradients=g)
        return [tf.convert_to_tensor(f) for f in _known(found, values)]

    def gradients(g):
        # In half precision, small gradients would be lost on their way back.
        sizes = _sizes(g)
        scaled = g / vectorized.expand_like(sizes, g)
        rows = {"inputs": [t.tensors for t in given.values()], "gradient": scaled}
        found = vectorized.map_examples(of_one, rows)
        found = [tf.cast(f, g.dtype) * vectorized.expand_like(sizes, f) for f in found]
        return [(v, Whole(f)) for v, f in zip(weights, found, strict=True)]

    return gradients


def _sizes(gradient):
    """A power of two near the largest entry of each example, or 1."""
    largest = tf.reduce_max(tf.abs(gradient), axis=list(range(1, gradient.shape.rank)))
    power = tf.floor(tf.math.log(largest) / math.log(2.0))
    usable = tf.math.is_finite(power)
    power = tf.where(usable, tf.clip_by_value(power, -100.0, 100.0), 0.0)
    return tf.pow(tf.constant(2.0, gradient.dtype), power)


def _has_examples(value):
    """Whether a tensor's leading axis is that of the examples, whose number varies."""
    return tf.is_tensor(value) and value.shape.rank != 0 and value.shape[0] is None


def _known(gradients, values):
    """Zeros where an output does not depend on a weight."""
    return [
        tf.zeros_like(v) if g is None else g
        for g, v in zip(gradients, values, strict=True)
    ]
