"""How deformable_conv2d is called: graphs, saved models, wrong arguments."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from deformable_oracle import TENSORS, layer

from tfpriv.ops import deformable_conv2d, loader


def gradients_of(function, tensors):
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        loss = tf.reduce_sum(tf.square(function(tensors)))
    return tape.gradient(loss, tensors)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("padding", ["valid", "same", ((1, 1), (1, 1))])
def test_sizes_that_only_the_run_knows(implementation, known, padding):
    problem = layer(6, 4, 4, groups=2)
    tensors = {name: tf.constant(problem[name]) for name in TENSORS}
    stride = 1 if padding == "valid" else 2
    rest = {"padding": padding, "strides": stride, "groups": 2}
    size = {"valid": 4, "same": 3}.get(padding, 3) if isinstance(padding, str) else 3
    for name in ("offsets", "mask"):
        tensors[name] = tensors[name][:, :size, :size]
    expected = deformable_conv2d(**tensors, **rest)
    specs = {
        name: tf.TensorSpec([None] * t.shape.rank if known else None)
        for name, t in tensors.items()
    }

    @tf.function(input_signature=[specs])
    def function(tensors):
        outputs = deformable_conv2d(**tensors, **rest)
        assert outputs.shape.rank == 4
        return outputs

    np.testing.assert_allclose(function(tensors), expected, rtol=1e-4, atol=1e-5)
    for name, gradient in gradients_of(function, tensors).items():
        assert gradient.shape == tensors[name].shape
    for name, wrong in {
        "inputs": tensors["inputs"][:, 3:],
        "offsets": tensors["offsets"][:2],
        "mask": tensors["mask"][..., 1:],
        "filters": tensors["filters"][..., :3],
        "bias": tensors["bias"][1:],
    }.items():
        with pytest.raises(tf.errors.InvalidArgumentError):
            function(tensors | {name: wrong})


def test_static_shapes():
    @tf.function
    def function(inputs, offsets):
        outputs = deformable_conv2d(inputs, offsets, tf.zeros([3, 3, 2, 5]))
        assert outputs.shape.as_list() == [None, 4, None, 5]
        return outputs

    function.get_concrete_function(
        tf.TensorSpec([None, 6, None, 2]), tf.TensorSpec([None, None, None, 18])
    )


def test_saved_models_can_be_differentiated(tmp_path, native, monkeypatch):
    problem = layer(5, 4, 3)
    rest = {"padding": problem["padding"]}
    tensors = {name: tf.constant(problem[name]) for name in TENSORS}
    specs = {name: tf.TensorSpec.from_tensor(t) for name, t in tensors.items()}
    for name, choice in (("native", "0"), ("twin", "1")):
        monkeypatch.setenv(loader.ENV, choice)
        module = tf.Module()
        module.run = tf.function(
            lambda tensors: deformable_conv2d(**tensors, **rest),
            input_signature=[specs],
        )
        tf.saved_model.save(module, str(tmp_path / name))
    monkeypatch.setenv(loader.ENV, "0")
    np.savez(tmp_path / "arrays.npz", **tensors)
    code = f"""
import numpy as np, tensorflow as tf
with np.load({str(tmp_path / "arrays.npz")!r}) as arrays:
    tensors = {{name: tf.constant(arrays[name]) for name in arrays}}

def results(name):
    run = tf.saved_model.load({str(tmp_path)!r} + "/" + name).run
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        outputs = run(tensors)
    return [outputs, *tape.gradient(outputs, tensors).values()]

twin = results("twin")
from tfpriv import ops
assert ops.native_available()
for one, other in zip(results("native"), twin, strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_tensors_on_a_gpu_stay_there(monkeypatch):
    problem = layer(5, 4, 3)
    expected = deformable_conv2d(**problem)
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [kind])
    monkeypatch.setattr(loader, "native_ops", lambda: pytest.fail("native op called"))
    np.testing.assert_allclose(deformable_conv2d(**problem), expected, rtol=1e-4)


def test_a_wrong_sign_of_an_offset_is_caught(implementation):
    """What the other tests compare depends on every offset's sign and order."""
    problem = layer(6, 4, 3)
    right = deformable_conv2d(**problem)
    swapped = problem["offsets"].reshape(3, 6, 6, 9, 2)[..., ::-1]
    for offsets in (-problem["offsets"], swapped.reshape(3, 6, 6, 18)):
        wrong = deformable_conv2d(**problem | {"offsets": offsets})
        assert np.max(np.abs(wrong - right)) > 0.1


def zeros(*shape, dtype="float32"):
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strides": 0}, "Received: strides=0"),
        ({"strides": (1, 2, 3)}, "Received: strides="),
        ({"strides": 1.0}, "Received: strides="),
        ({"dilation_rate": (1, -1)}, "Received: strides="),
        ({"padding": "full"}, "padding=full"),
        ({"padding": 1}, "padding=1"),
        ({"padding": ((1, 1), (1, -1))}, "Received: strides="),
        ({"padding": ((1, 1), (1, 1), (1, 1))}, "Received: strides="),
        ({"padding": ((0, 1), (1, 1))}, "Received: inputs of shape"),
        ({"groups": 3}, "Received: inputs of shape"),
        ({"groups": 0}, "Received: inputs of shape"),
        ({"groups": 1.0}, "Received: inputs of shape"),
        ({"inputs": zeros(6, 6, 4)}, "Received: inputs of shape"),
        ({"inputs": zeros(3, 6, 6, 5)}, "Received: inputs of shape"),
        ({"filters": zeros(3, 3, 3, 3)}, "Received: inputs of shape"),
        ({"filters": zeros(3, 0, 4, 3)}, "Received: inputs of shape"),
        ({"offsets": zeros(2, 6, 6, 18)}, "Received: inputs of shape"),
        ({"offsets": zeros(3, 5, 6, 18)}, "Received: inputs of shape"),
        ({"offsets": zeros(3, 6, 6, 17)}, "Received: inputs of shape"),
        ({"offsets": zeros(3, 6, 6, 0)}, "Received: inputs of shape"),
        ({"offsets": zeros(3, 6, 6, 54), "mask": None}, "Received: inputs of shape"),
        ({"mask": zeros(3, 6, 6, 18)}, "Received: inputs of shape"),
        ({"mask": zeros(3, 6, 5, 9)}, "Received: inputs of shape"),
        ({"bias": zeros(4)}, "Received: inputs of shape"),
        ({"bias": zeros(3, 1)}, "Received: inputs of shape"),
        ({"inputs": zeros(3, 6, 6, 4, dtype="int32")}, "inputs of dtype int32"),
        ({"offsets": zeros(3, 6, 6, 18, dtype="int32")}, "offsets of dtype int32"),
        ({"filters": zeros(3, 3, 4, 3, dtype="float64")}, "filters of dtype float64"),
    ],
)
def test_wrong_arguments(implementation, changes, message):
    with pytest.raises(ValueError, match=message):
        deformable_conv2d(**layer(6, 4, 3) | changes)
