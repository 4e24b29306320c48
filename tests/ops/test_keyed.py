"""Keyed convolution and pooling against loops over positions and taps."""

import dataclasses
import itertools

import fuzz
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tfpriv import ops
from tfpriv.ops import loader
from tfpriv.ops.convolution import same_padding

TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


@dataclasses.dataclass
class Case:
    """A drawn call: planes, permutations and a window."""

    x: np.ndarray
    filters: np.ndarray
    source: np.ndarray
    target: np.ndarray
    strides: tuple
    dilations: tuple
    padding: str
    pads: tuple
    out: tuple

    @property
    def window(self):
        return {"strides": self.strides, "padding": self.padding}


def permutations(rng, rows, size):
    drawn = [rng.permutation(size) for _ in range(rows)]
    return np.array(drawn, "int32").reshape(rows, size)


def make_case(
    seed, examples, size, channels, filters, kernel, strides, dilations, padding, dtype
):
    rng = np.random.default_rng(seed)
    pads = ((0, 0), (0, 0))
    if padding == "same":
        pads = tuple(map(same_padding, size, kernel, strides, dilations))
    out = tuple(
        max((n + sum(p) - (k - 1) * d - 1) // s + 1, 0)
        for n, p, k, d, s in zip(size, pads, kernel, dilations, strides, strict=True)
    )
    rows = [rng.choice([1, examples]) if examples else 1 for _ in range(2)]
    return Case(
        rng.normal(size=(examples, *size, channels)).astype(dtype),
        rng.normal(size=(*kernel, channels, filters)).astype(dtype),
        permutations(rng, rows[0], size[0] * size[1]),
        permutations(rng, rows[1], out[0] * out[1]),
        strides,
        dilations,
        padding,
        pads,
        out,
    )


def fits(case):
    """Whether the window has a position."""
    return 0 not in case.out


pairs = st.tuples(st.integers(1, 2), st.integers(1, 2))
cases = st.builds(
    make_case,
    seed=st.integers(0, 2**32),
    examples=st.integers(0, 3),
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    channels=st.integers(1, 9),
    filters=st.sampled_from([1, 3, 16, 17, 32]),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    strides=pairs,
    dilations=pairs,
    padding=st.sampled_from(["same", "valid"]),
    dtype=st.sampled_from(["float32", "float64"]),
).filter(fits)


def seen(case, example):
    """For each shuffled output position the taps and the shuffled pixels below them."""
    height, width = case.x.shape[1:3]
    source = case.source[example % len(case.source)]
    where = {int(true): q for q, true in enumerate(source)}
    for q, true in enumerate(case.target[example % len(case.target)]):
        i, j = divmod(int(true), case.out[1])
        below = []
        for k, m in itertools.product(*map(range, case.filters.shape[:2])):
            y = i * case.strides[0] + k * case.dilations[0] - case.pads[0][0]
            x = j * case.strides[1] + m * case.dilations[1] - case.pads[1][0]
            if 0 <= y < height and 0 <= x < width:
                below.append((k, m, where[y * width + x]))
        yield q, below


def flat(x):
    """(n, height, width, channels) as (n, pixels, channels)."""
    return x.reshape(len(x), x.shape[1] * x.shape[2], x.shape[3])


def convolved(case, x, filters):
    """The convolution, tap by tap, in float64."""
    outputs = np.zeros((len(x), case.out[0] * case.out[1], filters.shape[-1]))
    for n, planes in enumerate(flat(x).astype("float64")):
        for q, below in seen(case, n):
            for k, m, pixel in below:
                outputs[n, q] += planes[pixel] @ filters[k, m].astype("float64")
    return outputs.reshape(len(x), *case.out, filters.shape[-1])


def close(actual, wanted, dtype):
    scale = np.abs(wanted).max(initial=1)
    np.testing.assert_allclose(actual, wanted, rtol=0, atol=TOLERANCE[dtype] * scale)


def implementations():
    """Both, for tests that hypothesis draws."""
    for native in (True, False):
        if native and not loader.LIBRARY.exists():
            continue
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(loader.ENV, "0" if native else "1")
            yield "native" if native else "twin"


@settings(max_examples=40, deadline=None)
@given(case=cases)
def test_convolution_equals_the_loop(case):
    bias = np.arange(case.filters.shape[-1]).astype(case.x.dtype)
    wanted = convolved(case, case.x, case.filters) + bias
    for _ in implementations():
        outputs = ops.keyed_conv2d(
            case.x,
            case.filters,
            case.source,
            case.target,
            dilation_rate=case.dilations,
            bias=bias,
            **case.window,
        )
        assert outputs.shape == wanted.shape
        close(outputs, wanted, case.x.dtype.name)


@settings(max_examples=40, deadline=None)
@given(case=cases)
def test_convolution_gradients_are_adjoint_to_the_loop(case):
    """The convolution is linear in each argument: its gradient is the adjoint map."""
    rng = np.random.default_rng(0)
    x, filters = tf.constant(case.x), tf.constant(case.filters)
    bias = tf.zeros(case.filters.shape[-1], x.dtype)
    upstream = rng.normal(size=(len(case.x), *case.out, case.filters.shape[-1]))
    step_x = rng.normal(size=case.x.shape)
    step_filters = rng.normal(size=case.filters.shape)
    wanted = [
        np.sum(upstream * convolved(case, step_x, case.filters)),
        np.sum(upstream * convolved(case, case.x, step_filters)),
    ]
    for name in implementations():
        if name == "twin" and max(case.dilations) > 1:
            continue  # TensorFlow has no such gradient on the CPU
        with tf.GradientTape() as tape:
            tape.watch([x, filters, bias])
            outputs = ops.keyed_conv2d(
                x,
                filters,
                case.source,
                case.target,
                dilation_rate=case.dilations,
                bias=bias,
                **case.window,
            )
            loss = tf.reduce_sum(outputs * tf.cast(upstream, x.dtype))
        gradients = tape.gradient(loss, [x, filters, bias])
        found = [np.sum(gradients[0] * step_x), np.sum(gradients[1] * step_filters)]
        scale = np.sqrt(step_x.size * step_filters.size * upstream.size + 1)
        tolerance = TOLERANCE[case.x.dtype.name] * scale
        np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance)
        np.testing.assert_allclose(
            gradients[2], upstream.sum((0, 1, 2)), rtol=0, atol=tolerance
        )


