"""Builds what is published and tries it: `make release` (docs/releasing.md).

The wheel is built from the sdist, as for somebody who has that alone. For each Python
that is found the wheel is installed into a fresh environment with what pip then
chooses; other TensorFlows take the place of that one. In each, `smoke.py` runs in an
empty folder, with the native ops and with `TFPRIV_PY_OPS=1`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORK = ROOT / "build" / "release"
SMOKE = Path(__file__).with_name("smoke.py")
TENSORFLOWS = {
    "3.11": ("2.20.*", "2.21.*"),
    "3.12": ("2.21.*", "2.22.0rc0"),
    "3.13": ("2.21.*",),
}
COLUMNS = ("python", "tensorflow", "keras", "numpy", "ops", "extras", "result")


def find_python(version: str) -> str | None:
    """The interpreter of a version; pyenv's answer only where they are switched on."""
    code = "import sys; print(sys.executable)"
    for switch in ({}, {"PYENV_VERSION": version}):
        try:
            found = run(
                [f"python{version}", "-c", code],
                env=os.environ | switch,
                stderr=subprocess.DEVNULL,
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        return found.strip()
    return None


def run(command: list, **options) -> str:
    """Runs a command that must succeed; returns what it prints."""
    return subprocess.run(
        command, check=True, text=True, stdout=subprocess.PIPE, **options
    ).stdout


def environment(python: str, name: str) -> Path:
    """A fresh environment's Python."""
    folder = WORK / name
    run([python, "-m", "venv", "--clear", folder])
    return folder / "bin" / "python"


def pip(python: Path, *arguments) -> None:
    """Installs into an environment."""
    run([python, "-m", "pip", "install", "-qq", *arguments])


def build() -> Path:
    """Builds the sdist, and the wheel from it; returns the wheel."""
    shutil.rmtree(WORK / "dist", ignore_errors=True)
    python = environment(sys.executable, "build")
    pip(python, "build")
    run([python, "-m", "build", "--outdir", WORK / "dist", ROOT])
    (wheel,) = (WORK / "dist").glob("*.whl")
    return wheel


def install(python: Path, wheel: Path, tensorflow: str) -> None:
    """Installs the wheel with a TensorFlow.

    A release candidate is outside what the wheel asks for: it is put in TensorFlow's
    place alone. tensorflow-text has none for it, does not load, and has to go.
    """
    wanted = f"tensorflow=={tensorflow}"
    if "rc" not in tensorflow:
        pip(python, wheel, wanted)
        return
    pip(python, "--no-deps", wanted)
    run([python, "-m", "pip", "uninstall", "-qq", "-y", "tensorflow-text"])


def smoke(python: Path, ops: str, extras: str = "none") -> dict[str, str]:
    """Runs the smoke test in an empty folder; returns what it found."""
    choice = {"TFPRIV_PY_OPS": "0" if ops == "native" else "1"}
    with tempfile.TemporaryDirectory() as empty:
        done = subprocess.run(
            [python, "-I", SMOKE, ops, extras],
            cwd=empty,
            env=os.environ | choice,
            text=True,
            capture_output=True,
        )
    lines = (done.stderr if done.returncode else done.stdout).strip().splitlines()
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        return {"ops": ops, "result": f"failed: {lines[-1] if lines else 'silently'}"}
    return json.loads(lines[-1]) | {"result": "passed"}


def trials(version: str, wheel: Path):
    """Tries one Python with its TensorFlows; yields a row for each kind of ops."""
    interpreter = find_python(version)
    if interpreter is None:
        yield {"python": version, "result": "not found"}
        return
    python = environment(interpreter, version)
    for tensorflow in TENSORFLOWS[version]:
        known = {"python": version, "tensorflow": tensorflow}
        try:
            install(python, wheel, tensorflow)
        except subprocess.CalledProcessError as error:
            yield known | {"result": f"not installed: {error}"}
            continue
        for ops in ("native", "twin"):
            yield known | smoke(python, ops)
    pip(python, f"{wheel}[all]")
    yield {"python": version, "extras": "all"} | smoke(python, "native", "all")
    shutil.rmtree(WORK / version)  # three gigabytes


def line(row: dict[str, str]) -> str:
    """A row of the table, in Markdown."""
    return f"| {' | '.join(str(row.get(column, '')) for column in COLUMNS)} |"


def main() -> int:
    """Builds, tries, prints the table; 1 where a trial failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=Path, help="try this one; build nothing")
    parser.add_argument("--python", nargs="*", default=list(TENSORFLOWS))
    options = parser.parse_args()
    wheel = options.wheel or build()
    print(wheel.name)
    print(line(dict(zip(COLUMNS, COLUMNS, strict=True))))
    print(line(dict.fromkeys(COLUMNS, "---")), flush=True)
    failed = False
    for version in options.python:
        for row in trials(version, wheel):
            print(line(row), flush=True)
            failed |= row["result"] != "passed"
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
