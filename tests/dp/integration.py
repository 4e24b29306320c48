"""Epsilon of Gaussian mechanisms by formula and by numerical integration.

Independent of `tfpriv.accounting` and of `dp_accounting`: distributions of the privacy
loss on a fine grid, composed by convolution, straight from the definition.
"""

import numpy as np
from scipy import optimize, signal, special, stats

WIDTH = 2e-4  # of one bin of privacy loss


def gaussian(noise_multiplier, steps, delta):
    """Exact epsilon of `steps` Gaussians of sensitivity 1 (Balle and Wang, 2018)."""
    mu = np.sqrt(steps) / noise_multiplier

    def excess(epsilon):
        first = stats.norm.cdf(mu / 2 - epsilon / mu)
        second = np.exp(epsilon + stats.norm.logcdf(-mu / 2 - epsilon / mu))
        return first - second - delta

    return optimize.brentq(excess, 0, 1e4) if excess(0) > 0 else 0.0


def mixtures(p, q, noise_multiplier, steps, delta):
    """Epsilon between `steps` draws from one mixture of normals and from another.

    Args:
        p, q: Dicts from a mean to its weight; both normals have standard deviation
            `noise_multiplier`.
    """
    both = [_one_way(a, b, noise_multiplier, steps, delta) for a, b in ((p, q), (q, p))]
    return max(both)


def poisson(probability, noise_multiplier, steps, delta):
    """Epsilon of `steps` Poisson-sampled Gaussians, for one unit more or less."""
    with_unit = {1.0: probability, 0.0: 1 - probability}
    return mixtures(with_unit, {0.0: 1.0}, noise_multiplier, steps, delta)


def fixed_size(population, batch_size, noise_multiplier, steps, delta):
    """The bound for sampling without replacement of Wang, Balle and Kasiviswanathan.

    Theorem 9 of "Subsampled Renyi Differential Privacy and Analytical Moments
    Accountant" (2019) at integer orders, for noise in units of half the sensitivity.
    """
    gamma, best = batch_size / population, np.inf
    for order in range(2, 200):
        j = np.arange(2, order + 1)
        gaussian_rdp = j / (2 * (noise_multiplier / 2) ** 2)
        log_terms = j * np.log(gamma) + np.log(special.binom(order, j))
        log_terms += (j - 1) * gaussian_rdp + np.log(2)
        log_terms[0] += np.minimum(0, np.log(2 * -np.expm1(-gaussian_rdp[0])))
        rdp = np.logaddexp.reduce([0, *log_terms]) / (order - 1)
        conversion = np.log1p(-1 / order) - np.log(delta * order) / (order - 1)
        best = min(best, steps * rdp + conversion)
    return best


def _one_way(p, q, noise, steps, delta):
    x = np.arange(-14 * noise - 2, 14 * noise + 2, noise * 1e-4)
    loss = _log_density(p, noise, x) - _log_density(q, noise, x)
    mass = np.exp(_log_density(p, noise, x)) * (x[1] - x[0])
    low = np.floor(loss.min() / WIDTH)
    bins = np.round(loss / WIDTH - low).astype(int)
    one = np.bincount(bins, mass)
    total, start = np.ones(1), 0.0
    for _ in range(steps):
        total, start = signal.fftconvolve(total, one), start + low
    losses = (start + np.arange(len(total))) * WIDTH

    def excess(epsilon):
        above = losses > epsilon
        kept = -np.expm1(epsilon - losses[above])
        return float(np.sum(total[above] * kept)) - delta

    return optimize.brentq(excess, 0, losses[-1]) if excess(0) > 0 else 0.0


def _log_density(mixture, noise, x):
    parts = [
        np.log(weight) + stats.norm.logpdf(x, mean, noise)
        for mean, weight in mixture.items()
        if weight > 0
    ]
    return np.logaddexp.reduce(parts)
