"""The small private models and data that many tests train."""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np

import tfpriv.dp as dp

REPOSITORY = pathlib.Path(__file__).parents[2]


def data(examples=40, features=3):
    """A regression problem: `x` `(examples, features)` and `y` `(examples, 1)`."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(examples, features)).astype("float32")
    return x, x.sum(axis=1, keepdims=True)


def plain(features=3, units=1):
    """A linear model that is built."""
    return keras.Sequential([keras.Input((features,)), keras.layers.Dense(units)])


def private(optimizer=None, features=3, **options):
    """The same, private and compiled, with DP-SGD where no optimizer is given."""
    return compiled(dp.make_private(plain(features), **options), optimizer)


def compiled(model, optimizer=None, **options):
    """Compiles a private model for regression."""
    optimizer = optimizer or sgd()
    model.compile(**{"optimizer": optimizer, "loss": "mse", **options})
    return model


def sgd(learning_rate=0.1, l2_norm_clip=1.0, noise_multiplier=1.1, **options):
    """DP-SGD with everyday numbers."""
    return dp.DPSGD(
        learning_rate,
        l2_norm_clip=l2_norm_clip,
        noise_multiplier=noise_multiplier,
        **options,
    )


def run_script(script, *arguments, kill_is_fine=False):
    """Runs Python code in a process of its own; returns what it printed."""
    environment = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{pathlib.Path(__file__).parent}",
    }
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and not (kill_is_fine and done.returncode == -9):
        raise AssertionError(f"exit code {done.returncode}:\n{done.stderr[-4000:]}")
    return done.stdout
