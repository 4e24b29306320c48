"""Attacks on differentially private training and releases.

They take arrays and functions, never a system's own classes, and return lower bounds of
epsilon, which are compared with what the ledger claims; `dp_sgd` runs `tfpriv.dp`.
Attacks on shuffled images are in `tfpriv.shuffling.attacks`.

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
