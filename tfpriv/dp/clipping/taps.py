"""Watches the layers of a model while it runs once: what went in, where it came out.

Inside `tapped`, the `call` of each layer that owns trainable weights is wrapped by the
rule of its class. The rule runs the layer and records tensors that its weights flow
into, with a function that turns the loss's gradient at such a tensor into per-example
gradients of the weights. Nothing outside of the model's own layer objects is touched.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfpriv.dp import keras_internals
from tfpriv.dp.clipping import recurrence
from tfpriv.dp.clipping.rules import NotCoveredError, is_proven, rule_of

LONGEST_UNROLLED = 256  # time steps of a recurrent layer


@dataclasses.dataclass
class Tap:
    """Tensors through which weights of one layer reach the loss."""

    layer: Any
    tensors: list  # leading axis: rows, all of them of one example
    # Of the loss's gradients at `tensors`: pairs of a Keras variable and its gradient.
    gradients: Callable
    inputs: list  # the tensors that the layer was called on


class Recorder:
    """What a rule is given to record the tensors of one call on `inputs`."""

    def __init__(self, layer, inputs, tape, taps):
        self._layer, self._inputs, self._tape, self._taps = layer, inputs, tape, taps

    def __call__(self, tensor, gradients):
        """Watches a tensor, in which weights first meet an example; returns it."""
        self.watch(tensor)
        self.all([tensor], lambda g: gradients(g[0]))
        return tensor

    def watch(self, tensor):
        """Watches a tensor that a later `all` names; returns it."""
        if _graph() is not self._taps.home:
            raise NotCoveredError(
                f"layer '{self._layer.name}' is called inside a loop, a condition or "
                "another function of TensorFlow's own"
            )
        self._tape.watch(tensor)
        return tensor

    def all(self, tensors, gradients):
        """Records several watched tensors; `gradients` takes the list of theirs."""
        self._taps.append(Tap(self._layer, tensors, gradients, self._inputs))

    def nothing(self):
        """Says that the rule does not know this call: weights speak for themselves."""
        self._taps.leave(self._layer)


class Taps(list):
    """The taps of one pass, and the graph in which it was traced."""

    def __init__(self):
        super().__init__()
        self.home = _graph()
        self.directly = set()  # identities of weights for which no rule answers
        # Layers whose rule the tests do not prove, with arguments, by identity.
        self.unproven = {}

    def leave(self, layer):
        """A layer's own weights are differentiated as they are."""
        self.directly |= {id(v) for v in keras_internals.own_variables(layer)}


@contextlib.contextmanager
def tapped(model, tape):
    """Inside, calls of the model's layers are recorded; yields the list of taps."""
    taps = Taps()
    layers = keras_internals.flatten_layers(model)
    in_loops = {id(one.cell) for one in layers if recurrence.is_covered(one)}
    with contextlib.ExitStack() as stack:

        def replace(layer, **values):
            stack.enter_context(keras_internals.instead_of(layer, **values))

        for layer in layers:
            if recurrence.is_covered(layer):
                loop = functools.partial(_run_loop, layer, tape, taps)
                replace(layer, inner_loop=loop)
            elif id(layer) in in_loops:
                continue
            elif isinstance(layer, keras.layers.RNN):
                unrolled = functools.partial(_run_unrolled, layer, layer.call)
                replace(layer, unroll=True, call=unrolled)
            elif rule_of(layer) is None:
                taps.leave(layer)
            elif any(v.trainable for v in keras_internals.own_variables(layer)):
                ruled = functools.partial(_run, layer, layer.call, tape, taps)
                replace(layer, call=ruled)
        yield taps


def _run(layer, call, tape, taps, *args, **kwargs):
    if not is_proven(layer):
        taps.unproven.setdefault(id(layer), (layer, args, kwargs))
    inputs = [t for t in tf.nest.flatten((args, kwargs)) if tf.is_tensor(t)]
    record = Recorder(layer, inputs, tape, taps)
    return rule_of(layer)(layer, call, record, *args, **kwargs)


def _run_loop(layer, tape, taps, *args, **kwargs):
    """The time steps of a recurrent layer."""
    record = functools.partial(Recorder, layer.cell, tape=tape, taps=taps)
    return recurrence.inner_loop(layer, tape, record, *args, **kwargs)


def _run_unrolled(
    layer, call, sequences, initial_state=None, mask=None, training=False
):
    """A recurrent layer step by step, so that its cell is seen at each of them.

    What runs backwards is turned round first: Keras 3.15 otherwise zeroes the outputs
    of masked steps at the wrong end when it unrolls.
    """
    steps = tf.nest.flatten(sequences)[0].shape[1]
    if steps is None or steps > LONGEST_UNROLLED:
        raise NotCoveredError(
            f"recurrent layer '{layer.name}' has {steps or 'an unknown number of'} "
            f"time steps (at most {LONGEST_UNROLLED} can be unrolled)"
        )
    if layer.go_backwards:
        sequences, mask = tf.nest.map_structure(
            lambda t: t if t is None else tf.reverse(t, [1]), (sequences, mask)
        )
    with keras_internals.instead_of(layer, go_backwards=False):
        return call(sequences, initial_state, mask=mask, training=training)


def _graph():
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
