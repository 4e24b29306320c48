"""How a network runs on shuffled planes: planned once from its graph, run at each call.

The plan follows the graph in order and says of each plane which group it belongs to
(`planes.py`) and of each call how it is run (`handling.py`).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfpriv import ops
from tfpriv.shuffling import handling, keras_graph
from tfpriv.shuffling.layers import keyed
from tfpriv.shuffling.planes import Planes


class Orders:
    """The permutations of one run, each drawn when it is first needed.

    Args:
        draw: returns an int32 tensor of shape `(1 or batch, positions)` for a group.
    """

    def __init__(self, draw: Callable[[Planes], Any]):
        self._draw = draw
        self._drawn: dict[Planes, Any] = {}
        self._inverse: dict[Planes, Any] = {}

    def permutation(self, planes: Planes) -> Any:
        """The group's permutation: what is the true position of each shuffled one."""
        group = planes.group()
        if group not in self._drawn:
            self._drawn[group] = self._draw(group)
        return self._drawn[group]

    def inverse(self, planes: Planes) -> Any:
        """Its inverse."""
        group = planes.group()
        if group not in self._inverse:
            self._inverse[group] = ops.invert_permutations(self.permutation(group))
        return self._inverse[group]


@dataclasses.dataclass
class Step:
    """One call of the graph.

    Attributes:
        call: the call.
        sources: for each of its inputs the planes they are, `None` for what is not
            shuffled.
        targets: the same for its outputs.
        run: takes the step, the values of the graph's tensors by their ids, and the
            orders; returns the outputs.
        nested: the plan of the call, where a model is called.
    """

    call: keras_graph.Call
    sources: list[Planes | None]
    targets: list[Planes | None]
    run: Callable[["Step", dict, Orders], Any]
    nested: "KeyedPlan | None" = None


class KeyedPlan:
    """How a model runs on shuffled planes.

    Args:
        model: a functional or sequential model.
        sources: planes of its inputs; `None` entries are not shuffled.
        path: of the model inside another one, with a slash at the end.

    Raises:
        ValueError: for a layer that cannot be run on shuffled planes, by its name.
    """

    def __init__(self, model: Any, sources: list[Planes | None], path: str = ""):
        self._graph = _checked_graph(model)
        self._path = path
        self._planes = dict(zip(map(id, self._graph.inputs), sources, strict=True))
        self._written: dict[str, int] = {}
        self._steps = [self._planned(call) for call in keras_graph.calls(self._graph)]
        self.targets = [self._planes[id(x)] for x in self._graph.outputs]
        self._sources = [source for source in sources if source is not None]

    def run(
        self,
        inputs: list,
        orders: Orders,
        watch: Callable[[keras.Operation, Any], None] | None = None,
    ) -> Any:
        """Runs the model.

        Args:
            inputs: one tensor for each of the model's inputs.
            orders: the permutations of this run.
            watch: is shown each operation and what it put out.

        Returns:
            What the model returns, planes shuffled.
        """
        values = dict(zip(map(id, self._graph.inputs), inputs, strict=True))
        for step in self._steps:
            outputs = keras.tree.flatten(step.run(step, values, orders))
            if watch is not None:
                watch(step.call.operation, outputs)
            values.update(zip(map(id, step.call.outputs), outputs, strict=True))
        outputs = [values[id(x)] for x in self._graph.outputs]
        return keras_graph.pack_outputs(self._graph, outputs)

    def all_planes(self) -> list[Planes]:
        """The groups of planes that are shuffled, in the order of the network."""
        found = list(self._sources)
        for step in self._steps:
            inner = step.nested.all_planes() if step.nested else []
            found += [*inner, *filter(None, step.targets)]
        return list(dict.fromkeys(planes.group() for planes in found))

    def _planned(self, call: keras_graph.Call) -> Step:
        sources = [self._planes[id(x)] for x in call.inputs]
        step = self._step(call, sources)
        for x, target in zip(call.outputs, step.targets, strict=True):
            # A single position is in order whatever its permutation.
            single = target is None or target.positions == 1
            self._planes[id(x)] = None if single else target
        return step

    def _step(self, call, sources) -> Step:
        operation = call.operation
        if keras_graph.graph_of(operation) is not None:
            inner = KeyedPlan(operation, sources, f"{self._path}{self._name(call)}/")
            return Step(call, sources, inner.targets, _nested, inner)
        if not any(sources):  # nothing here is shuffled
            targets = self._fresh(call)
            return Step(call, sources, targets, _ordered if any(targets) else _as_it_is)
        if handling.is_positionwise(operation):
            return Step(call, sources, _merged(call, sources), _as_it_is)
        if handling.is_pooled(operation):
            return Step(call, sources, [None], _as_it_is)
        if handling.is_reordered(operation):
            direct = _is_direct(operation)
            run = _directly if direct else _ordered
            targets = self._fresh(call, always=direct)
            return Step(call, sources, targets, run)
        raise ValueError(
            f"keyed() cannot run the layer '{self._path}{operation.name}' on shuffled "
            "planes. Expected a Keras layer with channels last that is elementwise, "
            "normalizes the last axis, merges, convolves, pools, resamples or flattens "
            f"(docs/shuffling.md lists them). Received: {type(operation).__name__}"
        )

    def _fresh(self, call, always: bool = False) -> list[Planes | None]:
        """New planes for what is put out; a single position needs no order."""
        targets = []
        for size in map(size_of, call.outputs):
            needed = size is not None and (always or size[0] * size[1] > 1)
            name = f"{self._path}{self._name(call)}"
            targets.append(Planes(size, name) if needed else None)
        return targets

    def _name(self, call) -> str:
        """The layer's name, numbered from its second call on."""
        name = call.operation.name
        count = self._written[name] = self._written.get(name, 0) + 1
        return name if count == 1 else f"{name}#{count}"


