"""tensorflow-privacy's MNIST tutorial: its clipped gradients and its epsilons, live.

`golden/mnist_tutorial.json` has what it computed, for tests/test_migration.py, which
runs without it. TFPRIV_STORE_GOLDEN=1 stores the numbers anew.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tfpriv.dp")
sys.path.insert(0, str(Path(__file__).parents[1]))

import keras
import mnist_tutorial as tutorial

import tfpriv.dp as dp

FIGURES = ("epsilon", "order", "steps", "rdp", "pld", "rate_steps")
# PLD convolves by FFT, whose rounding differs between processors: by 1.5e-9 of epsilon
# on one of them. One step more or less, of 14,400, moves epsilon by some 3e-5.
TOLERANCES = dict.fromkeys(FIGURES, 1e-9) | {"pld": 1e-6}
LOSS = ["CategoricalCrossentropy", {"from_logits": True}]


@pytest.fixture(scope="module")
def gradients(run_keras2):
    """Each example's norm, and the sums of clipped gradients."""
    x, y = tutorial.batch()
    case = {
        "layers": tutorial.LAYERS,
        "input_shape": x.shape[1:],
        "input_dtype": x.dtype.name,
        "loss": LOSS,
        "l2_norm_clip": tutorial.L2_NORM_CLIP,
        "learning_rate": 1.0,
    }
    inputs = {"cases": np.array(json.dumps([case])), "0/x": x, "0/y": y}
    arrays = tutorial.weights()
    inputs |= {f"0/w{index}": array for index, array in enumerate(arrays)}
    found = run_keras2("dp_step", inputs)
    return found["0/norms"], [found[f"0/g{index}"] for index in range(len(arrays))]


@pytest.fixture(scope="module")
def figures(run_keras2):
    """By the name of a run, its epsilons and what they were computed from."""
    rows = [tutorial.COMMON | run for run in tutorial.RUNS.values()]
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    found = run_keras2("epsilon", columns)
    return {
        name: {figure: found[figure][index].item() for figure in FIGURES}
        for index, name in enumerate(tutorial.RUNS)
    }


def test_gradients_equal_tensorflow_privacys(gradients):
    norms, sums = gradients
    layers = [getattr(keras.layers, name)(**c) for name, c in tutorial.LAYERS]
    model = keras.Sequential([keras.Input((28, 28, 1)), *layers])
    model.set_weights(tutorial.weights())
    ours, our_norms = dp.clipped_gradients(
        model,
        *tutorial.batch(),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        l2_norm_clip=tutorial.WITH_MARGIN,
    )
    worst = tutorial.difference(ours, sums)
    print(f"difference {worst:.1e} of the norm")
    np.testing.assert_allclose(our_norms, norms, rtol=tutorial.TOLERANCE)
    assert worst < tutorial.TOLERANCE


def test_what_is_stored_is_what_it_computes(gradients, figures):
    norms, sums = gradients
    if os.environ.get("TFPRIV_STORE_GOLDEN"):
        found = {"norms": [float(norm) for norm in norms]}
        found |= {"gradients": tutorial.summary(sums), "epsilons": figures}
        text = json.dumps(found, indent=1, sort_keys=True)
        tutorial.STORED.write_text(text + "\n")
    stored = tutorial.stored()
    np.testing.assert_allclose(stored["norms"], norms, rtol=tutorial.TOLERANCE)
    assert (
        tutorial.summaries_differ(tutorial.summary(sums), stored["gradients"])
        < tutorial.TOLERANCE
    )
    assert figures.keys() == stored["epsilons"].keys()
    for name, wanted in stored["epsilons"].items():
        for figure, tolerance in TOLERANCES.items():
            found = figures[name][figure]
            assert found == pytest.approx(wanted[figure], rel=tolerance), (name, figure)
