"""The MNIST tutorial of tensorflow-privacy: its network, its settings, and digits.

Settings are those of `g3doc/tutorials/classification_privacy.ipynb` and of
`tutorials/mnist_dpsgd_tutorial_keras.py` in tensorflow/privacy. MNIST is not at hand
here: the digits are scikit-learn's, enlarged to MNIST's 28 pixels and moved about.
"""

import json
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

# What tensorflow-privacy 0.9.0 computed of what is below; made by
# TFPRIV_STORE_GOLDEN=1 pytest tests/reference/test_mnist_tutorial.py
STORED = Path(__file__).parent / "reference" / "golden" / "mnist_tutorial.json"
N = 60_000
L2_NORM_CLIP = 1.5
# With which tfpriv scales gradients to the bound above: it keeps a margin for rounding.
WITH_MARGIN = L2_NORM_CLIP / (1 - 2.0**-8)
# As `golden/epsilon.py` takes them.
RUNS = {
    "notebook": {"noise_multiplier": 1.3, "epochs": 3},
    "script": {"noise_multiplier": 1.1, "epochs": 60},
}
COMMON = {"n": N, "batch_size": 250, "delta": 1e-5, "target_epsilon": 1.0}
LAYERS = [
    [
        "Conv2D",
        {
            "filters": 16,
            "kernel_size": 8,
            "strides": 2,
            "padding": "same",
            "activation": "relu",
        },
    ],
    ["MaxPool2D", {"pool_size": 2, "strides": 1}],
    ["Conv2D", {"filters": 32, "kernel_size": 4, "strides": 2, "activation": "relu"}],
    ["MaxPool2D", {"pool_size": 2, "strides": 1}],
    ["Flatten", {}],
    ["Dense", {"units": 32, "activation": "relu"}],
    ["Dense", {"units": 10}],
]
SHAPES = [
    (8, 8, 1, 16),
    (16,),
    (4, 4, 16, 32),
    (32,),
    (512, 32),
    (32,),
    (32, 10),
    (10,),
]
BATCH = 32
TESTING = 497  # digits to test with; 1300 are left to train with
SHIFTS = 7  # pixels from one side to the other
PROBES = 16
TOLERANCE = 1e-5


def digits(count: int):
    """So many to train with, each somewhere else, and others to test with.

    Returns:
        Pictures float32 (n, 28, 28, 1) from 0 to 1, and labels (n, 10), twice.
    """
    data = load_digits()
    pictures = np.kron(data.images / 16, np.ones((3, 3)))  # 24 pixels
    labels = np.eye(10, dtype=np.float32)[data.target]
    moves = np.array(list(np.ndindex(SHIFTS, SHIFTS))) - SHIFTS // 2
    whole = np.pad(pictures, ((0, 0), (2, 2), (2, 2))).astype(np.float32)[..., None]
    train, rows = whole[TESTING:], np.arange(count) % (len(whole) - TESTING)
    move = np.random.RandomState(0).randint(len(moves), size=count)
    moved = np.empty((count, *whole.shape[1:]), np.float32)
    for number, shift in enumerate(moves):
        chosen = move == number
        moved[chosen] = np.roll(train[rows[chosen]], shift, axis=(1, 2))
    return (moved, labels[TESTING:][rows]), (whole[:TESTING], labels[:TESTING])


def batch():
    """Digits of which gradients are taken."""
    (x, y), _ = digits(BATCH)
    return x, y


def weights() -> list[np.ndarray]:
    """Weights at which some of the batch's gradients are longer than the bound."""
    random = np.random.RandomState(1)
    return [
        (random.standard_normal(shape) * _scale(shape)).astype(np.float32)
        for shape in SHAPES
    ]


def _scale(shape):
    return 0.45 / np.sqrt(np.prod(shape[:-1]) if len(shape) > 1 else 100)


def difference(ours, theirs) -> float:
    """Norm of the difference of two lists of arrays, relative to the second's."""
    flat = [np.concatenate([np.ravel(a) for a in side]) for side in (ours, theirs)]
    return float(np.linalg.norm(flat[0] - flat[1]) / np.linalg.norm(flat[1]))


def summary(gradients) -> dict:
    """The norm of all gradients, of each, and some values of each."""
    random = np.random.RandomState(2)
    arrays = [np.ravel(np.asarray(gradient, np.float64)) for gradient in gradients]
    places = [random.randint(len(array), size=PROBES) for array in arrays]
    return {
        "norm": float(np.linalg.norm(np.concatenate(arrays))),
        "norms": [float(np.linalg.norm(array)) for array in arrays],
        "values": [
            array[place].tolist() for array, place in zip(arrays, places, strict=True)
        ],
    }


def summaries_differ(one: dict, other: dict) -> float:
    """Largest difference of two summaries, relative to the second's norm of all."""
    gaps = [
        np.abs(np.subtract(one[name], other[name])).max()
        for name in ("norm", "norms", "values")
    ]
    return float(max(gaps) / other["norm"])


def stored() -> dict:
    """What tensorflow-privacy computed."""
    return json.loads(STORED.read_text())
