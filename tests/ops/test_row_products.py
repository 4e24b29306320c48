"""row_products against numpy in double precision, natively and by the twin."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfpriv import ops
from tfpriv.ops import loader

TOLERANCE = {"float32": 1e-6, "float64": 1e-14}  # of the product of two lengths


def assert_right(rows):
    wide = rows.astype("float64")
    wanted = np.einsum("etn,esn->ets", wide, wide)
    lengths = np.linalg.norm(wide, axis=2)
    bound = TOLERANCE[rows.dtype.name] * lengths[:, :, None] * lengths[:, None, :]
    assert np.all(np.abs(ops.row_products(rows) - wanted) <= bound + 1e-300)


@settings(max_examples=60, deadline=None)
@given(
    examples=st.integers(0, 5),
    t=st.integers(0, 11),
    n=st.one_of(st.integers(0, 40), st.integers(1000, 2100)),
    dtype=st.sampled_from(sorted(TOLERANCE)),
    native=st.booleans(),
)
def test_equals_numpy(examples, t, n, dtype, native):
    if native and not loader.LIBRARY.exists():
        pytest.skip("no native ops")
    rng = np.random.default_rng(examples + 7 * t + 101 * n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(loader.ENV, "0" if native else "1")
        assert_right(rng.normal(size=(examples, t, n)).astype(dtype))


@pytest.mark.parametrize("dtype", sorted(TOLERANCE))
def test_examples_and_threads_do_not_matter(native, dtype):
    rows = np.random.default_rng(0).normal(size=(64, 7, 3001)).astype(dtype)
    together = native.tfpriv_row_products(rows=rows, num_threads=1).numpy()
    for threads in (2, 3, 64):
        again = native.tfpriv_row_products(rows=rows, num_threads=threads)
        np.testing.assert_array_equal(again, together)
    alone = native.tfpriv_row_products(rows=rows[3:4], num_threads=2)
    np.testing.assert_array_equal(alone[0], together[3])


def test_a_nan_stays_in_its_example(implementation):
    rows = np.ones((3, 4, 50), "float32")
    rows[1, 2, 3] = np.nan
    finite = np.isfinite(ops.row_products(rows))
    assert finite[[0, 2]].all()
    np.testing.assert_array_equal(~finite[1], np.eye(4)[2] + np.eye(4)[:, [2]] > 0)


@pytest.mark.parametrize(
    "rows",
    [np.ones((2, 3)), np.ones((2, 3, 4), "float16"), np.ones((1, 2, 3), "int32")],
)
def test_other_tensors_are_refused(rows):
    with pytest.raises(ValueError, match="Received: rows of dtype"):
        ops.row_products(rows)


def test_unknown_sizes(implementation):
    function = tf.function(
        ops.row_products, input_signature=[tf.TensorSpec([None, None, None])]
    )
    rows = np.random.default_rng(1).normal(size=(2, 3, 5)).astype("float32")
    np.testing.assert_allclose(function(rows), ops.row_products(rows), rtol=1e-6)
