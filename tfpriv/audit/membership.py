"""Was this example in the training data? Attacks on what a trained model tells.

An attack gives each example a score; the higher, the more it seems to have been in. How
good it is shows where few strangers are accused: the true-positive rate at a
false-positive rate of 1 % and less.

References:
    S. Yeom et al., "Privacy Risk in Machine Learning", CSF 2018: `-loss` as the score.
    N. Carlini et al., "Membership Inference Attacks From First Principles", S&P 2022:
    `likelihood_ratio`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from tfpriv.audit.claims import Claim
from tfpriv.audit.intervals import Estimate, clopper_pearson
from tfpriv.support.randomness import Randomness

LOW_RATES = (1e-3, 1e-2, 0.1)
_LEAST_SPREAD = 1e-6  # of statistics that are all alike

# From a boolean `(examples,)`, who is trained on, to a statistic of each example under
# the model that comes of it, `(examples,)`.
Training = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Roc:
    """How many members and strangers an attack accuses, at every threshold.

    Attributes:
        false: false-positive rates, rising from 0 to 1.
        true: true-positive rates beside them.
        members: how many there were.
        strangers: likewise.
    """

    false: np.ndarray
    true: np.ndarray
    members: int
    strangers: int

    @property
    def area(self) -> float:
        """Under the curve: 0.5 is guessing."""
        return float(np.trapezoid(self.true, self.false))

    @property
    def advantage(self) -> float:
        """The largest true-positive less false-positive rate.

        Its threshold is chosen afterwards, so that it is a little too large.
        """
        return float(np.max(self.true - self.false))

    def true_at(self, false_rate: float, level: float = 0.95) -> Estimate:
        """The true-positive rate where at most `false_rate` of strangers are accused.

        Args:
            false_rate: in [0, 1].
            level: of the Clopper-Pearson interval, for the threshold as it is.
        """
        at = np.searchsorted(self.false, false_rate, side="right") - 1
        rate = float(self.true[at])
        hits, miss = round(rate * self.members), (1 - level) / 2
        return Estimate(rate, *clopper_pearson(hits, self.members, miss), self.members)


def roc(members: np.ndarray, strangers: np.ndarray) -> Roc:
    """The curve of an attack.

    Args:
        members: scores of examples that were trained on, any number of them.
        strangers: scores of examples that were not.

    Raises:
        ValueError: if there are none of either, or scores are no numbers.
    """
    members, strangers = np.ravel(members), np.ravel(strangers)
    if not len(members) or not len(strangers):
        raise ValueError(
            "Expected scores of members and of strangers. Received: "
            f"{len(members)} and {len(strangers)}"
        )
    scores = np.concatenate([members, strangers]).astype(np.float64)
    if np.isnan(scores).any():
        raise ValueError(
            "Expected scores that are numbers. Received: "
            f"{np.isnan(scores).sum()} that are not"
        )
    order = np.argsort(-scores, kind="stable")
    member = np.arange(len(scores)) < len(members)
    last_of_its_score = np.append(np.diff(scores[order]) != 0, True)

    def rates(kind: np.ndarray) -> np.ndarray:
        accused = np.cumsum(kind[order])[last_of_its_score]
        return np.append(0.0, accused / kind.sum())

    return Roc(rates(~member), rates(member), len(members), len(strangers))


def logit_confidence(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The statistic that `likelihood_ratio` works best with: nearly normal.

    Args:
        probabilities: of the classes, `(examples, classes)`.
        labels: true classes, integer `(examples,)`.

    Returns:
        log p - log(1 - p) of the true class, `(examples,)`.
    """
    p = np.asarray(probabilities, np.float64)
    rows = np.arange(len(p))
    right = np.clip(p[rows, labels], 1e-30, None)
    others = p.copy()
    others[rows, labels] = 0  # 1 - p of it, without cancellation
    return np.log(right) - np.log(np.clip(others.sum(axis=1), 1e-30, None))


