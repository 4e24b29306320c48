"""Norms and weighted sums of gradients in factors, against float64 and numpy."""

import numpy as np
import pytest
import tensorflow as tf
from engines import SEEDS
from hypothesis import given, settings
from hypothesis import strategies as st

from tfpriv.dp.clipping import ghost, scaling, styles
from tfpriv.dp.clipping.convolved import Convolved, Geometry
from tfpriv.dp.clipping.objective import Chunk
from tfpriv.dp.clipping.per_example import Dense, Lookup, LowRank, Sum

UNITS, STEPS, M, N = 3, 6, 5, 4
GEOMETRY = Geometry((3,), (1,), (1,), ((1, 1),))


def whole(rng):
    return Dense(rng.normal(size=(UNITS, M, N)))


def outer(rng):
    left, right = rng.normal(size=(UNITS, STEPS, M)), rng.normal(size=(UNITS, STEPS, N))
    return LowRank(left, right, (M, N))


def lookup(rng):
    ids = rng.integers(0, M, (UNITS, STEPS))
    return Lookup(
        tf.constant(ids, tf.int32), rng.normal(size=(UNITS, STEPS, N)), (M, N)
    )


def both(rng):
    return Sum(outer(rng), lookup(rng))


def convolved(rng):
    inputs = rng.normal(size=(UNITS, STEPS, M))
    return Convolved(inputs, rng.normal(size=(UNITS, STEPS, N)), GEOMETRY)


FORMS = [whole, outer, lookup, both, convolved]


def in_float32(gradient, *scales):
    """The gradient with its tensors multiplied by these, one after the other."""
    scales = (*scales, *[1.0] * len(gradient.tensors))
    pairs = zip(gradient.tensors, scales, strict=False)
    return gradient.rebuilt([tf.constant(t * s, tf.float32) for t, s in pairs])


def truth(gradient):
    """What the factors stand for, in float64: `(units, ...)`."""
    tensors = [np.asarray(t, "float64") for t in gradient.tensors]
    if isinstance(gradient, Dense):
        return tensors[0]
    if isinstance(gradient, LowRank):
        return np.einsum("utm,utn->umn", *tensors)
    if isinstance(gradient, Sum):
        return truth(gradient.outer) + truth(gradient.lookup)
    if isinstance(gradient, Lookup):
        rows = np.eye(M)[np.asarray(gradient.ids)]
        return np.einsum("utm,utn->umn", rows, tensors[0])
    padded = np.pad(tensors[0], [(0, 0), (1, 1), (0, 0)])
    slid = np.stack([padded[:, k : k + STEPS] for k in range(3)], axis=1)
    return np.einsum("uktm,utn->ukmn", slid, tensors[1])


def lengths(gradients):
    """L2 norms over all variables, whatever their range."""
    flat = np.concatenate([g.reshape(len(g), -1) for g in gradients], axis=1)
    largest = np.maximum(np.abs(flat).max(axis=1), 1e-300)
    return largest * np.linalg.norm(flat / largest[:, np.newaxis], axis=1)


def contributions(gradients, bound):
    """`(contributions, norms)`: each unit's part of a clipped sum by itself."""
    norms, rounding = ghost.norms_of(gradients)
    flat = styles.get("flat").bind(None)

    def clip(norms):
        return flat(norms + rounding, bound)

    chunk = Chunk({}, unit_present=tf.fill([UNITS], True))
    factors, used, norms = scaling.scale(norms, chunk, clip)
    alone = []
    for i in range(UNITS):
        only = tf.logical_and(used, tf.range(UNITS) == i)
        alone.append(ghost.weighted_sums(gradients, factors, only))
    stacked = [np.stack(parts).astype("float64") for parts in zip(*alone, strict=True)]
    return stacked, norms.numpy()


def assert_clipped(gradients, tolerance=1e-5, bound=None, exact=True):
    """Norms and contributions are right, or these at least no longer than they may."""
    wanted = [truth(g) for g in gradients]
    norms = lengths(wanted)
    bound = bound or float(np.median(norms))
    found, shown = contributions(gradients, tf.constant(bound, tf.float64))
    np.testing.assert_allclose(shown, norms, rtol=tolerance)
    factor = np.minimum(1.0, bound / np.maximum(norms, 1e-300))
    off = [f - w * _like(factor, w) for f, w in zip(found, wanted, strict=True)]
    kept = np.minimum(norms, bound)
    assert np.all(lengths(found) <= (1 + tolerance) * kept + 1e-37)
    if exact:
        assert np.all(lengths(off) <= tolerance * kept + 1e-37)


