"""How clipped sums are computed for one model, on data of one shape.

The step for a chunk of units is traced once, for any number of units, before anything
is in the ledger. What refuses a model, and what chooses an engine, is read from that
very graph, which then trains; no model is run on made-up data.
"""

import concurrent.futures
from typing import Any

import tensorflow as tf

from tfpriv.dp import keras_internals, validate
from tfpriv.dp.clipping import coverage, ghost, vectorized
from tfpriv.dp.clipping.objective import Chunk, Objective
from tfpriv.dp.clipping.rounding import inner_bound
from tfpriv.dp.clipping.rules import NotCoveredError, trial
from tfpriv.support.warning import warn

MEMORY_LIMIT = 2 << 30  # bytes that the tensors of one chunk may take
LARGEST_CHUNK = 256
LARGEST_LOOP = 64  # examples, where each is computed by itself

ENGINES = {"ghost": ghost, "vectorized": vectorized}


def make_plan(
    objective: Objective,
    spec: dict,
    style: Any,
    engine: str = "auto",
    microbatch_size: int | None = None,
    group_size: int | None = None,
    strategy: tf.distribute.Strategy | None = None,
) -> "Plan":
    """Traces the step of a model and checks the graph.

    Args:
        objective: `Objective`; its model may still be unbuilt.
        spec: Dict of `tf.TensorSpec` for one example (no batch axis): `x` and, where
            used, `y`, `sample_weight`.
        style: Clipping style (see `styles`).
        engine: `"ghost"`, `"vectorized"` or `"auto"`: the first where it is exact.
        microbatch_size: Examples per chunk, or `None` to fit `MEMORY_LIMIT`.
        group_size: As in `Chunk`.
        strategy: `tf.distribute.Strategy` whose scope creates variables, or `None`.

    Raises:
        ValueError: If the model updates state from data, draws from a generator that
            examples share, has a loss that compares examples, or trains a weight that
            the loss does not reach; or if the ghost engine was asked for and would not
            be exact.
    """
    # Inside a `tf.function` being traced, a fresh thread is where TensorFlow is eager.
    with concurrent.futures.ThreadPoolExecutor(1) as outside:
        strategy = strategy or tf.distribute.get_strategy()
        options = objective, spec, style, engine, group_size, strategy
        plan, said = outside.submit(_choose, *options).result()
    for sentence in said:
        warn(sentence)
    validate.warn_of_statistics(objective.model)
    if microbatch_size is None:
        fitting = MEMORY_LIMIT // max(1, plan.bytes_per_example)
        microbatch_size = int(min(max(1, fitting), LARGEST_CHUNK))
    if plan.mapper is vectorized.one_by_one:
        microbatch_size = min(microbatch_size, LARGEST_LOOP)
    plan.microbatch_size = microbatch_size
    return plan


def _choose(objective, spec, style, engine, group_size, strategy):
    """The first way that is exact, and what the user should know about it."""
    with strategy.scope():
        validate.check_layers(objective.model)
        keras_internals.build(objective.model, spec)
        validate.check_layers(objective.model)  # some make their layers when called
    factors = style.bind(objective)

    def attempt(name):
        options = objective, spec, factors, ENGINES[name].clipped_sum, group_size
        try:
            plan = Plan(*options, vectorized.vectorized)
        except vectorized.NOT_VECTORIZABLE:
            plan = None
        plan = plan or Plan(*options, vectorized.one_by_one)
        plan.check()
        return plan

    plan, said = None, []
    if engine != "vectorized":
        try:
            plan = attempt("ghost")
            if found := coverage.layers_without_rule(objective.model):
                named = [f"'{one.name}' ({type(one).__name__})" for one in found]
                said.append(
                    f"No clipping rule for {', '.join(named)}: exact, but slower: the "
                    "gradients of these layers' own weights are computed whole for "
                    "each example. `tfpriv.dp.register_clipping_rule` teaches a layer."
                )
        except NotCoveredError as error:
            if engine == "ghost":
                raise ValueError(
                    f"The ghost engine is not exact for '{objective.model.name}': "
                    f"{error.reason}. Use engine='auto' or 'vectorized'. Received: "
                    "engine='ghost'"
                ) from None
            said.append(
                f"The fast engine is not exact for '{objective.model.name}': "
                f"{error.reason}. Every example goes through the model by itself "
                "instead: exact, but slower."
            )
    plan = plan or attempt("vectorized")
    if plan.mapper is vectorized.one_by_one:
        said.append(
            f"TensorFlow cannot vectorise '{objective.model.name}' over examples; its "
            "gradients are computed one example at a time: exact, but slower."
        )
    return plan, said


