"""Refuses what would make an epsilon untrue, and names the fix."""

import re

import keras
import numpy as np
import tensorflow as tf

from tfpriv.dp import keras_internals, tensorflow_internals
from tfpriv.support.warning import warn

_SAID = "_tfpriv_said_of_statistics"
# One trial alone overlooks about one in ten losses over the batch. Among four examples
# two have the same label, and one another.
LOSS_TRIALS, LOSS_EXAMPLES = 8, 4

# What TensorFlow calls stateful and leaves no trace of an example: reads, checks and
# printing, and calls of graphs, which are looked into by themselves. Draws are not
# among them, see `_draws`. `RngReadAndSkip` is not: its counter is a variable.
_READS = {
    "DisableCopyOnRead",
    "Empty",  # memory that is not yet written
    "LookupTableExportV2",
    "LookupTableFindV2",
    "LookupTableSizeV2",
    "ReadVariableOp",
    "ResourceGather",
    "ResourceGatherNd",
    "StatelessRandomGetAlg",
    "VarHandleOp",
    "VarIsInitializedOp",
    "VariableShape",
}
_CHECKS = {"Assert", "CheckNumerics", "CheckNumericsV2", "Print", "PrintV2"}
# XLA writes no variable itself; what it calls is a graph of TensorFlow.
_CALLS = {"Case", "If", "StatefulPartitionedCall", "While", "XlaCallModule"}
_HARMLESS = _READS | _CHECKS | _CALLS

_SEEDED_WITHOUT_DRAWS = {"ComputeAccidentalHits"}
# They draw from a generator that is a variable, or is hidden.
_GENERATORS = re.compile(
    "^Rng|^Stateful.*(Uniform|Normal|Binomial)|NonDeterministicInts"
)


def check_layers(model):
    """Raises `ValueError` for layers that share statistics or state across examples.

    A `BatchNormalization` with `trainable = False` passes: Keras runs it in inference
    mode, where it is a fixed function of one example.
    """
    for layer in keras_internals.flatten_layers(model):
        if problem := _problem_of(layer):
            raise ValueError(
                f"{problem} Received: layer '{layer.name}' in model '{model.name}'"
            )


def _problem_of(layer):
    """Why a layer cannot be trained privately, and the fix; `None` for most."""
    if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
        return (
            "BatchNormalization mixes the examples of a batch and stores their "
            "statistics, so that no bound per example holds. Make a copy private that "
            "has GroupNormalization there, `model = dp.replace_batchnorm(model)`; or "
            "freeze it with `layer.trainable = False`."
        )
    if isinstance(layer, keras.layers.SpectralNormalization):
        return (
            "SpectralNormalization updates a weight in every forward pass. "
            "Remove the wrapper; per-example clipping already bounds the update."
        )
    if isinstance(layer, (keras.layers.MixUp, keras.layers.CutMix)):
        return (
            f"{type(layer).__name__} mixes each example with another of its batch, "
            "and would do nothing here, where each goes through the model alone. "
            "Remove it. Mixed in the data pipeline, a unit occurs more than once: "
            "`dp.Stream(dataset, max_occurrences=4)`; see docs/dp.md."
        )
    if getattr(layer, "stateful", False) is True:
        return (
            "A stateful recurrent layer carries one example's state into the "
            "next. Build it with `stateful=False`."
        )
    return None


def layers_with_statistics(model):
    """Names of the layers that hold what `adapt` took from data, or may have."""
    layers = keras_internals.flatten_layers(model)
    adaptable = [layer for layer in layers if hasattr(layer, "adapt")]
    return [one.name for one in adaptable if keras_internals.may_be_adapted(one)]


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


def check_numbers(spec):
    """Raises `ValueError` for inputs, labels or weights that are strings."""
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
    "Labels must be numbers: `keras.layers.StringLookup(vocabulary=class_names, "
    "num_oov_indices=0)(y)`, with public names. Where it is public which occur, "
    "`class_names, y = np.unique(y, return_inverse=True)` finds them."
)


def check_no_state_updates(model, graph):
    """Raises `ValueError` if an example may leave a trace, or draws beside others.

    Every operation is looked at of the graph of the private step: what the forward
    pass, the loss and their gradients run, in functions, loops and conditions too.
    """
    definition = graph.as_graph_def()
    nodes = [node for f in definition.library.function for node in f.node_def]
    for node in [*definition.node, *nodes]:
        if _draws(node):
            raise ValueError(
                "The model or its loss draws random numbers from a generator that all "
                "examples share. Draw by `keras.random.normal(shape)` and its like, "
                "without a seed or with a `keras.random.SeedGenerator` that is an "
                "attribute of the layer; or by a layer such as `Dropout`. "
                f"Received: model '{model.name}' runs the operation {node.op}"
            )
    for operation in graph.get_operations():
        if _keeps_state(operation.node_def):
            raise _state_error(model, operation.type, graph, operation)
    for node in nodes:
        if _keeps_state(node):
            raise _state_error(model, node.op)


