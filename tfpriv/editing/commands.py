"""`tfpriv edit`: faces in a generator's latent space, released with privacy."""

import argparse
import functools
import sys
from pathlib import Path

from tfpriv.terminal import command_line, progress

INCOMPLETE = 1  # the exit code where files were left out
STARTS = ("mean", "random")


def add_parser(subparsers) -> None:
    """Adds `edit` to the parsers of the `tfpriv` command.

    Args:
        subparsers: what `ArgumentParser.add_subparsers` returned.
    """
    edit = subparsers.add_parser("edit", help="release attributes of faces privately")
    actions = edit.add_subparsers(dest="action", metavar="action", required=True)
    _add_make_data(actions)
    _add_train_reader(actions)
    _add_train(actions)
    _add_train_encoder(actions)
    _add_score(actions)
    _add_boundary(actions)
    _add_invert(actions)
    _add_privatize(actions)
    _add_study(actions)
    _add_export(actions)


def _add_make_data(actions):
    parser = actions.add_parser(
        "make-data", help="draw faces with known truth, in CelebA's layout"
    )
    _add_output(parser)
    parser.add_argument("--people", type=int, default=1000, metavar="N")
    parser.add_argument("--pictures", type=int, default=10, metavar="N", help="of each")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(handler=make_data, tensorflow=False)


