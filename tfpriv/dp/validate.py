"""Refuses what would make an epsilon untrue, and names the fix."""

import keras
import numpy as np
import tensorflow as tf

from tfpriv.dp import keras_internals, tensorflow_internals
from tfpriv.warning import warn

_SAID = "_tfpriv_said_of_statistics"
LOSS_TRIALS = 8  # one alone overlooks about one in ten losses over the batch

# What TensorFlow calls stateful and leaves no trace of an example: reads, draws from
# the process's own randomness, checks and printing, and calls of graphs, which are
# looked into by themselves. `RngReadAndSkip` is not here: its counter is a variable.
_READS = {
    "DisableCopyOnRead",
    "Empty",  # memory that is not yet written
    "LookupTableExportV2",
    "LookupTableFindV2",
    "LookupTableSizeV2",
    "ReadVariableOp",
    "ResourceGather",
    "ResourceGatherNd",
    "VarHandleOp",
    "VarIsInitializedOp",
    "VariableShape",
}
_DRAWS = {
    "AllCandidateSampler",
    "CudnnRNN",
    "CudnnRNNBackprop",
    "CudnnRNNBackpropV2",
    "CudnnRNNBackpropV3",
    "CudnnRNNV2",
    "CudnnRNNV3",
    "FixedUnigramCandidateSampler",
    "LogUniformCandidateSampler",
    "Multinomial",
    "NonDeterministicInts",
    "ParameterizedTruncatedNormal",
    "RandomCrop",
    "RandomGamma",
    "RandomPoisson",
    "RandomPoissonV2",
    "RandomShuffle",
    "RandomStandardNormal",
    "RandomUniform",
    "RandomUniformInt",
    "SampleDistortedBoundingBox",
    "SampleDistortedBoundingBoxV2",
    "StatelessRandomGetAlg",
    "TruncatedNormal",
    "UniformCandidateSampler",
}
_CHECKS = {"Assert", "CheckNumerics", "CheckNumericsV2", "Print", "PrintV2"}
# XLA writes no variable itself; what it calls is a graph of TensorFlow.
_CALLS = {"Case", "If", "StatefulPartitionedCall", "While", "XlaCallModule"}
_HARMLESS = _READS | _DRAWS | _CHECKS | _CALLS


def check_layers(model):
    """Raises `ValueError` for layers that share statistics or state across examples.

    A `BatchNormalization` with `trainable = False` passes: Keras runs it in inference
    mode, where it is a fixed function of one example.
    """
    for layer in keras_internals.flatten_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            raise ValueError(
                "BatchNormalization mixes the examples of a batch and stores their "
                "statistics, so that no bound per example holds. Take a copy with "
                "GroupNormalization there, `model = dp.replace_batchnorm(model)`, and "
                "make that one private; or freeze it with `layer.trainable = False`. "
                f"Received: layer '{layer.name}' in model '{model.name}'"
            )
        if isinstance(layer, keras.layers.SpectralNormalization):
            raise ValueError(
                "SpectralNormalization updates a weight in every forward pass. "
                "Remove the wrapper; per-example clipping already bounds the update. "
                f"Received: layer '{layer.name}' in model '{model.name}'"
            )
        if getattr(layer, "stateful", False) is True:
            raise ValueError(
                "A stateful recurrent layer carries one example's state into the "
                "next. Build it with `stateful=False`. "
                f"Received: layer '{layer.name}' in model '{model.name}'"
            )


def layers_with_statistics(model):
    """Names of the layers that hold what `adapt` took from data, or may have."""
    return [
        layer.name
        for layer in keras_internals.flatten_layers(model)
        if hasattr(layer, "adapt") and not _has_constants(layer)
    ]


def warn_of_statistics(model):
    """Warns once of layers that hold what `adapt` took from data: it may be private."""
    layers = layers_with_statistics(model)
    if layers and vars(model).get(_SAID) != layers:
        vars(model)[_SAID] = layers
        warn(
            f"What `adapt` left in {', '.join(layers)} is without noise, and epsilon "
            "treats it as public. If the data was private, `model.privacy.record("
            "dp.mechanisms.non_private('statistics'), purpose='adapt')` says so; else "
            "adapt to public data, or give constants."
        )


def _has_constants(layer):
    """Whether what `adapt` would find was given when the layer was made."""
    if isinstance(layer, keras.layers.Discretization):
        return layer.num_bins is None
    names = ("input_mean", "input_vocabulary")
    return any(getattr(layer, name, None) is not None for name in names)


def check_numbers(spec):
    """Raises `ValueError` for inputs, labels or weights that are strings.

    Args:
        spec: Dict of nested `tf.TensorSpec` of one example.
    """
    for name, part in spec.items():
        if any(s.dtype == tf.string for s in tf.nest.flatten(part)):
            advice = _LABELS if name == "y" else _TEXTS
            raise ValueError(f"{advice} Received: {name} of dtype string")


