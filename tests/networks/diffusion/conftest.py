"""A tiny inpainter with random weights, in memory and in a folder."""

import json
import pathlib
import sys

import pytest

# Helpers lie beside these tests.
sys.path.insert(0, str(pathlib.Path(__file__).parent))


@pytest.fixture(scope="session")
def inpainter():
    """Random weights; not to be changed."""
    from tiny_inpainter import new_inpainter

    return new_inpainter()


@pytest.fixture(scope="session")
def saved(inpainter, tmp_path_factory):
    """Its folder; not to be changed."""
    folder = tmp_path_factory.mktemp("saved") / "inpainter"
    inpainter.save_diffusers(folder)
    return folder


@pytest.fixture
def change_json():
    """A function (path, changes) that rewrites fields of a JSON file."""

    def change(path, **fields):
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return change
