"""What all schedulers share: how much noise there is when, and which steps are taken.

At time t a sample is `sqrt(alpha_t) x0 + sqrt(1 - alpha_t) noise`; alpha falls from
almost 1 to almost 0. Names and fields are diffusers', so that its files can be read.
"""

import inspect
import math
from typing import ClassVar

import numpy as np

SPACINGS = ("leading", "linspace", "trailing")
PREDICTIONS = ("epsilon", "sample", "v_prediction")
MAX_TIMES = 100_000  # of training; a hundred times as many as there ever were


def betas(
    schedule: str,
    count: int,
    start: float,
    end: float,
    trained: list[float] | None = None,
) -> np.ndarray:
    """Share of the signal's variance that each time step takes away.

    Args:
        schedule: `"linear"`, `"scaled_linear"` (linear in the square root, as Stable
            Diffusion) or `"squaredcos_cap_v2"`.
        count: Time steps in training.
        start: The first beta.
        end: The last beta.
        trained: The betas themselves, which then go before all else.

    Returns:
        float64 `(count,)`.
    """
    if trained is not None:
        return np.asarray(trained, np.float64)
    if schedule == "linear":
        return np.linspace(start, end, count)
    if schedule == "scaled_linear":
        return np.linspace(math.sqrt(start), math.sqrt(end), count) ** 2
    if schedule == "squaredcos_cap_v2":
        times = np.arange(count + 1) / count
        left = np.cos((times + 0.008) / 1.008 * math.pi / 2) ** 2
        return np.minimum(1 - left[1:] / left[:-1], 0.999)
    raise ValueError(
        "`beta_schedule` must be 'linear', 'scaled_linear' or 'squaredcos_cap_v2'. "
        f"Received: {schedule!r}"
    )


