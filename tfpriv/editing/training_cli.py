"""`tfpriv edit` for those who make a generator: data, networks, scores, boundaries."""

import argparse
from pathlib import Path

from tfpriv.editing.arguments import add_generator, generator_of
from tfpriv.support.terminal import (
    add_output,
    add_source,
    given,
    print_figures,
    progress,
    report_training,
)


def add_parsers(actions) -> None:
    """Adds the parsers of these commands.

    Args:
        actions: what `ArgumentParser.add_subparsers` returned.
    """
    _add_make_data(actions)
    _add_train_reader(actions)
    _add_train(actions)
    _add_fit(actions)
    _add_train_encoder(actions)
    _add_score(actions)
    _add_boundary(actions)


def _add_make_data(actions):
    parser = actions.add_parser(
        "make-data", help="draw faces with known truth, in CelebA's layout"
    )
    add_output(parser)
    parser.add_argument("--people", type=int, default=1000, metavar="N")
    parser.add_argument("--pictures", type=int, default=10, metavar="N", help="of each")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(handler=make_data, tensorflow=False)


def _add_train_reader(actions):
    parser = actions.add_parser(
        "train-reader", help="train the network that reads drawn faces' attributes"
    )
    add_output(parser, "FILE.keras")
    parser.add_argument("--people", type=int, default=20_000, metavar="N")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(handler=train_reader)


def _add_train(actions):
    parser = actions.add_parser(
        "train", help="train a small StyleGAN; the same command goes on where it was"
    )
    add_source(parser, "a folder of aligned pictures")
    add_output(parser)
    parser.add_argument("--resolution", type=int, default=64, help="16 to 64 pixels")
    parser.add_argument("--steps", type=int, help="default: the recipe's 20000")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(handler=train)


def _add_fit(actions):
    parser = actions.add_parser(
        "fit",
        help="fit a small StyleGAN to drawn faces, each a known function of z, without "
        "a discriminator; the same command goes on where it was",
    )
    add_output(parser)
    parser.add_argument(
        "--reader",
        type=Path,
        metavar="FILE.keras",
        help="face reader: pictures are compared by what it sees, too",
    )
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(handler=fit)


def _add_train_encoder(actions):
    parser = actions.add_parser(
        "train-encoder", help="train the network that guesses a picture's latent"
    )
    add_generator(parser)
    add_output(parser, "FILE.keras")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(handler=train_encoder)


def _add_score(actions):
    parser = actions.add_parser(
        "score", help="draw latents and let a model score their pictures"
    )
    add_generator(parser)
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
    add_output(parser)
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(handler=score)


def _add_boundary(actions):
    parser = actions.add_parser(
        "boundary", help="train an attribute's boundary from scored latents"
    )
    add_generator(parser)
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
    add_output(parser, "FILE.npz|.npy")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(handler=boundary)


def _check_network(output: Path, *inputs: Path | None) -> Path:
    """Finds out before a training whether its file can be written, and its page.

    Returns the page's path.
    """
    from tfpriv.support.outputs import check_output_file

    if output.suffix != ".keras":
        raise ValueError(f"Expected a file that ends in .keras. Received: {output}")
    output.parent.mkdir(parents=True, exist_ok=True)
    page = output.with_suffix(".html")
    for path in (output, page):
        check_output_file(path, *inputs)
    if page.exists() and not output.exists():
        raise FileExistsError(
            "The network's page would replace a file that is no network's; name "
            f"another output. Received: output={output}, beside {page}"
        )
    return page


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
    from tfpriv.support.models import save_model

    page = _check_network(options.output)
    model = reader_training.train_reader(
        options.people,
        epochs=options.epochs,
        seed=options.seed,
        folder=options.output.with_suffix(".training"),
        progress=progress("training"),
    )
    save_model(model, options.output)
    figures = print_figures(
        reader_training.figures(model, reader_training.faces_for_testing())
    )
    report_training("A face reader", options.output, figures, drawn=True, page=page)


def train(options: argparse.Namespace) -> None:
    from tfpriv import faces
    from tfpriv.editing import pictures
    from tfpriv.networks.stylegan import train as training
    from tfpriv.support import images
    from tfpriv.support.outputs import is_taken_up

    is_taken_up(options.output / training.CHECKPOINT)  # raises before all is drawn
    recipe = training.StyleGANRecipe(**given(options, "seed", "steps"))
    if options.data == "faces":
        people = faces.sample(options.people, seed=options.seed)
        data = faces.draw(people, options.resolution)
    else:
        files = pictures.files_of(options.data, pictures.SUFFIXES)
        data = images.load_many(
            files, options.resolution, progress=progress("reading pictures")
        )
    generator = training.small_generator(options.resolution, seed=options.seed)
    training.train(
        data, options.output, generator, recipe, progress=progress("training")
    )
    written, drawn = options.output / training.GENERATOR, options.data == "faces"
    report_training("A StyleGAN", written, drawn=drawn)


def fit(options: argparse.Namespace) -> None:
    from tfpriv.editing import fitting
    from tfpriv.support.models import load_model

    fitting.fit(
        options.output,
        reader=options.reader and load_model(options.reader),
        steps=options.steps,
        learning_rate=options.learning_rate,
        seed=options.seed,
        progress=progress("fitting"),
    )
    written, drawn = options.output / fitting.GENERATOR, options.reader is None
    report_training("A StyleGAN", written, drawn=drawn)


def train_encoder(options: argparse.Namespace) -> None:
    from tfpriv import editing
    from tfpriv.support.models import save_model

    page = _check_network(options.output, options.generator)
    model = editing.train_encoder(
        generator_of(options),
        steps=options.steps,
        seed=options.seed,
        folder=options.output.with_suffix(".training"),
        progress=progress("training"),
    )
    save_model(model, options.output)
    # Of the generator's own pictures, whoever they may resemble.
    report_training("An encoder of faces", options.output, drawn=False, page=page)


def score(options: argparse.Namespace) -> None:

    from tfpriv.editing import scores
    from tfpriv.support.models import load_model
    from tfpriv.support.outputs import check_new

    check_new(options.output)
    scores.sample_and_score(
        generator_of(options),
        load_model(options.model),
        options.output,
        options.count,
        names=options.names and tuple(options.names),
        seed=options.seed,
        progress=progress("scoring"),
    )
    print(f"Latents, scores and samples: {options.output}")


def boundary(options: argparse.Namespace) -> None:

    from tfpriv.editing import Boundary, scores, train_boundary
    from tfpriv.support.files import read_array
    from tfpriv.support.outputs import check_output_file

    check_output_file(
        options.output,
        options.latents,
        options.scores,
        options.generator,
        *options.conditions,
    )
    generator = generator_of(options)
    fit = train_boundary(
        read_array(options.latents),
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
