"""Is a release as private as it claims? Lower bounds of epsilon from many releases.

The auditor knows both neighbours and sees many releases of each, the whole vector. A
*test* turns each release into a number; wherever the number passes a threshold, the
auditor guesses the first neighbour. How often the guess comes for the one and for the
other bounds epsilon from below:

    P(guess | first) <= e^epsilon P(guess | second) + delta

Thresholds, and what a test learns, come from releases of their own (the pilot). The
bounds are Clopper-Pearson's, finite-sample, and hold together for all tests,
thresholds, directions and configurations with one probability of a false alarm.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

# A family of tests finds a fault where there is none with this probability at most.
FALSE_ALARM = 1e-3
_BLOCK = 1 << 15
_TAILS = (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.2, 0.3, 0.4)
_QUANTILES = (*_TAILS, 0.5, *(1 - tail for tail in reversed(_TAILS)))

# `(count) -> (count, D)` releases of one neighbour.
Releases = Callable[[int], np.ndarray]
# `(n, D) -> (n,)` scores, or `(n, F)` features of which a score is learned.
Test = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Finding:
    """The largest epsilon that was proved, and by which guess.

    Attributes:
        epsilon: a lower bound at `delta`; 0 if nothing was found.
        delta: as claimed.
        test: the name of the test.
        guess: when one of the neighbours is guessed, in words.
        counts: how often it was, for (the neighbour guessed, the other one).
        releases: seen of each neighbour, without the pilot.
        comparisons: bounds that hold together.
    """

    epsilon: float
    delta: float
    test: str
    guess: str
    counts: tuple[int, int]
    releases: int
    comparisons: int

    def breaks(self, epsilon: float) -> bool:
        """Whether a claim of this epsilon, at `delta`, is refuted."""
        return self.epsilon > epsilon

    def __str__(self) -> str:
        if self.epsilon == 0:
            return f"nothing found in {self.releases:,} releases of each"
        one, other = self.counts
        return (
            f"epsilon > {self.epsilon:.3g} at delta = {self.delta:g}: {self.test} "
            f"{self.guess} in {one:,} and {other:,} of {self.releases:,}"
        )


def audit_releases(
    first: Releases,
    second: Releases,
    tests: Mapping[str, Test],
    *,
    delta: float,
    count: int,
    configurations: int = 1,
    false_alarm: float = FALSE_ALARM,
) -> Finding:
    """Bounds the epsilon of a release from below.

    Args:
        first: function `count -> (count, D)`: fresh releases of one neighbour.
        second: likewise of the other.
        tests: by name: functions of releases `(n, D)`. `(n,)` numbers are scores;
            `(n, F)` are features, of which the linear combination that separates the
            neighbours best is learned from the pilot.
        delta: of the claim, in [0, 1).
        count: releases of each neighbour, besides a twentieth as many for the pilot.
        configurations: how many audits share the false alarm.
        false_alarm: probability that any bound of the family is above the truth.

    Returns:
        The best finding.
    """
    pilots = [_together(one, max(count // 20, 1000)) for one in (first, second)]
    scores = {name: _learned(test, *pilots) for name, test in tests.items()}
    cuts = {name: _thresholds(score, *pilots) for name, score in scores.items()}
    below = [_counted(one, count, scores, cuts) for one in (first, second)]
    # Above and below each threshold, and either neighbour as the first.
    comparisons = 4 * sum(map(len, cuts.values())) * configurations
    level = false_alarm / (2 * comparisons)  # a bound of either share
    findings = []
    for name, (one, other) in itertools.product(scores, ((0, 1), (1, 0))):
        for side in ("at most", "above"):
            hits, others = below[one][name], below[other][name]
            if side == "above":
                hits, others = count - hits, count - others
            bounds = _epsilon(hits, others, count, delta, level)
            best = int(np.argmax(bounds))
            findings.append(
                Finding(
                    epsilon=float(bounds[best]),
                    delta=delta,
                    test=name,
                    guess=f"{side} {cuts[name][best]:.6g}",
                    counts=(int(hits[best]), int(others[best])),
                    releases=count,
                    comparisons=comparisons,
                )
            )
    return max(findings, key=lambda finding: finding.epsilon)


def scale_interval(
    noise: np.ndarray, kind: str, false_alarm: float = FALSE_ALARM
) -> tuple[float, float]:
    """Bounds the scale of centred noise from both sides, exactly.

    Epsilon says little of it: noise at 0.8 of its scale passes most audits.

    Args:
        noise: independent draws, any shape.
        kind: "gaussian": the standard deviation, from the sum of squares; "laplace":
            the scale, from the sum of absolute values.
        false_alarm: probability that the true scale lies outside.

    Returns:
        The interval; a million draws give one of 0.5 % (Laplace: 0.7 %).
    """
    if kind == "gaussian":
        total, degrees, power = float((noise**2).sum()), noise.size, 0.5
    elif kind == "laplace":
        # |x| is exponential: twice its sum over the scale is a chi-square.
        total, degrees, power = 2 * float(np.abs(noise).sum()), 2 * noise.size, 1.0
    else:
        raise ValueError(
            f"Expected kind to be 'gaussian' or 'laplace'. Received: kind={kind!r}"
        )
    low = (total / stats.chi2.isf(false_alarm / 2, degrees)) ** power
    high = (total / stats.chi2.ppf(false_alarm / 2, degrees)) ** power
    return low, high


def _epsilon(
    hits: np.ndarray, others: np.ndarray, count: int, delta: float, level: float
) -> np.ndarray:
    """Lower bounds from the counts of a guess, for the neighbour guessed and the other.

    Args:
        hits: how often it came for the neighbour guessed, any shape.
        others: likewise for the other.
        count: releases of each.
        delta: of the claim.
        level: false alarm of one bound of one share.
    """
    with np.errstate(invalid="ignore"):
        low = np.where(hits > 0, stats.beta.ppf(level, hits, count - hits + 1), 0.0)
        high = np.where(
            others < count, stats.beta.isf(level, others + 1, count - others), 1.0
        )
    return np.log(np.maximum((low - delta) / high, 1.0))


def _together(releases: Releases, count: int) -> np.ndarray:
    return np.concatenate(list(_blocks(releases, count)))


def _blocks(releases: Releases, count: int) -> Iterator[np.ndarray]:
    for start in range(0, count, _BLOCK):
        yield releases(min(_BLOCK, count - start))


def _counted(releases, count, scores, cuts) -> dict[str, np.ndarray]:
    """For each test, how many releases score at most each of its thresholds."""
    below = {name: np.zeros(len(cut), np.int64) for name, cut in cuts.items()}
    for block in _blocks(releases, count):
        for name, score in scores.items():
            # The first threshold that a score does not exceed, and all after it.
            places = np.searchsorted(cuts[name], score(block), side="left")
            at = np.bincount(places, minlength=len(cuts[name]) + 1)[:-1]
            below[name] += np.cumsum(at)
    return below


def _thresholds(score: Test, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Where to cut: quantiles of the pilot, and both ends of either neighbour's."""
    ones, others = score(first), score(second)
    ends = [f(s) for f in (np.min, np.max) for s in (ones, others)]
    pooled = np.concatenate([ones, others])
    quantiles = np.quantile(pooled, _QUANTILES, method="inverted_cdf")
    return np.unique([*ends, *quantiles])


