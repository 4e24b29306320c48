"""The blocks of our 4-channel networks equal keras-cv's, with its weights.

keras-cv takes another epsilon in some norms, and approximates GELU by tanh: to 1e-3.
"""

import numpy as np
import pytest

from tfpriv.networks.diffusion import attention, blocks

CHANNELS, GROUPS = 64, 32


@pytest.fixture(scope="module")
def given(rng):
    shapes = {
        "picture": (2, 8, 6, 32),
        "wide": (2, 8, 6, CHANNELS),
        "time": (2, 20),
        "context": (2, 7, 12),
    }
    return {name: rng.normal(size=s).astype("float32") for name, s in shapes.items()}


@pytest.fixture(scope="module")
def answers(run_keras2, given, seed):
    return run_keras2("keras_cv_blocks", given | {"seed": np.array(seed)})


def assign(block, answers, name):
    """Gives a block the other's weights; ours has them in the order of its parts."""
    arrays = [answers[key] for key in sorted(answers) if key.startswith(f"{name}/")]
    variables = list(variables_of(block))
    assert len(arrays) == len(variables)
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array.reshape(variable.shape))


def variables_of(block):
    for part in block.parts.values():
        nested = hasattr(part, "parts")
        yield from variables_of(part) if nested else part.weights


@pytest.mark.parametrize(
    ("name", "make", "taken"),
    [
        (
            "timed",
            lambda: blocks.ResidualBlock(CHANNELS, GROUPS, 1e-5, timed=True),
            ("picture", "time"),
        ),
        (
            "transformer",
            lambda: attention.Transformer(CHANNELS, 2, GROUPS, linear=False),
            ("wide", "context"),
        ),
        ("upsample", lambda: blocks.Upsample(CHANNELS), ("wide",)),
        (
            "residual",
            lambda: blocks.ResidualBlock(CHANNELS, GROUPS, 1e-6, timed=False),
            ("picture",),
        ),
        (
            "attention",
            lambda: attention.PictureAttention(CHANNELS, GROUPS, 1e-6),
            ("wide",),
        ),
    ],
)
def test_block(answers, given, name, make, taken):
    inputs = [given[one] for one in taken]
    block = make()
    block.build(*[x.shape for x in inputs])
    assign(block, answers, name)
    found, expected = np.asarray(block(*inputs)), answers[name]
    error = np.abs(found - expected).max() / np.abs(expected).max()
    print(f"{name}: {error:.1e}")
    assert error < 1e-3
