"""Does the ghost engine see every use of every weight? Read from its graph.

No weight whose layer has a rule may reach the loss except through tensors at which the
rule answers for it; one that does is differentiated as it is.
"""

import itertools
import math

import tensorflow as tf

from tfpriv.dp import keras_internals
from tfpriv.dp.clipping import per_example
from tfpriv.dp.clipping.rules import NotCoveredError, rule_of
from tfpriv.dp.keras_internals import own_variables


def layers_without_rule(model):
    """Layers whose matrices, or larger weights, no rule answers for.

    Dense gradients of vectors, such as the scale and offset of a normalization, cost
    an example no more than its feature maps do.
    """

    def is_large(v):
        return v.trainable and math.prod(v.shape) > max(v.shape, default=1)

    layers = keras_internals.flatten_layers(model)
    large = [one for one in layers if any(map(is_large, own_variables(one)))]
    return [layer for layer in large if rule_of(layer) is None]


def tensors_of(seen):
    """What an example leaves for the others' turn (`ghost.Alone`): list of tensors."""
    parts = itertools.chain.from_iterable(seen.parts)
    return [tensor for part in parts for tensor in per_example.taken_apart(part)[0]]


def refuse_sizes_of_its_own(seen, spec):
    """What is laid side by side must be as large for every example."""
    known = all(s.shape.is_fully_defined() for s in tf.nest.flatten(spec))
    # Where they are not known, all examples of a batch are as long.
    if not all(
        t.shape.is_fully_defined() if known else t.shape[0] is not None
        for t in tensors_of(seen)
    ):
        raise NotCoveredError(
            "a layer is called on tensors whose size may change from example to example"
        )


def used_elsewhere(objective, seen):
    """Follows every weight through the graph, tap by tap, to the loss.

    Returns:
        Identities of those that reach it past the tensors at which they are answered
        for.
    """
    graph = seen.loss.graph
    weights = {  # identity of each resource handle -> that of its Keras variable
        id(part.handle): id(v)
        for v in objective.keras_variables
        for part in getattr(v.value, "values", [v.value])  # one for each replica
    }
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
