"""Does the fast engine see everything? Asked once, on made-up data, before training.

By structure: in the traced graph no trainable weight may reach the loss except through
tensors at which the rule of its layer answers for it. By trial: gradients of single
examples must be those of plain TensorFlow, and one example must not move another's.
"""

import numpy as np
import tensorflow as tf

from tfpriv.dp import keras_internals
from tfpriv.dp.clipping import ghost
from tfpriv.dp.clipping.problem import Chunk, example_seeds
from tfpriv.dp.clipping.rules import NotCoveredError, any_layer, rule_of

TOLERANCE = {2: 0.1, 4: 2e-3, 8: 1e-6}  # by bytes of the dtype, of a gradient's norm

# Layers that mix examples at random (`MixUp`) sometimes leave four as they are: with
# Keras' own in one of 20 trials.
_TRIALS_AT_RANDOM = 5


class Examination:
    """What the fast engine does with one model, traced for batches of any size.

    Args:
        problem: `Problem` whose model is built.
        spec: Dict of `tf.TensorSpec` for one example.

    Raises:
        NotCoveredError: If the engine would not be exact; the message says why.
    """

    def __init__(self, problem, spec):
        self._problem = problem
        any_size = tf.nest.map_structure(
            lambda s: tf.TensorSpec([None, *s.shape], s.dtype), spec
        )
        seeds = [tf.TensorSpec([None, 2], tf.int64) for _ in problem.seed_generators]
        function = tf.function(self._pass, autograph=False)
        self._traced = function.get_concrete_function({**any_size, "seeds": seeds})
        self.graph = self._traced.graph

    def _pass(self, data):
        """Norms, losses and the sum of the unclipped gradients."""
        first = tf.nest.flatten(data["x"])[0]
        chunk = Chunk(data, unit_present=tf.fill([tf.shape(first)[0]], True))
        seen = ghost.watched_pass(self._problem, chunk)
        if keras_internals.has_losses_of_its_own(self._problem.model):
            raise NotCoveredError("a layer adds a loss of its own over the whole batch")
        _refuse_what_is_no_batch(seen)
        _refuse_leaks(self._problem, seen)
        gradients = ghost.per_variable(self._problem, chunk, seen)
        ones = tf.ones_like(seen.losses, tf.float64)
        sums = ghost.weighted_sums(
            gradients, [ones] * len(gradients), tf.cast(ones, tf.bool)
        )
        for variable, total in zip(self._problem.keras_variables, sums, strict=True):
            if not total.shape.is_compatible_with(variable.shape):
                raise _wrong_rule(variable)
        return tf.stack(ghost.norms_of(gradients)[0], axis=1), seen.losses, sums

    def _run(self, data):
        """Norms `(examples, variables)`, losses and sums, on made-up data."""
        try:
            norms, losses, sums = self._traced(data)
        except tf.errors.InvalidArgumentError as error:
            raise NotCoveredError(_NO_BATCH) from error
        if len(norms) != len(losses):
            raise NotCoveredError(_NO_BATCH)
        return norms, losses, sums

    def try_out(self, few, others, gradient_of_one):
        """Raises `NotCoveredError` unless the gradients are those of single examples.

        Args:
            few: Dict of made-up examples.
            others: As many other ones.
            gradient_of_one: Function from one example's dict (no leading axis, with
                `seeds`) to its gradients, as plain TensorFlow computes them.
        """
        examples = len(tf.nest.flatten(few)[0])
        seeds = example_seeds(self._problem, examples)
        for i in range(examples):
            self._compare(_row({**few, "seeds": seeds}, i), gradient_of_one)
        for _ in range(_TRIALS_AT_RANDOM if seeds else 1):
            self._refuse_mixing(few, others, example_seeds(self._problem, examples))

    def _refuse_mixing(self, few, others, seeds):
        """Moves one example after the other, and looks at the rest."""
        norms, losses, _ = self._run({**few, "seeds": seeds})
        for i in range(len(norms)):
            moved = tf.nest.map_structure(lambda a, b, i=i: _with(a, b, i), few, others)
            moved["seeds"] = seeds
            now = self._run(moved)
            for before, after in ((norms, now[0]), (losses, now[1])):
                if not self._close(np.delete(before, i, 0), np.delete(after, i, 0)):
                    raise NotCoveredError("in training, its layers mix the examples")

    def _compare(self, one, gradient_of_one):
        norms, _, sums = self._run(one)
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

    def _close(self, before, after):
        return np.allclose(
            before, after, self._tolerance, 1e-6 * np.abs(before).max(initial=0), True
        )

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
            if rule_of(layer) is any_layer.rule
            and any(v.trainable for v in keras_internals.own_variables(layer))
        ]


def folds_of(problem, spec):
    """How many rows of each tap belong to one example.

    Some models lay parts of an example (captions, frames) side by side among the
    examples. In a pass over a known number of them the sizes tell how many; that the
    parts of one example follow each other is left to `try_out`.
    """
    sized = tf.nest.map_structure(
        lambda s: tf.TensorSpec([_COUNTED, *s.shape], s.dtype), spec
    )
    seeds = [tf.TensorSpec([_COUNTED, 2], tf.int64) for _ in problem.seed_generators]
    sizes: list = []

    def count(data):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            taps, _ = ghost.watched_call(problem, data, tape)
        sizes.extend(tap.tensors[0].shape[0] or _COUNTED for tap in taps)

    tf.function(count, autograph=False).get_concrete_function({**sized, "seeds": seeds})
    if any(size % _COUNTED for size in sizes):
        raise NotCoveredError(_NO_BATCH)
    return [size // _COUNTED for size in sizes]


_COUNTED = 11  # examples: a number that no layer's own sizes are multiples of
_NO_BATCH = "a layer is called on something else than one row for each example"


def _wrong_rule(variable):
    return NotCoveredError(f"the rule for weight '{variable.path}' is wrong")


def _refuse_what_is_no_batch(seen):
    """The number of examples is not known when a model is traced; other sizes are."""
    for tap, gradients in zip(seen.taps, seen.gradients, strict=True):
        sizes = [t.shape[0] for t in tap.tensors] if gradients is not None else []
        if any(size is not None for size in sizes):
            raise NotCoveredError(f"{_NO_BATCH}: '{tap.layer.name}'")


def _row(data, i):
    return tf.nest.map_structure(lambda t: t[i : i + 1], data)


def _with(rows, others, i):
    return tf.concat([rows[:i], others[i : i + 1], rows[i + 1 :]], axis=0)


def _refuse_leaks(problem, seen):
    """Follows every weight through the graph, tap by tap, to the losses."""
    graph = seen.losses.graph
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
    leaked = reached.get(id(seen.losses), set())
    paths = [v.path for v in problem.keras_variables if id(v) in leaked]
    if paths:
        raise NotCoveredError(
            f"weights are used outside of their layers' calls: {paths}"
        )


def _weights_by_handle(problem):
    """Identity of each resource handle -> identity of its Keras variable."""
    handles = {}
    for variable in problem.keras_variables:
        value = variable.value
        for part in getattr(value, "values", [value]):  # one for each replica
            handles[id(part.handle)] = id(variable)
    return handles
