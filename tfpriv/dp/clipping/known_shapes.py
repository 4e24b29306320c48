"""Converters of `tf.vectorized_map` for operations whose shapes are known.

TensorFlow's own converters compute shapes in the graph, with up to thirty operations
for one, which makes tracing and graph optimization slow. Here the shape of one
example's tensor is a constant where it is fully known. Otherwise TensorFlow's converter
is used.
"""

import functools
from typing import Any

import numpy as np
import tensorflow as tf

from tfpriv.dp import tensorflow_internals as internals
from tfpriv.dp.clipping.shapes import merge_axes


def conv2d_backprop_input(pfor_input):
    """For kernels that all examples share; also called for other converters."""
    shape = pfor_input.op.outputs[0].shape
    kernel, kernel_stacked, _ = pfor_input.input(1)
    if kernel_stacked or not shape.is_fully_defined():
        return internals.conv2d_backprop_input(pfor_input)
    rows = merge_axes(pfor_input.stacked_input(2), 2)
    sizes = tf.concat([tf.shape(rows)[:1], shape.as_list()[1:]], axis=0)
    return _on_rows(pfor_input, [sizes, kernel, rows])


def _with_merged_batches(pfor_input, merged):
    """For operations on batches, `merged`: examples and batches become one axis."""
    pfor_input.stack_inputs(merged)
    inputs = [
        merge_axes(pfor_input.stacked_input(i), 2)
        if i in merged
        else pfor_input.unstacked_input(i)
        for i in range(pfor_input.num_inputs)
    ]
    return _on_rows(pfor_input, inputs)


def _on_rows(pfor_input, inputs):
    """The operation that is converted, on inputs whose first axis is all rows'."""
    one = pfor_input.op
    dtypes, attributes = [t.dtype for t in one.outputs], one.node_def.attr
    found = internals.same_operation(one.type, inputs, dtypes, attributes).outputs
    pairs = zip(found, one.outputs, strict=True)
    return [internals.wrap(tf.reshape(t, [-1, *out.shape]), True) for t, out in pairs]


def _reshape(pfor_input):
    shape = pfor_input.op.outputs[0].shape
    return internals.wrap(tf.reshape(pfor_input.stacked_input(0), [-1, *shape]), True)


def _shape(pfor_input):
    shapes = [t.shape for t in pfor_input.op.inputs]
    dtype = pfor_input.get_attr("out_type")
    return [internals.wrap(tf.constant(s.as_list(), dtype), False) for s in shapes]


def _reduce(t, axes, pfor_input, function):
    keepdims = pfor_input.get_attr("keep_dims")
    return function(t, axes + (axes >= 0), keepdims=keepdims)


def _with_constant(pfor_input, function):
    """For a function of all examples' input and one example's constant second one."""
    constant = tf.get_static_value(pfor_input.op.inputs[1])
    found = function(pfor_input.stacked_input(0), constant, pfor_input)
    return internals.wrap(found, True)


def _known(tensors):
    # A size of zero would leave that of -1 open.
    return all(t.shape.is_fully_defined() and 0 not in t.shape for t in tensors)


def _second_input_constant(operation):
    value = tf.get_static_value(operation.inputs[1])
    return value is not None and np.size(value) > 0


def _where(is_known, converter, name):
    """The converter where `is_known(operation)`, else TensorFlow's own."""
    original = internals.converters[name]

    def convert(pfor_input):
        return (converter if is_known(pfor_input.op) else original)(pfor_input)

    return convert


_BATCHES = {  # positions of the inputs that are batches
    "AvgPool": [0],
    "Conv2D": [0],
    "MaxPool": [0],
    "MaxPoolGrad": [0, 1, 2],
    "SoftmaxCrossEntropyWithLogits": [0, 1],
    "SparseSoftmaxCrossEntropyWithLogits": [0, 1],
}
_WITH_CONSTANT: dict[str, Any] = {
    "ExpandDims": lambda t, axis, _: tf.expand_dims(t, int(axis) + int(axis >= 0)),
    "Tile": lambda t, multiples, _: tf.tile(t, [1, *multiples]),
    "Transpose": lambda t, order, _: tf.transpose(t, [0, *(order + 1)]),
}
for _name in ("Max", "Mean", "Min", "Prod", "Sum"):
    _function = getattr(tf, f"reduce_{_name.lower()}")
    _WITH_CONSTANT[_name] = functools.partial(_reduce, function=_function)

CONVERTERS = {
    "Reshape": _where(lambda one: _known(one.outputs), _reshape, "Reshape"),
    "Shape": _where(lambda one: _known(one.inputs), _shape, "Shape"),
    "ShapeN": _where(lambda one: _known(one.inputs), _shape, "ShapeN"),
}
_converter: Any
for _name, _positions in _BATCHES.items():
    _converter = functools.partial(_with_merged_batches, merged=_positions)
    CONVERTERS[_name] = _where(lambda one: _known(one.outputs), _converter, _name)
for _name, _function in _WITH_CONSTANT.items():
    _converter = functools.partial(_with_constant, function=_function)
    CONVERTERS[_name] = _where(_second_input_constant, _converter, _name)
