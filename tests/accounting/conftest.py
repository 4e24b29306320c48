"""Slow, obvious oracles, none of which knows dp-accounting."""

import dataclasses
import math
import pathlib
import sys
from collections.abc import Callable

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm

TESTS = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(TESTS / "support" / "report"))  # reads pages


def _solve(delta_at: Callable[[float], float], delta: float, high: float) -> float:
    """The epsilon at which a falling delta(epsilon) passes the target."""
    if delta_at(0.0) <= delta:
        return 0.0
    return brentq(lambda e: delta_at(e) - delta, 0.0, high, xtol=1e-12)


class Gaussian:
    """The analytic Gaussian mechanism, Balle and Wang 2018, theorem 8."""

    @staticmethod
    def delta(z: float, epsilon: float) -> float:
        return norm.cdf(0.5 / z - epsilon * z) - math.exp(
            epsilon + norm.logcdf(-0.5 / z - epsilon * z)
        )

    @classmethod
    def epsilon(cls, z: float, delta: float) -> float:
        return _solve(lambda e: cls.delta(z, e), delta, high=50 / z + 1 / z**2)


@dataclasses.dataclass(frozen=True)
class Mixture:
    """A mixture of two Gaussians on a line: what a unit's presence does to a sum.

    Args:
        q: chance that the unit is in the batch.
        shift: where its vector moves the sum, in units of the clipping norm.
        z: standard deviation of the noise in the same units.
    """

    q: float
    shift: float
    z: float

    def cdf(self, x):
        return (1 - self.q) * norm.cdf(x / self.z) + self.q * norm.cdf(
            (x - self.shift) / self.z
        )

    def logpdf(self, x):
        here, there = -0.5 * (x / self.z) ** 2, -0.5 * ((x - self.shift) / self.z) ** 2
        with np.errstate(divide="ignore"):
            mixed = np.logaddexp(np.log1p(-self.q) + here, np.log(self.q) + there)
        return mixed - math.log(self.z * math.sqrt(2 * math.pi))


def hockey_stick(p: Mixture, q: Mixture, epsilon: float) -> float:
    """The integral of max(0, p - e^epsilon q), by quadrature."""

    def gain(x):
        return p.logpdf(x) - q.logpdf(x) - epsilon

    def excess(x):
        return max(0.0, -math.exp(p.logpdf(x)) * math.expm1(-gain(x)))

    reach = 10 * p.z + 1
    if gain(-reach) * gain(reach) > 0:  # the excess has no kink inside
        return quad(excess, -reach, reach, epsabs=1e-15, limit=200)[0]
    kink = brentq(gain, -reach, reach, xtol=1e-14)
    sides = (-reach, kink), (kink, reach)
    return math.fsum(quad(excess, *s, epsabs=1e-15, limit=200)[0] for s in sides)


def _losses(p: Mixture, q: Mixture, width: float, up: bool) -> tuple[int, np.ndarray]:
    """The privacy loss of p against q as masses on a grid, each loss rounded up or
    down; the masses are differences of p's distribution function."""
    reach = 12 * p.z + abs(p.shift) + abs(q.shift)
    edges = np.linspace(-reach, reach, 400_001)
    loss = p.logpdf(edges) - q.logpdf(edges)
    ends = np.sort(np.stack([loss[:-1], loss[1:]]), axis=0)
    index = np.ceil(ends[1] / width) if up else np.floor(ends[0] / width)
    first = int(index.min())
    masses = np.bincount((index - first).astype(int), np.diff(p.cdf(edges)))
    return first, masses


class Composed:
    """Delta of several equal steps between two bounds, by convolution on a grid."""

    def __init__(self, p: Mixture, q: Mixture, steps: int, width: float = 2e-4):
        self.tables = []
        for up in (False, True):
            first, masses = _losses(p, q, width, up)
            size = steps * (len(masses) - 1) + 1
            spectrum = np.fft.rfft(masses, 1 << (size - 1).bit_length()) ** steps
            total = np.fft.irfft(spectrum)[:size]
            self.tables.append((width * (steps * first + np.arange(size)), total))

    def delta(self, epsilon: float) -> tuple[float, float]:
        """Lower and upper bound of delta at epsilon."""
        return tuple(
            float(np.sum(-np.expm1(epsilon - losses[more]) * masses[more]))
            for losses, masses in self.tables
            for more in [losses > epsilon]
        )

    def epsilon(self, delta: float) -> tuple[float, float]:
        """Lower and upper bound of epsilon at delta."""
        return tuple(
            _solve(lambda e, side=side: self.delta(e)[side], delta, high=500.0)
            for side in (0, 1)
        )


def poisson_pairs(q: float, z: float) -> list[tuple[Mixture, Mixture]]:
    """A unit taken away, and a unit added."""
    with_unit, without = Mixture(q, 1.0, z), Mixture(q, 0.0, z)
    return [(with_unit, without), (without, with_unit)]


def poisson_epsilon(q: float, z: float, steps: int, delta: float):
    """Lower and upper bound of the true epsilon of Poisson-subsampled Gaussians."""
    bounds = [Composed(*pair, steps).epsilon(delta) for pair in poisson_pairs(q, z)]
    return max(low for low, _ in bounds), max(high for _, high in bounds)


def fixed_size_epsilon(q: float, z: float, steps: int, delta: float) -> float:
    """A lower bound for batches of fixed size: one unit's vector is turned round.

    The true epsilon is at least that of this pair of data sets, in which all other
    units contribute nothing.
    """
    return Composed(Mixture(q, 1.0, z), Mixture(q, -1.0, z), steps).epsilon(delta)[0]


class Oracles:
    gaussian = Gaussian
    hockey_stick = staticmethod(hockey_stick)
    poisson_pairs = staticmethod(poisson_pairs)
    poisson_epsilon = staticmethod(poisson_epsilon)
    fixed_size_epsilon = staticmethod(fixed_size_epsilon)


@pytest.fixture(scope="session")
def oracle() -> type[Oracles]:
    return Oracles


@pytest.fixture
def spent():
    """A function that records uses of one mechanism in a new ledger."""
    from tfpriv.accounting import Ledger

    def record(mechanism, count=1, unit="example"):
        ledger = Ledger()
        ledger.record(mechanism, unit=unit, purpose="training", count=count)
        return ledger

    return record
