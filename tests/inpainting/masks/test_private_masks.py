"""Private masks: drawn as the theorem says, written down first, nothing beyond it."""

import itertools
import math
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tfpriv.accounting import Journal, Ledger, LedgerError
from tfpriv.inpainting import private_patches
from tfpriv.inpainting.masks import private as private_masks
from tfpriv.inpainting.masks.geometric import aligned_region
from tfpriv.support.randomness import Randomness

GRID, COUNT, EPSILON = 3, 3, 6.0  # epsilon / 2 of a draw is 1: weights from 1 to e
REGION = np.zeros((GRID, GRID), bool)
REGION[1, 1] = True
SCORES = np.array([0.0, 0.1, 0.3, 0.5, 0.6, 0.8, 0.9, 1.0])
WILD = np.array([-2.0, 0.1, 0.3, np.nan, 0.6, 0.8, 1.7, np.inf])
FALSE_ALARM, CAUGHT = 1e-3, 1e-6
scores_of_8 = st.lists(st.floats(0, 1), min_size=8, max_size=8).map(np.array)


def blank(count, size=GRID):
    return np.zeros((count, size, size, 3), np.uint8)


def on_grid(scores, count=1):
    """Scores (8,) around the region, of so many pictures."""
    values = np.zeros((count, GRID, GRID))
    values[:, ~REGION] = scores
    return values


def masks_of(scores, pictures=1, **options):
    options = {"epsilon": EPSILON, "region": REGION, "count": COUNT} | options
    options = {"ledger": Ledger()} | options
    return private_patches(blank(pictures), on_grid(scores, pictures), **options)


# The distribution.


def oracle(scores, count=COUNT, epsilon=EPSILON):
    """The chance of every set of patches, by walking through all orders."""
    scores = [min(max(s, 0.0), 1.0) if s == s else 0.0 for s in scores]
    weight = [math.exp(epsilon / count * s / 2) for s in scores]
    chances = {}
    for order in itertools.permutations(range(len(scores)), count):
        chance, left = 1.0, sum(weight)
        for patch in order:
            chance *= weight[patch] / left
            left -= weight[patch]
        chances[frozenset(order)] = chances.get(frozenset(order), 0.0) + chance
    return chances


def p_value(scores, releases=8000):
    """Of a chi-square test of what is drawn against the oracle."""
    chances = oracle(scores)
    masks = masks_of(scores, releases)
    assert masks[:, REGION].all()
    found = dict.fromkeys(chances, 0)
    for mask in masks[:, ~REGION]:
        drawn = frozenset(np.flatnonzero(mask).tolist())
        if drawn not in found:
            return 0.0
        found[drawn] += 1
    expected = releases * np.array(list(chances.values()))
    assert len(expected) == 56
    assert expected.min() >= 5
    return stats.chisquare(list(found.values()), expected).pvalue


@pytest.mark.parametrize("scores", [SCORES, WILD], ids=["tame", "wild"])
def test_patches_are_drawn_by_the_exponential_mechanism(scores):
    """False alarm 1e-3 for each of the two, in a run with `--fresh`."""
    assert p_value(scores) > FALSE_ALARM


def not_clipped(scores, epsilon):
    scores = np.clip(np.nan_to_num(scores), -5, 5)
    return [int(2**40 * math.exp(epsilon / 2 * s)) for s in scores]


def not_halved(scores, epsilon):
    return TRUE_WEIGHTS(scores, 2 * epsilon)


def with_replacement(scores, epsilon, count, randomness):
    drawn = [TRUE_DRAW(scores, epsilon, 1, randomness) for _ in range(count)]
    return np.any(drawn, 0)


TRUE_WEIGHTS, TRUE_DRAW = private_masks.weights, private_masks.draw


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("weights", not_clipped),
        ("weights", not_halved),
        ("draw", with_replacement),
    ],
)
def test_a_planted_fault_in_the_draws_is_caught(name, fault, monkeypatch):
    monkeypatch.setattr(private_masks, name, fault)
    assert p_value(WILD, 4000) < CAUGHT


# The theorem.


def exact(scores, epsilon, count):
    """The chance of every set, in fractions, by the code's own weights."""
    weight = private_masks.weights(scores, epsilon)
    chances = {}
    for order in itertools.permutations(range(len(scores)), count):
        chance, left = Fraction(1), sum(weight)
        for patch in order:
            chance *= Fraction(weight[patch], left)
            left -= weight[patch]
        chances[frozenset(order)] = chances.get(frozenset(order), 0) + chance
    return chances


def largest_ratio(one, other, epsilon, count):
    here, there = exact(one, epsilon, count), exact(other, epsilon, count)
    return max(max(here[s] / there[s], there[s] / here[s]) for s in here)


