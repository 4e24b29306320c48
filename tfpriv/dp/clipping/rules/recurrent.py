"""Cells of recurrent layers, seen at every time step.

Each activation of a cell is watched: what goes into it is linear in the weights.
"""

import contextlib
import functools

import keras
import tensorflow as tf

from tfpriv.dp import keras_internals
from tfpriv.dp.clipping.per_example import Dense, LowRank
from tfpriv.dp.clipping.rules import NotCoveredError, register_clipping_rule


@register_clipping_rule(keras.layers.SimpleRNNCell)
def simple_rnn_cell(layer, call, record, inputs, states, training=False):
    with _watched(layer, record, "activation") as seen:
        output = call(inputs, states, training=training)
    x, h = _dropped(layer, inputs, states, training)
    record.all(seen["activation"], lambda g: _linear(layer, x, h, g[0], g[0]))
    return output


@register_clipping_rule(keras.layers.LSTMCell)
def lstm_cell(layer, call, record, inputs, states, training=False):
    with _watched(layer, record, "activation", "recurrent_activation") as seen:
        output = call(inputs, states, training=training)
    x, h = _dropped(layer, inputs, states, training)
    (i, f, o), (c, _) = seen["recurrent_activation"], seen["activation"]

    def gradients(g):
        gates = tf.concat(g, axis=1)
        return _linear(layer, x, h, gates, gates)

    record.all([i, f, c, o], gradients)
    return output


@register_clipping_rule(keras.layers.GRUCell)
def gru_cell(layer, call, record, inputs, states, training=False):
    with _watched(layer, record, "activation", "recurrent_activation") as seen:
        output = call(inputs, states, training=training)
    x, h = _dropped(layer, inputs, states, training)
    (z, r), (candidate,) = seen["recurrent_activation"], seen["activation"]
    reset = layer.recurrent_activation(r)

    def gradients(g):
        into = tf.concat(g, axis=1)
        if not layer.reset_after:
            return _reset_before(layer, x, h, reset, into)
        inner = tf.concat([*g[:2], g[2] * tf.cast(reset, g[2].dtype)], axis=1)
        return _linear(layer, x, h, into, inner)

    record.all([z, r, candidate], gradients)
    return output


def _reset_before(layer, x, h, reset, into):
    """The candidate's kernel got the state after the reset gate, the gates' before."""
    units = layer.units
    gates = tf.pad(into[:, : 2 * units], [[0, 0], [0, units]])
    candidate = tf.pad(into[:, 2 * units :], [[0, 0], [2 * units, 0]])
    found = _linear(layer, x, h, into, gates)
    shape = tuple(layer.recurrent_kernel.shape)
    # One sum of outer products over two "steps".
    left = tf.stack([tf.cast(t, into.dtype) for t in (h, reset * h)], axis=1)
    both = LowRank(left, tf.stack([gates, candidate], axis=1), shape)
    return [(v, both if v is layer.recurrent_kernel else f) for v, f in found]


def _linear(layer, x, h, into, inner):
    """Of x @ kernel + bias, with gradient `into`, and of h @ recurrent_kernel."""
    found = [
        (layer.kernel, _product(x, into, layer.kernel)),
        (layer.recurrent_kernel, _product(h, inner, layer.recurrent_kernel)),
    ]
    if layer.bias is not None:
        both = len(layer.bias.shape) == 2  # the recurrent product has its own
        g = tf.stack([into, inner], axis=1) if both else into
        found.append((layer.bias, Dense(g)))
    return found


def _product(left, g, weight):
    left = tf.cast(left, g.dtype)
    return LowRank(left[:, tf.newaxis], g[:, tf.newaxis], tuple(weight.shape))


def _dropped(layer, inputs, states, training):
    """Input and state as the kernels meet them."""
    h = states[0] if isinstance(states, (list, tuple)) else states
    if not training or (layer.dropout == 0 and layer.recurrent_dropout == 0):
        return inputs, h
    if getattr(layer, "implementation", 2) == 1:  # a mask for each gate
        raise NotCoveredError(
            f"recurrent layer '{layer.name}' drops out other inputs for each gate"
        )
    masks = (layer.get_dropout_mask(inputs), layer.get_recurrent_dropout_mask(h))
    pairs = zip((inputs, h), masks, strict=True)
    return tuple(t if mask is None else t * mask for t, mask in pairs)


@contextlib.contextmanager
def _watched(layer, record, *names):
    """Inside, what goes into these activations is watched, and listed in a dict."""
    seen: dict = {name: [] for name in names}

    def watched(name, activation, z):
        seen[name].append(record.watch(z))
        return activation(z)

    watching = {n: functools.partial(watched, n, getattr(layer, n)) for n in names}
    with keras_internals.instead_of(layer, **watching):
        yield seen