_TEXTS = (
    "Private training takes numbers. Turn texts into tokens before, with a vocabulary "
    "that is public (`TextVectorization` called on the data), and leave that layer out "
    "of the model; a KerasHub task does so by its `preprocessor`."
)
_LABELS = (
    "Labels must be numbers. Give each class the number of its name in a public list: "
    "`keras.layers.StringLookup(vocabulary=class_names, num_oov_indices=0)(y)`. Where "
    "it is public which classes occur, `class_names, y = np.unique(y, "
    "return_inverse=True)` finds the names in the data."
)


def check_no_state_updates(model, traced):
    """Raises `ValueError` if one example's forward pass may leave a trace of it."""
    graph = traced.graph
    for operation in graph.get_operations():
        if _keeps_state(operation.type):
            raise ValueError(_state_message(model, operation.type, graph, operation))
    for function in graph.as_graph_def().library.function:
        for node in function.node_def:
            if _keeps_state(node.op):
                raise ValueError(_state_message(model, node.op))


def _keeps_state(op_type):
    """Whether an operation may write: all may that are not known to be harmless."""
    definition = tensorflow_internals.op_definition(op_type)
    # The name of a function is called like an operation, and has no definition.
    return (
        definition is not None and definition.is_stateful and op_type not in _HARMLESS
    )


def _state_message(model, op_type, graph=None, operation=None):
    written = _variable_of(model, graph, operation) if operation is not None else None
    did = f"assigns to {written}" if written else f"runs the operation {op_type}"
    return (
        "The model updates state from the data it sees, or may do so (moving "
        "statistics, counters or metrics inside `call` or the loss, tables that are "
        "written to, `tf.random.Generator`, Python code in `tf.py_function`); such "
        "state is released without noise. Remove the update, or freeze the layer with "
        "`trainable = False`; draw random numbers by `keras.random`. "
        f"Received: model '{model.name}' {did}"
    )


def _variable_of(model, graph, operation):
    """The path of the weight that an operation works on, or `None`."""
    outside = {id(inner): outer for outer, inner in graph.captures}
    paths = {
        id(v.value.handle): v.path
        for v in model.variables
        if hasattr(v.value, "handle")
    }
    handles = (paths.get(id(outside.get(id(t)))) for t in operation.inputs)
    return next(filter(None, handles), None)


def check_examples_do_not_mix(problem, few):
    """Raises `ValueError` if outputs or losses of examples depend on each other."""
    together = keras_internals.call_model(problem.model, few["x"], training=False)
    _check_outputs(problem.model, few["x"], together)
    _check_loss(problem, few, together)


def _check_outputs(model, x, together):
    for i in (0, -1):
        row = tf.nest.map_structure(lambda t, i=i: t[i:][:1], x)
        alone = keras_internals.call_model(model, row, training=False)
        flat = tf.nest.flatten(together), tf.nest.flatten(alone)
        if not all(_close(t[i], s[0]) for t, s in zip(*flat, strict=True)):
            raise ValueError(
                "The model mixes the examples of a batch: its output for an example "
                "changes with the others beside it. Compute statistics over one "
                "example only (for instance LayerNormalization or "
                f"GroupNormalization). Received: model '{model.name}'"
            )


def _check_loss(problem, few, y_pred):
    """A loss per example is additive: one row's effect ignores the other rows."""
    rng = np.random.default_rng(0)
    for _ in range(LOSS_TRIALS):
        moved = tf.nest.map_structure(lambda t: _moved(t, rng), y_pred)
        beside_old, beside_new, whole = _effects_of_first_row(
            problem, few, y_pred, moved
        )
        scale = max(abs(beside_old), abs(beside_new), 1e-3)
        if abs(beside_old - beside_new) > 2e-2 * scale + 1e-5 * abs(whole):
            raise ValueError(
                "The loss compares the examples of a batch with each other, so that "
                "no bound per example holds. Use a loss that is a sum or a mean over "
                f"examples. Received: loss {problem.model.loss!r} of model "
                f"'{problem.model.name}': moving one output changes it by "
                f"{beside_old} or by {beside_new}, depending on the others"
            )


def _effects_of_first_row(problem, few, y_pred, moved):
    """What moving the first row does to the loss, beside old and moved others."""
    others = [tf.nest.flatten(few["x"])[0].shape[0] - 1]

    def loss(first, rest):
        rows = tf.concat([[first], tf.fill(others, rest)], axis=0)

        def choose(old, new):
            mask = tf.reshape(rows, [-1] + [1] * (old.shape.rank - 1))
            return keras_internals.with_mask_of(old, tf.where(mask, new, old))

        return float(problem.loss(few, tf.nest.map_structure(choose, y_pred, moved)))

    whole = loss(False, False)
    beside_old = loss(True, False) - whole
    beside_new = loss(True, True) - loss(False, True)
    return beside_old, beside_new, whole


def _moved(outputs, rng):
    """Other values; positive ones stay so."""
    if not outputs.dtype.is_floating:
        return outputs
    pattern = tf.cast(rng.uniform(0.01, 0.6, outputs.shape), outputs.dtype)
    return tf.cast(rng.uniform(0.2, 0.9), outputs.dtype) * outputs + pattern


def _close(a, b):
    return np.allclose(
        np.asarray(a, "float64"), np.asarray(b, "float64"), 1e-2, 1e-3, equal_nan=True
    )
