"""The command line's manners: one line for what is wrong, exit code 2, no traceback."""

import argparse
import subprocess
import sys
import types

import pytest

import tfpriv
from tfpriv import cli


@pytest.fixture
def command(monkeypatch):
    """A command of the test's own: `tfpriv try`, whose handler the test sets."""

    def add_parser(subparsers):
        parser = subparsers.add_parser("try")
        parser.add_argument("--steps", type=int)
        parser.set_defaults(handler=lambda arguments: module.handler(arguments))

    module = types.ModuleType("tfpriv_try")
    module.add_parser = add_parser
    monkeypatch.setitem(sys.modules, "tfpriv_try", module)
    monkeypatch.setitem(cli.COMMANDS, "try", cli._Command("tfpriv_try", "", False))
    return module


def one_line(capsys) -> str:
    """The one line on stderr."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("tfpriv: error: ")
    return captured.err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "command"),
        (["no-such-command"], "invalid choice: 'no-such-command'"),
        (["--no-such-option"], "command"),
        (["info", "--no-such-option"], "--no-such-option"),
        (["info", "surplus"], "surplus"),
        (["try", "--steps", "many"], "--steps: invalid int value: 'many'"),
    ],
)
def test_wrong_arguments(command, capsys, argv, message):
    assert cli.main(argv) == 2
    assert message in one_line(capsys)


@pytest.mark.parametrize(
    "error", [ValueError("too\nmany"), FileNotFoundError(2, "No such file", "a.json")]
)
def test_errors_of_the_user_are_one_line(command, capsys, error):
    def handler(arguments: argparse.Namespace):
        raise error

    command.handler = handler
    assert cli.main(["try"]) == 2
    assert " ".join(str(error).split()) in one_line(capsys)
    with pytest.raises(type(error)):
        cli.main(["--debug", "try"])


def test_errors_of_ours_keep_their_traceback(command):
    def handler(arguments: argparse.Namespace):
        raise AssertionError("a bug")

    command.handler = handler
    with pytest.raises(AssertionError, match="a bug"):
        cli.main(["try"])


def test_an_interrupt_is_no_traceback(command, capsys):
    def handler(arguments: argparse.Namespace):
        raise KeyboardInterrupt

    command.handler = handler
    assert cli.main(["try"]) == 130
    assert capsys.readouterr().err == "tfpriv: interrupted\n"


def test_a_command_that_works(command):
    seen = []
    command.handler = lambda arguments: seen.append(arguments.steps)
    assert cli.main(["try", "--steps", "3"]) == 0
    assert seen == [3]


def test_a_warning_is_one_line():
    """In a process of its own: here pytest keeps warnings to itself."""
    budget = "--epsilon 1 --delta 0.2 --population 9 --batch-size 3 --steps 2"
    argv = [sys.executable, "-m", "tfpriv", "budget", "noise", *budget.split()]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stderr.startswith("tfpriv: warning: delta=0.2 is not below 1/n")
    assert done.stderr.count("\n") == 1


def test_help_and_version(capsys):
    assert cli.main(["--help"]) == 0
    overview = capsys.readouterr().out
    assert all(name in overview for name in cli.COMMANDS)
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"tfpriv {tfpriv.__version__}\n"


@pytest.mark.parametrize(
    "name", ["info", "budget", "caption", "shuffle", "inpaint", "demo"]
)
def test_every_command_has_help(capsys, name):
    assert cli.main([name, "--help"]) == 0
    assert f"tfpriv {name}" in capsys.readouterr().out


def test_info(capfd):
    """As a process of its own, so that TensorFlow's start is part of the test."""
    run = [sys.executable, "-m", "tfpriv", "info"]
    result = subprocess.run(run, capture_output=True, text=True, check=True)
    assert result.stderr == ""
    facts = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert facts["tfpriv"] == tfpriv.__version__
    assert {"Python", "tensorflow", "keras", "native", "threads", "ledger"} <= set(
        facts
    )


def test_tensorflow_that_does_not_import_shows_why(monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ImportError):
        cli.main(["info"])
