"""Histograms: the same in every order; pictures are found by them, classes guessed."""

import numpy as np
import pytest
from scenes import own_orders, smooth

from tfpriv.shuffling.attacks import histograms


def test_no_order_changes_them(rng):
    plain = smooth(rng, 10)
    shuffled, _ = own_orders(rng, plain)
    of_plain = histograms.colour_histograms(plain)
    np.testing.assert_array_equal(of_plain, histograms.colour_histograms(shuffled))
    np.testing.assert_allclose(of_plain.sum(axis=1), 1, rtol=1e-6)


def test_by_hand():
    picture = np.zeros((1, 1, 4, 3), np.uint8)
    picture[0, 0, 1] = 255
    picture[0, 0, 2] = [0, 0, 128]
    counts = histograms.colour_histograms(picture, levels=2)
    np.testing.assert_allclose(counts[0], [0.5, 0.25, 0, 0, 0, 0, 0, 0.25])


def test_a_picture_is_found_among_others(rng):
    plain = smooth(rng, 60)
    shuffled, _ = own_orders(rng, plain[:20])
    of = histograms.colour_histograms
    assert histograms.identified(of(shuffled), of(plain)) == 1
    # Others' pictures: found by chance, 1 of 60 a query; 8 of 20 is below 1e-8.
    assert histograms.identified(of(smooth(rng, 20)), of(plain)) < 0.4


def test_classes_that_colours_tell(rng):
    labels = np.arange(200) % 2
    pictures = smooth(rng, 200)
    pictures[labels == 1, ..., 0] //= 4
    counts = histograms.colour_histograms(pictures)
    known, unseen = (counts[:150], labels[:150]), (counts[150:], labels[150:])
    assert histograms.class_accuracy(known, unseen, epochs=10) > 0.9
    guessed = rng.integers(0, 2, 50)  # 45 of 50 by chance: below 1e-8
    none = histograms.class_accuracy(known, (counts[150:], guessed), epochs=10)
    assert none < 0.9
    assert histograms.chance(labels) == 0.5


def test_what_has_no_colours():
    with pytest.raises(ValueError, match="Received: float64"):
        histograms.colour_histograms(np.zeros((1, 4, 4, 3)))
