"""Runs golden scripts under the Python of a reference environment.

A golden script is ``tests/reference/golden/<name>.py``. It is executed as
``python <name>.py inputs.npz outputs.npz`` and shares no code with tfpriv, so that
what it computes is the other package's answer and nothing else.
"""

import os
import secrets
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parents[1] / ".venv-reference"
GOLDEN_SECONDS = 300

RunGolden = Callable[..., dict[str, np.ndarray]]


@pytest.fixture(scope="session")
def seed() -> int:
    """A new seed each run; TFPRIV_REFERENCE_SEED repeats one."""
    return int(os.environ.get("TFPRIV_REFERENCE_SEED") or secrets.randbits(32))


@pytest.fixture(autouse=True)
def _show_seed(seed: int) -> None:
    print(f"TFPRIV_REFERENCE_SEED={seed}")  # pytest shows it where a test fails


@pytest.fixture(scope="module")
def rng(seed: int) -> np.random.Generator:
    """The generator of a test file's random inputs."""
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def run_keras2(tmp_path_factory: pytest.TempPathFactory) -> RunGolden:
    """A function (script, arrays in) -> arrays out, under TensorFlow 2.15."""
    return _runner("keras2", tmp_path_factory)


@pytest.fixture(scope="module")
def run_torch(tmp_path_factory: pytest.TempPathFactory) -> RunGolden:
    """A function (script, arrays in) -> arrays out, under PyTorch."""
    return _runner("torch", tmp_path_factory)


def _runner(environment: str, folders: pytest.TempPathFactory) -> RunGolden:
    """Ask for it before what costs time, so that a skipped test costs none."""
    home = ENVIRONMENTS / environment
    if not (home / "built-from").exists():
        pytest.skip(
            f"the reference environment {environment} is not built (make reference)"
        )

    def run(
        script: str, inputs: dict[str, np.ndarray], seconds: int = GOLDEN_SECONDS
    ) -> dict[str, np.ndarray]:
        work = folders.mktemp(script)
        np.savez(work / "inputs.npz", **inputs)
        python, golden = home / "bin" / "python", HERE / "golden" / f"{script}.py"
        done = subprocess.run(
            [python, golden, work / "inputs.npz", work / "outputs.npz"],
            env=_environment_variables(),
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        if done.returncode:
            pytest.fail(f"golden/{script}.py failed:\n{done.stderr[-3000:]}", False)
        with np.load(work / "outputs.npz") as outputs:
            return dict(outputs)

    return run


def _environment_variables() -> dict[str, str]:
    """Ours, without what would point the other Python at our own packages."""
    variables = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "PYTHONHOME", "KERAS_BACKEND")
    }
    return variables | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
