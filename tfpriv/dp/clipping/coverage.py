"""Does the fast engine see everything? Asked once, on made-up data, before training.

By structure: in the traced graph no weight whose layer has a rule may reach the loss
except through tensors at which the rule answers for it; one that does is differentiated
as it is. By trial: gradients of single examples must be those of plain TensorFlow.
"""

import numpy as np
import tensorflow as tf

from tfpriv.dp import keras_internals
from tfpriv.dp.clipping import ghost, per_example, vectorized
from tfpriv.dp.clipping.problem import (
    Chunk,
    draw_words,
    example_seeds,
    same_python_draws,
)
from tfpriv.dp.clipping.rules import NotCoveredError, rule_of

TOLERANCE = {2: 0.1, 4: 2e-3, 8: 1e-6}  # by bytes of the dtype, of a gradient's norm


class Examination:
    """What the fast engine does with one model, traced for batches of any size.

    Args:
        problem: `Problem` whose model is built.
        spec: Dict of `tf.TensorSpec` for one example.

    Attributes:
        graph: Of one example's pass.

    Raises:
        NotCoveredError: If the engine would not be exact; the message says why.
    """

    def __init__(self, problem, spec):
        self._problem = problem
        self.graph = self._trace_alone({**spec, "seeds": problem.seeds_spec()})
        any_size = tf.nest.map_structure(
            lambda s: tf.TensorSpec([None, *s.shape], s.dtype), spec
        )
        self._any_size = {**any_size, "seeds": problem.seeds_spec(None)}

    def _trace_alone(self, spec):
        """One example's pass; weights that are used past their layers come to light."""
        found: set = set()

        def one(example):
            seen = ghost.alone(self._problem, example)
            found.update(_used_elsewhere(self._problem, seen))
            parts = [
                tensor
                for of_weight in seen.parts
                for part in of_weight
                for tensor in per_example.taken_apart(part)[0]
            ]
            _refuse_sizes_of_its_own(parts, spec)
            return seen.loss, parts

        graph = _trace(one, spec).graph
        if not found:
            return graph
        self._problem.directly |= found
        return _trace(one, spec).graph

    def _run(self, data):
        """A first run, of several examples; one by one if it fails vectorised."""
        for mapper in (vectorized.vectorized, vectorized.one_by_one):
            self._problem.map_examples = mapper
            try:
                self._traced = _trace(self._pass, self._any_size)
                self._traced(data)
            except vectorized.NOT_VECTORIZABLE:
                if mapper is vectorized.one_by_one:
                    raise
            else:
                return

    def _pass(self, data):
        """Norms, losses and the sum of the unclipped gradients."""
        problem = self._problem
        first = tf.nest.flatten(data["x"])[0]
        chunk = Chunk(data, unit_present=tf.fill([tf.shape(first)[0]], True))
        seen = ghost.every_example(problem, chunk)
        self._before = len(seen.losses.graph.get_operations())
        gradients = ghost.per_variable(problem, chunk, seen)
        ones = tf.ones_like(seen.losses, tf.float64)
        sums = ghost.weighted_sums(
            gradients, [ones] * len(gradients), tf.cast(ones, tf.bool)
        )
        for variable, total in zip(problem.keras_variables, sums, strict=True):
            if not total.shape.is_compatible_with(variable.shape):
                raise _wrong_rule(variable)
        return tf.stack(ghost.norms_of(gradients)[0], axis=1), seen.losses, sums

    @property
    def operations_of_all(self):
        """What is done with the examples' passes when all are there."""
        return self._traced.graph.get_operations()[self._before :]

    def try_out(self, few, gradient_of_one):
        """Raises `NotCoveredError` unless the gradients are those of single examples.

        Args:
            few: Dict of made-up examples.
            gradient_of_one: Function from one example's dict (no leading axis, with
                `seeds`) to its gradients, as plain TensorFlow computes them.
        """
        examples = len(tf.nest.flatten(few)[0])
        data = {**few, "seeds": example_seeds(draw_words(self._problem), examples)}
        self._run(data)
        for i in range(examples):
            self._compare(_row(data, i), gradient_of_one)

    def _compare(self, one, gradient_of_one):
        norms, _, sums = self._traced(one)
        wanted = gradient_of_one(tf.nest.map_structure(lambda t: t[0], one))
        wanted = [np.asarray(g, "float64").ravel() for g in wanted]
        scale = np.sqrt(sum(np.sum(g**2) for g in wanted))
        if not np.isfinite(scale):
            return
        for variable, norm, total, g in zip(
            self._problem.keras_variables, norms[0], sums, wanted, strict=True
        ):
            off = np.linalg.norm(np.asarray(total, "float64").ravel() - g)
            off = max(off, abs(float(norm) - np.linalg.norm(g)))
            if not off <= self._tolerance * scale + 1e-30:
                raise _wrong_rule(variable)

    @property
    def _tolerance(self):
        dtypes = [
            tf.as_dtype(layer.compute_dtype)
            for layer in keras_internals.flatten_layers(self._problem.model)
            if layer.compute_dtype and tf.as_dtype(layer.compute_dtype).is_floating
        ]
        return TOLERANCE[min(d.size for d in dtypes)]

    def layers_without_rule(self):
        """Layers whose own weights take a second pass."""
        return [
            layer
            for layer in keras_internals.flatten_layers(self._problem.model)
            if rule_of(layer) is None
            and any(v.trainable for v in keras_internals.own_variables(layer))
        ]


