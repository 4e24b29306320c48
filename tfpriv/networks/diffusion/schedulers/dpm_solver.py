"""DPM-Solver++: the equation between two times solved up to a smooth rest."""

import math
from typing import ClassVar

import numpy as np

from tfpriv.networks.diffusion.schedulers.base import Scheduler

SHORT = 15  # with fewer steps the last ones are of first order


class DPMSolverMultistepScheduler(Scheduler):
    """DPM-Solver++ of first or second order, multistep (2M).

    Args:
        solver_order: 1 or 2.
        solver_type: `"midpoint"` or `"heun"`.
        lower_order_final: Whether the last of fewer than 15 steps is of first order.
        euler_at_final: Whether the last step is, however many there are.
        final_sigmas_type: Noise that is left at the end: `"zero"`, or `"sigma_min"`,
            that of time 0.
        **options: As in `Scheduler`.

    Reference: C. Lu, Y. Zhou, F. Bao, J. Chen, C. Li, J. Zhu, "DPM-Solver++: Fast
    Solver for Guided Sampling of Diffusion Probabilistic Models", 2022.
    """

    FIXED: ClassVar = {
        "algorithm_type": "dpmsolver++",
        "thresholding": False,
        "use_karras_sigmas": False,
        "use_exponential_sigmas": False,
        "use_beta_sigmas": False,
        "use_lu_lambdas": False,
        "use_flow_sigmas": False,
        "lambda_min_clipped": -math.inf,
        "variance_type": None,
        "rescale_betas_zero_snr": False,
        "use_dynamic_shifting": False,
    }

    def __init__(
        self,
        *,
        timestep_spacing: str = "linspace",
        solver_order: int = 2,
        solver_type: str = "midpoint",
        lower_order_final: bool = True,
        euler_at_final: bool = False,
        final_sigmas_type: str = "zero",
        **options,
    ):
        super().__init__(timestep_spacing=timestep_spacing, **options)
        if solver_order not in (1, 2) or solver_type not in ("midpoint", "heun"):
            raise ValueError(
                "`solver_order` must be 1 or 2, and `solver_type` 'midpoint' or "
                f"'heun'. Received: solver_order={solver_order}, "
                f"solver_type={solver_type!r}"
            )
        if final_sigmas_type not in ("zero", "sigma_min"):
            raise ValueError(
                "`final_sigmas_type` must be 'zero' or 'sigma_min'. Received: "
                f"{final_sigmas_type!r}"
            )
        self.solver_order, self.solver_type = solver_order, solver_type
        self.lower_order_final = lower_order_final
        self.euler_at_final = euler_at_final
        self.final_sigmas_type = final_sigmas_type
        self._earlier = None

    def get_config(self) -> dict:
        """As `Scheduler.get_config`; JSON has no infinity."""
        config = super().get_config()
        del config["lambda_min_clipped"]
        return config

    def _chosen(self, steps):
        self._earlier = None
        total = self.num_train_timesteps
        if self.timestep_spacing == "linspace":
            times = np.linspace(0, total - 1, steps + 1).round()[:0:-1]
        elif self.timestep_spacing == "leading":
            times = np.arange(1, steps + 1)[::-1] * (total // (steps + 1))
            times = times + self.steps_offset
        else:
            times = np.arange(total, 0, -total / steps).round() - 1
        return times.astype(np.int64)

    def _levels(self):
        """The signal's share at this step, the one before and the one after."""
        ends = {"zero": 1.0, "sigma_min": float(self.alphas[0])}
        alphas = [*self.alphas[self.timesteps], ends[self.final_sigmas_type]]
        at = self._done
        return float(alphas[at]), float(alphas[at - 1]), float(alphas[at + 1])

    def _first_order(self):
        left = len(self.timesteps) - self._done
        short = self.lower_order_final and len(self.timesteps) < SHORT
        last = left == 1 and (
            short or self.euler_at_final or self.final_sigmas_type == "zero"
        )
        return self.solver_order == 1 or self._earlier is None or last

    def _step(self, output, timestep, sample):
        alpha, earlier_alpha, next_alpha = self._levels()
        clean, _ = self._estimates(output, alpha, sample)
        signal, spread = math.sqrt(next_alpha), math.sqrt(1 - next_alpha)
        # Times in which the solution is almost straight: half of log signal to noise.
        stride = _log_ratio(next_alpha) - _log_ratio(alpha)
        fall = math.exp(-stride) - 1  # -1 where no noise is left
        result = spread / math.sqrt(1 - alpha) * sample - signal * fall * clean
        if not self._first_order():
            ratio = (_log_ratio(alpha) - _log_ratio(earlier_alpha)) / stride
            slope = (clean - self._earlier) * (1 / ratio)
            if self.solver_type == "midpoint":
                result = result - signal * fall / 2 * slope
            else:
                result = result + signal * (fall / stride + 1) * slope
        self._earlier = clean
        return result


def _log_ratio(alpha):
    return math.inf if alpha == 1 else math.log(alpha / (1 - alpha)) / 2
