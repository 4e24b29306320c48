"""Compares a rule that the tests do not prove with TensorFlow, on its layer alone.

Such is a rule that a user registered, and one of ours for a subclass of its layer.
"""

import functools

import numpy as np
import tensorflow as tf

from tfpriv.dp import keras_internals
from tfpriv.dp.clipping import taps as recording
from tfpriv.dp.clipping.objective import sum_dtype
from tfpriv.dp.clipping.per_example import combine, computed, of_examples, taken_apart
from tfpriv.dp.clipping.rules import NotCoveredError, rule_of
from tfpriv.dp.validate import made_up

TRIALS = 3
TOLERANCE = {2: 0.1, 4: 2e-3, 8: 1e-6}  # by bytes of the dtype, of a gradient's norm


def check(layer, args, kwargs):
    """Raises `NotCoveredError` if the rule's gradients are not those of TensorFlow.

    The arguments are of a call on one example, and replaced by made-up ones.
    """
    rng = np.random.default_rng(0)

    def other(t):
        return made_up(t.shape, t.dtype, rng) if tf.is_tensor(t) else t

    for _ in range(TRIALS):
        given = tf.nest.map_structure(other, (args, kwargs))
        _compare(layer, given[0], given[1], rng)


def _compare(layer, args, kwargs, rng):
    own = [v for v in keras_internals.own_variables(layer) if v.trainable]
    variables = [v.value for v in own]
    generators = keras_internals.seed_generators(layer)
    seeds = [tf.zeros([2], tf.int64)] * (len(generators) + 1)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(variables)
        taps = recording.Taps()
        inputs = [t for t in tf.nest.flatten((args, kwargs)) if tf.is_tensor(t)]
        record = recording.Recorder(layer, inputs, tape, taps)
        ruled = functools.partial(rule_of(layer), layer, layer.call, record)
        with (
            keras_internals.instead_of(layer, call=ruled),
            keras_internals.seeds_of_example(generators, seeds),
        ):
            outputs = tf.nest.flatten(layer(*args, **kwargs))
        loss = sum(
            tf.reduce_sum(t * tf.cast(rng.normal(size=t.shape), t.dtype))
            for t in outputs
            if t.dtype.is_floating
        )
    found: dict = {}  # the rule's gradients of the example, by identity of the weight
    for tap in taps:
        of_tap = tape.gradient(loss, tap.tensors, unconnected_gradients="zero")
        of_tap = [tf.cast(g, sum_dtype(g.dtype)) for g in of_tap]
        for variable, gradient in tap.gradients(of_tap):
            gradient = computed(gradient)
            rows = taken_apart(gradient)[0][0].shape[0]
            found.setdefault(id(variable), []).append(of_examples(gradient, rows))
    wanted = tape.gradient(loss, variables, unconnected_gradients="zero")
    for variable, g in zip(own, wanted, strict=True):
        parts = found.get(id(variable))
        if parts is not None and id(variable) not in taps.directly:
            _require_same(layer, variable, parts, tf.convert_to_tensor(g))


def _require_same(layer, variable, parts, wanted):
    wanted, gradient = np.asarray(wanted, "float64"), combine(parts)
    scale = np.linalg.norm(wanted)
    total = gradient.weighted_sum(tf.ones([1], tf.float64))
    squares = float(tf.reduce_sum(gradient.square_norms()))
    tolerance = TOLERANCE[tf.as_dtype(layer.compute_dtype).size]
    if total.shape == wanted.shape:
        off = np.linalg.norm(np.asarray(total, "float64") - wanted)
        off = max(off, abs(np.sqrt(max(squares, 0.0)) - scale))
        if off <= tolerance * scale + 1e-30:
            return
    raise NotCoveredError(f"the rule for weight '{variable.path}' is wrong")
