"""`tfpriv weights`: what others trained, where it lies, what a file is."""

import argparse
import math
from pathlib import Path

from tfpriv.networks.pretrained.download import download, identify
from tfpriv.networks.pretrained.known import KNOWN


def add_parser(subparsers) -> None:
    """Adds the `weights` command to the command line's parser."""
    parser = subparsers.add_parser(
        "weights", help="list, check and fetch weights that others trained"
    )
    parser.set_defaults(handler=show, tensorflow=False)
    actions = parser.add_subparsers(dest="action", metavar="action")
    check_parser = actions.add_parser("check", help="say what files are, by digest")
    check_parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    check_parser.set_defaults(handler=check, tensorflow=False)
    fetch = actions.add_parser("fetch", help="fetch a file and check its digest")
    fetch.add_argument("name", choices=list(KNOWN), metavar="NAME")
    fetch.add_argument(
        "--output", type=Path, metavar="DIR", help="default: Keras' cache"
    )
    fetch.add_argument(
        "--sha256", metavar="HEX", help="for a file without a digest on record"
    )
    fetch.set_defaults(handler=fetch_one, tensorflow=True)


def show(options: argparse.Namespace) -> None:
    """Lists what is known."""
    for name, known in KNOWN.items():
        print(f"{name}: {known.file}{'/' if known.folder else ''}, {_size(known)}")
        print(f"  for      {known.use}")
        print(f"  licence  {known.licence}")
        for mirror in known.mirrors:
            print(f"  from     {mirror}")
        print(f"  sha256   {known.sha256 or 'not on record'}")
    print("Paths to files of your own work everywhere; nothing needs these addresses.")


def check(options: argparse.Namespace) -> int:
    """Says of each file what it is; 1 if one is not known."""
    unknown = 0
    for path in options.files:
        digest, names = identify(path)
        unknown += not names
        print(f"{path}: {names[0] if names else 'not known'}, sha256 {digest}")
    return int(unknown > 0)


def fetch_one(options: argparse.Namespace) -> None:
    """Fetches a file."""
    path = download(options.name, options.output, sha256=options.sha256)
    print(f"Written: {path}")


def _size(known) -> str:
    if known.size is None:
        return "size not on record"
    return f"{math.ceil(known.size / 1e6)} MB"