def _learned(test: Test, first: np.ndarray, second: np.ndarray) -> Test:
    """A test's scores as they are, or the best linear combination of its features."""
    ones, others = test(first), test(second)
    if ones.ndim == 1:
        return test
    # Features may be as small as the last bit: centred and scaled before all else.
    center = (ones.mean(0) + others.mean(0)) / 2
    ones, others = ones - center, others - center
    spread = np.sqrt(((ones**2).mean(0) + (others**2).mean(0)) / 2)
    scale = np.where(spread > 0, 1 / np.where(spread > 0, spread, 1.0), 0.0)
    ones, others = ones * scale, others * scale
    gap = ones.mean(0) - others.mean(0)
    within = np.cov(ones.T) + np.cov(others.T)
    ridge = 1e-9 * np.eye(len(gap))
    weights = scale * np.linalg.solve(np.atleast_2d(within) + ridge, gap)
    return lambda outputs: (test(outputs) - center) @ weights


def whole(outputs: np.ndarray) -> np.ndarray:
    """Features: every number of a release."""
    return outputs


def low_bits(outputs: np.ndarray, bits: int = 4) -> np.ndarray:
    """Features: the last bits of every number of a release, each 0 or 1.

    Args:
        outputs: float32 or float64 `(n, D)`.
        bits: how many of each.

    Returns:
        float64 array `(n, D * bits)`.
    """
    words = np.ascontiguousarray(outputs).view(f"<u{outputs.itemsize}")
    shifts = np.arange(bits, dtype=words.dtype)
    found = (words[..., None] >> shifts) & 1
    return found.reshape(len(outputs), -1).astype(np.float64)
