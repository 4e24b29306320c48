"""Differentially private training for Keras models on TensorFlow.

`import tfpriv.dp` also registers what loading a saved private model needs.
"""

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        "tfpriv.dp needs Keras on TensorFlow: set KERAS_BACKEND=tensorflow before "
        f"Keras is imported. Received: KERAS_BACKEND={keras.backend.backend()}"
    )

from tfpriv.accounting import mechanisms as mechanisms  # at hand for `Privacy.record`
from tfpriv.dp.batchnorm import replace_batchnorm
from tfpriv.dp.budget import Budget
from tfpriv.dp.callbacks import BackupAndRestore, TensorBoard
from tfpriv.dp.clipping import clipped_gradients, per_example
from tfpriv.dp.clipping.adaptive import AdaptiveClipping
from tfpriv.dp.clipping.rules import register_clipping_rule
from tfpriv.dp.fitting import Public
from tfpriv.dp.model import PrivateModel, make_private
from tfpriv.dp.optimizers import (
    DPSGD,
    DPAdadelta,
    DPAdafactor,
    DPAdagrad,
    DPAdam,
    DPAdamax,
    DPAdamW,
    DPFtrl,
    DPLamb,
    DPLion,
    DPMuon,
    DPNadam,
    DPRMSprop,
    DPScheduleFreeAdamW,
    PrivateOptimizer,
)
from tfpriv.dp.privacy import Privacy
from tfpriv.dp.sampling import (
    FixedSizeSampler,
    PoissonSampler,
    Sampler,
    Stream,
)
from tfpriv.dp.workers import fit_on_workers

__all__ = [
    "DPSGD",
    "AdaptiveClipping",
    "BackupAndRestore",
    "Budget",
    "DPAdadelta",
    "DPAdafactor",
    "DPAdagrad",
    "DPAdam",
    "DPAdamW",
    "DPAdamax",
    "DPFtrl",
    "DPLamb",
    "DPLion",
    "DPMuon",
    "DPNadam",
    "DPRMSprop",
    "DPScheduleFreeAdamW",
    "FixedSizeSampler",
    "PoissonSampler",
    "Privacy",
    "PrivateModel",
    "PrivateOptimizer",
    "Public",
    "Sampler",
    "Stream",
    "TensorBoard",
    "clipped_gradients",
    "fit_on_workers",
    "make_private",
    "per_example",
    "register_clipping_rule",
    "replace_batchnorm",
]
