"""What rounding may add to a clipped sum, as a part of the clip norm.

One unit more moves the computed sum by its own clipped gradient and by what it changes
in the rounding of the others'. Gradients are therefore scaled to `inner_bound(C)`, a
little less than the clip norm C that sensitivity and noise are stated for.

The margin, 2^-8 of C, holds the following.

* float32 sums. They run over at most `MOST_IN_FLOAT32` = 256 units; larger sums are
  made of these in float64. Each of m additions rounds a partial sum, of length k C at
  most after k units, by at most 2^-24 of it: together less than 2^-24 m^2 / 2 C. Two
  neighbours differ by at most twice that: 2^-8 C for m = 256. This is the worst case of
  one such sum in a layer that meets every unit once.
* Several such sums in a batch, and layers that meet a unit at many positions
  (convolutions, attention, recurrence): under the usual model of independent rounding
  errors (Higham and Mary, 2019) the error stays far below the margin. Measured:
  `tests/dp/test_rounding.py`.
* The rounding of sums to the noise's grid: 2^-28 C in each coordinate at most
  (`dp.noise`).

Rounding inside one unit's own forward and backward pass is not part of it: it belongs
to the function whose gradients are clipped. What rounding adds to the length of one
unit's own product of factors is added to its norm (`per_example`).
"""

from typing import Any

MARGIN = 2.0**-8
MOST_IN_FLOAT32 = 256


def inner_bound(l2_norm_clip: Any) -> Any:
    """The L2 norm that gradients are scaled to, so that C holds with rounding."""
    return l2_norm_clip * (1.0 - MARGIN)
