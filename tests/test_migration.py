"""The programs of the migration guide run; tensorflow-privacy's tutorial is ours."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import keras
import mnist_tutorial as tutorial
import numpy as np
import pytest

import tfpriv.dp as dp
from tfpriv.accounting import Ledger, mechanisms

PAGE = Path(__file__).parents[1] / "docs" / "migration.md"
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def network():
    layers = [
        keras.Input((6,)),
        keras.layers.Dense(8),
        keras.layers.BatchNormalization(),
    ]
    return keras.Sequential([*layers, keras.layers.Dense(3)])


def plain_network():
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])


@pytest.mark.parametrize(
    ("program", "make"), list(zip(PROGRAMS, (plain_network, network), strict=True))
)
def test_it_trains_and_states_epsilon(program, make, rng_data, capsys):
    x, y = rng_data
    names = {"model": make(), "x": x, "y": y}
    exec(compile(program, str(PAGE), "exec"), names)
    privacy = names["model"].privacy
    assert 0 < privacy.epsilon(delta=1e-5, accountant="pld") < 10
    assert names["model"].optimizer.iterations == 8  # 2 epochs of 1024 / 256
    assert "epsilon" in capsys.readouterr().out


@pytest.fixture
def rng_data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1024, 6)).astype("float32")
    return x, (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)


def test_every_name_of_ours_exists():
    names = set(re.findall(r"\bdp\.(\w+)", PAGE.read_text()))
    assert len(names) >= 8
    assert not [name for name in names if not hasattr(dp, name)]
    assert len(PROGRAMS) == 2


# tensorflow-privacy's MNIST tutorial.


def tutorial_model():
    layers = [getattr(keras.layers, name)(**c) for name, c in tutorial.LAYERS]
    return keras.Sequential([keras.Input((28, 28, 1)), *layers])


TUTORIAL_LOSS = keras.losses.CategoricalCrossentropy(from_logits=True)


def test_the_tutorials_gradients_are_clipped_to_the_same_sums():
    model, stored = tutorial_model(), tutorial.stored()
    model.set_weights(tutorial.weights())
    sums, norms = dp.clipped_gradients(
        model, *tutorial.batch(), loss=TUTORIAL_LOSS, l2_norm_clip=tutorial.WITH_MARGIN
    )
    np.testing.assert_allclose(norms, stored["norms"], rtol=tutorial.TOLERANCE)
    clipped = np.mean(np.array(stored["norms"]) > tutorial.L2_NORM_CLIP)
    assert 0.1 < clipped < 1  # some are cut, some are not
    difference = tutorial.summaries_differ(tutorial.summary(sums), stored["gradients"])
    assert difference < tutorial.TOLERANCE


def test_planted_gradients_that_are_not_clipped_differ():
    model = tutorial_model()
    model.set_weights(tutorial.weights())
    sums, _ = dp.clipped_gradients(
        model, *tutorial.batch(), loss=TUTORIAL_LOSS, l2_norm_clip=1e6
    )
    stored = tutorial.stored()["gradients"]
    assert tutorial.summaries_differ(tutorial.summary(sums), stored) > 0.01


@pytest.mark.parametrize("name", tutorial.RUNS)
def test_the_tutorials_epsilon(name):
    """Never above tensorflow-privacy's, and the same to what its orders leave out."""
    run, stored = tutorial.RUNS[name], tutorial.stored()["epsilons"][name]
    q = tutorial.COMMON["batch_size"] / tutorial.N
    ledger = Ledger()
    step = mechanisms.poisson(q, run["noise_multiplier"], population=tutorial.N)
    ledger.record(step, unit="example", purpose="training", count=stored["steps"])
    assert (
        stored["steps"] == run["epochs"] * tutorial.N // tutorial.COMMON["batch_size"]
    )
    delta = tutorial.COMMON["delta"]
    assert ledger.epsilon(delta) == pytest.approx(stored["rdp"], rel=1e-3)
    assert ledger.epsilon(delta) <= stored["epsilon"] * (1 + 1e-9)
    assert ledger.epsilon(delta, "pld") == pytest.approx(stored["pld"], rel=1e-3)


@pytest.mark.slow
def test_the_tutorials_model_learns():
    """Its layers, clip norm, noise and batch size, on 10,000 digits; 500 others."""
    (x, y), (x_test, y_test) = tutorial.digits(10_000)
    keras.utils.set_random_seed(0)
    model = dp.make_private(tutorial_model())
    model.compile(
        dp.DPSGD(0.25, l2_norm_clip=tutorial.L2_NORM_CLIP, noise_multiplier=1.3),
        TUTORIAL_LOSS,
    )
    model.fit(x, y, batch_size=250, epochs=4, verbose=0)
    right = model.predict(x_test, verbose=0).argmax(1) == y_test.argmax(1)
    assert right.mean() > 0.5  # chance is 0.1
    assert len(model.privacy.ledger) == model.optimizer.iterations == 160
