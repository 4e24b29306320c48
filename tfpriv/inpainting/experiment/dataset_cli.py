"""`tfpriv inpaint dataset`: the published experiment on a data set of people."""

import argparse
import sys
from pathlib import Path

from tfpriv.inpainting import options as shared
from tfpriv.support.terminal import progress


def add_parser(verbs) -> None:
    """Adds the parser of this verb.

    Args:
        verbs: what `ArgumentParser.add_subparsers` returned.
    """
    what = "run the published experiment on a data set of people"
    parser = verbs.add_parser("dataset", help=what)
    add = parser.add_argument
    add("source", type=Path, metavar="DATA", help="what prepare made")
    shared.add_output(parser)
    masks = "random (the default), landmarks, whole_face, gradcam, gradients, private"
    add("--mask", default="random", metavar="NAME", help=masks)
    shared.add_network(parser, "the masks gradcam and private")
    add("--classifier", type=Path, metavar="FILE.keras", help="for the mask gradients")
    shared.add_painting(parser)
    add("--limit", type=int, metavar="N", help="at most N images, of many people")
    add("--seed", type=int, default=0)
    parser.set_defaults(handler=dataset)


def dataset(options: argparse.Namespace) -> int:
    """Runs the experiment and writes its page; returns 1 if pictures have no result."""
    from tfpriv.inpainting import report as pages
    from tfpriv.inpainting.experiment import generation
    from tfpriv.inpainting.photos import inpainters
    from tfpriv.support.report import PAGE

    inpainter, makers = inpainters.load(options.inpainter), _makers(options)
    report = generation.generate_dataset(
        options.source,
        options.output,
        options.mask,
        inpainter,
        **makers,
        size=inpainters.pixels(inpainter) or generation.SIZE,
        seed=options.seed,
        limit=options.limit,
        progress=progress("repainting"),
        **shared.painting(options),
    )
    for failure in report.failures:
        print(f"left out: {failure}", file=sys.stderr)
    if report.there:
        print(f"There already: {report.there}")
    print(f"Pictures repainted: {report.done} in {options.output}")
    if report.done or report.there:
        pages.experiment(
            options.output / PAGE,
            options.mask,
            network=makers.get("network"),
            reads_masked=inpainters.reads_masked(inpainter),
        )
    return int(bool(report.failures))


def _makers(options):
    """The networks that make masks, as `generate_dataset` takes them."""
    from tfpriv.inpainting import load_classifier
    from tfpriv.inpainting.masks.kinds import KINDS, Settings

    makers, kind = {}, KINDS.get(options.mask)
    if options.classifier is not None:
        makers["classifier"] = load_classifier(options.classifier)
    if kind and kind.network:
        makers["network"], seen = shared.network(options)
        makers["settings"] = Settings(seen=seen)
    elif options.facenet is not None or options.seen is not None:
        raise ValueError(
            "--facenet and --seen are for the masks gradcam and private. "
            f"Received: --mask {options.mask}"
        )
    return makers
