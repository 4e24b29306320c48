"""A noise-free DP-SGD step equals tensorflow-privacy's and Opacus's.

The same networks, weights and data on both sides, drawn anew each run: the norm of
every example's gradient, the sum of the clipped gradients, and the weights after one
step. The bound is the median norm, so that half of the examples are clipped.
"""

import json

import numpy as np
import pytest

pytest.importorskip("tfpriv.dp")

import keras
import tensorflow as tf

import tfpriv.dp as dp
from tfpriv.dp.clipping.rounding import MARGIN

# Recurrent layers behind an embedding are differentiated one example at a time.
pytestmark = pytest.mark.filterwarnings("ignore:TensorFlow cannot vectorise")

BATCH = 8
TOLERANCE = 1e-5
# Opacus divides by the norm plus 1e-6; the bounds here are above 0.1.
OPACUS_TOLERANCE = 2e-5
LEARNING_RATE = 1.0
FLOAT32 = float(np.finfo(np.float32).eps)

CLASSES = ["SparseCategoricalCrossentropy", {"from_logits": True}]
SQUARES = ["MeanSquaredError", {}]
IMAGE, TOKENS, VOCABULARY = (8, 8, 3), (6,), 20
EMBEDDING = ["Embedding", {"input_dim": VOCABULARY, "output_dim": 5}]

COMMON = {
    "dense": {
        "layers": [
            ["Dense", {"units": 16, "activation": "relu"}],
            ["Dense", {"units": 12, "activation": "tanh"}],
            ["Dense", {"units": 4}],
        ],
        "input_shape": (10,),
        "loss": CLASSES,
    },
    "dense, squared error": {
        "layers": [
            ["Dense", {"units": 9, "activation": "tanh"}],
            ["Dense", {"units": 3}],
        ],
        "input_shape": (7,),
        "loss": SQUARES,
    },
    "convolutions": {
        "layers": [
            [
                "Conv2D",
                {
                    "filters": 6,
                    "kernel_size": 3,
                    "padding": "same",
                    "activation": "relu",
                },
            ],
            ["MaxPooling2D", {}],
            ["Conv2D", {"filters": 4, "kernel_size": 2, "activation": "tanh"}],
            ["Flatten", {}],
            ["Dense", {"units": 4}],
        ],
        "input_shape": IMAGE,
        "loss": CLASSES,
    },
    "group and layer norm": {
        "layers": [
            ["Conv2D", {"filters": 6, "kernel_size": 3}],
            ["GroupNormalization", {"groups": 3, "epsilon": 1e-3}],
            ["Flatten", {}],
            ["Dense", {"units": 8, "activation": "relu"}],
            ["LayerNormalization", {"epsilon": 1e-3}],
            ["Dense", {"units": 4}],
        ],
        "input_shape": IMAGE,
        "loss": CLASSES,
    },
    "embedding": {
        "layers": [EMBEDDING, ["GlobalAveragePooling1D", {}], ["Dense", {"units": 4}]],
        "input_shape": TOKENS,
        "loss": CLASSES,
    },
}
# What Opacus has in another form (two biases to a gate) or PyTorch under other names.
KERAS_ONLY = {
    "LSTM": {
        "layers": [EMBEDDING, ["LSTM", {"units": 6}], ["Dense", {"units": 4}]],
        "input_shape": TOKENS,
        "loss": CLASSES,
    },
    "GRU, a loss per step": {
        "layers": [
            EMBEDDING,
            ["GRU", {"units": 6, "return_sequences": True}],
            ["Dense", {"units": VOCABULARY}],
        ],
        "input_shape": TOKENS,
        "loss": CLASSES,
    },
    "depthwise convolutions": {
        "layers": [
            ["SeparableConv2D", {"filters": 5, "kernel_size": 3, "activation": "relu"}],
            ["DepthwiseConv2D", {"kernel_size": 2, "strides": 2}],
            ["GlobalAveragePooling2D", {}],
            ["Dense", {"units": 4}],
        ],
        "input_shape": IMAGE,
        "loss": CLASSES,
    },
}


def build(description):
    """The network under Keras 3; the golden scripts build theirs from the same."""
    tokens = description["layers"][0] is EMBEDDING
    model = keras.Sequential(
        [keras.Input(description["input_shape"], dtype="int32" if tokens else None)]
        + [
            getattr(keras.layers, name)(**config)
            for name, config in description["layers"]
        ]
    )
    name, config = description["loss"]
    return model, getattr(keras.losses, name)(**config)


