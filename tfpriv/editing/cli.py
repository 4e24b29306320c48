"""`tfpriv edit`: faces in a generator's latent space, released with privacy."""

import argparse
import functools
import sys
from pathlib import Path

from tfpriv.editing import training_cli
from tfpriv.editing.arguments import add_generator, generator_of
from tfpriv.support.terminal import add_output, command_line, progress

INCOMPLETE = 1  # the exit code where files were left out
STARTS = ("mean", "random")


def add_parser(subparsers) -> None:
    """Adds `edit` to the parsers of the `tfpriv` command.

    Args:
        subparsers: what `ArgumentParser.add_subparsers` returned.
    """
    edit = subparsers.add_parser("edit", help="release attributes of faces privately")
    actions = edit.add_subparsers(dest="action", metavar="action", required=True)
    training_cli.add_parsers(actions)
    _add_invert(actions)
    _add_privatize(actions)
    _add_study(actions)
    _add_export(actions)


def _add_invert(actions):
    parser = actions.add_parser("invert", help="find the latents of faces")
    parser.add_argument("source", type=Path, metavar="INPUT", help="picture or folder")
    add_generator(parser)
    add_output(parser)
    parser.add_argument(
        "--aligned",
        action="store_true",
        help="faces fill the pictures already; else they are found and cut out",
    )
    parser.add_argument("--space", choices=("w", "wp"), default="w")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--start", choices=STARTS, default="mean")
    start.add_argument(
        "--encoder", type=Path, metavar="FILE.keras", help="start from its guess"
    )
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument(
        "--vgg",
        metavar="FILE",
        help="torchvision's vgg16-397923af.pth, or `download`: compares by its eight "
        "layers too",
    )
    parser.add_argument(
        "--reader",
        type=Path,
        metavar="FILE.keras",
        help="face reader: compares by its scales too, and reports identity",
    )
    parser.add_argument("--mean-pull", type=float, default=0.0)
    parser.add_argument("--patience", type=int, metavar="STEPS")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(handler=invert)


def _add_privatize(actions):
    parser = actions.add_parser(
        "privatize", help="release latents with differential privacy"
    )
    parser.add_argument("source", type=Path, metavar="INPUT", help=".npy or folder")
    add_generator(parser)
    add_output(parser)
    _add_boundaries(parser, required=True)
    parser.add_argument(
        "--clip", type=float, required=True, help="radius of the public range of scores"
    )
    parser.add_argument("--epsilon", type=float, required=True, help="of one release")
    parser.add_argument(
        "--delta", type=float, required=True, help="of one release; 0 for Laplace noise"
    )
    parser.add_argument("--space", choices=("w", "wp"), default="w")
    parser.add_argument(
        "--distinct-persons",
        action="store_true",
        help="each latent is of another person, released in this run alone",
    )
    parser.set_defaults(handler=privatize)