def _like(vector, tensor):
    return vector.reshape([-1] + [1] * (tensor.ndim - 1))


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, bound=st.sampled_from([None, 1e-3, 1e3]))
def test_norms_and_contributions(form, seed, bound):
    rng = np.random.default_rng(seed)
    assert_clipped([in_float32(form(rng)), in_float32(outer(rng))], bound=bound)


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, powers=st.tuples(st.integers(-25, 25), st.integers(-25, 25)))
def test_any_range(form, seed, powers):
    """Factors far beyond where their squares are floats, while products are."""
    if not -35 < sum(powers) < 35 or (form in (whole, lookup) and powers[1]):
        return
    if form is both:
        powers = (powers[0], 0)
    gradient = in_float32(form(np.random.default_rng(seed)), *(10.0**p for p in powers))
    # What rounding may add to such small factors of a kernel is estimated too high.
    assert_clipped([gradient], exact=form is not convolved or min(powers) > -12)


@pytest.mark.parametrize("form", [outer, lookup, convolved, both])
@pytest.mark.parametrize("left_over", [1e-1, 1e-2, 1e-3, 1e-4, 1e-6, 0.0])
@settings(max_examples=10, deadline=None)
@given(seed=SEEDS)
def test_cancelling_terms_do_not_exceed_the_bound(form, left_over, seed):
    gradient = cancelling(form, np.random.default_rng(seed), left_over)
    wanted = truth(gradient)
    for bound in (1.0, 1e-3 * max(left_over, 1e-9)):
        found, shown = contributions([gradient], tf.constant(bound, tf.float64))
        # Double precision has lost part of what is below 1e-6 of its terms.
        off = 1e-5 + 1e-15 / max(left_over, 1e-8) ** 2
        np.testing.assert_allclose(shown, lengths([wanted]), rtol=off, atol=1e-7)
        assert np.all(lengths(found) <= bound * (1 + 1e-5))


def cancelling(form, rng, left_over):
    """Every term comes a second time, negated, but for a small part."""
    gradient = in_float32(form(rng))
    if form is both:
        left = gradient.outer.left.numpy()
        # The outer products undo the lookups.
        left = np.eye(M)[gradient.lookup.ids.numpy()]
        right = -np.asarray(gradient.lookup.right) * (1 - left_over)
        return in_float32(Sum(LowRank(left, right, (M, N)), gradient.lookup))
    *lefts, right = (t.numpy() for t in gradient.tensors)
    right[:, STEPS // 2 :] = -right[:, : STEPS // 2] * (1 - left_over)
    if form is lookup:
        ids = gradient.ids.numpy()
        ids[:, STEPS // 2 :] = ids[:, : STEPS // 2]
        return Lookup(tf.constant(ids), tf.constant(right), (M, N))
    left = lefts[0]
    if form is convolved:
        left[:] = left[:, :1]  # the same everywhere; only the edges remain
    else:
        left[:, STEPS // 2 :] = left[:, : STEPS // 2]
    return in_float32(gradient.rebuilt([left, right]))


BAD = [np.nan, np.inf, -np.inf, 3e38]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("place", [0, -1])
def test_a_gradient_that_is_not_finite_contributes_exactly_zero(form, bad, place):
    rng = np.random.default_rng(0)
    good = in_float32(form(rng))
    tensors = [t.numpy() for t in good.tensors]
    tensors[place][1] = bad
    expected, norms = contributions([good], tf.constant(1.0, tf.float64))
    found, shown = contributions(
        [good.rebuilt([tf.constant(t) for t in tensors])], tf.constant(1.0, tf.float64)
    )
    if np.isfinite(shown[1]):  # the largest floats may still be added up in float64
        assert bad == 3e38
        assert lengths(found)[1] <= 1 + 1e-5
    else:
        assert np.isinf(shown[1])
        assert not found[0][1].any()
    for i in (0, 2):
        assert shown[i] == norms[i]
        np.testing.assert_array_max_ulp(
            found[0][i].astype("float32"), expected[0][i].astype("float32"), 4
        )