def _clip(factors, l2_norm_clip):
    return lambda norms: factors(norms, inner_bound(l2_norm_clip))


class Plan:
    """How to compute clipped sums for one model on data of one shape: a traced step.

    Args:
        objective, spec, group_size: As for `make_plan`.
        factors: Function from norms and a bound to factors (see `styles`).
        engine: Function `(objective, chunk, clip) -> (sums, norms, losses, y_pred)`.
        mapper: Function that maps over examples.

    Attributes:
        microbatch_size: Examples that are differentiated together.
        bytes_per_example: What one example's forward and backward pass keeps, at most.

    Raises:
        NotCoveredError: If the ghost engine is not exact for the model.
    """

    microbatch_size: int

    def __init__(self, objective, spec, factors, engine, group_size, mapper):
        self.objective, self.mapper = objective, mapper
        self._engine, self._factors = engine, factors
        self._spec, self._group_size = spec, group_size
        objective.map_examples = mapper
        while not self._trace():
            pass
        if _may_fail_when_run(self._operations):
            self._run_empty()

    def check(self):
        """Raises for wrong rules, for losses over the batch, for what keeps state."""
        validate.check_no_state_updates(self.objective.model, self._function.graph)
        y_pred = [output.value for output in self._outputs]
        y_pred = tf.nest.pack_sequence_as(self._form, y_pred)
        validate.check_loss(self.objective, self._spec, y_pred)
        for call in self._unproven.values():
            trial.check(*call)

    def _trace(self):
        """Whether it was the last time: not if a weight was found in use elsewhere."""
        self.bytes_per_example, self._mapped = 0, None
        self._unproven, self._operations = {}, []
        any_size = tf.nest.map_structure(
            lambda s: tf.TensorSpec([None, *s.shape], s.dtype), self._spec
        )
        any_size["seeds"] = self.objective.seeds_spec(None)
        step = tf.function(self._step, autograph=False)
        self.objective.watch = self
        try:
            self._function = step.get_concrete_function(
                any_size,
                tf.TensorSpec([None], tf.bool),
                tf.TensorSpec([None, self._group_size or 0], tf.bool),
                tf.TensorSpec([], tf.float64),
            )
        except _AgainError:
            return False
        finally:
            self.objective.watch = None
        return True

    def _step(self, data, unit_present, example_present, l2_norm_clip):
        size = self._group_size
        present = None if size is None else example_present
        chunk = Chunk(data, unit_present, size, present)
        clip = _clip(self._factors, l2_norm_clip)
        sums, norms, losses, y_pred = self._engine(self.objective, chunk, clip)
        if self._mapped is not None:
            after = tf.compat.v1.get_default_graph().get_operations()[self._mapped :]
            self.bytes_per_example += _bytes(after, batched=True)
        outputs = [keras_internals.Output.of(t) for t in tf.nest.flatten(y_pred)]
        self._outputs, self._form = outputs, tf.nest.map_structure(lambda t: 0, y_pred)
        return sums, norms, losses, [output.tensors for output in outputs]

    def clipped_sum(self, chunk, l2_norm_clip):
        """Sum of a chunk's gradients, clipped to a bound; see `vectorized`."""
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        # A traced function reads the weights of the replica that it was traced in.
        if replicas > 1 or chunk.group_size != self._group_size:
            clip = _clip(self._factors, l2_norm_clip)
            return self._engine(self.objective, chunk, clip)
        present = chunk.example_present
        if present is None:
            present = tf.zeros([tf.shape(chunk.unit_present)[0], 0], tf.bool)
        bound = tf.convert_to_tensor(l2_norm_clip, tf.float64)
        sums, norms, losses, tensors = self._function(
            chunk.data, chunk.unit_present, present, bound
        )
        outputs = [
            output.replaced(found)
            for output, found in zip(self._outputs, tensors, strict=True)
        ]
        return sums, norms, losses, tf.nest.pack_sequence_as(self._form, outputs)

    # What engines call while they are traced.

    def example(self, example, tensors):
        """After the pass of one example that gave these tensors."""
        found = _between(tf.nest.flatten(example), tf.nest.flatten(tensors))
        self._operations = found
        self.bytes_per_example += _bytes(found)

    def taps(self, seen, example):
        """After the ghost engine's pass of one example."""
        self._unproven = seen.taps.unproven
        coverage.refuse_sizes_of_its_own(seen, self._spec)
        if used := coverage.used_elsewhere(self.objective, seen):
            self.objective.directly |= used
            raise _AgainError
        self.example(example, [seen.loss, coverage.tensors_of(seen)])

    def mapped(self):
        """After all examples were mapped over."""
        self._mapped = len(tf.compat.v1.get_default_graph().get_operations())

    def _run_empty(self):
        """Runs the step on one example that is absent: is there a kernel for it all?"""
        size = self._group_size

        def zeros(spec):
            shape = [size or 1] + [4 if d is None else d for d in spec.shape]
            return tf.zeros(shape, spec.dtype)

        spec = {**self._spec, "seeds": self.objective.seeds_spec()}
        present = None if size is None else tf.fill([1, size], False)
        data = tf.nest.map_structure(zeros, spec)
        self.clipped_sum(Chunk(data, tf.constant([False]), size, present), 1.0)


