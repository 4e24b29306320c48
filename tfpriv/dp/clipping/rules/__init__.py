"""One rule per kind of layer: from a loss's gradient at a layer to its weights'."""

import functools
from collections.abc import Callable
from typing import Any

import keras

_RULES: dict = {}
_BUILT_IN = "tfpriv.dp.clipping.rules."


class NotCoveredError(Exception):
    """Why the per-example gradients of a model cannot be had from its layers."""

    @property
    def reason(self):
        """The sentence that was raised; Keras writes more around it on the way."""
        inner = self
        while isinstance(inner.__context__, NotCoveredError):
            inner = inner.__context__
        return str(inner)


def register_clipping_rule(layer_class: type[keras.Layer]) -> Callable[..., Any]:
    """Decorator: teaches the fast engine the weights of a layer class of your own.

    A layer without a rule works as well; the gradients of its own weights are then
    computed whole, for each example, which takes more memory and time.

    The decorated function is called in place of `layer.call`, while a model is traced:

        rule(layer, call, record, *args, **kwargs) -> output

    It runs the layer with `call(*args, **kwargs)` and gives every tensor in which
    the layer's weights first meet an example to `record(tensor, gradients)`, which
    returns the tensor to go on with. `gradients` is a function: given the gradient of
    the loss at `tensor` (same shape, leading axis: examples), it returns a list
    of pairs: a weight of the layer and its `Dense`, `LowRank` or `Lookup` of
    `tfpriv.dp.per_example`.

        @dp.register_clipping_rule(Scale)          # call: inputs * self.scale
        def scale(layer, call, record, inputs):
            def gradients(g):
                return [(layer.scale, dp.per_example.Dense(g * inputs))]
            return record(call(inputs), gradients)

    A wrong rule is found out: before training it is compared, on made-up inputs of
    the layer, with the gradients of plain TensorFlow.

    Args:
        layer_class: Subclass of `keras.layers.Layer`. Subclasses of it that do not
            override `call` follow the same rule.

    Raises:
        TypeError: If it is not a layer class.
    """
    if not (isinstance(layer_class, type) and issubclass(layer_class, keras.Layer)):
        raise TypeError(
            "A clipping rule belongs to a class of layers. Expected a subclass of "
            f"`keras.layers.Layer`. Received: {layer_class!r}"
        )

    def register(rule):
        _RULES[layer_class] = rule
        return rule

    return register


def rule_of(layer):
    """The rule for a layer, its class's; or `None`."""
    _import_built_in()
    ancestry: tuple[Any, ...] = type(layer).__mro__
    known = next((one for one in ancestry if one in _RULES), None)
    is_quantized = getattr(layer, "quantization_mode", None) is not None
    if known is None or is_quantized or type(layer).call is not known.call:
        return None
    return _RULES[known]


def is_proven(layer):
    """Whether the tests prove the rule for a layer: one of ours, for Keras' own class.

    A subclass that keeps `call` may have replaced what that calls.
    """
    known = _RULES.get(type(layer))
    return str(getattr(known, "__module__", None)).startswith(_BUILT_IN)


@functools.cache
def _import_built_in():
    from tfpriv.dp.clipping.rules import (  # noqa: F401
        convolution,
        dense,
        einsum_dense,
        embedding,
        recurrent,
    )
