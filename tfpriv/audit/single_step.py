"""One step of training, seen many times: is the noise as large as claimed?

A one-run bound proves that something is wrong; it says little of the scale. Whoever
sees a step's noised gradient tells a unit that is there from one that is not as well as
one tells N(mu, 1) from N(0, 1), mu the clip norm over the noise. That mu is known from
both sides here, so that noise which is half of what was claimed, or twice, or added to
something else, is seen.

Reference:
    M. Nasr et al., "Tight Auditing of Differentially Private Machine Learning", USENIX
    Security 2023.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from scipy import stats

from tfpriv.audit.intervals import clopper_pearson
from tfpriv.audit.releases import scale_interval

FALSE_ALARM = 1e-6  # of each means but the lower bounds


@dataclass(frozen=True)
class Interval:
    """Where a figure lies, and what was claimed of it."""

    claimed: float
    low: float
    high: float

    @property
    def holds(self) -> bool:
        """Whether the claim may be true."""
        return self.low <= self.claimed <= self.high

    def __str__(self) -> str:
        return f"{self.claimed:.4g} in [{self.low:.4g}, {self.high:.4g}]"


@dataclass(frozen=True)
class SingleStep:
    """What many releases of one step say.

    Attributes:
        mu: how well they tell whether a unit is there: clip norm over noise.
        noise: the noise multiplier.
        correlation: how likely noise that is independent from step to step and from
            weight to weight is to be as correlated as this noise at most.
        releases: of each neighbour.
    """

    mu: Interval
    noise: Interval
    correlation: float
    releases: int

    @property
    def objections(self) -> list[str]:
        """What speaks against the claims; each comes by chance once in a million."""
        found = []
        if not self.mu.holds:
            found.append(f"mu of a step, {self.mu}")
        if not self.noise.holds:
            found.append(f"noise of a step, {self.noise}")
        if self.correlation < FALSE_ALARM:
            found.append(f"correlated noise, p = {self.correlation:.1g}")
        return found


def audit_single_step(
    absent: np.ndarray, present: np.ndarray, noise_multiplier: float
) -> SingleStep:
    """Bounds what single steps tell, each figure with a false alarm of 1e-6.

    Args:
        absent: `(steps, parts, weights)`: noised sums in units of the clip norm, each
            along a unit's own direction, without any of these units. Two steps at
            least: the first chooses where to cut.
        present: the same with every unit there.
        noise_multiplier: as claimed.
    """
    pilots = absent[0], present[0]
    cut = (np.median(pilots[0]) + np.median(pilots[1])) / 2
    seen, others = present[1:], absent[1:]
    low, high = mu_interval(
        int(np.sum(seen > cut)), int(np.sum(others > cut)), seen.size
    )
    return SingleStep(
        mu=Interval(1 / noise_multiplier, low, high),
        noise=Interval(
            noise_multiplier, *scale_interval(absent, "gaussian", FALSE_ALARM)
        ),
        correlation=correlation_p_value(absent.reshape(-1, absent.shape[-1])),
        releases=seen.size,
    )


def mu_interval(
    hits: int, alarms: int, count: int, false_alarm: float = FALSE_ALARM
) -> tuple[float, float]:
    """Bounds mu from how often a score passes a cut that was fixed beforehand.

    Args:
        hits: how often with the unit there.
        alarms: how often without.
        count: releases of each, independent.
        false_alarm: that mu lies outside.

    Returns:
        Both ends. The lower one holds for every mechanism that is mu-GDP, the upper one
        for Gaussian noise.
    """
    miss = false_alarm / 4  # either bound of either share
    hit_low, hit_high = clopper_pearson(hits, count, miss)
    alarm_low, alarm_high = clopper_pearson(alarms, count, miss)
    low = stats.norm.ppf(hit_low) - stats.norm.ppf(alarm_high)
    high = stats.norm.ppf(hit_high) - stats.norm.ppf(alarm_low)
    return float(low), float(high)


def correlation_p_value(noise: np.ndarray) -> float:
    """How likely independent noise is to be so correlated at most.

    Args:
        noise: `(rows, n)`, rows that should be independent.

    Returns:
        The p-value of the largest correlation between two rows, times their number.
    """
    lengths = np.sqrt((noise**2).sum(axis=1, keepdims=True))
    if not lengths.all():
        return 0.0  # no noise at all
    scaled = noise / lengths
    pairs = list(itertools.combinations(range(len(noise)), 2))
    products = (scaled @ scaled.T)[tuple(np.transpose(pairs))]
    # The square of a correlation of normal rows has this distribution exactly.
    largest = min(1.0, float((products**2).max()))
    chance = stats.beta.sf(largest, 0.5, (noise.shape[1] - 1) / 2)
    return min(1.0, float(len(pairs) * chance))