@settings(max_examples=40, deadline=None)
@given(case=cases, average=st.booleans())
def test_pooling_and_its_gradient_equal_the_loop(case, average):
    assume(case.dilations == (1, 1))
    op = ops.keyed_average_pool2d if average else ops.keyed_max_pool2d
    planes = flat(case.x)
    upstream = np.random.default_rng(2).normal(
        size=(len(planes), case.out[0] * case.out[1], planes.shape[-1])
    )
    wanted, gradient = np.zeros(upstream.shape), np.zeros(planes.shape)
    for n in range(len(planes)):
        for q, below in seen(case, n):
            pixels = [pixel for _, _, pixel in below]
            values = planes[n, pixels]
            if average:
                wanted[n, q] = values.mean(0)
                gradient[n, pixels] += upstream[n, q] / len(pixels)
            else:
                wanted[n, q] = values.max(0)
                best = np.array(pixels)[values.argmax(0)]
                gradient[n, best, np.arange(len(best))] += upstream[n, q]
    x = tf.constant(case.x)
    shape = (len(planes), *case.out, planes.shape[-1])
    for _ in implementations():
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = op(
                x,
                case.source,
                case.target,
                pool_size=case.filters.shape[:2],
                **case.window,
            )
            loss = tf.reduce_sum(outputs * upstream.reshape(shape).astype(case.x.dtype))
        close(outputs, wanted.reshape(shape), case.x.dtype.name)
        found = tape.gradient(loss, x)
        close(found, gradient.reshape(case.x.shape), case.x.dtype.name)


def test_of_equal_values_the_first_in_true_order_gets_the_gradient(implementation):
    x = tf.zeros([1, 2, 2, 1])
    source = np.array([[3, 1, 2, 0]], "int32")  # shows true pixel 0 at position 3
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = ops.keyed_max_pool2d(
            x, source, np.zeros((1, 1), "int32"), pool_size=2
        )
    np.testing.assert_array_equal(
        tf.reshape(tape.gradient(outputs, x), [-1]), [0, 0, 0, 1]
    )


@pytest.mark.parametrize("filters", [5, 64])
def test_examples_and_threads_change_no_bit(native, filters):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(13, 9, 8, 21)).astype("float32")
    kernel = rng.normal(size=(3, 3, 21, filters)).astype("float32")
    upstream = rng.normal(size=(13, 9, 8, filters)).astype("float32")
    order = permutations(rng, 13, 72)
    window = {"strides": [1, 1], "dilations": [1, 1], "before": [1, 1], "after": [1, 1]}

    def results(x, upstream, order, threads):
        common = {"source": order, "target": order, "num_threads": threads, **window}
        return (
            native.tfpriv_keyed_conv2d(
                inputs=x, filters=kernel, bias=np.zeros(filters, "float32"), **common
            ),
            native.tfpriv_keyed_conv2d_input_gradient(
                gradients=upstream, filters=kernel, input_size=[9, 8], **common
            ),
            native.tfpriv_keyed_conv2d_filter_gradient(
                inputs=x, gradients=upstream, kernel_size=[3, 3], **common
            ),
            native.tfpriv_keyed_pool2d_gradient(
                inputs=x,
                gradients=upstream[..., :21].repeat(5, -1)[..., :21],
                kernel_size=[3, 3],
                average=0,
                **common,
            ),
        )

    once = results(x, upstream, order, 1)
    for threads in (2, 3, 64):
        for again, wanted in zip(
            results(x, upstream, order, threads), once, strict=True
        ):
            np.testing.assert_array_equal(again, wanted)
    alone = results(x[4:5], upstream[4:5], order[4:5], 2)
    for i in (0, 1, 3):  # the filters' gradient sums over examples
        np.testing.assert_array_equal(alone[i][0], once[i][4])