def _trace(function, spec):
    with same_python_draws():
        return tf.function(function, autograph=False).get_concrete_function(spec)


def _wrong_rule(variable):
    return NotCoveredError(f"the rule for weight '{variable.path}' is wrong")


def _refuse_sizes_of_its_own(parts, spec):
    """What is laid side by side must be as large for every example."""
    if all(s.shape.is_fully_defined() for s in tf.nest.flatten(spec)):
        whole = all(t.shape.is_fully_defined() for t in parts)
    else:  # all examples of a batch are as long
        whole = all(t.shape[0] is not None for t in parts)
    if not whole:
        raise NotCoveredError(
            "a layer is called on tensors whose size may change from example to example"
        )


def _row(data, i):
    return tf.nest.map_structure(lambda t: t[i : i + 1], data)


def _used_elsewhere(problem, seen):
    """Follows every weight through the graph, tap by tap, to the loss.

    Returns:
        Identities of those that reach it past the tensors at which they are answered
        for.
    """
    graph = seen.loss.graph
    weights = _weights_by_handle(problem)
    reached = {
        id(inner): {weights[id(outer)]}
        for outer, inner in graph.captures
        if id(outer) in weights
    }
    answered: dict = {}  # several taps, where a layer returns what one below it made
    for tap, gradients in zip(seen.taps, seen.gradients, strict=True):
        if gradients is not None:
            claimed = {id(v) for v, _ in tap.gradients(gradients)}
            for tensor in tap.tensors:
                answered.setdefault(id(tensor), []).append((tap, claimed))
    for operation in graph.get_operations():
        through = set().union(*(reached.get(id(t), ()) for t in operation.inputs))
        for output in operation.outputs:
            left = through | reached.get(id(output), set())
            for tap, claimed in answered.get(id(output), ()):
                # Not what the layer was given: that came another way.
                given = set().union(*(reached.get(id(t), ()) for t in tap.inputs))
                left = left - (claimed - given)
            if left:
                reached[id(output)] = left
    return reached.get(id(seen.loss), set()) - seen.directly


def _weights_by_handle(problem):
    """Identity of each resource handle -> identity of its Keras variable."""
    handles = {}
    for variable in problem.keras_variables:
        value = variable.value
        for part in getattr(value, "values", [value]):  # one for each replica
            handles[id(part.handle)] = id(variable)
    return handles
