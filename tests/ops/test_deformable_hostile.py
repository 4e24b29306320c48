"""Wrong calls of the raw deformable ops are errors, never crashes."""

import fuzz
import numpy as np
import pytest
import tensorflow as tf


def test_right_calls_are_not_refused(native):
    rng = np.random.default_rng(0)
    for op in fuzz.DEFORMABLE * 20:
        getattr(native, f"tfpriv_{op}")(**fuzz.good_arguments(rng, op))


@pytest.mark.parametrize("calls", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_spoilt_calls(native, calls):
    refused = fuzz.run(native, calls, calls, fuzz.DEFORMABLE)
    assert calls // 3 < refused < calls


def layer(**changes):
    arguments = {
        "inputs": np.ones((2, 4, 4, 2), "float32"),
        "offsets": np.zeros((1, 4, 4, 2), "float32"),
        "mask": np.zeros((1, 0, 0, 0), "float32"),
        "filters": np.ones((1, 1, 2, 3), "float32"),
        "bias": np.zeros(3, "float32"),
        "padding": np.zeros(4, "int32"),
        "strides": [1, 1],
        "dilations": [1, 1],
    }
    return arguments | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strides": [1]}, "strides"),
        ({"strides": [1, 1, 1]}, "strides"),
        ({"dilations": [0, 1]}, "dilations"),
        ({"dilations": [2**40, 1]}, "dilations"),
        ({"padding": np.zeros(3, "int32")}, "padding"),
        ({"padding": -np.ones(4, "int32")}, "padding"),
        ({"padding": np.array([0, 2**31 - 1, 0, 0], "int32")}, "offsets must"),
        ({"groups": 2**62}, "filters must"),
        ({"mask": np.zeros((3, 4, 4, 1), "float32")}, "mask must"),
        ({"bias": np.zeros(2, "float32")}, "bias must"),
        ({"filters": np.zeros((2**31, 1, 0, 1), "float32")}, "below 2"),
        (
            {"filters": np.zeros((2**30, 2**20, 2, 0), "float32")},
            "offsets must",
        ),
    ],
)
def test_messages(native, changes, message):
    native.tfpriv_deformable_conv2d(**layer())
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        native.tfpriv_deformable_conv2d(**layer(**changes))


def test_layers_without_channels(native):
    empty = {"inputs": np.ones((2, 4, 4, 0), "float32")}
    empty |= {"filters": np.ones((1, 1, 0, 3), "float32")}
    bias = np.arange(3, dtype="float32")
    outputs = native.tfpriv_deformable_conv2d(**layer(bias=bias, **empty))
    np.testing.assert_array_equal(outputs, np.broadcast_to(bias, (2, 4, 4, 3)))
    for op in fuzz.GRADIENTS:
        arguments = layer(gradients=np.ones((2, 4, 4, 3), "float32"), **empty)
        del arguments["bias"]
        getattr(native, f"tfpriv_{op}")(**arguments)


@pytest.mark.parametrize("kernel_size", [[2**20, 2**20], [2**11, 2**11]])
def test_kernels_without_end(native, kernel_size):
    nothing = np.zeros((0, 1), "int32")
    with pytest.raises(tf.errors.InvalidArgumentError, match="too large"):
        native.tfpriv_keyed_offsets(
            source=nothing,
            target=nothing,
            input_size=[1, 1],
            kernel_size=kernel_size,
            strides=[1, 1],
            dilations=[1, 1],
            before=[size - 1 for size in kernel_size],
            after=[0, 0],
        )
