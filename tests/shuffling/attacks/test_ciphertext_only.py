"""Ciphertext only: the grid of a shared permutation is put together again."""

import numpy as np
import pytest
from scenes import PLACES, SIZE, moved, one_order, own_orders, smooth

from tfpriv.shuffling.attacks import orders
from tfpriv.shuffling.attacks.ciphertext_only import place_statistics, reassemble
from tfpriv.support.fidelity import fidelity

MIRRORS = [np.s_[:, :], np.s_[:, ::-1], np.s_[::-1], np.s_[::-1, ::-1]]


def best_agreement(truth, found):
    """Smooth noise looks the same in every mirror: the best of four."""
    grid = np.arange(PLACES).reshape(SIZE)
    return max(orders.agreement(truth, grid[m].ravel()[found]) for m in MIRRORS)


def strongest(statistics):
    """A place's correlation with the one that is most like it, on average.

    Of unrelated places it is about sqrt(2 log(places) / pictures).
    """
    others = statistics.correlation - 2 * np.eye(len(statistics.correlation))
    return float(others.max(axis=1).mean())


def test_statistics_against_numpy(rng):
    images = smooth(rng, 30, (3, 4))
    found = place_statistics(images)
    values = images.reshape(30, 12, 3).astype(float)
    values -= values.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(found.mean, values.mean(axis=0), atol=1e-3)
    np.testing.assert_allclose(found.variance, values.var(axis=0), rtol=1e-4)
    rows = np.concatenate(list((values - values.mean(axis=0)).transpose(2, 0, 1)))
    together = rows.T @ rows
    scale = np.sqrt(np.diag(together))
    np.testing.assert_allclose(
        found.correlation, together / scale / scale[:, None], atol=1e-4
    )


def test_flat_pictures_have_statistics():
    found = place_statistics(np.full((3, 4, 4, 3), 7, np.uint8))
    assert np.isfinite(found.correlation).all()
    with pytest.raises(ValueError, match="Received: shape"):
        place_statistics(np.zeros((1, 4, 4, 3), np.uint8))


def test_a_shared_permutation_is_found(rng):
    shuffled, order = one_order(rng, smooth(rng, 800))
    reference = place_statistics(smooth(rng, 800))
    statistics = place_statistics(shuffled)
    assert strongest(statistics) > 0.8
    found = reassemble(statistics, reference, SIZE)
    assert sorted(found) == list(range(PLACES))
    assert best_agreement(order, found) > 0.8


def test_shuffled_blocks_are_found_from_fewer(rng):
    plain = smooth(rng, 100)
    order = orders.block_order(*SIZE, 4, rng)
    shuffled = moved(plain, [order] * 100)
    reference = place_statistics(smooth(rng, 800))
    found = reassemble(place_statistics(shuffled), reference, SIZE, side=4)
    np.testing.assert_array_equal(found, order)  # in a mirror blocks would not fit


def test_orders_of_their_own_leave_nothing_to_find(rng):
    """Right by chance: one place a picture, the best of four below 3 % of places.

    Poisson with mean 200 over the last 200 pictures: 5 sd are 71; three times the mean
    is never seen.
    """
    plain = smooth(rng, 800)
    shuffled, truth = own_orders(rng, plain)
    statistics = place_statistics(shuffled)
    assert strongest(statistics) < 0.2  # 0.06, with sign; 2400 values for each place
    found = reassemble(statistics, place_statistics(smooth(rng, 800)), SIZE)
    assert best_agreement(truth[600:], found) < 3 / PLACES
    opened = orders.undo(shuffled[:50], found)
    assert fidelity(plain[:50], opened).ssim < 0.1
