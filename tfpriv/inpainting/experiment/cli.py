"""`tfpriv inpaint` for those who measure: data, networks, and their judgement."""

import argparse
from pathlib import Path

from tfpriv.support.terminal import (
    add_output,
    add_source,
    command_line,
    given,
    print_figures,
    progress,
    report_training,
)

FIGURES = "finetune.json"


def add_parsers(actions) -> None:
    """Adds the parsers of these commands.

    Args:
        actions: what `ArgumentParser.add_subparsers` returned.
    """
    _add_prepare(actions)
    _add_train_facenet(actions)
    _add_finetune(actions)
    _add_train_inpainter(actions)
    _add_evaluate(actions)


def _add_prepare(actions):
    parser = actions.add_parser(
        "prepare", help="draw faces in CelebA's layout, or take CelebA; part them"
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--output", type=Path, metavar="DIR", help="folder to write a data set into"
    )
    source.add_argument(
        "--celeba", type=Path, metavar="DIR", help="folder in CelebA's layout"
    )
    parser.add_argument(
        "--tfds",
        nargs="?",
        const="",
        metavar="DATA_DIR",
        help="with --output: write TFDS' celeb_a, instead of drawing",
    )
    parser.add_argument("--people", type=int, default=200, metavar="N", help="to draw")
    parser.add_argument("--pictures", type=int, default=20, metavar="N", help="of each")
    parser.add_argument(
        "--share", type=float, default=0.8, help="of each person's, to train with"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(handler=prepare, tensorflow=False)


def _add_train_facenet(actions):
    parser = actions.add_parser(
        "train-facenet",
        help="train a FaceNet on drawn faces; the same command goes on where it was",
    )
    add_output(parser)
    parser.add_argument(
        "--width", type=float, default=0.25, help="1 is the published network's"
    )
    parser.add_argument("--people", type=int, help="default: the recipe's 2000")
    parser.add_argument("--steps", type=int, help="default: the recipe's 3000")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(handler=train_facenet)


def _add_finetune(actions):
    parser = actions.add_parser(
        "finetune", help="train a FaceNet's head on persons, or its end privately"
    )
    _add_data(parser)
    parser.add_argument(
        "--facenet",
        metavar="FILE",
        help="facenet-pytorch's .pt, or ours (.keras); default: the embedded one, of "
        "drawn faces",
    )
    add_output(parser)
    parser.add_argument(
        "--private",
        choices=("picture", "person"),
        help="with differential privacy: a classifier over persons that hides each "
        "picture, or an embedding that hides each person, judged on others",
    )
    parser.add_argument("--epsilon", type=float, default=8.0, help="the budget")
    parser.add_argument("--delta", type=float, default=1e-5)
    parser.add_argument(
        "--clip",
        type=float,
        help="bound on a unit's gradient; default: 1 by picture, 0.05 by person",
    )
    parser.add_argument("--epochs", type=int, help="default: 8, or 30 privately")
    parser.add_argument(
        "--learning-rate",
        type=float,
        help="of Adam; default: 0.001, or 0.01 privately by picture",
    )
    _add_size(parser)
    parser.add_argument("--seed", type=int, default=0, help="not of the noise")
    parser.set_defaults(handler=finetune)


def _add_train_inpainter(actions):
    parser = actions.add_parser(
        "train-inpainter",
        help="train the small inpainter; the same command goes on where it was",
    )
    add_source(
        parser, "a folder in CelebA's layout, of which the training side is taken"
    )
    add_output(parser)
    parser.add_argument(
        "--steps",
        type=int,
        dest="unet_steps",
        metavar="STEPS",
        help="of the UNet; default: the recipe's",
    )
    parser.add_argument("--size", type=int, default=64, help="of pictures, in pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(handler=train_inpainter)


def _add_evaluate(actions):
    parser = actions.add_parser(
        "evaluate", help="measure what repainted pictures tell, and what they keep"
    )
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="with results, masks, original"
    )
    parser.add_argument("--classifier", type=Path, required=True, metavar="FILE.keras")
    parser.add_argument(
        "--second",
        metavar="FILE",
        help="a FaceNet that made no mask, with --data: rank 1, verification, links",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="the data set that the folder was made of, for the persons' other "
        "pictures",
    )
    parser.add_argument(
        "--reader", type=Path, metavar="FILE.keras", help="face reader: attributes"
    )
    parser.add_argument(
        "--drawn",
        action="store_true",
        help="the faces are drawn: the embedded reader reads attributes, and knows "
        "persons by their traits in place of --second",
    )
    parser.add_argument(
        "--vgg",
        metavar="FILE",
        help="torchvision's vgg16-397923af.pth, or `download`: LPIPS",
    )
    parser.add_argument("--false-accepts", type=float, default=0.01)
    add_output(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the intervals")
    parser.set_defaults(handler=evaluate)


def _add_data(parser):
    parser.add_argument("data", type=Path, metavar="DATA", help="what prepare made")


def _add_size(parser):
    parser.add_argument(
        "--size",
        type=int,
        default=160,
        help="of pictures in pixels, before the network's own; best that of the "
        "pictures to be judged (default: %(default)s)",
    )


def prepare(options: argparse.Namespace) -> None:
    from tfpriv import faces
    from tfpriv.inpainting.experiment.people import People
    from tfpriv.support import checks

    checks.real("share", options.share, high=1.0)
    checks.whole("seed", options.seed, low=0)
    if options.tfds is not None:
        _export_tfds(options)
    elif options.output:
        faces.write_dataset(
            options.output,
            options.people,
            options.pictures,
            seed=options.seed,
            progress=progress("drawing"),
        )
    celeba = faces.CelebA.load(options.output or options.celeba)
    missing = [path for path in celeba.paths() if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"The lists name pictures that are not there. Received: {missing[0]}"
            + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
        )
    people = People.parted(celeba, options.share, options.seed)
    path = people.save_split()
    print(
        f"{people.classes} persons, {len(celeba)} pictures: {len(people.training)} to "
        f"train with, {len(people.testing)} to test with"
    )
    print(f"Written: {path}")


def _export_tfds(options):
    from tfpriv.faces import celeba_tfds

    if options.output is None:
        raise ValueError(
            "--tfds needs the folder to write: --output DIR. Received: none"
        )
    celeba_tfds.export_tfds(
        options.output, data_dir=options.tfds or None, progress=progress("writing")
    )


def train_facenet(options: argparse.Namespace) -> None:
    import keras

    from tfpriv.inpainting import FaceNet
    from tfpriv.inpainting.experiment import facenet_training

    keras.utils.set_random_seed(options.seed)  # of the weights to begin with
    network = facenet_training.train_facenet(
        options.output,
        FaceNet(options.width, facenet_training.DROPOUT),
        facenet_training.FaceNetRecipe(**given(options, "seed", "people", "steps")),
        progress=progress("training"),
    )
    figures = print_figures(facenet_training.figures(network))
    written = options.output / facenet_training.NETWORK
    report_training("FaceNet", written, figures, drawn=True)


def finetune(options: argparse.Namespace) -> None:
    from tfpriv.inpainting import facenet_option, recognition
    from tfpriv.inpainting.experiment import finetuning
    from tfpriv.inpainting.experiment.people import People
    from tfpriv.support.outputs import check_new, write_json

    check_new(options.output)
    finetuning.check_options(options)
    network = facenet_option.load(options.facenet)
    people = People.load(options.data)
    job = {
        None: finetuning.plainly,
        "picture": finetuning.by_picture,
        "person": finetuning.by_person,
    }[options.private]
    done = job(network, people, options, progress("embedding"))
    finetuning.save(done, options.output, options.delta)
    write_json(
        options.output / FIGURES,
        {
            "command": command_line(),
            "FaceNet trained on": recognition.trained_on(network),
            "not covered by epsilon": done.figures,
        },
    )
    print_figures(done.figures)
    print(done.ledger.statement(delta=options.delta))
    print(f"Written: {options.output}")


def train_inpainter(options: argparse.Namespace) -> None:
    from tfpriv import faces
    from tfpriv.inpainting.experiment import facenet_training
    from tfpriv.inpainting.experiment.people import People
    from tfpriv.networks.diffusion import small, train
    from tfpriv.networks.diffusion.training import DiffusionRecipe
    from tfpriv.support.outputs import is_taken_up

    is_taken_up(options.output / train.CHECKPOINT)  # raises before all is drawn
    if options.data == "faces":
        people = faces.sample(options.people, seed=options.seed)
        data = faces.draw(people, options.size, zoom=facenet_training.ZOOM)
    else:
        people = People.load(options.data)
        data = people.pictures(
            people.training, options.size, progress("reading pictures")
        )
    train.train_inpainter(
        data,
        options.output,
        small.small_inpainter(options.size, options.seed),
        DiffusionRecipe(**given(options, "seed", "unet_steps")),
        progress=progress("training"),
    )
    written, drawn = options.output / train.INPAINTER, options.data == "faces"
    report_training("A latent diffusion inpainter", written, drawn=drawn)


def evaluate(options: argparse.Namespace) -> None:
    from tfpriv.inpainting import load_classifier
    from tfpriv.inpainting.experiment import evaluation
    from tfpriv.inpainting.experiment import report as evaluation_report

    if (options.second is not None or options.drawn) != (options.data is not None):
        raise ValueError(
            "--second, or --drawn, and --data go together. Received: "
            f"--second {options.second}, --data {options.data}"
        )
    if options.drawn and options.reader:
        raise ValueError("--drawn brings its own --reader. Received: both")
    found = evaluation.evaluate(
        options.folder,
        load_classifier(options.classifier),
        false_accepts=options.false_accepts,
        seed=options.seed,
        progress=progress("looking"),
        **_judges(options),
    )
    run = {"command": command_line()}
    evaluation_report.write(options.output, found, run, options.folder)
    print(evaluation_report.text(found))
    print(f"Written: {options.output}")


def _judges(options):
    """Who judges beside the classifier, as `evaluation.evaluate` takes them."""

    from tfpriv.faces import reader as readers
    from tfpriv.inpainting import load_facenet
    from tfpriv.inpainting.experiment import evaluation
    from tfpriv.networks.perception.lpips import Lpips
    from tfpriv.support.models import load_model

    judges = {}
    if options.drawn:
        judges["reader"] = readers.embedded_reader()
        judges["recogniser"] = readers.TraitRecogniser(judges["reader"])
    if options.reader:
        judges["reader"] = load_model(options.reader)
    if options.second:
        judges["recogniser"] = load_facenet(options.second)
    if "recogniser" in judges:
        judges["gallery"] = evaluation.gallery_of(
            options.folder, options.data, judges["recogniser"], progress("embedding")
        )
    if options.vgg:
        judges["lpips"] = Lpips(None if options.vgg == "download" else options.vgg)
    return judges