class _AgainError(Exception):
    """More weights must be differentiated as they are than this trace did."""


# Axes of one example's tensors up to which TensorFlow has a CPU kernel when an axis
# of examples is added: for any operation, and for these.
_AXES, _MOST_AXES = 4, 6
_OF_MOST_AXES = """
    AddN AddV2 BroadcastGradientArgs Cast ConcatV2 Const ExpandDims GatherV2 Identity
    IdentityN Max Mean Mul Neg OnesLike Pack Placeholder PlaceholderWithDefault RealDiv
    Relu ReluGrad Reshape Rsqrt RsqrtGrad SelectV2 Shape Square SquaredDifference
    Squeeze StopGradient StridedSlice Sub Sum Tanh Tile Transpose ZerosLike
"""


def _may_fail_when_run(operations):
    """Whether TensorFlow may have no kernel for some operation.

    Because it has too many axes; or because it was compiled by XLA, and no longer is
    when `tf.vectorized_map` takes the function apart.
    """
    for operation in operations:
        if operation.type.endswith("PartitionedCall"):
            attributes = operation.node_def.attr
            if "_XlaMustCompile" in attributes and attributes["_XlaMustCompile"].b:
                return True
        tensors = (*operation.inputs, *operation.outputs)
        known = _MOST_AXES if operation.type in _OF_MOST_AXES.split() else _AXES
        if max((t.shape.rank or 0 for t in tensors), default=0) > known:
            return True
    return False


def _between(starts, ends):
    """Operations of a graph on the way from tensors to others."""
    needed, stack = set(), [t.op for t in ends]
    while stack:
        operation = stack.pop()
        if operation.name not in needed:
            needed.add(operation.name)
            stack.extend(t.op for t in operation.inputs)
    reached, found = {id(t) for t in starts}, []
    for operation in ends[0].graph.get_operations():
        if operation.name in needed and any(id(t) in reached for t in operation.inputs):
            reached.update(id(t) for t in operation.outputs)
            found.append(operation)
    return found


def _bytes(operations, batched=False):
    """Size of the outputs of operations, where it is known, of one example.

    If `batched`, any number of examples is the first axis of what belongs to them.
    """
    total = 0
    for output in (t for operation in operations for t in operation.outputs):
        shape = output.shape
        if batched:
            own = shape.rank and shape[0] is None
            shape = shape[1:] if own else tf.TensorShape(None)
        elements = shape.num_elements()
        if elements is not None and output.dtype not in _WITHOUT_SIZE:
            total += elements * output.dtype.size
    return total


_WITHOUT_SIZE = (tf.resource, tf.variant, tf.string)
