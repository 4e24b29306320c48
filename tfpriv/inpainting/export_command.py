"""`tfpriv inpaint export`: SavedModels of the networks, the masks and all together."""

import argparse
from pathlib import Path

WHAT = ("facenet", "gradcam", "inpainter", "pipeline")
_SEES = ("facenet", "gradcam", "pipeline")  # what has a FaceNet inside
_PAINTS = ("inpainter", "pipeline")  # and an inpainter


def add_parser(actions) -> None:
    """Adds the parser of this command.

    Args:
        actions: what `ArgumentParser.add_subparsers` returned.
    """
    parser = actions.add_parser(
        "export",
        help="write a SavedModel, which runs without tfpriv",
        description="facenet: pictures to embeddings; gradcam: pictures and persons' "
        "embeddings to masks; inpainter: pictures and masks to repainted pictures; "
        "pipeline: pictures and persons' embeddings to repainted pictures.",
    )
    parser.add_argument("what", choices=WHAT, metavar="WHAT", help=", ".join(WHAT))
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder to write"
    )
    parser.add_argument(
        "--facenet", metavar="FILE", help=".pt or .keras; default: the embedded one"
    )
    parser.add_argument(
        "--inpainter", metavar="DIR", help="of diffusers; default: the embedded one"
    )
    parser.add_argument(
        "--size", type=int, help="pixels of a side; default: the inpainter's"
    )
    parser.add_argument(
        "--seen", type=int, help="at how many pixels GradCAM's network sees a picture"
    )
    parser.add_argument("--prompt", default="", help="what is painted")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--guidance-scale", type=float, default=7.5)
    parser.set_defaults(handler=export)


def export(options: argparse.Namespace) -> None:
    from tfpriv.inpainting import embedded, exporting

    what, given = options.what, {}
    network = embedded.facenet(options.facenet) if what in _SEES else None
    if what in _PAINTS:
        inpainter = _inpainter(options.inpainter)
        given = _painting(inpainter, options)
    seen = embedded.seen(options.facenet, options.seen)
    if what == "facenet":
        exporting.export_facenet(network, options.output)
    elif what == "gradcam":
        exporting.export_grad_cam(network, options.output, size=seen)
    elif what == "inpainter":
        exporting.export_inpainter(inpainter, options.output, **given)
    else:
        exporting.export_pipeline(
            network, inpainter, options.output, seen=seen, **given
        )
    print(f"Written: {options.output}")


def _inpainter(name):
    from tfpriv.inpainting import inpainters, obfuscation

    if name in obfuscation.OBFUSCATIONS:
        raise ValueError(
            f"A SavedModel has a network inside: name a folder. Received: {name}"
        )
    return inpainters.load(name)


def _painting(inpainter, options):
    from tfpriv.inpainting import inpainters

    size = options.size or inpainters.pixels(inpainter)
    if size is None:
        raise ValueError("Say the pictures' size: --size PIXELS. Received: none")
    return {
        "size": (size, size),
        "prompt": options.prompt,
        "steps": options.steps,
        "guidance_scale": options.guidance_scale,
    }
