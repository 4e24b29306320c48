"""How a network runs on shuffled planes: planned once from its graph, run at each call.

The plan follows the graph in order and says of each plane which group it belongs to
(`planes.py`) and of each call how it is run (`handling.py`).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras

from tfpriv import ops
from tfpriv.layers import keyed
from tfpriv.shuffling import handling, keras_graph
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
        run: takes the step, arguments, keyword arguments and the orders; returns the
            outputs.
    """

    call: keras_graph.Call
    sources: list[Planes | None]
    targets: list[Planes | None]
    run: Callable[["Step", tuple, dict, Orders], Any]


class Plan:
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

    def run(self, inputs: list, orders: Orders) -> Any:
        """Runs the model.

        Args:
            inputs: one tensor for each of the model's inputs.
            orders: the permutations of this run.

        Returns:
            What the model returns, planes shuffled.
        """
        values = dict(zip(map(id, self._graph.inputs), inputs, strict=True))
        for step in self._steps:
            args, kwargs = step.call.fill_in(values)
            outputs = keras.tree.flatten(step.run(step, args, kwargs, orders))
            values.update(zip(map(id, step.call.outputs), outputs, strict=True))
        outputs = [values[id(x)] for x in self._graph.outputs]
        return keras_graph.pack_outputs(self._graph, outputs)

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
            inner = Plan(operation, sources, f"{self._path}{self._name(call)}/")
            return Step(call, sources, inner.targets, _nested(inner))
        if not any(sources):  # nothing here is shuffled
            targets = self._fresh(call)
            return Step(call, sources, targets, _ordered if any(targets) else _as_it_is)
        if handling.is_positionwise(operation):
            return Step(call, sources, _merged(call, sources), _as_it_is)
        if handling.is_pooled(operation):
            return Step(call, sources, [None], _as_it_is)
        if handling.is_reordered(operation):
            direct = keyed.is_supported(operation) and all(self._sizes(call.outputs))
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
        for size in self._sizes(call.outputs):
            needed = size is not None and (always or size[0] * size[1] > 1)
            name = f"{self._path}{self._name(call)}"
            targets.append(Planes(size, name) if needed else None)
        return targets

    def _name(self, call) -> str:
        """The layer's name, numbered from its second call on."""
        name = call.operation.name
        count = self._written[name] = self._written.get(name, 0) + 1
        return name if count == 1 else f"{name}#{count}"

    def _sizes(self, tensors) -> list[tuple[int, int] | None]:
        return [size_of(x) for x in tensors]


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


def _merged(call, sources) -> list[Planes]:
    """One group of all planes that meet; single positions are spread over it."""
    planes = [source for source in sources if source is not None]
    sizes = {source.size for source in planes}
    unshuffled = [
        x
        for x, source in zip(call.inputs, sources, strict=True)
        if source is None and (len(x.shape) > 4 or size_of(x) not in (None, (1, 1)))
    ]
    if len(sizes) > 1 or unshuffled or any(len(c.shape) > 2 for c in call.constants):
        raise ValueError(
            f"keyed() cannot combine what '{call.operation.name}' combines: planes of "
            "different sizes, or shuffled ones with others. Received: "
            f"{[x.shape for x in call.inputs]}"
        )
    for other in planes[1:]:
        planes[0].merge(other)
    return [planes[0]] * len(call.outputs)


# --- How a step is run ---


def _as_it_is(step, args, kwargs, orders):
    return step.call.operation(*args, **kwargs)


def _nested(plan: Plan):
    def run(step, args, kwargs, orders):
        return plan.run(keras.tree.flatten(args), orders)

    return run


def _directly(step, args, kwargs, orders):
    (source,), (target,) = step.sources, step.targets
    layer = step.call.operation
    inputs = keras.ops.cast(args[0], layer.compute_dtype)
    return keyed.keyed_call(
        layer, inputs, orders.permutation(source), orders.permutation(target)
    )


def _ordered(step, args, kwargs, orders):
    """Puts planes in order, calls the layer, shuffles what comes out."""
    flat = iter(step.sources)

    def in_order(x):
        source = next(flat) if keras.ops.is_tensor(x) else None
        return x if source is None else ops.permute(x, orders.inverse(source))

    args, kwargs = keras.tree.map_structure(in_order, (args, kwargs))
    outputs = keras.tree.flatten(step.call.operation(*args, **kwargs))
    return [
        x if target is None else ops.permute(x, orders.permutation(target))
        for x, target in zip(outputs, step.targets, strict=True)
    ]