def _draws(node):
    """Whether a node draws random numbers from a generator of the whole process.

    Those have a seed as an attribute. Operations that are given a key or a seed as a
    tensor are functions of it.
    """
    definition = tensorflow_internals.op_definition(node.op)
    if definition is None or node.op in _SEEDED_WITHOUT_DRAWS:
        return False
    if "dropout" in node.attr:  # cuDNN's recurrent layers
        return node.attr["dropout"].f > 0
    if node.op == "XlaCallModule":
        return re.search(rb"rng_v\d|hlo\.rng\b[^_]", node.attr["module"].s) is not None
    seeded = any(attribute.name == "seed" for attribute in definition.attr)
    return seeded or _GENERATORS.match(node.op) is not None


def _keeps_state(node):
    """Whether a node may write: all may that are not known to be harmless."""
    definition = tensorflow_internals.op_definition(node.op)
    # The name of a function is called like an operation, and has no definition.
    if definition is None or node.op in _HARMLESS:
        return False
    if node.op.startswith("CudnnRNN"):
        return False
    return definition.is_stateful or node.op == "PyFuncStateless"


def _state_error(model, op_type, graph=None, operation=None):
    written = _variable_of(model, graph, operation) if operation is not None else None
    did = f"assigns to {written}" if written else f"runs the operation {op_type}"
    return ValueError(
        "The model updates state from the data it sees, or may do so; such state is "
        "released without noise. Remove the update (statistics, counters, metrics, "
        "tables, `tf.py_function`), or freeze the layer; make a "
        "`keras.random.SeedGenerator` an attribute of a layer. "
        f"Received: model '{model.name}' {did}"
    )


def _variable_of(model, graph, operation):
    """The path of the variable that an operation works on, or `None`."""
    outside = {id(inner): outer for outer, inner in graph.captures}
    paths = {id(v.handle): v.name for v in graph.variables}
    known = [v for v in model.variables if hasattr(v.value, "handle")]
    paths |= {id(v.value.handle): v.path for v in known}
    handles = (paths.get(id(outside.get(id(t)))) for t in operation.inputs)
    return next(filter(None, handles), None)


def check_loss(objective, spec, y_pred):
    """Raises `ValueError` if the loss of an example depends on the others beside it.

    That would be no breach of privacy: every example's loss is computed alone. But it
    is then another loss than the one that Keras would minimise. The compiled loss is
    tried on made-up outputs, of the shapes of `y_pred`: moving one row must change it
    by as much, whatever the other rows are.
    """
    if objective.compile_loss is None:
        return
    rng = np.random.default_rng(0)
    few = tf.nest.map_structure(
        lambda s: made_up([LOSS_EXAMPLES, *s.shape], s.dtype, rng), spec
    )
    generators = objective.seed_generators
    seeds = [tf.zeros([2], tf.int32)] * (len(generators) + 1)

    @tf.function(autograph=False)
    def loss(outputs):
        with keras_internals.seeds_of_example(generators, seeds):  # the same each time
            return tf.reduce_sum(
                objective.compile_loss(few.get("y"), outputs, few.get("sample_weight"))
            )

    try:
        compares = any(_compares(loss, y_pred, rng) for _ in range(LOSS_TRIALS))
    except tf.errors.OpError:  # these outputs are none that the loss is meant for
        return
    if compares:
        axis = tuple(range(1, max(t.shape.rank for t in tf.nest.flatten(y_pred))))
        raise ValueError(
            "The loss compares the examples of a batch, but private training computes "
            "that of each alone. Expected a sum or a mean of one loss per example, "
            f"reduced over `axis={axis}`, as `keras.losses.Dice` can. "
            f"Received: loss {objective.model.loss!r} of model '{objective.model.name}'"
        )


def _compares(loss, y_pred, rng):
    """Whether moving the first row has another effect beside other rows."""

    def outputs(t):
        shape = [LOSS_EXAMPLES, *(4 if d is None else d for d in t.shape[1:])]
        # Not of the same sum, which would hide what a loss makes of sums; logits, too.
        return tf.cast(rng.uniform(0.05, rng.uniform(0.3, 0.95), shape), t.dtype)

    still, moved = (tf.nest.map_structure(outputs, y_pred) for _ in range(2))

    def beside(first, rest):
        def choose(old, new):
            parts = (new if first else old)[:1], (new if rest else old)[1:]
            return tf.concat(parts, 0)

        return float(loss(tf.nest.map_structure(choose, still, moved)))

    whole = beside(False, False)
    old, new = beside(True, False) - whole, beside(True, True) - beside(False, True)
    scale = max(abs(old), abs(new), 1e-3)
    return abs(old - new) > 2e-2 * scale + 1e-5 * abs(whole)


def made_up(shape, dtype, rng):
    """Normal floats, zeros and ones for integers; unknown sizes are 4."""
    shape = [4 if d is None else d for d in shape]
    values = rng.normal(size=shape) if dtype.is_floating else rng.integers(0, 2, shape)
    return tf.cast(values, dtype)
