"""Known plaintext: a shared permutation falls, one of each picture's own does not."""

import numpy as np
import pytest
from scenes import PLACES, moved, one_order, own_orders, smooth

from tfpriv.shuffling.attacks import orders
from tfpriv.shuffling.attacks.known_plaintext import recover_order
from tfpriv.support.fidelity import fidelity


def test_distinct_colours_need_one_pair(rng):
    plain = np.arange(PLACES, dtype=np.uint8).reshape(1, 12, 12, 1)
    shuffled, order = one_order(rng, plain)
    found = recover_order(plain, shuffled, rng)
    np.testing.assert_array_equal(found.order, order)
    assert (found.certain, found.pairs) == (1, 1)


def test_the_identity_is_a_permutation_too(rng):
    plain = smooth(rng, 4)
    found = recover_order(plain, plain, rng)
    np.testing.assert_array_equal(found.order, np.arange(PLACES))


def test_an_unseen_picture_comes_back(rng):
    plain = smooth(rng, 12)
    shuffled, order = one_order(rng, plain)
    one = recover_order(plain[:1], shuffled[:1], rng)
    few = recover_order(plain[:8], shuffled[:8], rng)
    assert one.certain > 0.8  # of places, in 3-channel pictures of 144
    assert fidelity(plain[8:], orders.undo(shuffled[8:], one.order)).psnr > 20
    np.testing.assert_array_equal(few.order, order)
    assert (few.certain, few.pairs) == (1, 8)


def test_further_pairs_settle_what_one_leaves_open(rng):
    plain = np.zeros((2, 12, 12, 1), np.uint8)
    plain[0, :, :, 0] = np.arange(12)  # every column has one colour
    plain[1, :, :, 0] = np.arange(12)[:, None]
    shuffled, order = one_order(rng, plain)
    one = recover_order(plain[:1], shuffled[:1], rng)
    assert one.certain == 0
    np.testing.assert_array_equal(one.order % 12, order % 12)  # the column is sure
    assert orders.agreement(order, one.order) < 0.5  # 12 of 144 by chance, sd 3.4
    two = recover_order(plain, shuffled, rng)
    assert two.certain == 1
    np.testing.assert_array_equal(two.order, order)


def test_guesses_are_even(rng):
    """A flat picture: guesses are uniform. Chi-square with 5 degrees, 1e-6 alarms."""
    flat = np.zeros((1, 3, 1, 1), np.uint8)
    found = [tuple(recover_order(flat, flat, rng).order) for _ in range(1200)]
    _, counts = np.unique(found, axis=0, return_counts=True)
    assert len(counts) == 6
    assert ((counts - 200) ** 2 / 200).sum() < 36.0


def test_blocks_fall_to_one_pair(rng):
    plain = smooth(rng, 3)
    order = orders.block_order(12, 12, 4, rng)
    shuffled = moved(plain, [order] * 3)
    found = recover_order(plain[:1], shuffled[:1], rng, side=4)
    np.testing.assert_array_equal(found.order, order)


def test_orders_of_their_own_tell_nothing_of_others(rng):
    """Right by chance: one place a picture, Poisson; 40 of 20 pictures: below 1e-4."""
    plain = smooth(rng, 36)
    shuffled, truth = own_orders(rng, plain)
    found = recover_order(plain[:16], shuffled[:16], rng)
    assert found.pairs == 1  # and it says so
    opened = orders.undo(shuffled, found.order)
    assert fidelity(plain[:1], opened[:1]).psnr > 20  # the known picture comes back
    assert orders.agreement(truth[16:], found.order) * 20 * PLACES < 40
    got = fidelity(plain[16:], opened[16:])
    left = fidelity(plain[16:], shuffled[16:])
    assert got.ssim < 0.1
    assert abs(got.psnr - left.psnr) < 1


def test_wrong_pairs(rng):
    plain = smooth(rng, 2)
    with pytest.raises(ValueError, match="colours differ"):
        recover_order(plain[:1], plain[1:], rng)
    with pytest.raises(ValueError, match="Received: shapes"):
        recover_order(plain, plain[:1], rng)
