"""Where `tf.vectorized_map` of TensorFlow 2.21 computes something else than the loop.

Vectorised over examples, a product with a weight, `(1, n, d) x (d, m)`, becomes
`(examples, 1, n, d) x (d, m)`. With oneDNN that broadcasting product reads beyond its
buffers and gives wrong numbers or crashes (tensorflow issue 117700, repaired after
2.21). Here the leading axes are folded into one product of two matrices, which is also
faster, and other broadcasts are written out.

Every example's part of a tensor is, over all examples, that tensor. TensorFlow sees
so only where their number is known beforehand, and else copies it row by row.

oneDNN's softmax takes five axes at most, of which the axis of examples is one. The
leading axes are folded into one.

Where TensorFlow has no way to vectorise an operation, it runs it in a loop and stacks
the results. That fails, for some examples and not for others, if their number of
entries depends on values, as in `tf.where(condition)`. Here it raises when the model
is traced.

Depthwise convolutions run in such a loop too, example by example. Here examples and
batch are one axis.

On a CPU TensorFlow has no gradient of grouped convolutions at their input, except under
XLA, which Keras uses and `tf.vectorized_map` takes apart. Here it is that of depthwise
convolutions, or goes group by group.

Random numbers of stateless operations, such as those of dropout, are drawn in such a
loop as well. Here the native op draws the same numbers for all examples.

`tf.squeeze` without axes, which Keras uses to add what looks like a bias, also drops
the axis of examples where a chunk holds just one. Here only the example's own axes go.
"""

import contextlib
import functools
import threading

import tensorflow as tf

from tfpriv import ops
from tfpriv.dp import tensorflow_internals as internals
from tfpriv.dp.clipping import known_shapes
from tfpriv.dp.clipping.shapes import merge_axes, reshape, sizes, sizes_from


def _squeeze(pfor_input):
    t = pfor_input.stacked_input(0)
    shape = pfor_input.op.inputs[0].shape
    axes = pfor_input.get_attr("squeeze_dims")
    if not axes:
        if not shape.is_fully_defined():
            raise NotImplementedError("tf.squeeze of a shape that is not known")
        axes = [i for i, size in enumerate(shape) if size == 1]
    axes = [1 + axis % shape.rank for axis in axes]
    return _stacked(tf.squeeze(t, axes) if axes else tf.identity(t))


def _stacked(tensor):
    return internals.wrap(tensor, True)


def _batch_matmul(pfor_input):
    x, x_stacked, _ = pfor_input.input(0)
    y, y_stacked, _ = pfor_input.input(1)
    adjoint_x, adjoint_y = pfor_input.get_attr("adj_x"), pfor_input.get_attr("adj_y")
    if x_stacked and not y_stacked and y.shape.rank == 2:
        product = _times_matrix(x, y, adjoint_x, adjoint_y)
    else:
        pfor_input.expanddim_inputs_for_broadcast()
        x, y = pfor_input.input(0)[0], pfor_input.input(1)[0]
        product = _times_batch(x, y, adjoint_x, adjoint_y)
    return _stacked(product)


def _times_matrix(x, y, adjoint_x, adjoint_y):
    """(..., n, d) x (d, m) as (... * n, d) x (d, m)."""
    x = tf.linalg.adjoint(x) if adjoint_x else x
    flat = tf.matmul(merge_axes(x, x.shape.rank - 1), y, adjoint_b=adjoint_y)
    return reshape(flat, [*sizes(x)[:-1], sizes(flat)[-1]])


def _times_batch(x, y, adjoint_x, adjoint_y):
    """Batched product with equal leading axes on both sides."""
    leading = tf.broadcast_dynamic_shape(tf.shape(x)[:-2], tf.shape(y)[:-2])
    static = tf.broadcast_static_shape(x.shape[:-2], y.shape[:-2])

    def written_out(side):
        whole = tf.broadcast_to(side, tf.concat([leading, tf.shape(side)[-2:]], 0))
        whole.set_shape(static.concatenate(side.shape[-2:]))
        return whole

    x, y = written_out(x), written_out(y)
    return tf.matmul(x, y, adjoint_a=adjoint_x, adjoint_b=adjoint_y)


def _gather(pfor_input):
    param, param_stacked, _ = pfor_input.input(0)
    indices, _, _ = pfor_input.input(1)
    mapped = pfor_input.pfor
    takes_each_row_in_turn = (
        not param_stacked
        and indices is mapped.all_indices
        and not mapped.all_indices_partitioned
        and pfor_input.get_attr("batch_dims") == 0
        and tf.get_static_value(pfor_input.unstacked_input(2)) == 0
    )
    # Only what is mapped over has a first axis of unknown size and is indexed so.
    if takes_each_row_in_turn and param.shape[0] is None:
        return _stacked(param)
    return internals.gather(pfor_input)


