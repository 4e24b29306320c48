"""What training shows: exact figures are labelled, private ones are paid for."""

import keras
import numpy as np
import pytest
import small
import tensorflow as tf
from scipy import stats

import tfpriv.dp as dp
from tfpriv.dp import fitting, private_loss

Z = 2.0


def model_with_losses(**options):
    """The loss of an example is its `y`, whatever the weights."""
    model = dp.make_private(small.plain(), private_metrics=True, **options)

    def itself(y_true, y_pred):
        return keras.ops.sum(y_true + 0.0 * y_pred, axis=-1)

    return small.compiled(model, small.sgd(noise_multiplier=Z), loss=itself)


def shown(model, sampler, **options):
    return model.fit(sampler, verbose=0, **options).history


def everybody(y, **options):
    x = np.ones((len(y), 3), "float32")
    return dp.PoissonSampler((x, np.reshape(y, (-1, 1))), len(y), **options)


class Losses(keras.callbacks.Callback):
    """The noised sum of losses of each step, from the running mean that is shown."""

    def __init__(self):
        super().__init__()
        self.means = []

    def on_train_batch_end(self, batch, logs=None):
        self.means.append(logs["private_loss"])

    def sums(self, divisor):
        totals = np.arange(1, len(self.means) + 1) * np.array(self.means)
        return np.diff(totals, prepend=0.0) * divisor


def test_only_the_noised_loss_is_shown():
    model = small.private(private_metrics=True)
    small.compiled(model, metrics=["mae"])
    history = model.fit(*small.data(8), batch_size=4, epochs=2, verbose=0)
    assert set(history.history) == {"private_loss", "epsilon"}
    assert history.not_covered_by_epsilon == ()


def test_the_statement_says_that_it_is_covered():
    model = small.private(private_metrics=True)
    model.fit(*small.data(8), verbose=0)
    assert "Note: epsilon covers private_loss, too." in model.privacy.statement()


def test_evaluate_and_validation_show_ordinary_figures():
    model = small.private(private_metrics=True)
    small.compiled(model, metrics=["mae"])
    public = small.data(8)
    history = model.fit(
        *small.data(8), batch_size=4, validation_data=dp.Public(public), verbose=0
    )
    keys = {"private_loss", "epsilon", "val_loss", "val_mae"}
    assert set(history.history) == keys
    figures = model.evaluate(*public, return_dict=True, verbose=0)
    assert set(figures) == {"loss", "mae"}


def test_train_on_batch_shows_it_too():
    model = small.private(private_metrics=True, max_occurrences=1)
    logs = model.train_on_batch(*small.data(4), return_dict=True)
    assert set(logs) == {"private_loss"}


def test_noise_on_the_loss_is_what_the_event_says():
    """Sums have standard deviation 10 z times the bound of 10: false alarm 1e-6."""
    model, losses = model_with_losses(), Losses()
    sampler = everybody([1.0, 2.0, 3.0], steps_per_epoch=800)
    shown(model, sampler, callbacks=[losses])
    sums = (losses.sums(3) - 6.0) / (10 * Z * 10)
    assert len(sums) == 800
    spread = np.sum(sums**2)
    tails = stats.chi2.cdf(spread, 800), stats.chi2.sf(spread, 800)
    assert min(tails) > 1e-6 / 6
    assert abs(np.mean(sums)) * np.sqrt(800) < stats.norm.isf(1e-6 / 6)
    lagged = np.dot(sums[1:], sums[:-1]) / np.sqrt(799)
    assert abs(lagged) < stats.norm.isf(1e-6 / 6)


@pytest.fixture
def without_noise(monkeypatch):
    """Shows the exact sum below the noise."""
    monkeypatch.setattr(private_loss, "LOSS_NOISE_RATIO", 0.0)
    monkeypatch.setattr(fitting, "step_noise_multiplier", lambda model: Z)


@pytest.mark.usefixtures("without_noise")
def test_each_loss_is_bounded():
    history = shown(model_with_losses(), everybody([1.0, 500.0, -3.0, np.nan, np.inf]))
    assert history["private_loss"][0] == pytest.approx((1 + 10 + 0 + 0 + 0) / 5)


@pytest.mark.usefixtures("without_noise")
def test_a_group_moves_the_loss_by_no_more_than_the_bound():
    y = np.array([10.0] * 100 + [1.0, 3.0, 4.0])
    groups = [0] * 100 + [1, 1, 2]
    sampler = dp.PoissonSampler(
        (np.ones((103, 3), "float32"), y.reshape(-1, 1)),
        3,
        groups=groups,
        max_examples_per_group=100,
        steps_per_epoch=1,
    )
    history = shown(model_with_losses(unit="person", microbatch_size=7), sampler)
    # 10 for the hundred pictures together, then the mean of two, then one.
    assert history["private_loss"][0] == pytest.approx((10 + 2 + 4) / 3)


def test_without_private_metrics_everything_is_labelled(tmp_path, capsys):
    board = dp.TensorBoard(tmp_path)
    model = small.private()
    small.compiled(model, metrics=["mae", keras.metrics.MeanSquaredError("mse")])
    history = model.fit(
        *small.data(8),
        batch_size=4,
        validation_data=dp.Public(small.data(4)),
        callbacks=[board],
        verbose=2,
    )
    assert set(history.not_covered_by_epsilon) == {"loss", "mae", "mse"}
    assert "loss, mae, mse: not covered by epsilon" in capsys.readouterr().out
    (events,) = (tmp_path / "train").glob("events*")
    texts = [
        value.tensor.string_val[0].decode()
        for event in tf.compat.v1.train.summary_iterator(str(events))
        for value in event.summary.value
        if value.tag == "privacy"
    ]
    assert len(texts) == 1
    assert "not covered by epsilon" in texts[0]
