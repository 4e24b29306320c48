"""Recurrent layers in two loops: one forward in time, and one back.

The forward loop keeps the states before each step. The loop back in time calls the
cell once more at each step and differentiates it (back-propagation through time). The
clipping rule of the cell records the tensors in which its weights meet an example; the
loop back returns the loss's gradients there, for all steps, and the rule answers for
all steps as if they were a batch. So no loop is unrolled, and none is differentiated by
TensorFlow.

Keras' own cells, with its own activations, compute each row from that row alone. Both
loops therefore run once for all examples (`converters.at_once`). Other cells are
unrolled, example by example (see `taps`).
"""

import contextlib
import functools

import keras
import tensorflow as tf

from tfpriv.dp import keras_internals
from tfpriv.dp.clipping.converters import at_once
from tfpriv.dp.clipping.rules import NotCoveredError, is_proven, rule_of
from tfpriv.dp.clipping.shapes import merge_axes

_DROPOUT_MASKS = ("_dropout_mask", "_recurrent_dropout_mask")
_ACTIVATIONS = ("activation", "recurrent_activation")


def is_covered(layer):
    """Whether a layer is recurrent, not stateful, and all of its cell is Keras' own."""
    if not isinstance(layer, keras.layers.RNN) or layer.stateful:
        return False
    if not type(layer).inner_loop.__module__.startswith("keras."):  # overridden
        return False
    cell, known = layer.cell, vars(keras.activations).values()
    activations = [getattr(cell, name, None) for name in _ACTIVATIONS]
    return (
        rule_of(cell) is not None
        and is_proven(cell)
        and all(a is None or any(a is k for k in known) for a in activations)
    )


def inner_loop(
    layer, tape, record, sequences, initial_state, mask=None, training=False
):
    """Replaces `layer.inner_loop`, and records what happens.

    Args:
        layer: Recurrent layer that `is_covered`.
        tape: `tf.GradientTape` that records the model.
        record: Function from input tensors to a `Recorder` of the layer's cell.
        sequences, initial_state, mask, training: As in Keras, and so is what it
            returns. Sequences are `(rows, time, features)`, the time known.

    Raises:
        NotCoveredError: If the number of time steps is not known.
    """
    if sequences.shape[1] is None:
        raise NotCoveredError(
            f"recurrent layer '{layer.name}' has an unknown number of time steps"
        )
    mask, states = tf.nest.flatten(mask)[0], tf.nest.flatten(initial_state)
    recorder = record([t for t in (sequences, *states, mask) if tf.is_tensor(t)])
    if layer.go_backwards:
        sequences = tf.reverse(sequences, [1])
        mask = None if mask is None else tf.reverse(mask, [1])
    steps = _Steps(layer, sequences, mask, training)
    with tape.stop_recording():
        outputs, final, before = steps.forward(states)
        recorded = steps.record_all(before)
    # The gradients of these are the gradients at the recorded tensors.
    stand_ins = [recorder.watch(tf.zeros_like(z)) for z in recorded.tensors]

    @tf.custom_gradient
    def recurrence(*inputs):
        del inputs

        def gradient(*of_results):
            return steps.back(before, of_results[0], of_results[1:])

        return [tf.identity(t) for t in (outputs, *final)], gradient

    outputs, *final = recurrence(sequences, *states, *stand_ins)
    # Weights meet the example inside of the loop: its results are answered for.
    tensors = [*stand_ins, outputs, *final]
    recorder.all(tensors, lambda g: recorded.gradients(g[: len(stand_ins)]))
    return outputs[:, -1], outputs, final


class _CellRecorder:
    """What a rule of a cell records in one call, watched by a tape if one is given."""

    def __init__(self, tape=None):
        self._tape = tape
        self.tensors, self.gradients = [], None

    def watch(self, tensor):
        if self._tape is not None:
            self._tape.watch(tensor)
        return tensor

    def all(self, tensors, gradients):
        self.tensors, self.gradients = tensors, gradients