def _add_train_reader(actions):
    parser = actions.add_parser(
        "train-reader", help="train the network that reads drawn faces' attributes"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.keras")
    parser.add_argument("--people", type=int, default=20_000, metavar="N")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(handler=train_reader)


def _add_train(actions):
    parser = actions.add_parser(
        "train", help="train a small StyleGAN; the same command goes on where it was"
    )
    parser.add_argument(
        "--data",
        default="faces",
        metavar="SOURCE",
        help="faces (drawn), or a folder of aligned pictures (default: %(default)s)",
    )
    _add_output(parser)
    parser.add_argument("--people", type=int, default=20_000, help="of drawn faces")
    parser.add_argument("--resolution", type=int, default=64, help="16 to 64 pixels")
    parser.add_argument("--steps", type=int, help="default: the recipe's 20000")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(handler=train)


def _add_train_encoder(actions):
    parser = actions.add_parser(
        "train-encoder", help="train the network that guesses a picture's latent"
    )
    _add_generator(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.keras")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(handler=train_encoder)


def _add_score(actions):
    parser = actions.add_parser(
        "score", help="draw latents and let a model score their pictures"
    )
    _add_generator(parser)
    parser.add_argument(
        "--model",
        type=Path,
        required=True,
        metavar="FILE.keras",
        help="scores pictures",
    )
    parser.add_argument(
        "--names", nargs="+", metavar="NAME", help="of the model's columns"
    )
    parser.add_argument("--count", type=int, default=5000, metavar="N")
    _add_output(parser)
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(handler=score)


def _add_boundary(actions):
    parser = actions.add_parser(
        "boundary", help="train an attribute's boundary from scored latents"
    )
    _add_generator(parser)
    parser.add_argument("--latents", type=Path, required=True, metavar="FILE.npy")
    parser.add_argument(
        "--scores", type=Path, required=True, metavar="FILE.csv", help="or labels"
    )
    parser.add_argument("--attribute", required=True, metavar="NAME", help="a column")
    parser.add_argument(
        "--conditions",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="boundaries of what must not change along this one",
    )
    parser.add_argument("--fraction", type=float, default=0.2, help="of each end")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.npz|.npy")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(handler=boundary)


def _add_invert(actions):
    parser = actions.add_parser("invert", help="find the latents of faces")
    parser.add_argument("source", type=Path, metavar="INPUT", help="picture or folder")
    _add_generator(parser)
    _add_output(parser)
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
    _add_generator(parser)
    _add_output(parser)
    parser.add_argument(
        "--boundary", nargs="+", type=Path, required=True, metavar="FILE"
    )
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
    _add_generator(parser)
    _add_output(parser)
    parser.add_argument(
        "--reader", type=Path, required=True, metavar="FILE.keras", help="face reader"
    )
    parser.add_argument("--boundary", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--clip", type=float, required=True, help="radius of the public range of scores"
    )
    parser.add_argument(
        "--epsilons", nargs="+", type=float, default=(0.2, 0.5, 1.0, 2.0), metavar="E"
    )
    parser.add_argument("--delta", type=float, default=1e-5)
    parser.add_argument("--count", type=int, default=400, metavar="N", help="of faces")
    parser.add_argument("--seed", type=int, default=0, help="of the faces")
    parser.set_defaults(handler=study)


def _add_export(actions):
    parser = actions.add_parser(
        "export",
        help="write a SavedModel: latents to pictures; with --encoder, pictures to "
        "their releases",
    )
    _add_generator(parser)
    _add_output(parser)
    parser.add_argument("--encoder", type=Path, metavar="FILE.keras")
    parser.add_argument("--boundary", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--clip", type=float, help="as for `privatize`")
    parser.add_argument("--epsilon", type=float, help="of one release")
    parser.add_argument("--delta", type=float, help="of one release, above 0")
    parser.set_defaults(handler=export)


def _add_generator(parser):
    parser.add_argument(
        "--generator",
        type=Path,
        required=True,
        metavar="FILE",
        help="genforce's .pth, NVlabs' .pkl, or ours (.keras, .safetensors)",
    )


def _add_output(parser):
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder to write"
    )


def make_data(options: argparse.Namespace) -> None:
    from tfpriv import faces

    faces.write_dataset(
        options.output,
        options.people,
        options.pictures,
        seed=options.seed,
        progress=progress("drawing"),
    )
    print(f"Written: {options.output}")


def train_reader(options: argparse.Namespace) -> None:
    from tfpriv.faces import reader_training
    from tfpriv.files import atomic_path

    model = reader_training.train_reader(
        options.people,
        epochs=options.epochs,
        seed=options.seed,
        folder=options.output.with_suffix(".training"),
    )
    with atomic_path(options.output) as partial:
        model.save(partial)
    found = reader_training.figures(model, reader_training.faces_for_testing())
    for name, figure in found.items():
        print(f"{name:24} {figure:.4f}")
    print(f"Written: {options.output}")


def train(options: argparse.Namespace) -> None:
    from tfpriv import faces, images
    from tfpriv.editing import pictures
    from tfpriv.editing.stylegan import train as training

    if options.data == "faces":
        people = faces.sample(options.people, seed=options.seed)
        data = faces.draw(people, options.resolution)
    else:
        files = pictures.files_of(options.data, pictures.SUFFIXES)
        data = images.load_many(
            files, options.resolution, progress=progress("reading pictures")
        )
    steps = {} if options.steps is None else {"steps": options.steps}
    recipe = training.Recipe(seed=options.seed, **steps)
    generator = training.small_generator(options.resolution, seed=options.seed)
    training.train(
        data, options.output, generator, recipe, progress=progress("training")
    )
    print(f"Written: {options.output / training.GENERATOR}")


def train_encoder(options: argparse.Namespace) -> None:
    from tfpriv import editing
    from tfpriv.files import atomic_path

    model = editing.train_encoder(
        editing.load_generator(options.generator),
        steps=options.steps,
        seed=options.seed,
        folder=options.output.with_suffix(".training"),
    )
    with atomic_path(options.output) as partial:
        model.save(partial)
    print(f"Written: {options.output}")


def score(options: argparse.Namespace) -> None:
    import keras

    from tfpriv.editing import load_generator, scores

    scores.sample_and_score(
        load_generator(options.generator),
        keras.saving.load_model(options.model),
        options.output,
        options.count,
        names=options.names and tuple(options.names),
        seed=options.seed,
        progress=progress("scoring"),
    )
    print(f"Latents, scores and samples: {options.output}")


def boundary(options: argparse.Namespace) -> None:
    import numpy as np

    from tfpriv.editing import Boundary, load_generator, scores, train_boundary

    generator = load_generator(options.generator)
    fit = train_boundary(
        np.load(options.latents, allow_pickle=False),
        scores.read_scores(options.scores, options.attribute),
        options.attribute,
        fraction=options.fraction,
        seed=options.seed,
        generator=generator.fingerprint,
    )
    found = fit.boundary
    if options.conditions:
        found = found.conditioned(*map(Boundary.load, options.conditions))
    found.save(options.output)
    print(
        f"Right side: {fit.chosen:.4f} of held-out clear latents, {fit.others:.4f} of "
        "the others"
    )
    print(f"Written: {options.output}")


def invert(options: argparse.Namespace) -> int:
    import keras

    from tfpriv.editing import encode, jobs, load_generator

    loss, identity = _losses(options.vgg, options.reader)
    encoder = options.encoder and keras.saving.load_model(options.encoder)
    report = jobs.invert_files(
        options.source,
        options.output,
        load_generator(options.generator),
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
    import keras

    from tfpriv.editing import losses, scores
    from tfpriv.faces import reader as readers
    from tfpriv.images import to_bytes

    parts, identity = {"pixels": (1.0, losses.PixelLoss())}, None
    if vgg is not None:
        from tfpriv.perception.vgg import features

        network = features(None if vgg == "download" else vgg, losses.SEED_LAYERS)
        parts["vgg"] = (1.0, losses.FeatureLoss(network))
    if reader is not None:
        model = keras.saving.load_model(reader)
        parts["reader"] = (1.0, losses.FeatureLoss(readers.feature_maps(model)))

        def identity(one, other):
            read = [
                model.predict(scores.resized(to_bytes(p), model), verbose=0)
                for p in (one, other)
            ]
            return readers.identity_similarity(*read)

    return losses.Sum(**parts), identity


def privatize(options: argparse.Namespace) -> int:
    from tfpriv.accounting import Ledger
    from tfpriv.editing import jobs, load_generator

    generator = load_generator(options.generator)
    report = jobs.release_files(
        options.source,
        options.output,
        generator,
        _mechanism(options, generator, options.space),
        distinct_persons=options.distinct_persons,
        progress=progress("releasing"),
    )
    ledger = Ledger.load(options.output / jobs.LEDGER)
    if report.done or report.there:
        print(ledger.statement(max(options.delta, 1e-6), accountant="pld").rstrip("\n"))
    return _say(report, "Faces released", options.output)


def _mechanism(options: argparse.Namespace, generator, space: str):
    from tfpriv.editing import AttributeMechanism, Boundary

    boundaries = [Boundary.load(path) for path in options.boundary]
    for one in boundaries:
        one.check_fits(generator.latent_dim, "w", generator.fingerprint)
    return AttributeMechanism(
        boundaries,
        options.clip,
        epsilon=options.epsilon,
        delta=options.delta,
        space=space,
    )


def study(options: argparse.Namespace) -> None:
    import keras

    from tfpriv.editing import Boundary, load_generator, study_report
    from tfpriv.editing.study import study

    generator = load_generator(options.generator)
    boundary = Boundary.load(options.boundary)
    boundary.check_fits(generator.latent_dim, "w", generator.fingerprint)
    found = study(
        generator,
        keras.saving.load_model(options.reader),
        boundary,
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
    study_report.write(options.output, found, run)
    print(study_report.table(found))
    print(f"Written: {options.output}")


def export(options: argparse.Namespace) -> None:
    import keras

    from tfpriv.editing import export_release, load_generator
    from tfpriv.editing.stylegan.exporting import export_generator

    needed = ("boundary", "clip", "epsilon", "delta")
    missing = [f"--{name}" for name in needed if getattr(options, name) is None]
    if options.encoder is not None and missing:
        raise ValueError(f"A release needs {', '.join(missing)} too.")
    if options.encoder is None and len(missing) < len(needed):
        raise ValueError("A release starts from a picture: give --encoder too.")
    generator = load_generator(options.generator)
    if options.encoder is None:
        export_generator(generator, options.output)
    else:
        export_release(
            generator,
            keras.saving.load_model(options.encoder),
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
