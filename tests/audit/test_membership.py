"""Membership inference: curves against a slow oracle, LiRA on games with an answer."""

import numpy as np
import pytest
from scipy import stats

from tfpriv.audit import membership


def slow_rates(members, strangers):
    """Every threshold, one after the other."""
    cuts = [np.inf, *sorted({*members, *strangers}, reverse=True)]
    return (
        [np.mean(np.asarray(strangers) >= cut) for cut in cuts],
        [np.mean(np.asarray(members) >= cut) for cut in cuts],
    )


@pytest.mark.parametrize("ties", [False, True])
def test_curves_against_every_threshold(rng, ties):
    members, strangers = rng.normal(1, 1, 60), rng.normal(0, 1, 45)
    if ties:
        members, strangers = members.round(), strangers.round()
    curve = membership.roc(members, strangers)
    false, true = slow_rates(members, strangers)
    np.testing.assert_allclose(curve.false, false)
    np.testing.assert_allclose(curve.true, true)
    wins = np.mean(
        (members[:, None] > strangers) + 0.5 * (members[:, None] == strangers)
    )
    assert curve.area == pytest.approx(wins)
    assert curve.advantage == pytest.approx(np.max(np.subtract(true, false)))


def test_rates_at_few_false_positives():
    curve = membership.roc(np.arange(50, 150), np.arange(100))
    low = curve.true_at(0.0)
    assert low.value == 0.5  # 100 to 149 are above all strangers
    assert low.low < 0.5 < low.high
    assert curve.true_at(0.1).value == 0.6
    assert curve.true_at(1.0).value == 1.0
    assert low.count == 100


def test_scores_without_knowledge_are_on_the_diagonal(rng):
    curve = membership.roc(rng.normal(size=5000), rng.normal(size=5000))
    assert abs(curve.area - 0.5) < 0.05
    assert curve.true_at(0.01).value < 0.03


def test_curves_need_both_kinds():
    with pytest.raises(ValueError, match="0 and 3"):
        membership.roc([], [1, 2, 3])
    with pytest.raises(ValueError, match="1 that are not"):
        membership.roc([np.nan], [1])


def test_confidence_of_the_true_class():
    logits = np.array([[2.0, 0.0, -1.0], [50.0, 0.0, 0.0]])
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = membership.logit_confidence(p, np.array([0, 0]))
    assert found[0] == pytest.approx(np.log(p[0, 0] / (1 - p[0, 0])))
    assert found[1] == pytest.approx(50 - np.log(2))  # 1 - p is 0 in float64
    assert np.isfinite(membership.logit_confidence(np.eye(2), np.array([0, 1]))).all()


def game(rng, examples, level, lift=1.0):
    """A training whose statistic is each example's own level, noise, and a lift."""

    def training(trained):
        return level + lift * trained + 0.3 * rng.normal(size=examples)

    return training


def test_likelihood_ratio_against_its_definition(rng):
    shadows = rng.normal(size=(40, 3))
    trained = rng.permuted(
        np.repeat([[True], [False]], 20, axis=0).repeat(3, 1), axis=0
    )
    target = rng.normal(size=3)
    found = membership.likelihood_ratio(target, shadows, trained)
    for i in range(3):
        ins, outs = shadows[trained[:, i], i], shadows[~trained[:, i], i]
        expected = stats.norm.logpdf(target[i], ins.mean(), ins.std(ddof=1))
        expected -= stats.norm.logpdf(target[i], outs.mean(), outs.std(ddof=1))
        assert found[i] == pytest.approx(expected)


@pytest.mark.parametrize("shadows", [8, 64])
def test_lira_sees_through_examples_that_are_hard_for_all(rng, shadows):
    """Levels differ by ten times what training changes: a threshold sees little."""
    level = rng.normal(0, 10, 800)
    curves = membership.attack(game(rng, 800, level), 800, shadows)
    assert curves["threshold"].area < 0.6
    assert curves["LiRA"].area > 0.9
    assert curves["LiRA"].true_at(0.01).value > 0.3


def test_nothing_is_found_where_nothing_is(rng):
    curves = membership.attack(game(rng, 2000, rng.normal(size=2000), 0.0), 2000, 8)
    for curve in curves.values():
        assert abs(curve.area - 0.5) < 0.08


def test_planted_scores_that_know_the_target_are_not_mistaken(rng):
    """Shadows swapped for each other: LiRA must then find nothing."""
    level = np.zeros(800)
    run = game(rng, 800, level)
    trained = rng.random((32, 800)) < 0.5
    statistics = np.array([run(who) for who in trained])
    member = rng.random(800) < 0.5
    target = run(member)
    right = membership.likelihood_ratio(target, statistics, trained)
    wrong = membership.likelihood_ratio(target, statistics, ~trained)
    assert membership.roc(right[member], right[~member]).area > 0.9
    assert membership.roc(wrong[member], wrong[~member]).area < 0.1


def test_lira_needs_shadows_of_both_kinds():
    with pytest.raises(ValueError, match="train more"):
        membership.likelihood_ratio(np.zeros(2), np.zeros((2, 2)), np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"shapes \(2,\), \(3, 4\)"):
        membership.likelihood_ratio(np.zeros(2), np.zeros((3, 4)), np.ones((3, 4)))


def test_a_plot_shows_curves_and_ceiling(rng, tmp_path):
    curve = membership.roc(rng.normal(1, 1, 100), rng.normal(size=100))
    figure = membership.plot({"threshold": curve}, epsilon=1.0, delta=1e-5)
    figure.savefig(tmp_path / "roc.png")
    assert (tmp_path / "roc.png").stat().st_size > 1000
    (axes,) = figure.axes
    assert axes.get_xscale() == axes.get_yscale() == "log"
    ceiling = axes.lines[1]
    x, y = ceiling.get_xdata(), ceiling.get_ydata()
    expected = np.minimum(np.e * x + 1e-5, 1 - (1 - 1e-5 - x) / np.e)
    np.testing.assert_allclose(y, np.minimum(expected, 1))
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names[1] == "epsilon = 1"
    assert names[2].startswith("threshold, area 0.")