def likelihood_ratio(
    target: np.ndarray, shadows: np.ndarray, trained: np.ndarray
) -> np.ndarray:
    """LiRA: how much better the target's statistic fits models with the example.

    For each example, a normal distribution of the statistic is fitted to the shadow
    models that saw it and another to those that did not. With few shadows the spread is
    one for all examples, which is less wrong than many of two or three values each.

    Args:
        target: statistics under the attacked model, `(examples,)`.
        shadows: likewise under each shadow model, `(shadows, examples)`.
        trained: boolean `(shadows, examples)`, who saw what; each example was seen by
            one shadow at least, and not seen by one.

    Returns:
        Log-likelihood ratios, `(examples,)`: scores of the attack.

    Raises:
        ValueError: for shapes that do not fit, or examples that all or no shadows saw.
    """
    target = np.asarray(target, np.float64)
    shadows, trained = np.asarray(shadows, np.float64), np.asarray(trained, bool)
    if shadows.shape != trained.shape or shadows.shape[1:] != target.shape:
        raise ValueError(
            "Expected statistics (examples,), and (shadows, examples) twice. Received: "
            f"shapes {target.shape}, {shadows.shape} and {trained.shape}"
        )
    if (trained.all(axis=0) | ~trained.any(axis=0)).any():
        raise ValueError(
            "Each example must be seen by some shadow models, and not by others. "
            f"Received: {len(shadows)} shadows; train more of them"
        )
    inside = _log_density(target, shadows, trained)
    return inside - _log_density(target, shadows, ~trained)


def _log_density(target, shadows, used):
    """Of a normal distribution fitted to the shadows that are used, per example."""
    count = used.sum(axis=0)
    mean = np.where(used, shadows, 0).sum(axis=0) / count
    squares = np.where(used, (shadows - mean) ** 2, 0).sum(axis=0)
    if count.min() >= 16:
        variance = squares / (count - 1)
    else:
        variance = squares.sum() / max((count - 1).sum(), 1)
    spread = np.sqrt(np.maximum(variance, _LEAST_SPREAD**2))
    return stats.norm.logpdf(target, mean, spread)


def attack(training: Training, examples: int, shadows: int = 0) -> dict[str, Roc]:
    """Attacks a way of training: by the statistic alone, and by LiRA.

    Half of the examples, drawn by coins, train the target, and other halves each of the
    shadows, all by the same function. A shadow costs as much as the target.

    Args:
        training: function that trains on the examples for which its argument is true,
            and returns a statistic of each of them, the higher the better the model
            knows it: `-loss`, or `logit_confidence`.
        examples: how many there are.
        shadows: how many shadow models; some 16 for a fair attack, 0 for none.

    Returns:
        The curves: `"threshold"` of the statistic, and, with shadows, `"LiRA"`.
    """
    coins = Randomness()

    def run() -> tuple[np.ndarray, np.ndarray]:
        trained = np.zeros(examples, bool)
        trained[coins.bernoulli(0.5, examples)] = True
        return np.asarray(training(trained)), trained

    target, member = run()
    scores = {"threshold": target}
    if shadows:
        statistics, trained = map(
            np.array, zip(*(run() for _ in range(shadows)), strict=True)
        )
        told = trained.any(axis=0) & ~trained.all(axis=0)
        scores["LiRA"] = np.zeros(examples)  # where the shadows say nothing
        scores["LiRA"][told] = likelihood_ratio(
            target[told], statistics[:, told], trained[:, told]
        )
    return {name: roc(s[member], s[~member]) for name, s in scores.items()}


def plot(curves: dict[str, Roc], epsilon: float | None = None, delta: float = 0.0):
    """Draws curves on logarithmic axes, with what nobody passes.

    Args:
        curves: by name.
        epsilon: of the training; its ceiling is drawn, min(1, e^epsilon x + delta) and
            the same for strangers. `None` draws none.
        delta: of the training.

    Returns:
        `matplotlib.figure.Figure`: `savefig` writes it.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    lowest = min(0.1 / max(c.members, c.strangers) for c in curves.values())
    rates = np.geomspace(lowest, 1.0, 200)
    axes.plot(rates, rates, ":", color="grey", label="guessing")
    if epsilon is not None:
        claim = Claim.of_epsilon(epsilon, delta)
        ceiling = [1 - claim.least(1 - rate) for rate in rates]
        axes.plot(rates, ceiling, "--", color="black", label=f"epsilon = {epsilon:.3g}")
    for name, curve in curves.items():
        label = f"{name}, area {curve.area:.3f}"
        axes.plot(curve.false, curve.true, drawstyle="steps-post", label=label)
    axes.set(xscale="log", yscale="log", xlim=(lowest, 1), ylim=(lowest, 1))
    axes.set(xlabel="false-positive rate", ylabel="true-positive rate")
    axes.legend(loc="lower right")
    return figure
