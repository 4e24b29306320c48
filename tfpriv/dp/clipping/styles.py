"""Clipping styles: which factor bounds a unit's gradient.

A style, bound to a problem, is a function `(norms, l2_norm_clip) -> factors`. `norms`
is a list with one float64 `(units,)` tensor per trainable variable, finite and at
least 0; `l2_norm_clip` a positive float64 scalar; the result one float64 `(units,)`
tensor of factors, finite and at least 0, per variable. Whatever the norms,

    sum over variables of (factor * norm)^2 <= l2_norm_clip^2,

and a unit's factors depend on no other unit: this is what the noise is scaled to.
"""

import tensorflow as tf

from tfpriv.dp.clipping.scaling import total_norm


class Flat:
    """Scales a gradient down to the bound where its whole norm is larger.

    Reference:
        Abadi et al., "Deep Learning with Differential Privacy", CCS 2016.
    """

    name = "flat"

    def bind(self, problem):
        """The function of norms and bound for this problem."""
        del problem
        return _shrink


def _shrink(norms, l2_norm_clip):
    # Beyond the bound of any float, a norm of infinity gives a factor of 0.
    factor = tf.minimum(l2_norm_clip / total_norm(norms), 1.0)
    return [factor] * len(norms)


STYLES = {style.name: style for style in (Flat,)}


def get(clipping):
    """The style of that name.

    Raises:
        ValueError: If there is no such style.
    """
    if isinstance(clipping, str) and clipping in STYLES:
        return STYLES[clipping]()
    raise ValueError(
        f"Unknown clipping style. Expected one of {sorted(STYLES)}. "
        f"Received: clipping={clipping!r}"
    )
