"""Differentially private training for Keras models on TensorFlow.

`import tfpriv.dp` also registers what loading a saved private model needs.
"""

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        "tfpriv.dp needs Keras on TensorFlow: set KERAS_BACKEND=tensorflow before "
        f"Keras is imported. Received: KERAS_BACKEND={keras.backend.backend()}"
    )

from tfpriv.dp.batchnorm import replace_batchnorm  # noqa: E402
from tfpriv.dp.callbacks import BackupAndRestore, TensorBoard  # noqa: E402
from tfpriv.dp.clipping import clipped_gradients  # noqa: E402
from tfpriv.dp.fitting import Public  # noqa: E402
from tfpriv.dp.model import PrivateModel, make_private  # noqa: E402
from tfpriv.dp.optimizers import (  # noqa: E402
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
from tfpriv.dp.privacy import Privacy  # noqa: E402
from tfpriv.dp.sampling import (  # noqa: E402
    FixedSizeSampler,
    PoissonSampler,
    Sampler,
    Stream,
)

__all__ = [
    "DPSGD",
    "BackupAndRestore",
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
    "PrivateModel",
    "PrivateOptimizer",
    "Privacy",
    "Public",
    "Sampler",
    "Stream",
    "TensorBoard",
    "clipped_gradients",
    "make_private",
    "replace_batchnorm",
]
