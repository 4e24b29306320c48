"""Options that several verbs of `tfpriv inpaint` have, each declared once."""

import argparse
from pathlib import Path

from tfpriv.inpainting.photos.settings import Settings


def add_output(parser, help: str = "folder to write", *, required: bool = True) -> None:
    """Adds `--output`."""
    kind = {"type": Path, "required": required, "metavar": "PATH", "help": help}
    parser.add_argument("-o", "--output", **kind)


def add_painting(parser) -> None:
    """Adds the inpainter, and what it is called with."""
    add = parser.add_argument
    add(
        "--inpainter",
        metavar="NAME|DIR",
        help="a folder of diffusers; or, but for a SavedModel, blur, pixelate or black "
        "(default: the embedded one)",
    )
    add("--prompt", default=Settings.prompt, help="what is painted")
    add("--steps", type=int, default=Settings.steps)
    add("--guidance-scale", type=float, default=Settings.guidance_scale)


def painting(options: argparse.Namespace) -> dict:
    """What of `add_painting` an inpainter is called with."""
    return {n: getattr(options, n) for n in ("prompt", "steps", "guidance_scale")}


def add_network(parser, masks: str) -> None:
    """Adds the network that looks at pictures for some masks, and at which size."""
    add = parser.add_argument
    add(
        "--facenet",
        metavar="FILE",
        help=f"for {masks}: .pt or .keras (default: the embedded one, of drawn faces)",
    )
    add(
        "--seen",
        type=int,
        metavar="PIXELS",
        help="at how many it sees a picture (default: 512; the embedded one: 160)",
    )


def network(options: argparse.Namespace) -> tuple:
    """Loads what `add_network` names, and prints what faces it was trained on.

    Returns:
        A `FaceNet`, and at how many pixels it sees a picture.
    """
    from tfpriv.inpainting import embedded, facenet_option

    seen = embedded.seen(options.facenet, options.seen)
    return facenet_option.load(options.facenet), seen
