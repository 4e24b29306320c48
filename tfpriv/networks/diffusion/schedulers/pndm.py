"""PNDM: a linear multistep method, whose direction is fitted to the last four."""

import math
from typing import ClassVar

import numpy as np

from tfpriv.networks.diffusion.schedulers.base import Scheduler

# Weights of the last directions, newest first (Adams-Bashforth).
_WEIGHTS = {
    2: np.array([3, -1]) / 2,
    3: np.array([23, -16, 5]) / 12,
    4: np.array([55, -59, 37, -9]) / 24,
}


class PNDMScheduler(Scheduler):
    """PNDM without Runge-Kutta steps, as Stable Diffusion uses it.

    The first step is taken twice, the second time with the mean of both directions: the
    network is asked once more than there are steps.

    Args:
        set_alpha_to_one: Whether the last step ends without any noise.
        **options: As in `Scheduler`.

    Reference: L. Liu, Y. Ren, Z. Lin, Z. Zhao, "Pseudo Numerical Methods for Diffusion
    Models on Manifolds", ICLR 2022.
    """

    FIXED: ClassVar = {"skip_prk_steps": True}
    predictions = ("epsilon", "v_prediction")

    def __init__(
        self,
        *,
        set_alpha_to_one: bool = False,
        **options,
    ):
        super().__init__(**options)
        self.set_alpha_to_one = set_alpha_to_one
        self._directions = []
        self._first_sample = None

    @classmethod
    def from_config(cls, config: dict):
        """As `Scheduler.from_config`; diffusers' own default has Runge-Kutta steps."""
        return super().from_config({"skip_prk_steps": False} | config)

    def _chosen(self, steps):
        self._directions, self._first_sample = [], None
        times = self._spaced(steps)
        return np.concatenate([times[:1], times[1:2], times[1:]])

    def _step(self, output, timestep, sample):
        stride = self.num_train_timesteps // self.num_steps
        if self._done == 1:  # the first step once more
            direction = (output + self._directions[0]) / 2
            sample, self._first_sample = self._first_sample, None
            return self._moved(direction, timestep + stride, timestep, sample)
        if self._done == 0:
            self._first_sample = sample
        self._directions = [output, *self._directions[:3]]
        direction = output
        if len(self._directions) > 1:
            weights = _WEIGHTS[len(self._directions)]
            direction = sum(
                float(weight) * one
                for weight, one in zip(weights, self._directions, strict=True)
            )
        return self._moved(direction, timestep, timestep - stride, sample)

    def _moved(self, direction, timestep, before, sample):
        """The paper's formula (9): from one time to the one before."""
        alpha = float(self.alphas[timestep])
        if before >= 0:
            next_alpha = float(self.alphas[before])
        else:
            next_alpha = 1.0 if self.set_alpha_to_one else float(self.alphas[0])
        _, noise = self._estimates(direction, alpha, sample)
        divisor = alpha * math.sqrt(1 - next_alpha)
        divisor += math.sqrt(alpha * (1 - alpha) * next_alpha)
        factor = (next_alpha - alpha) / divisor
        return math.sqrt(next_alpha / alpha) * sample - factor * noise
