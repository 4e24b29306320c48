"""Is this the noise that was promised? Statistical tests with one false-alarm rate."""

import itertools

import keras
import numpy as np
import tensorflow as tf
from scipy import stats

FALSE_ALARM = 1e-6  # of `assert_noise` as a whole, by Bonferroni


def zero(y_true, y_pred):
    """A loss whose gradient is zero, so that an update is nothing but noise."""
    return 0.0 * keras.ops.sum(y_pred, axis=-1)


def noisy_sum_with(draw):
    """`ops.noisy_sum` with other noise: a fault to plant.

    Args:
        draw: Function like `ops.gaussian_noise`.
    """

    def noisy_sum(total, key, *, step, stddev, scale=1.0, dtype="float32", stream=0):
        normal = draw(key, tf.shape(total), "float64", stream=stream)
        whole = tf.round(total / step) + tf.round(normal * stddev / step)
        if dtype == tf.int64:
            return tf.cast(whole, dtype)
        return tf.cast(whole * (step * scale), dtype)

    return noisy_sum


def wide():
    """A model with two large weights and two small ones: 263,168 values."""
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((2,)), layers.Dense(512, use_bias=False), layers.Dense(512)]
    )


class Updates(keras.callbacks.Callback):
    """Collects what each step added to the weights."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def on_train_batch_begin(self, batch, logs=None):
        self.before = self.model.get_weights()

    def on_train_batch_end(self, batch, logs=None):
        pairs = zip(self.model.get_weights(), self.before, strict=True)
        self.steps.append([after - before for after, before in pairs])


def assert_noise(steps, stddev):
    """Asserts independent normal noise of one standard deviation.

    Args:
        steps: List over steps of lists over variables of arrays.
        stddev: The standard deviation that each value must have.
    """
    names = [(i, j) for i, step in enumerate(steps) for j in range(len(step))]
    values = [np.ravel(steps[i][j]).astype("float64") / stddev for i, j in names]
    pairs = list(itertools.combinations(range(len(values)), 2))
    alarm = FALSE_ALARM / (4 * (len(values) + 1) + len(pairs))
    everything = np.concatenate(values)
    # Enough values for the variance test to find an error of 1 % in sigma.
    assert 1.1 * stats.norm.isf(alarm / 2) / np.sqrt(2 * len(everything)) < 0.01
    for name, x in zip(["all", *names], [everything, *values], strict=True):
        n = len(x)
        spread = np.sum(x**2)
        probability = 2 * min(stats.chi2.cdf(spread, n), stats.chi2.sf(spread, n))
        assert probability > alarm, f"{name}: sigma is off by {np.sqrt(spread / n)}"
        assert abs(np.mean(x)) * np.sqrt(n) < stats.norm.isf(alarm / 2), f"{name}: mean"
        assert stats.kstest(x, "norm").pvalue > alarm, f"{name}: not normal"
        largest = np.max(np.abs(x))  # all below `largest`: chance (1 - 2 sf) ** n
        low, high = alarm / 2, 1 - alarm / 2
        chance = np.exp(n * np.log1p(-2 * stats.norm.sf(largest)))
        assert low < chance, f"{name}: no extremes"
        assert chance < high or np.isclose(chance, 1.0, atol=alarm), f"{name}: extremes"
    for a, b in pairs:
        n = min(len(values[a]), len(values[b]))
        product = np.dot(values[a][:n], values[b][:n]) / np.sqrt(n)
        # Standard normal but for few values, where its tails are wider.
        limit = stats.norm.isf(alarm / 2) if n > 1e4 else -np.log(alarm)
        assert abs(product) < limit, f"{names[a]} and {names[b]} are correlated"