class Scheduler:
    """Base of the schedulers.

    Args:
        num_train_timesteps: Time steps in training, 1 to `MAX_TIMES`.
        beta_start: The first beta.
        beta_end: The last beta.
        beta_schedule: As in `betas`.
        trained_betas: The betas themselves.
        prediction_type: What the network returns: `"epsilon"` (the noise), `"sample"`
            (the clean sample) or `"v_prediction"`.
        timestep_spacing: How times are chosen: `"leading"`, `"linspace"` or
            `"trailing"`.
        steps_offset: Added to the steps of `"leading"`.

    Attributes:
        timesteps: int64, the times at which the network is asked, falling.
        alphas: float64 `(num_train_timesteps,)`, the signal's share of the variance.
    """

    # Fields of diffusers' classes with the only value that is built here.
    FIXED: ClassVar[dict[str, object]] = {}
    predictions: tuple[str, ...] = PREDICTIONS

    def __init__(
        self,
        *,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.0001,
        beta_end: float = 0.02,
        beta_schedule: str = "linear",
        trained_betas: list[float] | None = None,
        prediction_type: str = "epsilon",
        timestep_spacing: str = "leading",
        steps_offset: int = 0,
    ):
        self.num_train_timesteps = num_train_timesteps
        self.beta_start, self.beta_end = beta_start, beta_end
        self.beta_schedule, self.trained_betas = beta_schedule, trained_betas
        self.prediction_type = prediction_type
        self.timestep_spacing = timestep_spacing
        self.steps_offset = steps_offset
        if timestep_spacing not in SPACINGS or prediction_type not in self.predictions:
            raise ValueError(
                f"`timestep_spacing` must be one of {SPACINGS} and `prediction_type` "
                f"one of {self.predictions}. Received: "
                f"timestep_spacing={timestep_spacing!r}, "
                f"prediction_type={prediction_type!r}"
            )
        if (
            type(num_train_timesteps) is not int
            or not 1 <= num_train_timesteps <= MAX_TIMES
            or type(steps_offset) is not int
        ):
            raise ValueError(
                f"`num_train_timesteps` must be a whole number from 1 to {MAX_TIMES}, "
                "and `steps_offset` a whole number. Received: "
                f"num_train_timesteps={num_train_timesteps!r}, "
                f"steps_offset={steps_offset!r}"
            )
        found = betas(
            beta_schedule, num_train_timesteps, beta_start, beta_end, trained_betas
        )
        if (
            found.shape != (num_train_timesteps,)
            or not ((found > 0) & (found < 1)).all()
        ):
            raise ValueError(
                f"There must be {num_train_timesteps} betas between 0 and 1. Received: "
                f"shape={found.shape}, from {found.min()} to {found.max()}"
            )
        self.alphas = np.cumprod(1 - found)
        self.timesteps = np.zeros(0, np.int64)
        self._done = 0

    @classmethod
    def from_config(cls, config: dict):
        """The scheduler with the fields of diffusers' `scheduler_config.json`.

        Raises:
            ValueError: A field has a value that is not built here.
        """
        for name, value in cls.FIXED.items():
            if config.get(name, value) != value:
                raise ValueError(
                    f"{cls.__name__} is built with {name}={value!r} only. Received: "
                    f"{config[name]!r}"
                )
        known = cls._fields()
        try:
            return cls(**{k: v for k, v in config.items() if k in known})
        except (TypeError, OverflowError) as error:
            raise ValueError(
                f"A field has a value of the wrong kind ({error}). Received: {config}"
            ) from error

    @classmethod
    def _fields(cls):
        """Names of the arguments, those of the classes above among them."""
        names = []
        for kind in cls.__mro__[:-1]:
            named = list(inspect.signature(kind.__init__).parameters)[1:]
            names += [n for n in named if n != "options" and n not in names]
        return names

    def get_config(self) -> dict:
        """The fields of diffusers' `scheduler_config.json`."""
        fields = {name: getattr(self, name) for name in self._fields()}
        return {"_class_name": type(self).__name__} | fields | self.FIXED

    def set_timesteps(self, steps: int) -> None:
        """Chooses the times, and forgets the steps that were taken.

        Args:
            steps: How many; at most as many as in training.

        Raises:
            ValueError: For less than one, or more.
        """
        if not 1 <= steps <= self.num_train_timesteps:
            raise ValueError(
                f"There may be 1 to {self.num_train_timesteps} steps. Received: {steps}"
            )
        self.num_steps = steps
        self.timesteps = self._chosen(steps)
        self._done = 0

    def _chosen(self, steps):
        raise NotImplementedError

    def _spaced(self, steps):
        """Falling times, spaced as DDIM and PNDM have them."""
        total = self.num_train_timesteps
        if self.timestep_spacing == "linspace":
            return np.linspace(0, total - 1, steps).round()[::-1].astype(np.int64)
        if self.timestep_spacing == "leading":
            return np.arange(steps)[::-1] * (total // steps) + self.steps_offset
        times = np.round(np.arange(total, 0, -total / steps)).astype(np.int64)
        return times - 1

    def step(self, output, timestep: int, sample):
        """Takes one step.

        Args:
            output: `(n, h, w, c)`, what the network returned for `sample`.
            timestep: The time at which it was asked: that of the next step.
            sample: `(n, h, w, c)`, the noisy sample; an array or a tensor.

        Returns:
            The less noisy sample.

        Raises:
            ValueError: The time is not that of the next step.
        """
        at = self._done
        if at >= len(self.timesteps) or int(timestep) != self.timesteps[at]:
            expected = self.timesteps[at] if at < len(self.timesteps) else "none"
            raise ValueError(
                "Steps are taken in the order of `timesteps`; `set_timesteps` begins "
                f"anew. Expected the time {expected}. Received: timestep={timestep}"
            )
        result = self._step(output, int(timestep), sample)
        self._done += 1
        return result

    def _step(self, output, timestep, sample):
        raise NotImplementedError

    def add_noise(self, samples, noise, timesteps):
        """Clean samples as they would be at given times.

        Args:
            samples: `(n, h, w, c)`.
            noise: `(n, h, w, c)`, standard normal.
            timesteps: int `(n,)`.
        """
        alphas = self.alphas[np.asarray(timesteps, np.int64)].reshape(-1, 1, 1, 1)
        signal = np.sqrt(alphas).astype(np.float32)
        return signal * samples + np.sqrt(1 - alphas).astype(np.float32) * noise

    def _estimates(self, output, alpha, sample):
        """The clean sample and the noise that the network's answer means."""
        signal, spread = math.sqrt(alpha), math.sqrt(1 - alpha)
        if self.prediction_type == "epsilon":
            return (sample - spread * output) * (1 / signal), output
        if self.prediction_type == "sample":
            return output, (sample - signal * output) * (1 / spread)
        return signal * sample - spread * output, signal * output + spread * sample
