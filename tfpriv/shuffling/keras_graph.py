"""Every private name of Keras that `tfpriv.shuffling` leans on, in one place.

`tests/shuffling/test_keras_graph.py` fails when a Keras release moves one of them.
"""

import dataclasses
from typing import Any

import keras
from keras.src.models.functional import Functional


@dataclasses.dataclass(frozen=True)
class Call:
    """One call in a model's graph.

    Attributes:
        operation: the layer or other operation.
        inputs: the KerasTensors among its arguments.
        outputs: the KerasTensors that it returned.
        fill_in: takes a dictionary from ids of KerasTensors to values; returns the
            call's arguments and keyword arguments with those values.
        constants: its arguments that are not tensors of the graph.
    """

    operation: keras.Operation
    inputs: list
    outputs: list
    fill_in: Any
    constants: list


def graph_of(model: Any) -> Functional | None:
    """The graph that a model runs.

    Args:
        model: any operation.

    Returns:
        The functional model inside; `None` for a model that runs Python code of its
        own, and for what is no model.
    """
    if (
        isinstance(model, keras.Sequential)
        and type(model).call is keras.Sequential.call
    ):
        return model._functional
    if isinstance(model, Functional) and type(model).call is Functional.call:
        return model
    return None


def calls(graph: Functional) -> list[Call]:
    """The calls of a graph, each after those that it needs.

    Args:
        graph: what `graph_of` returned.

    Returns:
        The calls in the order in which Keras runs them.
    """
    found = []
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            if node.is_input:
                continue
            given = node.arguments
            values = (*given.args, *given.kwargs.values())
            found.append(
                Call(
                    node.operation,
                    list(node.input_tensors),
                    list(node.outputs),
                    given.fill_in,
                    [value for value in values if not _has_tensors(value)],
                )
            )
    return found


def pack_outputs(graph: Functional, outputs: list) -> Any:
    """Puts a graph's outputs into the structure that its model returns.

    Args:
        graph: what `graph_of` returned.
        outputs: one value for each of `graph.outputs`.

    Returns:
        The structure.
    """
    return keras.tree.pack_sequence_as(graph._outputs_struct, outputs)


def _has_tensors(value):
    leaves = keras.tree.flatten(value)
    return any(isinstance(x, keras.KerasTensor) for x in leaves)
