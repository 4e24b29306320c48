"""The `tfpriv` command: finds the right subcommand and reports errors in one line.

Each subsystem owns its commands, in `tfpriv/<subsystem>/commands.py`:
`add_parser(subparsers)` adds one parser whose default `handler` takes the parsed
arguments. Only the module of the command that was asked for is imported, and TensorFlow
only when its handler runs, so that help and wrong arguments answer at once.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence

import tfpriv

# Command: the module that has add_parser, and the line that the overview shows.
COMMANDS = {
    "info": ("tfpriv.info", "show versions, threads and whether native ops are used"),
    "budget": ("tfpriv.accounting.commands", "turn noise into epsilon, and back"),
    "caption": ("tfpriv.captioning.commands", "train and use private captioners"),
    "demo": ("tfpriv.demo", "train privately on generated pictures and caption them"),
}
USAGE_ERROR = 2
INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage in front of it."""

    def error(self, message: str):
        self.exit(USAGE_ERROR, f"tfpriv: error: {message} (see `{self.prog} --help`)\n")


def _parser(command: str | None) -> argparse.ArgumentParser:
    """The parser of one command, or of the overview when no command is named."""
    parser = _Parser(prog="tfpriv", description=tfpriv.__doc__.splitlines()[0])
    parser.add_argument(
        "--version", action="version", version=f"tfpriv {tfpriv.__version__}"
    )
    parser.add_argument(
        "--debug", action="store_true", help="show the traceback of an error"
    )
    subparsers = parser.add_subparsers(
        dest="command", metavar="command", required=True, parser_class=_Parser
    )
    if command is None:
        for name, (_, summary) in COMMANDS.items():
            subparsers.add_parser(name, help=summary)
    else:
        importlib.import_module(COMMANDS[command][0]).add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        argv: the arguments after `tfpriv`; by default those of the process.

    Returns:
        The exit code: 0, or 2 for wrong arguments, values or files.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    command = next((word for word in argv if not word.startswith("-")), None)
    try:
        parser = _parser(command if command in COMMANDS else None)
        arguments = parser.parse_args(argv)
    except SystemExit as stop:  # argparse has said what it had to say
        return stop.code or 0
    try:
        return arguments.handler(arguments) or 0
    except KeyboardInterrupt:
        print("tfpriv: interrupted", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, OSError) as error:
        if arguments.debug:
            raise
        message = " ".join(str(error).split())
        print(f"tfpriv: error: {message}", file=sys.stderr)
        return USAGE_ERROR