def _over_rows(pfor_input, function):
    """A function of the last axis, computed on a matrix."""
    t = pfor_input.stacked_input(0)
    return _stacked(reshape(function(merge_axes(t, t.shape.rank - 1)), sizes(t)))


# Their outputs have as many entries as the values say.
_SIZED_BY_VALUES = {
    "DynamicPartition",
    "ListDiff",
    "Unique",
    "UniqueV2",
    "UniqueWithCounts",
    "UniqueWithCountsV2",
    "Where",
}
_SIZES = {"dims", "num", "shape", "size"}  # names of inputs that give a size


def _loop(pfor_input, *args, **kwargs):
    if _is_sized_by_values(pfor_input):
        raise NotImplementedError(
            f"{pfor_input.op_type} has as many outputs as the values say"
        )
    return _ORIGINAL_LOOP(pfor_input, *args, **kwargs)


def _is_sized_by_values(pfor_input):
    """Whether the size of an operation's output may differ between examples."""
    operation = pfor_input.op
    if all(t.shape.is_fully_defined() for t in operation.outputs):
        return False
    if operation.type in _SIZED_BY_VALUES:
        return True
    arguments = internals.op_definition(operation.type).input_arg
    pairs = zip(arguments, pfor_input.inputs, strict=False)
    if any(a.name in _SIZES and not given.is_stacked for a, given in pairs):
        return False  # all examples have the same
    return all(t.shape.is_fully_defined() for t in operation.inputs)


def _conv2d_backprop_input(pfor_input):
    kernel, kernel_stacked, _ = pfor_input.input(1)
    channels = pfor_input.op.outputs[0].shape[-1]
    is_grouped = channels not in (None, kernel.shape[2])
    channels_last = _options(pfor_input)["data_format"] == "NHWC"
    if kernel_stacked or not is_grouped or not channels_last:
        return known_shapes.conv2d_backprop_input(pfor_input)
    at_input = functools.partial(_at_grouped_input, pfor_input, kernel, channels)
    return _in_rows(pfor_input.stacked_input(2), at_input)


def _depthwise_conv2d(pfor_input):
    kernel, kernel_stacked, _ = pfor_input.input(1)
    if kernel_stacked or not pfor_input.input(0)[1]:
        return _loop(pfor_input)
    convolve = functools.partial(
        tf.raw_ops.DepthwiseConv2dNative, filter=kernel, **_options(pfor_input)
    )
    return _in_rows(pfor_input.stacked_input(0), lambda x: convolve(input=x))


def _depthwise_conv2d_backprop_input(pfor_input):
    kernel, kernel_stacked, _ = pfor_input.input(1)
    if kernel_stacked or pfor_input.input(0)[1]:
        return _loop(pfor_input)
    size, options = pfor_input.unstacked_input(0)[1:], _options(pfor_input)

    def at_input(g):
        return tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
            input_sizes=tf.concat([tf.shape(g)[:1], size], axis=0),
            filter=kernel,
            out_backprop=g,
            **options,
        )

    return _in_rows(pfor_input.stacked_input(2), at_input)


def _in_rows(t, function):
    """A function of a batch, with examples and their batches as one axis."""
    found = function(merge_axes(t, 2))
    return _stacked(reshape(found, [*sizes(t)[:2], *sizes_from(found, 1)]))


def _options(pfor_input):
    names = ("strides", "padding", "explicit_paddings", "data_format", "dilations")
    values = map(pfor_input.get_attr, names)
    decoded = [v.decode() if isinstance(v, bytes) else v for v in values]
    return dict(zip(names, decoded, strict=True))


def _at_grouped_input(pfor_input, kernel, channels, rows):
    """The loss's gradient at the input, `(batch, height, width, channels)`."""
    groups, size = channels // kernel.shape[2], pfor_input.unstacked_input(0)[1:3]
    options = _options(pfor_input)

    def shape(depth):
        return tf.concat([tf.shape(rows)[:1], size, [depth]], axis=0)

    if groups == channels and set(options["dilations"]) == {1}:
        per_channel = tf.reshape(kernel, [*kernel.shape[:2], channels, -1])
        return tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
            input_sizes=shape(channels),
            filter=per_channel,
            out_backprop=rows,
            **options,
        )
    pairs = zip(tf.split(kernel, groups, 3), tf.split(rows, groups, 3), strict=True)
    parts = [
        tf.raw_ops.Conv2DBackpropInput(
            input_sizes=shape(kernel.shape[2]), filter=k, out_backprop=g, **options
        )
        for k, g in pairs
    ]
    return tf.concat(parts, axis=3)


