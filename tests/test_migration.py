"""The programs of the migration guide that are ours run as they stand."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest

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
    import tfpriv.dp as dp

    names = set(re.findall(r"\bdp\.(\w+)", PAGE.read_text()))
    assert len(names) >= 8
    assert not [name for name in names if not hasattr(dp, name)]
    assert len(PROGRAMS) == 2
