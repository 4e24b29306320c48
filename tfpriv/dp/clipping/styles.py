"""Clipping styles: which factor bounds a unit's gradient.

A style, bound to an objective, is a function `(norms, l2_norm_clip) -> factors`.
`norms` is a float64 tensor `(variables, units)`, finite and at least 0; `l2_norm_clip`
a positive float or float64 scalar; the result a float64 tensor that broadcasts to
`(variables, units)`, finite and at least 0. Whatever the norms,

    sum over variables of (factor * norm)^2 <= l2_norm_clip^2,

and a unit's factors depend on no other unit: this is what the noise is scaled to.
"""

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfpriv.accounting.mechanisms import Mechanism
from tfpriv.dp import keras_internals
from tfpriv.dp.clipping.scaling import total_norm

STABILITY = 0.01  # gamma of automatic clipping, as its authors recommend
LARGEST_FACTOR = 1e38  # in the range of float32


class Style:
    """What the styles have in common; by itself none of them."""

    name: str

    def bind(self, objective: Any) -> Callable[..., Any]:
        """The function `(norms, l2_norm_clip) -> factors` for this `Objective`."""
        raise NotImplementedError

    def mechanism(
        self, sampler: Callable[[float], Mechanism], noise_multiplier: float
    ) -> Mechanism:
        """What one step costs, of a sampler's `Mechanism` for a noise multiplier."""
        return sampler(noise_multiplier)

    def indicators(self, norms: Any, present: Any, l2_norm_clip: Any) -> Any:
        """What a step must tell of its norms besides the gradients: nothing."""
        del norms, present, l2_norm_clip

    def serialized(self):
        """What `get` makes this style of."""
        return self.name


class Flat(Style):
    """Scales a gradient down to the bound where its whole norm is larger.

    Reference:
        Abadi et al., "Deep Learning with Differential Privacy", CCS 2016.
    """

    name = "flat"

    def bind(self, objective: Any) -> Callable[..., Any]:
        del objective
        return lambda norms, l2_norm_clip: _shrink(norms, l2_norm_clip)[tf.newaxis]


def _shrink(norms, l2_norm_clip):
    """The factor `(units,)` of one group of variables; 1 for a norm of zero."""
    return tf.minimum(l2_norm_clip / total_norm(norms), 1.0)


class PerLayer(Style):
    """Scales each layer's part down by itself, to an equal share of the bound.

    The weights that a Keras layer owns itself are one group. Each of L groups is
    bounded by `l2_norm_clip / sqrt(L)`, a public constant, which together is the
    bound.

    Reference:
        McMahan et al., "Learning Differentially Private Recurrent Language Models",
        ICLR 2018.
    """

    name = "per_layer"

    def bind(self, objective: Any) -> Callable[..., Any]:
        owners: dict = {}  # the number of its layer, for each variable
        for number, layer in enumerate(keras_internals.flatten_layers(objective.model)):
            for variable in keras_internals.own_variables(layer):
                owners.setdefault(id(variable), number)
        layers = [owners[id(v)] for v in objective.keras_variables]
        order = list(dict.fromkeys(layers))
        rows = [order.index(layer) for layer in layers]
        groups = [[i for i, row in enumerate(rows) if row == r] for r in set(rows)]

        def factors(norms, l2_norm_clip):
            share = l2_norm_clip / math.sqrt(len(groups))
            of_groups = [_shrink(tf.gather(norms, group), share) for group in groups]
            return tf.gather(tf.stack(of_groups), rows)

        return factors


class Automatic(Style):
    """Normalises every gradient g to `g * l2_norm_clip / (|g| + 0.01)`.

    Short gradients are scaled up to nearly the bound, so that there is no threshold to
    tune: another `l2_norm_clip` is another learning rate, to Adam and its like none.

    Reference:
        Bu et al., "Automatic Clipping: Differentially Private Deep Learning Made
        Easier and Stronger", NeurIPS 2023.
    """

    name = "automatic"

    def bind(self, objective: Any) -> Callable[..., Any]:
        del objective

        def factors(norms, l2_norm_clip):
            factor = l2_norm_clip / (total_norm(norms) + STABILITY)
            return tf.minimum(factor, LARGEST_FACTOR)[tf.newaxis]

        return factors


STYLES = {style.name: style for style in (Flat, PerLayer, Automatic)}


def get(clipping):
    """The style of that name, or that was serialised, or itself.

    Raises:
        ValueError: If it is none.
    """
    style = clipping
    if isinstance(clipping, dict):
        style = keras.saving.deserialize_keras_object(clipping)
    elif isinstance(clipping, str) and clipping in STYLES:
        style = STYLES[clipping]()
    if not isinstance(style, Style):
        raise ValueError(
            f"Unknown clipping style. Expected one of {sorted(STYLES)}, or an instance "
            f"of `dp.AdaptiveClipping`. Received: clipping={clipping!r}"
        )
    return style