def size_of(tensor: keras.KerasTensor) -> tuple[int, int] | None:
    """Height and width of planes.

    Args:
        tensor: a tensor of a model's graph.

    Returns:
        (height, width) of a tensor with four axes; `None` for others.

    Raises:
        ValueError: for planes of unknown size.
    """
    if len(tensor.shape) != 4:
        return None
    height, width = tensor.shape[1:3]
    if height is None or width is None:
        raise ValueError(
            "keyed() needs planes of known size: a permutation is of so many pixels. "
            f"Give the model's Input a height and a width. Received: {tensor}"
        )
    return height, width


def _checked_graph(model: Any):
    graph = keras_graph.graph_of(model)
    if graph is None:
        raise ValueError(
            "keyed() needs the graph of a model. Expected a functional or a built "
            f"sequential model. Received: {model} of type {type(model).__name__}"
        )
    return graph


def _is_direct(operation: keras.Operation) -> bool:
    """Whether a layer reads shuffled planes; Keras adds what its activity costs."""
    regularized = getattr(operation, "activity_regularizer", None) is not None
    return keyed.is_supported(operation) and not regularized


def _merged(call, sources) -> list[Planes]:
    """One group of all planes that meet; single positions are spread over it."""
    planes = [source for source in sources if source is not None]
    others = [x for x, s in zip(call.inputs, sources, strict=True) if s is None]
    is_layer = isinstance(call.operation, keras.layers.Layer)
    if (
        len({source.size for source in planes}) > 1
        or not all(_is_same_everywhere(x, is_layer) for x in others)
        or any(max(np.shape(c)[:-1], default=1) > 1 for c in call.constants)
    ):
        raise ValueError(
            f"keyed() cannot combine what '{call.operation.name}' combines: planes of "
            "different sizes, or shuffled ones with what differs from place to place. "
            f"Received: {[x.shape for x in call.inputs]}, and constants of shapes "
            f"{[np.shape(c) for c in call.constants]}"
        )
    for other in planes[1:]:
        planes[0].merge(other)
    return [planes[0]] * len(call.outputs)


def _is_same_everywhere(x: keras.KerasTensor, is_layer: bool) -> bool:
    """Whether a tensor that is not shuffled is one value a channel in every place."""
    if len(x.shape) == 4:
        return tuple(x.shape[1:3]) == (1, 1)
    return len(x.shape) == 2 and is_layer  # merging layers add the axes of space


# --- How a step is run ---


def _as_it_is(step, values, orders):
    args, kwargs = step.call.fill_in(values)
    return step.call.operation(*args, **kwargs)


def _nested(step, values, orders):
    return step.nested.run([values[id(x)] for x in step.call.inputs], orders)


def _directly(step, values, orders):
    (x,), (source,), (target,) = step.call.inputs, step.sources, step.targets
    layer = step.call.operation
    inputs = keras.ops.cast(values[id(x)], layer.compute_dtype)
    return keyed.keyed_call(
        layer, inputs, orders.permutation(source), orders.permutation(target)
    )


def _ordered(step, values, orders):
    """Puts planes in order, calls the layer, shuffles what comes out."""
    in_order = {
        id(x): values[id(x)]
        if source is None
        else ops.permute(values[id(x)], orders.inverse(source))
        for x, source in zip(step.call.inputs, step.sources, strict=True)
    }
    args, kwargs = step.call.fill_in(in_order)
    outputs = keras.tree.flatten(step.call.operation(*args, **kwargs))
    return [
        x if target is None else ops.permute(x, orders.permutation(target))
        for x, target in zip(outputs, step.targets, strict=True)
    ]
