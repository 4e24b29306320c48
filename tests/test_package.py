"""What is installed: a wheel built without TensorFlow that fits every Python."""

import email
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import tfpriv

ROOT = Path(__file__).parents[1]
SOURCES = (
    "setup.cfg",
    "setup.py",
    "pyproject.toml",
    "MANIFEST.in",
    "LICENSE",
    "checkpoints",
    "tfpriv",
)


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A copy of what packaging reads, without anything built."""
    copy = tmp_path / "checkout"
    copy.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns("*.so", "__pycache__")
            shutil.copytree(ROOT / name, copy / name, ignore=ignore)
        else:
            shutil.copy(ROOT / name, copy)
    return copy


def build(checkout: Path, **environment: str) -> tuple[Path, zipfile.ZipFile]:
    """Builds a wheel in an environment of its own, which holds setuptools only."""
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", "dist", "."]
    subprocess.run(
        command, cwd=checkout, check=True, env=os.environ | environment, text=True
    )
    (wheel,) = (checkout / "dist").glob("*.whl")
    return wheel, zipfile.ZipFile(wheel)


def metadata_folder(names: list[str]) -> str:
    """The wheel's own folder, `tfpriv-VERSION.dist-info`."""
    (folder,) = {n.split("/")[0] for n in names if ".dist-info/" in n}
    return folder


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_a_wheel_holds_the_op_and_fits_every_python(checkout):
    wheel, contents = build(checkout)
    assert "-py3-none-linux_" in wheel.name
    names = contents.namelist()
    assert "tfpriv/ops/_native.so" in names
    assert {"tfpriv/py.typed", "tfpriv/support/report/style.css"} <= set(names)
    ours = {str(path.relative_to(ROOT)) for path in (ROOT / "checkpoints").rglob("*.*")}
    share = f"{metadata_folder(names)[: -len('.dist-info')]}.data/data/share/tfpriv/"
    assert {name[len(share) :] for name in names if name.startswith(share)} == ours
    assert not [name for name in names if name.split("/")[0] in ("tests", "build")]
    metadata = email.message_from_bytes(
        contents.read(f"{metadata_folder(names)}/METADATA")
    )
    required = " ".join(metadata.get_all("Requires-Dist"))
    assert "tensorflow<2.22,>=2.20" in required
    assert "tensorflow-cpu" not in required
    assert {"notebooks", "convert", "beam", "fuzz", "docs", "test"} == set(
        metadata.get_all("Provides-Extra")
    )


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_an_sdist_holds_what_the_repository_does_and_builds_the_op(tmp_path):
    """All that git follows, nothing that was built; and the wheel comes from that."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("no clone of the repository")
    followed = {name for name in listed.stdout.splitlines() if name[0] != "."}
    copy = tmp_path / "checkout"
    for name in followed:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    strays = ("tfpriv/ops/_native.so", "tests/x.pyc", "build/x.py", "docs/.x.md.swp")
    for stray in strays:
        (copy / stray).parent.mkdir(parents=True, exist_ok=True)
        (copy / stray).write_text("planted")
    tools = tmp_path / "tools"
    install = [sys.executable, "-m", "pip", "install", "-q", "--target", tools]
    subprocess.run([*install, "setuptools>=77"], check=True)
    code = "from setuptools import build_meta; build_meta.build_sdist('dist')"
    alone = os.environ | {"PYTHONPATH": str(tools)}
    subprocess.run([sys.executable, "-c", code], cwd=copy, check=True, env=alone)
    (sdist,) = (copy / "dist").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    found = {
        str(path.relative_to(unpacked))
        for path in unpacked.rglob("*")
        if path.is_file()
    }
    made = {name for name in found if "egg-info/" in name} | {"PKG-INFO"}
    assert found - made == followed
    wheel, contents = build(unpacked)
    assert "-py3-none-linux_" in wheel.name
    assert contents.getinfo("tfpriv/ops/_native.so").file_size > 100_000


@pytest.mark.slow
def test_without_a_compiler_the_package_is_pure_python(checkout):
    wheel, contents = build(checkout, CC="/bin/false", CXX="/bin/false")
    assert wheel.name.endswith("-py3-none-any.whl")
    assert not [name for name in contents.namelist() if name.endswith(".so")]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_a_build_that_fails_leaves_no_older_library(checkout):
    library = checkout / "build" / "lib" / "tfpriv" / "ops" / "_native.so"
    library.parent.mkdir(parents=True)
    library.write_text("an older build")
    wheel, contents = build(checkout, CC="/bin/false", CXX="/bin/false")
    assert wheel.name.endswith("-py3-none-any.whl")
    assert not [name for name in contents.namelist() if name.endswith(".so")]


def test_the_citation_has_the_version():
    assert f"version: {tfpriv.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_version_and_licence_are_stated_once():
    assert "version = attr: tfpriv.__version__" in (ROOT / "setup.cfg").read_text()
    assert "Apache License" in (ROOT / "LICENSE").read_text()