def _random_keys(pfor_input):
    found = ops.philox_keys(pfor_input.stacked_input(0))
    return _loop(pfor_input) if found is None else [_stacked(t) for t in found]


_PHILOX = (1, 3)  # by its name, or as what TensorFlow selects on a CPU


def _random_uniform(pfor_input):
    (output,), shape = pfor_input.op.outputs, pfor_input.op.outputs[0].shape
    size, key, counter = [pfor_input.input(i) for i in range(3)]
    is_philox = tf.get_static_value(pfor_input.op.inputs[3]) in _PHILOX
    each_its_own = key.is_stacked and counter.is_stacked
    known = shape.is_fully_defined() and not size.is_stacked
    values = None
    if is_philox and output.dtype == tf.float32 and each_its_own and known:
        values = ops.philox_uniform(key.t, counter.t, shape.num_elements())
    if values is None:
        return _loop(pfor_input)
    return _stacked(tf.reshape(values, [-1, *shape]))


def at_once(function, rows, others):
    """`function(rows, others)`, which `tf.vectorized_map` calls once for all examples.

    Args:
        function: Returns tensors with rows as their first axis, each row computed from
            that row alone.
        rows: Nested tensors with rows as their first axis.
        others: List of tensors that belong to no example, such as weights.
    """
    flat, forms = tf.nest.flatten(rows), []

    def run(*tensors):
        given = tf.nest.pack_sequence_as(rows, tensors[: len(flat)])
        results = function(given, list(tensors[len(flat) :]))
        forms.append(tf.nest.map_structure(lambda t: None, results))
        return tf.nest.flatten(results)

    specs = [tf.TensorSpec([None, *t.shape[1:]], t.dtype) for t in flat]
    specs += [tf.TensorSpec(t.shape, t.dtype) for t in others]
    traced = tf.function(run, autograph=False).get_concrete_function(*specs)
    _NUMBER_OF_ROW_INPUTS[traced.name.decode()] = len(flat)
    results = traced(*flat, *others)
    for result in results:
        result.set_shape([flat[0].shape[0], *result.shape[1:]])
    return tf.nest.pack_sequence_as(forms[-1], results)


_NUMBER_OF_ROW_INPUTS: dict[str, int] = {}  # of functions, by name


def _call(pfor_input):
    function = pfor_input.get_attr("f")
    count = _NUMBER_OF_ROW_INPUTS.get(function.name)
    if count is None:
        return internals.call(pfor_input)
    pfor_input.stack_inputs(range(count))
    rows = [pfor_input.stacked_input(i) for i in range(count)]
    others = range(count, pfor_input.num_inputs)
    results = tf.raw_ops.PartitionedCall(
        args=[
            *(merge_axes(t, 2) for t in rows),
            *(pfor_input.unstacked_input(i) for i in others),
        ],
        Tout=[output.dtype for output in pfor_input.op.outputs],
        f=function,
    )
    examples = pfor_input.pfor.loop_len_vector[0]
    return [
        _stacked(tf.reshape(result, [examples, -1, *output.shape[1:]]))
        for result, output in zip(results, pfor_input.op.outputs, strict=True)
    ]


_ONE_AT_A_TIME = threading.RLock()
_ORIGINAL_LOOP = internals.vectorizer._fallback_converter
_OURS = known_shapes.CONVERTERS | {
    "BatchMatMulV2": _batch_matmul,
    "Conv2DBackpropInput": _conv2d_backprop_input,
    "DepthwiseConv2dNative": _depthwise_conv2d,
    "DepthwiseConv2dNativeBackpropInput": _depthwise_conv2d_backprop_input,
    "GatherV2": _gather,
    "LogSoftmax": functools.partial(_over_rows, function=tf.nn.log_softmax),
    "PartitionedCall": _call,
    "Softmax": functools.partial(_over_rows, function=tf.nn.softmax),
    "StatelessRandomGetKeyCounter": _random_keys,
    "StatelessRandomUniformV2": _random_uniform,
    "Squeeze": _squeeze,
}


@contextlib.contextmanager
def exact_converters():
    """Inside, `tf.vectorized_map` uses the converters above."""
    with _ONE_AT_A_TIME:
        registry = internals.converters
        originals = {name: registry[name] for name in _OURS if name in registry}
        registry.update(_OURS)
        internals.vectorizer._fallback_converter = _loop
        try:
            yield
        finally:
            for name in _OURS:
                del registry[name]
            registry.update(originals)
            internals.vectorizer._fallback_converter = _ORIGINAL_LOOP
