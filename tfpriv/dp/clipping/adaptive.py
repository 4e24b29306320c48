"""Adaptive clipping: a bound that follows a quantile of the gradients' norms."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfpriv.accounting import mechanisms
from tfpriv.accounting.mechanisms import Mechanism
from tfpriv.dp.clipping import styles

# How far the bound may go from where it began, up and down, and where it may begin:
# all of it in the range of float32.
RANGE = 1e6
SMALLEST_START, LARGEST_START = 1e-30, 1e30
INDICATOR = 0.5  # of a unit whose norm is within the bound; of others minus that


@keras.saving.register_keras_serializable("tfpriv", "AdaptiveClipping")
class AdaptiveClipping(styles.Flat):
    """Flat clipping to a bound that moves towards a quantile of the norms.

    Each step also releases, with noise, how many units were not clipped, and then
    multiplies the bound by

        exp(-learning_rate * (noised fraction - target_quantile)).

    The count is a sum of indicators, 1/2 for a unit whose norm is at most the bound
    and -1/2 for any other, so that one unit moves it by 1/2. The ledger's event of a
    step covers gradients and count together. The bound stays within a millionth and
    a million times the optimizer's `l2_norm_clip`, where it starts.

    Args:
        target_quantile: Float in [0, 1]: the fraction of units not to be clipped.
        learning_rate: Positive float.
        indicator_stddev: Float >= 0: standard deviation of the noise on the sum of
            the indicators. A twentieth of the expected batch size costs little:
            beside gradients with noise multiplier z1, the step is one Gaussian with
            z = (z1^-2 + (2 * indicator_stddev)^-2)^(-1/2). 0 makes epsilon infinite.

    Reference:
        Andrew et al., "Differentially Private Learning with Adaptive Clipping",
        NeurIPS 2021.
    """

    name = "adaptive"

    def __init__(
        self,
        target_quantile: float = 0.5,
        learning_rate: float = 0.2,
        *,
        indicator_stddev: float,
    ) -> None:
        quantile, rate, stddev = target_quantile, learning_rate, indicator_stddev
        _check("target_quantile", quantile, 0 <= float(quantile) <= 1)
        _check("learning_rate", rate, 0 < float(rate) < float("inf"))
        _check("indicator_stddev", stddev, 0 <= float(stddev) < float("inf"))
        self._target_quantile, self._learning_rate = float(quantile), float(rate)
        self._indicator_stddev = float(stddev)

    # Read-only: a compiled step has them inside, and the ledger counts on them.

    @property
    def target_quantile(self):
        """The fraction of units that are not to be clipped."""
        return self._target_quantile

    @property
    def learning_rate(self):
        """How fast the bound moves."""
        return self._learning_rate

    @property
    def indicator_stddev(self):
        """Standard deviation of the noise on the sum of the indicators."""
        return self._indicator_stddev

    def mechanism(
        self, sampler: Callable[[float], Mechanism], noise_multiplier: float
    ) -> Mechanism:
        return mechanisms.adaptive_clipping(
            sampler, noise_multiplier, self.indicator_stddev
        )

    def check_start(self, l2_norm_clip: float) -> None:
        """Raises `ValueError` for a first bound too near the ends of float32."""
        within = SMALLEST_START <= float(l2_norm_clip) <= LARGEST_START
        _check("l2_norm_clip", l2_norm_clip, within)

    def indicators(self, norms: Any, present: Any, l2_norm_clip: Any) -> Any:
        """Sum of the centred indicators, float64.

        Args:
            norms: `(units,)`, infinity where a gradient was not finite.
            present: Boolean `(units,)`; an absent unit counts exactly zero.
            l2_norm_clip: Scalar, the bound that this step clips to.
        """
        unclipped = tf.cast(norms, tf.float64) <= l2_norm_clip
        within, absent = (tf.constant(v, tf.float64) for v in (INDICATOR, 0.0))
        each = tf.where(unclipped, within, -within)
        return tf.reduce_sum(tf.where(present, each, absent))

    def next_bound(
        self, bound: Any, noised_indicators: Any, divisor: Any, start: float
    ) -> Any:
        """The bound, float64, of the step after one with this; the first had `start`.

        Args:
            noised_indicators: Float64 scalar, summed over all replicas.
            divisor: Scalar, the public number of units expected in a batch.
        """
        fraction = noised_indicators / tf.cast(divisor, tf.float64) + 0.5
        step = -self.learning_rate * (fraction - self.target_quantile)
        return tf.clip_by_value(bound * tf.exp(step), start / RANGE, start * RANGE)

    def get_config(self):
        return {
            "target_quantile": self.target_quantile,
            "learning_rate": self.learning_rate,
            "indicator_stddev": self.indicator_stddev,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "AdaptiveClipping":
        return cls(**config)

    def serialized(self):
        return keras.saving.serialize_keras_object(self)


_EXPECTED = {
    "target_quantile": "a number in [0, 1]",
    "learning_rate": "a positive, finite number",
    "indicator_stddev": "a finite number, at least 0",
    "l2_norm_clip": f"a number in [{SMALLEST_START:g}, {LARGEST_START:g}]",
}


def _check(name, value, holds):
    if not holds:
        raise ValueError(
            f"`{name}` of adaptive clipping must be {_EXPECTED[name]}. "
            f"Received: {name}={value}"
        )
