"""deformable_conv2d equals torchvision's deform_conv2d, values and gradients."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tfpriv import ops

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}  # of the largest value
CASES = 12


@pytest.fixture(scope="module")
def cases(rng):
    """Drawn arguments; a third of the offsets are on whole pixels, some far away."""
    return [one_case(rng, number) for number in range(CASES)]


def one_case(rng, number):
    kernel, strides = rng.integers(1, 4, 2), rng.integers(1, 3, 2)
    dilation_rate, padding = rng.integers(1, 3, 2), rng.integers(0, 3, 2)
    size = (kernel - 1) * dilation_rate + rng.integers(1, 9, 2)
    output = (size + 2 * padding - (kernel - 1) * dilation_rate - 1) // strides + 1
    examples, offset_groups, groups = rng.integers(1, 4, 3)
    channels = offset_groups * groups * rng.integers(1, 6)
    filters, taps = groups * rng.integers(1, 10), kernel.prod()
    shapes = {
        "inputs": (examples, *size, channels),
        "offsets": (examples, *output, 2 * offset_groups * taps),
        "filters": (*kernel, channels // groups, filters),
        "bias": (filters,),
        "weights": (examples, *output, filters),
    }
    if number % 2:
        shapes["mask"] = (examples, *output, offset_groups * taps)
    arrays = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    arrays["offsets"] *= rng.choice([1.0, 5.0])
    if number % 3 == 0:
        arrays["offsets"] = np.round(arrays["offsets"])
    dtype = "float32" if number % 4 else "float64"
    arrays = {name: array.astype(dtype) for name, array in arrays.items()}
    steps = {"strides": strides, "padding": padding, "dilation_rate": dilation_rate}
    return arrays, {name: pair.tolist() for name, pair in steps.items()}


@pytest.fixture(scope="module")
def torchvision(run_torch, cases):
    """Its results for every case."""
    inputs = {"cases": np.array(json.dumps([steps for _, steps in cases]))}
    for number, (arrays, _) in enumerate(cases):
        inputs |= {f"{number}/{name}": array for name, array in arrays.items()}
    return run_torch("deform_conv2d", inputs)


def convolve(tensors, steps):
    return ops.deformable_conv2d(
        **{name: value for name, value in tensors.items() if name != "weights"},
        strides=steps["strides"],
        padding=[(zeros, zeros) for zeros in steps["padding"]],
        dilation_rate=steps["dilation_rate"],
        groups=tensors["inputs"].shape[3] // tensors["filters"].shape[2],
    )


@pytest.mark.parametrize("implementation", ["native", "twin"], indirect=True)
@pytest.mark.parametrize("number", range(CASES))
def test_equals_torchvision(torchvision, cases, number, implementation):
    arrays, steps = cases[number]
    tensors = {name: tf.constant(a) for name, a in arrays.items() if name != "weights"}
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        outputs = convolve(tensors, steps)
        loss = tf.reduce_sum(outputs * arrays["weights"])
    ours = {f"d_{name}": g for name, g in tape.gradient(loss, tensors).items()}
    ours["outputs"] = outputs
    tolerance = TOLERANCE[arrays["inputs"].dtype.name]
    for name, value in ours.items():
        theirs = torchvision[f"{number}/{name}"]
        bound = tolerance * (np.max(np.abs(theirs)) + 1)
        assert np.max(np.abs(value - theirs)) <= bound, name


def test_a_planted_fault_does_not_agree(torchvision, cases):
    """dx and dy taken for each other; a layer of few pixels may not notice."""
    agree = 0
    for number, (arrays, steps) in enumerate(cases):
        pairs = arrays["offsets"].reshape(*arrays["offsets"].shape[:3], -1, 2)
        swapped = pairs[..., ::-1].reshape(arrays["offsets"].shape)
        outputs = convolve(arrays | {"offsets": swapped}, steps)
        agree += np.allclose(outputs, torchvision[f"{number}/outputs"], atol=1e-3)
    assert agree <= CASES / 2
