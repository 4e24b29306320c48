"""`tfpriv inpaint export`: SavedModels of the networks, the masks and all together."""

import argparse
from pathlib import Path


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
    parser.add_argument(
        "what", choices=_EXPORTS, metavar="WHAT", help=", ".join(_EXPORTS)
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder to write"
    )
    parser.add_argument(
        "--facenet",
        metavar="FILE",
        help=".pt or .keras; default: the embedded one, of drawn faces",
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
    from tfpriv.support.outputs import check_new

    check_new(options.output)
    _EXPORTS[options.what](options)
    print(f"Written: {options.output}")


def _facenet(options):
    from tfpriv.inpainting import export as exporting
    from tfpriv.inpainting import facenet_option

    exporting.export_facenet(facenet_option.load(options.facenet), options.output)


def _grad_cam(options):
    from tfpriv.inpainting import embedded, facenet_option
    from tfpriv.inpainting import export as exporting

    exporting.export_grad_cam(
        facenet_option.load(options.facenet),
        options.output,
        size=embedded.seen(options.facenet, options.seen),
    )


def _inpainter(options):
    from tfpriv.inpainting import export as exporting

    inpainter = _load_inpainter(options.inpainter)
    exporting.export_inpainter(
        inpainter, options.output, **_painting(inpainter, options)
    )


def _pipeline(options):
    from tfpriv.inpainting import embedded, facenet_option
    from tfpriv.inpainting import export as exporting

    network = facenet_option.load(options.facenet)
    inpainter = _load_inpainter(options.inpainter)
    exporting.export_pipeline(
        network,
        inpainter,
        options.output,
        seen=embedded.seen(options.facenet, options.seen),
        **_painting(inpainter, options),
    )


_EXPORTS = {
    "facenet": _facenet,
    "gradcam": _grad_cam,
    "inpainter": _inpainter,
    "pipeline": _pipeline,
}


def _load_inpainter(name):
    from tfpriv.inpainting.photos import inpainters, obfuscation

    if name in obfuscation.OBFUSCATIONS:
        raise ValueError(
            f"A SavedModel has a network inside: name a folder. Received: {name}"
        )
    return inpainters.load(name)


def _painting(inpainter, options):
    from tfpriv.inpainting.photos import inpainters
    from tfpriv.support import checks

    size = options.size
    if size is None:
        size = inpainters.pixels(inpainter)
    if size is None:
        raise ValueError("Say the pictures' size: --size PIXELS. Received: none")
    checks.whole("size", size)
    checks.whole("steps", options.steps)
    checks.real("guidance_scale", options.guidance_scale)
    return {
        "size": (size, size),
        "prompt": options.prompt,
        "steps": options.steps,
        "guidance_scale": options.guidance_scale,
    }