class Case:
    """A network with data, weights and a bound, and our own answers for it."""

    def __init__(self, description, rng):
        self.description = description
        model, self.loss = build(description)
        self.weights = [
            rng.normal(scale=0.4, size=weight.shape).astype("float32")
            for weight in model.weights
        ]
        inputs = (BATCH, *model.input_shape[1:])
        outputs = (BATCH, *model.output_shape[1:])
        if description["layers"][0] is EMBEDDING:
            self.x = rng.integers(0, VOCABULARY, inputs).astype("int32")
        else:
            self.x = rng.normal(size=inputs).astype("float32")
        if description["loss"] is CLASSES:
            self.y = rng.integers(0, outputs[-1], outputs[:-1]).astype("int32")
        else:
            self.y = rng.normal(size=outputs).astype("float32")
        self.l2_norm_clip = self._median_norm()

    def _median_norm(self):
        model, norms = self.model(), []
        for index in range(BATCH):
            example = slice(index, index + 1)
            with tf.GradientTape() as tape:
                value = self.loss(self.y[example], model(self.x[example]))
            norms.append(tf.linalg.global_norm(tape.gradient(value, model.weights)))
        return float(np.median(norms))

    def model(self):
        model, _ = build(self.description)
        model.set_weights(self.weights)
        return model

    def gradients(self, l2_norm_clip):
        gradients, norms = dp.clipped_gradients(
            self.model(),
            self.x,
            self.y,
            loss=self.loss,
            l2_norm_clip=_with_margin(l2_norm_clip),
        )
        return [np.asarray(gradient) for gradient in gradients], np.asarray(norms)

    def weights_after_a_step(self):
        model = dp.make_private(self.model(), max_occurrences=1)
        optimizer = dp.DPSGD(
            LEARNING_RATE,
            l2_norm_clip=_with_margin(self.l2_norm_clip),
            noise_multiplier=0.0,
        )
        model.compile(optimizer, self.loss)
        model.train_on_batch(self.x, self.y)
        return model.get_weights()


def _with_margin(l2_norm_clip):
    """The bound under which tfpriv scales to this one: others keep no margin."""
    return l2_norm_clip / (1 - MARGIN)


class Reference:
    """A package's answers for every case."""

    def __init__(self, run, script, cases):
        described = [
            case.description
            | {
                "input_dtype": case.x.dtype.name,
                "l2_norm_clip": case.l2_norm_clip,
                "learning_rate": LEARNING_RATE,
            }
            for case in cases.values()
        ]
        inputs = {"cases": np.array(json.dumps(described))}
        for number, case in enumerate(cases.values()):
            inputs |= {f"{number}/x": case.x, f"{number}/y": case.y}
            for index, weight in enumerate(case.weights):
                inputs[f"{number}/w{index}"] = weight
        self.outputs = run(script, inputs)
        self.cases = cases

    def norms(self, name):
        return self.outputs[f"{list(self.cases).index(name)}/norms"]

    def arrays(self, name, letter):
        number = list(self.cases).index(name)
        count = len(self.cases[name].weights)
        return [self.outputs[f"{number}/{letter}{index}"] for index in range(count)]


@pytest.fixture(scope="module")
def cases(rng):
    return {
        name: Case(description, rng)
        for name, description in (COMMON | KERAS_ONLY).items()
    }


@pytest.fixture(scope="module")
def tensorflow_privacy(run_keras2, cases):
    return Reference(run_keras2, "dp_step", cases)


@pytest.fixture(scope="module")
def opacus(run_torch, cases):
    common = {name: cases[name] for name in COMMON}
    return Reference(run_torch, "opacus_step", common)


def difference(ours, theirs):
    """Norm of the difference of two lists of arrays, relative to the second's."""
    distance = np.sqrt(
        sum(np.sum((a - b) ** 2.0) for a, b in zip(ours, theirs, strict=True))
    )
    return distance / np.sqrt(sum(np.sum(b**2.0) for b in theirs))


def check_agreement(reference, name, tolerance):
    case = reference.cases[name]
    gradients, norms = case.gradients(case.l2_norm_clip)
    theirs = reference.norms(name)
    np.testing.assert_allclose(norms, theirs, rtol=tolerance)
    clipped = np.sum(theirs > case.l2_norm_clip)
    assert 0 < clipped < BATCH, theirs
    assert difference(gradients, reference.arrays(name, "g")) < tolerance

    after = case.weights_after_a_step()
    moved = [new - old for new, old in zip(after, case.weights, strict=True)]
    wanted = [
        new - old
        for new, old in zip(reference.arrays(name, "v"), case.weights, strict=True)
    ]
    # A step of that size is what is left of weights that were rounded to float32.
    rounding = FLOAT32 * np.sqrt(sum(np.sum(w**2.0) for w in case.weights))
    size = np.sqrt(sum(np.sum(step**2.0) for step in wanted))
    assert difference(moved, wanted) < tolerance + rounding / size


@pytest.mark.parametrize("name", COMMON | KERAS_ONLY)
def test_step_equals_tensorflow_privacy(tensorflow_privacy, name):
    check_agreement(tensorflow_privacy, name, TOLERANCE)


@pytest.mark.parametrize("name", COMMON)
def test_step_equals_opacus(opacus, name):
    check_agreement(opacus, name, OPACUS_TOLERANCE)


@pytest.mark.parametrize("name", ["dense", "convolutions"])
def test_planted_faults_do_not_agree(tensorflow_privacy, name):
    """A bound 1 % off, no clipping, the sum clipped instead of its terms."""
    case = tensorflow_privacy.cases[name]
    theirs = tensorflow_privacy.arrays(name, "g")
    unclipped, _ = case.gradients(1e6)
    whole = case.l2_norm_clip / np.sqrt(sum(np.sum(g**2.0) for g in unclipped))
    wrong = {
        "bound": case.gradients(1.01 * case.l2_norm_clip)[0],
        "no clipping": unclipped,
        "clipped after the sum": [min(1.0, whole) * g for g in unclipped],
    }
    for fault, gradients in wrong.items():
        assert difference(gradients, theirs) > 10 * TOLERANCE, fault
