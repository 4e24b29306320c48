"""Attacks on what the library protects, and what each of them gets.

Attacks take arrays and functions, never a system's own classes, and say how much came
back; those on private training run `tfpriv.dp`. Pictures are
`(n, height, width, channels)`; places are numbered row by row, and `order[q]` is the
true place of what a shuffled picture shows at place `q`.

Names are imported when they are used: most need no TensorFlow.
"""

from tfpriv.support import lazy

_MODULES = {
    "Audit": "verdict",
    "CanaryScores": "canary_scores",
    "Claim": "claims",
    "OneRun": "one_run",
    "audit_dp_sgd": "dp_sgd",
    "audit_one_run": "one_run",
    "audit_releases": "releases",
    "audit_single_step": "single_step",
    "plan_for": "dp_sgd",
}
__all__ = sorted(_MODULES)
__getattr__ = lazy.attributes(__name__, _MODULES)
