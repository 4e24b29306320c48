"""DDIM: straight towards the clean sample that the network sees."""

import math
from typing import ClassVar

from keras import ops

from tfpriv.networks.diffusion.schedulers.base import Scheduler


class DDIMScheduler(Scheduler):
    """Deterministic DDIM (eta 0).

    Args:
        clip_sample: Whether the estimate of the clean sample is cut.
        clip_sample_range: To which absolute value.
        set_alpha_to_one: Whether the last step ends without any noise, rather than
            with that of time 0.
        **options: As in `Scheduler`.

    Reference: J. Song, C. Meng, S. Ermon, "Denoising Diffusion Implicit Models", ICLR
    2021.
    """

    FIXED: ClassVar = {"thresholding": False, "rescale_betas_zero_snr": False}

    def __init__(
        self,
        *,
        clip_sample: bool = True,
        clip_sample_range: float = 1.0,
        set_alpha_to_one: bool = True,
        **options,
    ):
        super().__init__(**options)
        self.clip_sample, self.clip_sample_range = clip_sample, clip_sample_range
        self.set_alpha_to_one = set_alpha_to_one

    def _chosen(self, steps):
        return self._spaced(steps)

    def _step(self, output, timestep, sample):
        before = timestep - self.num_train_timesteps // self.num_steps
        if before >= 0:
            next_alpha = self.alphas[before]
        else:
            next_alpha = 1.0 if self.set_alpha_to_one else self.alphas[0]
        clean, noise = self._estimates(output, float(self.alphas[timestep]), sample)
        if self.clip_sample:
            clean = ops.clip(clean, -self.clip_sample_range, self.clip_sample_range)
        return math.sqrt(next_alpha) * clean + math.sqrt(1 - next_alpha) * noise
