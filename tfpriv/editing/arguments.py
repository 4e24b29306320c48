"""Arguments that several commands of `tfpriv edit` share."""

import argparse
from pathlib import Path


def add_generator(parser: argparse.ArgumentParser) -> None:
    """Adds `--generator`."""
    parser.add_argument(
        "--generator",
        type=Path,
        metavar="FILE",
        help="genforce's .pth, NVlabs' .pkl, or ours (.keras, .safetensors); default: "
        "the embedded one, of drawn faces",
    )


def generator_of(options: argparse.Namespace):
    """Loads the generator that `--generator` names."""
    from tfpriv.editing import embedded, load_generator

    return load_generator(options.generator or embedded.path(embedded.GENERATOR))