def _add_study(actions):
    parser = actions.add_parser(
        "study", help="release random faces in several ways, and compare the results"
    )
    add_generator(parser)
    add_output(parser)
    parser.add_argument(
        "--reader",
        type=Path,
        metavar="FILE.keras",
        help="face reader; default: the embedded one",
    )
    _add_boundaries(parser, required=True, nargs=None)
    parser.add_argument(
        "--clip", type=float, required=True, help="radius of the public range of scores"
    )
    parser.add_argument(
        "--epsilons", nargs="+", type=float, default=(0.2, 0.5, 1.0, 2.0), metavar="E"
    )
    parser.add_argument("--delta", type=float, default=1e-5)
    parser.add_argument(
        "--count",
        type=int,
        default=400,
        metavar="N",
        help="of faces, 100 at least; default: %(default)s",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the faces")
    parser.set_defaults(handler=study)


def _add_export(actions):
    parser = actions.add_parser(
        "export",
        help="write a SavedModel: latents to pictures; with --encoder, pictures to "
        "their releases",
    )
    add_generator(parser)
    add_output(parser)
    parser.add_argument("--encoder", type=Path, metavar="FILE.keras")
    _add_boundaries(parser)
    parser.add_argument("--clip", type=float, help="as for `privatize`")
    parser.add_argument("--epsilon", type=float, help="of one release")
    parser.add_argument("--delta", type=float, help="of one release, above 0")
    parser.set_defaults(handler=export)


def _add_boundaries(parser, *, required=False, nargs="+"):
    parser.add_argument(
        "--boundary",
        nargs=nargs,
        type=Path,
        required=required,
        metavar="FILE",
        help="or the name of an embedded one, such as age",
    )


def _boundary(path: Path, generator):
    """A boundary of W from a file, or an embedded one by its name."""
    from tfpriv.editing import Boundary, embedded

    if not path.suffix and not path.exists():
        path = embedded.path(f"{path}.npz")
    found = Boundary.load(path)
    found.check_fits(generator.latent_dim, "w", generator.fingerprint)
    return found


def invert(options: argparse.Namespace) -> int:

    from tfpriv.editing import encode, jobs
    from tfpriv.support.models import load_model

    loss, identity = _losses(options.vgg, options.reader)
    encoder = options.encoder and load_model(options.encoder)
    report = jobs.invert_files(
        options.source,
        options.output,
        generator_of(options),
        loss,
        aligned=options.aligned,
        space=options.space,
        start=functools.partial(encode, encoder) if encoder else options.start,
        steps=options.steps,
        learning_rate=options.learning_rate,
        mean_pull=options.mean_pull,
        patience=options.patience,
        seed=options.seed,
        identity=identity,
        folder=options.output / "state",
        progress=progress("inverting"),
    )
    return _say(report, "Faces inverted", options.output)


def _losses(vgg: str | None, reader: Path | None):
    """The loss of an inversion, and the similarity of persons or None."""

    from tfpriv.editing import losses, scores
    from tfpriv.faces import reader as readers
    from tfpriv.support.images import to_uint8
    from tfpriv.support.models import load_model

    parts, identity = {"pixels": (1.0, losses.PixelLoss())}, None
    if vgg is not None:
        from tfpriv.networks.perception.vgg import features

        network = features(None if vgg == "download" else vgg, losses.SEED_LAYERS)
        parts["vgg"] = (1.0, losses.FeatureLoss(network))
    if reader is not None:
        model = load_model(reader)
        parts["reader"] = (1.0, losses.FeatureLoss(readers.feature_maps(model)))

        def identity(one, other):
            read = [
                model.predict(scores.resized(to_uint8(p), model), verbose=0)
                for p in (one, other)
            ]
            return readers.identity_similarity(*read)

    return losses.Sum(**parts), identity


def privatize(options: argparse.Namespace) -> int:
    from tfpriv.accounting.ledger import Ledger
    from tfpriv.editing import jobs
    from tfpriv.editing import report as pages
    from tfpriv.support.report import PAGE

    generator = generator_of(options)
    mechanism = _mechanism(options, generator, options.space)
    report = jobs.release_files(
        options.source,
        options.output,
        generator,
        mechanism,
        distinct_persons=options.distinct_persons,
        progress=progress("releasing"),
    )
    if report.done or report.there:
        ledger = Ledger.load(options.output / jobs.LEDGER)
        delta = options.delta or 1e-6  # Laplace noise needs none, its sum does
        print(ledger.statement(delta, accountant="pld").rstrip("\n"))
        pages.release(options.output / PAGE, mechanism, ledger, delta)
    return _say(report, "Faces released", options.output)


def _mechanism(options: argparse.Namespace, generator, space: str):
    from tfpriv.editing import AttributeMechanism

    return AttributeMechanism(
        [_boundary(path, generator) for path in options.boundary],
        options.clip,
        epsilon=options.epsilon,
        delta=options.delta,
        space=space,
    )


def study(options: argparse.Namespace) -> None:

    from tfpriv.editing import embedded, report
    from tfpriv.editing.study import study
    from tfpriv.support.models import load_model
    from tfpriv.support.outputs import check_new

    check_new(options.output)
    generator = generator_of(options)
    found = study(
        generator,
        load_model(options.reader or embedded.path(embedded.READER)),
        _boundary(options.boundary, generator),
        clip=options.clip,
        epsilons=tuple(options.epsilons),
        delta=options.delta,
        count=options.count,
        seed=options.seed,
        progress=progress("releasing"),
    )
    run = {
        "command": command_line(),
        "generator": generator.fingerprint,
        "seed": options.seed,
        "count": options.count,
    }
    report.study(options.output, found, run)
    print(report.table(found))
    print(f"Written: {options.output}")


def export(options: argparse.Namespace) -> None:

    from tfpriv.editing import export_release
    from tfpriv.networks.stylegan.export import export_generator
    from tfpriv.support.models import load_model
    from tfpriv.support.outputs import check_new

    needed = ("boundary", "clip", "epsilon", "delta")
    missing = [f"--{name}" for name in needed if getattr(options, name) is None]
    if options.encoder is not None and missing:
        raise ValueError(f"A release needs {', '.join(missing)} too.")
    if options.encoder is None and len(missing) < len(needed):
        raise ValueError("A release starts from a picture: give --encoder too.")
    check_new(options.output)
    generator = generator_of(options)
    if options.encoder is None:
        export_generator(generator, options.output)
    else:
        export_release(
            generator,
            load_model(options.encoder),
            _mechanism(options, generator, "w"),
            options.output,
            delta=options.delta,
        )
    print(f"Written: {options.output}")


def _say(report, what: str, output: Path) -> int:
    """Says what was done; returns the exit code."""
    for line in (*report.advice, *(f"left out: {f}" for f in report.failures)):
        print(line, file=sys.stderr)
    if report.there:
        print(f"There already: {report.there}")
    print(f"{what}: {report.done} in {output}")
    return INCOMPLETE if report.failures else 0
