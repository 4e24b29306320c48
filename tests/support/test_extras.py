"""What is missing without an extra is named, with the line that installs it."""

import importlib
import sys

import pytest

from tfpriv import cli, info
from tfpriv.captioning import score
from tfpriv.support import extras


def test_missing_package_names_the_line_that_installs_it(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("pycocoevalcap")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pycocoevalcap", None)
    line = r"`pycocoevalcap` is not installed.*pip install 'tfpriv\[captioning\]'"
    with pytest.raises(extras.MissingExtraError, match=line):
        score.score(["a dog"], [["a dog"]])


def test_module_with_missing_package_names_the_line_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.metrics", None)
    monkeypatch.delitem(sys.modules, "tfpriv.support.fidelity", raising=False)
    with pytest.raises(ImportError, match=r"pip install 'tfpriv\[all\]'"):
        importlib.import_module("tfpriv.support.fidelity")


def test_command_without_its_extra_ends_with_one_line(monkeypatch, capsys):
    def handler(_):
        with extras.needs("faces"):
            raise ModuleNotFoundError("No module named 'mtcnn'", name="mtcnn")

    monkeypatch.setattr(info, "_run", handler)
    assert cli.main(["info"]) == cli.USAGE_ERROR
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "pip install 'tfpriv[faces]'" in error


def test_other_import_errors_pass(monkeypatch):
    with pytest.raises(ImportError, match="broken"), extras.needs("faces"):
        raise ImportError("broken")
