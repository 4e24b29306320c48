"""`tfpriv demo`: the library's main job on pictures that it generates itself."""

import argparse


def add_parser(subparsers) -> None:
    """Adds the `demo` command to the command line's parser."""
    parser = subparsers.add_parser(
        "demo",
        help="train privately on generated pictures and caption them",
        description=(
            "Generates captioned pictures, trains a captioner on them with "
            "differential privacy, prints epsilon and captions of pictures it never "
            "saw, and leaves a report with pictures."
        ),
    )
    parser.add_argument(
        "--output",
        default="demo_output",
        metavar="DIR",
        help="folder for the report (default: %(default)s)",
    )
    parser.set_defaults(handler=_run)


def _run(arguments: argparse.Namespace) -> None:
    from tfpriv.captioning import demo

    demo.run(arguments.output)