class _Steps:
    """The steps of one recurrent layer; rows are the first axis, and time the next."""

    def __init__(self, layer, sequences, mask, training):
        self._layer, self._cell = layer, layer.cell
        self._time, self._training = sequences.shape[1], training
        self._rows = {"x": sequences, "dropout": {}}
        if mask is not None:
            self._rows["mask"] = tf.cast(mask, tf.bool)
        for name in _DROPOUT_MASKS:
            if getattr(self._cell, name, None) is not None:
                self._rows["dropout"][name] = getattr(self._cell, name)
        self._weights = [tf.convert_to_tensor(v.value) for v in self._cell.weights]

    def forward(self, states):
        """Outputs of all steps, the last states, and the states before each step."""
        rows = {**self._rows, "states": states}
        return at_once(self._forward, rows, self._weights)

    def back(self, before, of_outputs, of_final):
        """Gradients of the sequences, the first states and the recorded tensors."""
        gradients = {"of_outputs": of_outputs, "of_final": list(of_final)}
        rows = {**self._rows, "before": before, **gradients}
        of_x, of_states, recorded = at_once(self._back, rows, self._weights)
        return [of_x, *of_states, *(merge_axes(g, 2) for g in recorded)]

    def record_all(self, before):
        """What the rule records of all steps, each a row."""
        recorder = _CellRecorder()
        rows = [merge_axes(t, 2) for t in (self._rows["x"], *before)]
        masks = self._rows["dropout"]
        masks = {name: tf.repeat(m, self._time, axis=0) for name, m in masks.items()}
        with keras_internals.instead_of(self._cell, **masks):
            self._ruled(recorder, rows[0], rows[1:])
        return recorder

    def _forward(self, rows, weights):
        read = {name: _reader(rows[name]) for name in ("x", "mask") if name in rows}

        def step(t, output, states, arrays):
            new_output, new = self._cell_call(read["x"](t), states)
            kept = output
            if self._layer.zero_output_for_mask:
                kept = tf.zeros_like(output)
            new_output, *new = _select(read, t, [new_output, *new], [kept, *states])
            pairs = zip(arrays, (new_output, *states), strict=True)
            return t + 1, new_output, new, [a.write(t, one) for a, one in pairs]

        with self._given(rows, weights):
            output, _ = self._cell_call(read["x"](0), rows["states"])
            arrays = [_array(t, self._time) for t in (output, *rows["states"])]
            start = 0, tf.zeros_like(output), rows["states"], arrays
            _, _, final, arrays = self._loop(step, start)
        outputs, *before = map(_stacked, arrays)
        return outputs, final, before

    def _back(self, rows, weights):
        names = [name for name in ("x", "mask", "of_outputs") if name in rows]
        read = {name: _reader(rows[name]) for name in names}
        read_states = list(map(_reader, rows["before"]))

        def step(t, of_output, of_states, arrays):
            x, states = read["x"](t), [read_state(t) for read_state in read_states]
            results = [of_output + read["of_outputs"](t), *of_states]
            zeros = [tf.zeros_like(g) for g in results]
            passing, *skipped = _select(read, t, zeros, results)
            if self._layer.zero_output_for_mask:
                passing = zeros[0]
            of_x, of_states, recorded = self._differentiate(
                x, states, _select(read, t, results, zeros)
            )
            of_states = [a + b for a, b in zip(of_states, skipped, strict=True)]
            pairs = zip(arrays, (of_x, *recorded), strict=True)
            return t - 1, passing, of_states, [a.write(t, g) for a, g in pairs]

        with self._given(rows, weights):
            x, states = read["x"](0), [read_state(0) for read_state in read_states]
            recorder = _CellRecorder()
            self._ruled(recorder, x, states)
            arrays = [_array(t, self._time) for t in (x, *recorder.tensors)]
            passing = tf.zeros_like(read["of_outputs"](0))
            start = self._time - 1, passing, rows["of_final"], arrays
            _, _, of_states, arrays = self._loop(step, start)
        of_x, *recorded = map(_stacked, arrays)
        return of_x, of_states, recorded

    def _differentiate(self, x, states, of_results):
        """Gradients of one step, at input, states and recorded tensors."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([x, *states])
            recorder = _CellRecorder(tape)
            output, new = self._ruled(recorder, x, states)
        return tape.gradient(
            [output, *new],
            [x, states, recorder.tensors],
            output_gradients=of_results,
            unconnected_gradients="zero",
        )

    def _loop(self, step, start):
        def goes_on(t, *_):
            return (t >= 0) & (t < self._time)

        return tf.while_loop(goes_on, step, start, maximum_iterations=self._time)

    def _cell_call(self, x, states):
        output, new = self._cell(x, states, training=self._training)
        return output, tf.nest.flatten(new)

    def _ruled(self, recorder, x, states):
        """Calls the cell by its rule."""
        cell = self._cell
        ruled = functools.partial(rule_of(cell), cell, cell.call, recorder)
        with keras_internals.instead_of(cell, call=ruled):
            return self._cell_call(x, states)

    @contextlib.contextmanager
    def _given(self, rows, weights):
        """Inside, the cell has these values of its weights and dropout masks."""
        values = list(zip(self._cell.weights, weights, strict=True))
        masks = keras_internals.instead_of(self._cell, **rows["dropout"])
        with keras.StatelessScope(values), masks:
            yield


def _select(read, t, present, masked):
    """Of each pair, the first where a row has this step, else the other."""
    if "mask" not in read:
        return present
    mask = read["mask"](t)[:, tf.newaxis]
    return [tf.where(mask, a, b) for a, b in zip(present, masked, strict=True)]


def _swapped(tensor):
    return tf.transpose(tensor, [1, 0, *range(2, tensor.shape.rank)])


def _reader(tensor):
    """Function from a time step to its rows."""
    array = tf.TensorArray(tensor.dtype, tensor.shape[1], clear_after_read=False)
    return array.unstack(_swapped(tensor)).read


def _array(like, time):
    return tf.TensorArray(like.dtype, time, element_shape=like.shape)


def _stacked(array):
    return _swapped(array.stack())
