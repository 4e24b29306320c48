"""`tfpriv inpaint export`: SavedModels of the networks, the masks and all together."""

import argparse

from tfpriv.inpainting import options as shared
from tfpriv.inpainting.photos.settings import Settings


def add_parser(verbs) -> None:
    """Adds the parser of this verb.

    Args:
        verbs: what `ArgumentParser.add_subparsers` returned.
    """
    parser = verbs.add_parser(
        "export",
        help="write a SavedModel, which runs without tfpriv",
        description="facenet: pictures to embeddings; gradcam: pictures and persons' "
        "embeddings to masks; inpainter: pictures and masks to repainted pictures; "
        "pipeline: pictures and persons' embeddings to repainted pictures.",
    )
    what = ("facenet", "gradcam", "inpainter", "pipeline")
    parser.add_argument("what", choices=what, metavar="WHAT", help=", ".join(what))
    shared.add_output(parser)
    shared.add_network(parser, "all but inpainter")
    shared.add_painting(parser)
    size = "pixels of a side; default: the inpainter's"
    parser.add_argument("--size", type=int, help=size)
    parser.set_defaults(handler=export)


def export(options: argparse.Namespace) -> None:
    """Writes one of the SavedModels."""
    from tfpriv.inpainting import export as exporting
    from tfpriv.support.outputs import check_new

    what, output = options.what, options.output
    check_new(output)
    if what != "inpainter":
        network, seen = shared.network(options)
    if what in ("inpainter", "pipeline"):
        inpainter, painting = _inpainter(options)
    if what == "facenet":
        exporting.export_facenet(network, output)
    elif what == "gradcam":
        exporting.export_grad_cam(network, output, size=seen)
    elif what == "inpainter":
        exporting.export_inpainter(inpainter, output, **painting)
    else:
        exporting.export_pipeline(network, inpainter, output, seen=seen, **painting)
    print(f"Written: {output}")


def _inpainter(options):
    """The inpainter, and how it paints."""
    from tfpriv.inpainting.photos import inpainters, obfuscation
    from tfpriv.support import checks

    if options.inpainter in obfuscation.OBFUSCATIONS:
        raise ValueError(
            f"A SavedModel has a network inside. Received: {options.inpainter}"
        )
    inpainter, size = inpainters.load(options.inpainter), options.size
    if size is None:
        size = inpainters.pixels(inpainter)
    if size is None:
        raise ValueError("Say the pictures' size: --size PIXELS. Received: none")
    checks.whole("size", size)
    Settings(**shared.painting(options))  # raises for steps or a scale out of range
    return inpainter, {"size": (size, size), **shared.painting(options)}
