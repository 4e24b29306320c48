"""Orders: against the obvious loop; blocks stay whole."""

import numpy as np
import pytest
from scenes import moved, own_orders, smooth

from tfpriv.shuffling.attacks import orders, wrong_keys


def test_against_a_loop(rng):
    images = smooth(rng, 4, (6, 5))
    shuffled, truth = own_orders(rng, images)
    np.testing.assert_array_equal(orders.apply(images, truth), shuffled)
    np.testing.assert_array_equal(orders.undo(shuffled, truth), images)
    np.testing.assert_array_equal(
        orders.apply(images, truth[0]), moved(images, [truth[0]] * 4)
    )
    assert orders.agreement(truth, truth) == 1
    assert orders.agreement(truth, np.roll(truth, 1, axis=1)) == 0


def test_blocks_stay_whole(rng):
    order = orders.block_order(8, 12, 4, rng)
    assert sorted(order) == list(range(96))
    rows, columns = np.divmod(order.reshape(8, 12), 12)
    for y in range(0, 8, 4):
        for x in range(0, 12, 4):
            block = np.s_[y : y + 4, x : x + 4]
            top, left = rows[y, x], columns[y, x]
            assert top % 4 == left % 4 == 0
            np.testing.assert_array_equal(rows[block] - top, np.mgrid[:4, :4][0])
            np.testing.assert_array_equal(columns[block] - left, np.mgrid[:4, :4][1])


@pytest.mark.parametrize("side", [0, 5])
def test_blocks_that_do_not_fill(rng, side):
    with pytest.raises(ValueError, match=r"fill the picture. Received: side="):
        orders.block_order(8, 12, side, rng)


@pytest.mark.parametrize("share", [0, 0.5, 0.9, 0.99, 1])
def test_nearly_right_is_as_right_as_it_says(rng, share):
    truth = np.stack([rng.permutation(200) for _ in range(3)])
    near = wrong_keys.nearly_right(truth, share, rng)
    np.testing.assert_array_equal(np.sort(near), np.sort(truth))
    assert orders.agreement(truth, near) == pytest.approx(share)
    assert wrong_keys.nearly_right(truth[0], share, rng).shape == (200,)


def test_one_place_alone_cannot_be_wrong(rng):
    assert (
        wrong_keys.nearly_right(np.arange(10), 0.9, rng) != np.arange(10)
    ).sum() == 2


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_no_share(rng, share):
    with pytest.raises(ValueError, match="Received: share="):
        wrong_keys.nearly_right(np.arange(10), share, rng)
