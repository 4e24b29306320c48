"""`tfpriv inpaint`: its verbs, and photographs where the first word is no verb."""

import shlex
from pathlib import Path

from tfpriv.inpainting import export_cli
from tfpriv.inpainting.experiment import cli, dataset_cli
from tfpriv.inpainting.photos import cli as photos_cli


def add_parser(subparsers) -> None:
    """Adds `inpaint` to the parsers of the `tfpriv` command.

    Args:
        subparsers: what `ArgumentParser.add_subparsers` returned.
    """
    inpaint = subparsers.add_parser(
        "inpaint",
        help="anonymise faces in photographs",
        description="`tfpriv inpaint PATHS` anonymises photographs; `tfpriv inpaint "
        "VERB` does the rest. `tfpriv inpaint PATHS --help` lists the options of "
        "photographs. A file that is called as a verb is `./VERB`.",
    )
    verbs = inpaint.add_subparsers(dest="verb", metavar="PATHS | VERB", required=True)
    photos_cli.add_parsers(verbs)
    dataset_cli.add_parser(verbs)
    cli.add_parsers(verbs)
    export_cli.add_parser(verbs)
    _add_generate(verbs)
    inpaint.verbs = verbs


def _add_generate(verbs):
    """The verb of old that is now two; no word of its call is an option of it."""
    parser = verbs.add_parser("generate", prefix_chars="\0", add_help=False)
    parser.add_argument("words", nargs="*")
    parser.set_defaults(handler=_generate, tensorflow=False)


def _generate(options):
    from tfpriv.faces.celeba import IDENTITIES

    people = any((Path(word) / IDENTITIES).is_file() for word in options.words)
    call = ["tfpriv", "inpaint", *(["dataset"] if people else []), *options.words]
    raise ValueError(
        "`generate` was replaced by `tfpriv inpaint PATHS`, for photographs, and "
        f"`tfpriv inpaint dataset`, for a data set of people. Call: {shlex.join(call)}"
    )