def power_of_e(exponent):
    with localcontext(prec=60):
        return Fraction(Decimal(exponent).exp())


@settings(max_examples=10, deadline=None)
@given(scores_of_8, scores_of_8, st.floats(0.01, 10), st.integers(1, 2))
def test_any_two_pictures_are_epsilon_apart_at_most(one, other, epsilon, count):
    assert largest_ratio(one, other, epsilon, count) <= power_of_e(epsilon * count)


ONE_HIGH = np.array([1.0] + [0.0] * 7)


def test_epsilon_is_nearly_reached_and_without_the_half_it_is_passed(monkeypatch):
    """The patch that is best for one picture and worst for its neighbour."""
    bound = power_of_e(4.0)
    ratio = largest_ratio(ONE_HIGH, 1 - ONE_HIGH, 4.0, 1)
    assert bound / 4 < ratio <= bound
    monkeypatch.setattr(private_masks, "weights", not_halved)
    assert largest_ratio(ONE_HIGH, 1 - ONE_HIGH, 4.0, 1) > bound


def test_scores_that_are_not_clipped_pass_epsilon(monkeypatch):
    monkeypatch.setattr(private_masks, "weights", not_clipped)
    ratio = largest_ratio(5 * ONE_HIGH, -5 * ONE_HIGH, 1.0, 1)
    assert ratio > power_of_e(1.0)


@pytest.mark.parametrize("epsilon", [1e-13, 1e-3, 0.1, 1.0, 5.0, 19.9, 20.0])
def test_weights_stay_within_exp_of_half_epsilon(epsilon):
    found = private_masks.weights(np.array([np.nan, -1, 0, 0.5, 1, 9, np.inf]), epsilon)
    assert min(found) == found[0] == found[1] == found[2]
    assert found[4] == found[5] == found[6] == max(found)
    assert Fraction(max(found), min(found)) ** 2 <= power_of_e(epsilon)
    assert max(found) / min(found) >= math.exp(epsilon / 2) * (1 - 1e-11)


# The ledger.


@pytest.mark.parametrize(("count", "epsilon"), [(1, 0.5), (3, 6.0), (8, 2.0)])
def test_the_ledgers_epsilon_is_the_sum(count, epsilon):
    ledger = Ledger()
    masks_of(SCORES, ledger=ledger, count=count, epsilon=epsilon)
    assert len(ledger) == count
    assert ledger.epsilon(delta=0) == pytest.approx(epsilon, rel=1e-9)
    assert ledger.epsilon(delta=0) >= epsilon * (1 - 1e-12)


@pytest.mark.parametrize(("distinct", "events"), [(False, 15), (True, 3)])
def test_pictures_of_one_person_add_up(distinct, events):
    ledger = Ledger()
    masks_of(SCORES, 5, ledger=ledger, distinct_persons=distinct)
    assert len(ledger) == events


def what_comes_first(monkeypatch, release):
    """What a release does first: it writes ("ledger"), or draws ("randomness")."""
    log, words, record = [], Randomness.words, Ledger.record

    def spied_words(self, count):
        log.append("randomness")
        return words(self, count)

    def spied_record(self, *args, **kwargs):
        log.append("ledger")
        return record(self, *args, **kwargs)

    monkeypatch.setattr(Randomness, "words", spied_words)
    monkeypatch.setattr(Ledger, "record", spied_record)
    release()
    assert {"ledger", "randomness"} <= set(log)
    return log[0]


def test_the_ledger_is_written_before_the_first_draw(monkeypatch):
    assert what_comes_first(monkeypatch, lambda: masks_of(SCORES)) == "ledger"


def test_a_ledger_written_afterwards_is_caught(monkeypatch):
    spend, late = private_masks.recording.spend, []

    def fault():
        masks_of(SCORES)
        args, kwargs = late.pop()
        spend(*args, **kwargs)

    monkeypatch.setattr(
        private_masks.recording, "spend", lambda *a, **k: late.append((a, k))
    )
    assert what_comes_first(monkeypatch, fault) == "randomness"


def test_nothing_is_drawn_where_nothing_can_be_recorded(monkeypatch):
    ledger = Ledger()
    masks_of(SCORES, ledger=ledger)
    monkeypatch.setattr(Randomness, "key", lambda self: pytest.fail("it has drawn"))
    with pytest.raises(LedgerError, match="different units"):
        masks_of(SCORES, ledger=ledger, region=REGION | np.eye(GRID, dtype=bool))
    with pytest.raises(ValueError, match="Received: ledger=None"):
        masks_of(SCORES, ledger=None)
    assert len(ledger) == COUNT


