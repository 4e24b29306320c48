"""What an installed tfpriv must do. No pytest, nothing of the repository:

    cd $(mktemp -d) && PYTHON -I smoke.py native      # or twin; then: none, or all

runs it in an empty folder, by the Python of the environment that is tried (`-I` keeps
the folder off the path). The last line that it prints is JSON; anything wrong ends it
with a traceback and exit code 1.
"""

import importlib
import importlib.util
import json
import math
import os
import platform
import subprocess
import sys
import sysconfig
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import keras
import numpy as np
import tensorflow as tf

import tfpriv
import tfpriv.dp as dp
from tfpriv import ops, shuffling
from tfpriv.accounting import protection
from tfpriv.support import checkpoints, models, report

RANDOM = np.random.default_rng(0)
ENV = "TFPRIV_PY_OPS"


def installed() -> None:
    """tfpriv is the environment's own, with the weights that come with it."""
    assert Path(tfpriv.__file__).is_relative_to(sysconfig.get_path("purelib"))
    assert not any(Path.cwd().iterdir()), "to be run in an empty folder"


def kind_of_ops(wanted: str) -> str:
    """The kind of ops that run is the one that is wanted."""
    reason = ops.why_not_native()
    assert (reason is None) == (wanted == "native"), reason
    assert reason is None or "\n" not in reason
    return wanted if reason is None else f"{wanted}: {reason}"


def train_privately() -> tuple[keras.Model, float]:
    """A few steps of DP-SGD through a convolution, and what they cost."""
    layers = [
        keras.Input((8, 8, 1)),
        keras.layers.Conv2D(4, 3),
        keras.layers.Flatten(),
        keras.layers.Dense(2),
    ]
    model = dp.make_private(keras.Sequential(layers))
    model.compile(
        dp.DPAdam(1e-2, l2_norm_clip=1.0, noise_multiplier=1.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    x = RANDOM.normal(size=(256, 8, 8, 1)).astype("float32")
    y = (x.sum(axis=(1, 2, 3)) > 0).astype("int32")
    model.fit(x, y, batch_size=32, epochs=1, verbose=0)
    epsilon = model.privacy.epsilon(delta=1e-5)
    assert 0 < epsilon < math.inf
    return model, epsilon


def report_of(model: keras.Model) -> None:
    """A page says what the training protects."""
    report.write(
        "page.html", "Smoke", protection.of_weights(model.privacy.ledger, 1e-5)
    )
    page = Path("page.html").read_text(encoding="utf-8")
    assert "epsilon" in page
    assert "<style>" in page


def saved_and_exported(model: keras.Model) -> None:
    """A Keras file keeps the ledger, a SavedModel answers as the model does."""
    x = tf.constant(RANDOM.normal(size=(4, 8, 8, 1)), tf.float32)
    expected = model(x)
    model.save("model.keras")
    again = keras.models.load_model("model.keras")
    np.testing.assert_allclose(again(x), expected, atol=1e-6)
    assert again.privacy.epsilon(delta=1e-5) == model.privacy.epsilon(delta=1e-5)
    model.export("served", verbose=False)
    served = tf.saved_model.load("served")
    np.testing.assert_allclose(served.serve(x), expected, atol=1e-5)


def shuffled_and_back() -> None:
    """A secret key moves the pixels and puts them back; a file keeps it."""
    shuffling.Key.generate().save("my.key")
    key, pictures = (
        shuffling.Key.load("my.key"),
        RANDOM.integers(0, 256, (3, 16, 16, 3)),
    )
    nonces = shuffling.new_nonces(3)
    moved = shuffling.shuffle(pictures, key, nonces)
    assert (moved != pictures).any()
    np.testing.assert_array_equal(shuffling.unshuffle(moved, key, nonces), pictures)


def twins_agree() -> None:
    """Native ops, where they load, give what plain TensorFlow gives."""
    inputs, filters = RANDOM.normal(size=(2, 9, 9, 4)), RANDOM.normal(size=(3, 3, 4, 5))
    offsets = RANDOM.normal(size=(2, 7, 7, 18))
    key = tf.constant(list(range(32)), tf.uint8)
    asked, results = os.environ.get(ENV, "0"), []
    for choice in ("0", "1"):
        os.environ[ENV] = choice
        results.append(
            (
                ops.deformable_conv2d(inputs, offsets, filters),
                ops.gaussian_noise(key, [99]),
            )
        )
    os.environ[ENV] = asked
    (native, noise), (twin, same_noise) = results
    np.testing.assert_allclose(native, twin, atol=1e-10)
    np.testing.assert_array_equal(noise, same_noise)


def weights_found() -> None:
    """The weights that come with tfpriv lie in the environment, and load."""
    path = checkpoints.folder("shuffling_cifar10")
    assert path.is_relative_to(sysconfig.get_path("data"))
    importlib.import_module("tfpriv.shuffling.networks")  # its initializer's name
    network = models.load_model(path / "model.keras")
    assert network(np.zeros((1, *network.input_shape[1:]), "float32")).shape == (1, 10)


def command(*arguments: str) -> str:
    """Runs the installed `tfpriv`; returns what it prints."""
    program = Path(sysconfig.get_path("scripts"), "tfpriv")
    done = subprocess.run([program, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def commands_answer() -> None:
    """The command line: versions, a budget, and a caption by embedded weights."""
    assert f"tfpriv         {tfpriv.__version__}" in command("info")
    options = "--population 60000 --batch-size 600 --steps 100 --noise-multiplier 1.1"
    assert "epsilon" in command("budget", "epsilon", *options.split())
    keras.utils.save_img("picture.png", RANDOM.normal(size=(64, 64, 3)))
    model = checkpoints.folder("captioning_private")
    assert command("caption", "generate", "picture.png", "--model", str(model)).strip()


def extras_are_asked_for() -> None:
    """Without extras, a command that needs one says which line installs it."""
    absent = ("mtcnn", "pycocoevalcap", "skimage", "sklearn")
    assert not any(importlib.util.find_spec(name) for name in absent)
    try:
        importlib.import_module("tfpriv.captioning.score").score(["a"], [["a"]])
    except ImportError as error:
        if "pip install 'tfpriv[captioning]'" not in str(error):
            raise
    else:
        raise AssertionError("captions were scored without pycocoevalcap")


def extras_work() -> None:
    """With `tfpriv[all]`, what needed an extra runs."""
    score = importlib.import_module("tfpriv.captioning.score").score
    assert score(["a red dog"], [["a red dog"]])["BLEU-1"] > 0.99
    pictures = RANDOM.integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    fidelity = importlib.import_module("tfpriv.support.fidelity").fidelity
    assert fidelity(pictures, pictures).exact == 1.0
    find = importlib.import_module("tfpriv.faces.detection").find_faces
    assert find(np.zeros((64, 64, 3), np.uint8)) == []


def main(wanted: str, extras: str = "none") -> None:
    """Does all of it and prints what was found."""
    installed()
    if extras == "all":
        extras_work()
    else:
        extras_are_asked_for()
    kind = kind_of_ops(wanted)
    model, epsilon = train_privately()
    report_of(model)
    saved_and_exported(model)
    shuffled_and_back()
    twins_agree()
    weights_found()
    commands_answer()
    found = {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "ops": kind,
        "epsilon": epsilon,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