def test_another_key_is_another_table(native):
    """The table of the last call is kept: not beyond a change of any permutation."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(2, 4, 4, 3)).astype("float32")
    filters = rng.normal(size=(3, 3, 3, 4)).astype("float32")

    @tf.function
    def run(source, target):
        return ops.keyed_conv2d(x, filters, source, target, padding="same")

    orders = [tf.constant(permutations(rng, 1, 16)) for _ in range(3)]
    for source, target in itertools.product(orders, orders):
        undone = ops.permute(run(source, target), ops.invert_permutations(target))
        in_order = ops.permute(x, ops.invert_permutations(source))
        wanted = tf.nn.conv2d(in_order, filters, 1, "SAME")
        np.testing.assert_allclose(undone, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_single(implementation, dtype):
    rng = np.random.default_rng(5)
    x = tf.cast(rng.normal(size=(2, 4, 4, 3)), dtype)
    filters = tf.cast(rng.normal(size=(3, 3, 3, 4)), dtype)
    order = permutations(rng, 1, 16)
    outputs = ops.keyed_conv2d(x, filters, order, order, padding="same")
    single = ops.keyed_conv2d(
        tf.cast(x, "float32"), tf.cast(filters, "float32"), order, order, padding="same"
    )
    assert outputs.dtype == dtype
    np.testing.assert_array_equal(outputs, tf.cast(single, dtype))


@pytest.mark.parametrize(
    "order",
    [[[0, 1, 2, 2]], [[0, 1, 2, 4]], [[-1, 0, 1, 2]], [[2**31 - 1, 0, 1, 2]]],
)
def test_what_is_no_permutation_is_refused(native, order):
    order, good = np.array(order, "int32"), np.arange(4, dtype="int32")[None]
    x, filters = np.ones((1, 2, 2, 1), "float32"), np.ones((1, 1, 1, 1), "float32")
    for source, target in ((order, good), (good, order)):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="must be permutations"
        ):
            ops.keyed_conv2d(x, filters, source, target)
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="must be permutations"
        ):
            ops.keyed_max_pool2d(x, source, target, pool_size=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.ones((2, 2, 1), "float32")}, "Received: inputs of shape"),
        ({"x": np.ones((1, 2, 2, 1), "int32")}, "dtype int32"),
        ({"source": np.zeros((1, 5), "int32")}, "Expected source"),
        ({"target": np.zeros((1, 4), "int64")}, "dtype int64"),
        ({"strides": 0}, "strides=0"),
        ({"strides": (1, 1, 1)}, "strides="),
        ({"dilation_rate": 1.5}, "dilation_rate="),
        ({"filters": np.ones((3, 1, 1, 1), "float32")}, "must fit into the planes"),
        ({"padding": "full"}, "padding=full"),
        ({"padding": ((0, 1), (0, -1))}, "padding="),
    ],
)
def test_wrong_arguments_are_named(change, message):
    order = np.arange(4, dtype="int32")[None]
    arguments = {
        "x": np.ones((1, 2, 2, 1), "float32"),
        "filters": np.ones((1, 1, 1, 1), "float32"),
        "source": order,
        "target": order,
        **change,
    }
    positional = [arguments.pop(n) for n in ("x", "filters", "source", "target")]
    with pytest.raises((ValueError, TypeError), match=message):
        ops.keyed_conv2d(*positional, **arguments)


def test_right_calls_are_not_refused(native):
    rng = np.random.default_rng(0)
    for op in fuzz.KEYED * 20:
        getattr(native, f"tfpriv_{op}")(**fuzz.good_arguments(rng, op))


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_spoilt_calls_are_errors(native, count):
    refused = fuzz.run(native, count, count, fuzz.KEYED)
    assert count // 3 < refused < count


@pytest.mark.parametrize("op", ["convolution", "max", "average"])
def test_shapes_are_known_inside_a_vectorised_map(op):
    """Private training maps over examples, and needs the shapes of its gradients."""
    rng = np.random.default_rng(0)
    source, target = permutations(rng, 1, 16), permutations(rng, 1, 4)
    x = tf.random.normal([3, 4, 4, 2])
    filters = tf.Variable(tf.random.normal([2, 2, 2, 5]))
    window = {"strides": 2, "padding": "valid"}

    def outputs(x):
        if op == "convolution":
            return ops.keyed_conv2d(x, filters, source, target, **window)
        pool = ops.keyed_max_pool2d if op == "max" else ops.keyed_average_pool2d
        return pool(x, source, target, pool_size=2, **window) * filters[0, 0, 0, 0]

    def of_one(row):
        row = row[tf.newaxis]
        with tf.GradientTape() as tape:
            tape.watch(row)
            total = outputs(row)
        return total, tape.gradient(total, [row, filters])

    @tf.function(autograph=False)
    def of_all(rows):
        total, (of_rows, of_filters) = tf.vectorized_map(of_one, rows)
        assert total.shape[1:] == outputs(rows[:1]).shape
        assert of_rows.shape[1:] == (1, *rows.shape[1:])
        assert of_filters.shape[1:] == filters.shape
        return total

    mapped = of_all(x)
    np.testing.assert_allclose(mapped[:, 0], outputs(x), rtol=1e-5, atol=1e-6)
