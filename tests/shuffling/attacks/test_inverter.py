"""The learned inverter: learns a shared permutation, nothing of pictures' own."""

import numpy as np
import pytest
from scenes import SIZE, one_order, own_orders, smooth

from tfpriv.shuffling.attacks import inverter
from tfpriv.support.fidelity import fidelity, mean_colours

SMALL = (8, 8)


def test_a_shared_permutation_is_learned(rng):
    plain = smooth(rng, 320, SMALL)
    shuffled, order = one_order(rng, plain)
    matrix = inverter.linear_map(shuffled[:300], plain[:300])
    np.testing.assert_array_equal(matrix[:-1].argmax(axis=1), order)
    line = fidelity(plain[300:], inverter.linear(matrix)(shuffled[300:]))
    assert line.psnr > 30
    invert = inverter.network(shuffled[:300], plain[:300], matrix, epochs=1)
    assert fidelity(plain[300:], invert(shuffled[300:])).psnr > 25


def test_orders_of_their_own_teach_only_the_mean_colour(rng):
    plain = smooth(rng, 700, SMALL)
    shuffled, _ = own_orders(rng, plain)
    bound = fidelity(plain[600:], mean_colours(shuffled[600:])).psnr + 1
    matrix = inverter.linear_map(shuffled[:600], plain[:600])
    got = fidelity(plain[600:], inverter.linear(matrix)(shuffled[600:]))
    assert got.psnr < bound
    invert = inverter.network(shuffled[:600], plain[:600], matrix, epochs=1)
    assert fidelity(plain[600:], invert(shuffled[600:])).psnr < bound


def test_a_network_beats_its_start(rng):
    """From a map of half the strength: what it gets more, it has learned."""
    plain = smooth(rng, 420, SMALL)
    shuffled, order = one_order(rng, plain)
    half = np.zeros((65, 64), np.float32)
    half[np.arange(64), order] = 0.5
    start = fidelity(plain[400:], inverter.linear(half)(shuffled[400:])).psnr
    invert = inverter.network(shuffled[:400], plain[:400], half)
    assert fidelity(plain[400:], invert(shuffled[400:])).psnr > start + 3


def test_flat_pictures_do_no_harm():
    flat = np.full((4, *SIZE, 3), 9, np.uint8)
    matrix = inverter.linear_map(flat, flat)
    np.testing.assert_array_equal(inverter.linear(matrix)(flat), flat)


def test_pairs_that_are_none(rng):
    plain = smooth(rng, 3)
    for shuffled in (plain[:2], plain[:1]):
        with pytest.raises(ValueError, match="Received: shapes"):
            inverter.linear_map(shuffled, plain[: len(shuffled) % 2 * 3 or 1])