def test_a_journal_has_it_on_the_disk(tmp_path):
    with Journal(tmp_path / "spent") as journal:
        masks_of(SCORES, ledger=journal)
        with pytest.raises(ValueError, match="a seed and a Journal"):
            masks_of(SCORES, ledger=journal, seed=1)
    with Journal(tmp_path / "spent") as journal:
        assert journal.epsilon(delta=0) == pytest.approx(EPSILON, rel=1e-9)


def test_a_seed_is_for_tests():
    ledger = Ledger()
    one, other = (masks_of(SCORES, 4, ledger=ledger, seed=7) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert not ledger.releasable


# What is covered.


def test_the_region_and_so_many_patches_are_covered(rng):
    scores = rng.uniform(size=(2, 16, 16))
    found = private_patches(blank(2, 64), scores, epsilon=1.0, ledger=Ledger())
    region = aligned_region().repeat(4, 0).repeat(4, 1)
    assert found.shape == (2, 64, 64)
    assert found[:, region].all()
    patches = found.reshape(2, 16, 4, 16, 4)
    np.testing.assert_array_equal(patches.any((2, 4)), patches.all((2, 4)))
    assert (patches.all((2, 4)).sum((1, 2)) == aligned_region().sum() + 48).all()


def test_what_the_region_holds_does_not_matter(rng):
    """For equal scores: the mask sees of a picture nothing else."""
    one = rng.integers(0, 256, (1, 48, 48, 3), np.uint8)
    other = one.copy()
    inside = aligned_region().repeat(3, 0).repeat(3, 1)
    other[0, inside] = rng.integers(0, 256, other[0, inside].shape)
    scores = rng.uniform(size=(1, 16, 16))
    found = [
        np.where(mask[..., None], 128, picture)
        for picture in (one, other)
        for mask in private_patches(
            picture, scores, epsilon=1.0, ledger=Ledger(), seed=1
        )
    ]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"epsilon": 0.0}, "epsilon=0.0"),
        ({"epsilon": 61.0}, "epsilon=61.0"),
        ({"epsilon": math.nan}, "epsilon=nan"),
        ({"count": 0}, "count=0"),
        ({"count": 9}, "count=9, 8 patches outside"),
        ({"region": REGION.astype(int)}, "int64"),
        ({"region": REGION[:2]}, "shape"),
    ],
)
def test_what_is_out_of_range_is_named(options, text):
    ledger = Ledger()
    with pytest.raises(ValueError, match=f"Received: .*{text}"):
        masks_of(SCORES, ledger=ledger, **options)
    assert not len(ledger)


@pytest.mark.parametrize("shape", [(2, 3, 3), (3, 3, 4), (3, 4, 3), (3, 3), ()])
def test_scores_must_fit(shape):
    with pytest.raises(ValueError, match="one score for each patch"):
        private_patches(blank(3), np.zeros(shape), epsilon=1.0, ledger=Ledger())


def test_patches_must_be_whole():
    ledger = Ledger()
    with pytest.raises(ValueError, match="size=10, grid=3"):
        private_patches(
            blank(1, 10),
            on_grid(SCORES),
            epsilon=1,
            ledger=ledger,
            count=1,
            region=REGION,
        )
    assert not len(ledger)


# What is not hidden.


def missed(chances, differing):
    return sum(p for drawn, p in chances.items() if not differing <= drawn)


@pytest.mark.parametrize("patches", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("count", [3, 5])
def test_the_worst_delta_is_reached_at_the_worst_scores(patches, count):
    worst = np.arange(8) >= patches
    chances = oracle(worst.astype(float), count)
    found = private_masks.worst_delta(patches, 8, count, EPSILON)
    expected = missed(chances, frozenset(range(patches)))
    assert found == pytest.approx(expected, abs=1e-9)


@settings(max_examples=15, deadline=None)
@given(scores_of_8, st.integers(1, 3))
def test_no_scores_are_worse(scores, patches):
    worst = private_masks.worst_delta(patches, 8, COUNT, EPSILON)
    assert missed(oracle(scores), frozenset(range(patches))) <= worst + 1e-9


def test_a_region_of_nine_patches_shows():
    """Under 48 of 64 patches drawn evenly: 0.94; by scores, more."""
    evenly = 1 - math.comb(55, 39) / math.comb(64, 48)
    found = private_masks.worst_delta(9, 64, 48, 1e-9)
    assert found == pytest.approx(evenly, abs=1e-6)
    assert round(found, 2) == 0.94
    assert found < private_masks.worst_delta(9, 64, 48, 10.0) < 1


def test_nothing_is_claimed_above_a_thousandth():
    text = private_masks.statement(REGION, COUNT, EPSILON, 2)
    assert "(6, 0)-indistinguishable" in text
    assert "1 of 9 patches" in text
    assert "nothing is claimed" in text
    assert "nothing is claimed" not in private_masks.statement(REGION, 8, EPSILON, 2)
