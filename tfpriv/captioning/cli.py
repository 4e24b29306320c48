"""`tfpriv caption make-data|train|evaluate|generate|export|sweep`."""

import argparse
import sys
from pathlib import Path

from tfpriv.captioning import arguments
from tfpriv.support.terminal import progress


def add_parser(subparsers) -> None:
    """Adds `caption` to the parsers of the `tfpriv` command.

    Args:
        subparsers: what `ArgumentParser.add_subparsers` returned.
    """
    caption = subparsers.add_parser("caption", help="train and use private captioners")
    actions = caption.add_subparsers(dest="action", metavar="action", required=True)
    _add_make_data(actions)
    _add_train(actions)
    _add_use(actions)
    _add_sweep(actions)


def _add_make_data(actions):
    parser = actions.add_parser("make-data", help="draw scenes, in COCO's layout")
    arguments.add_output(parser)
    parser.add_argument("--pictures", type=int, required=True, metavar="N")
    parser.add_argument("--validation", type=int, help="default: a tenth, 50 to 1000")
    parser.add_argument("--size", type=int, default=64, help="pixels; default: 64")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument(
        "--style",
        choices=("scenes", "catalogue"),
        default="scenes",
        help="catalogue: single objects listed in telegram style, for pre-training",
    )
    parser.set_defaults(handler=make_data)


def _add_train(actions):
    parser = actions.add_parser("train", help="train, with or without privacy")
    arguments.add_data(parser, split="train")
    arguments.add_output(parser)
    arguments.add_model(parser)
    arguments.add_recipe(parser)
    arguments.add_privacy(parser)
    parser.add_argument(
        "--compare",
        action="store_true",
        help="also train plain and clip-only, and show the three side by side",
    )
    arguments.add_validation(parser)
    parser.add_argument(
        "--curves",
        action="store_true",
        help="keep the training loss in the manifest, which epsilon does not cover",
    )
    parser.set_defaults(handler=train)


def _add_use(actions):
    parser = actions.add_parser("evaluate", help="score a captioner on a data set")
    arguments.add_model_file(parser)
    arguments.add_data(parser, split="val")
    parser.add_argument("--output", type=Path, metavar="FILE", help="JSON to write")
    parser.set_defaults(handler=evaluate)

    parser = actions.add_parser("generate", help="caption picture files")
    parser.add_argument("pictures", type=Path, nargs="+", metavar="PICTURE")
    arguments.add_model_file(parser, required=False)
    parser.add_argument("--sheet", type=Path, help="also draw a contact sheet (PNG)")
    parser.set_defaults(handler=generate)

    parser = actions.add_parser("export", help="write a SavedModel: picture to caption")
    arguments.add_model_file(parser)
    arguments.add_output(parser)
    arguments.add_delta(parser, default=None)
    parser.set_defaults(handler=export)


def _add_sweep(actions):
    parser = actions.add_parser(
        "sweep", help="train at several epsilons: table and plot"
    )
    arguments.add_data(parser, split="train")
    arguments.add_output(parser)
    arguments.add_model(parser)
    arguments.add_recipe(parser)
    parser.add_argument(
        "--epsilons", default="0.61,1,3,8", help="default: 0.61,1,3,8 and no privacy"
    )
    arguments.add_delta(parser)
    arguments.add_validation(parser)
    parser.set_defaults(handler=sweep)


def make_data(options: argparse.Namespace) -> None:
    from tfpriv.captioning import scenes

    scenes.write_dataset(
        options.output,
        options.pictures,
        validation=options.validation,
        size=options.size,
        seed=options.seed,
        style=options.style,
        progress=progress("drawing"),
    )
    print(f"Scenes in COCO's layout: {options.output}")


def train(options: argparse.Namespace) -> None:
    from tfpriv.captioning import jobs

    jobs.train(options)


def sweep(options: argparse.Namespace) -> None:
    from tfpriv.captioning import jobs

    jobs.sweep(options)


def evaluate(options: argparse.Namespace) -> None:
    from tfpriv.captioning import jobs, store
    from tfpriv.captioning.evaluate import as_table
    from tfpriv.captioning.evaluate import evaluate as score
    from tfpriv.support.outputs import check_output_file, write_json

    if options.output:
        given = (options.data / "annotations").glob("*") if options.data else ()
        check_output_file(options.output, store.model_file(options.model), *given)
    model = store.load_captioner(options.model)
    data = jobs.load_data(options, options.split, options.limit, model.image_size)
    figures, captions = score(
        model, data, beams=options.beams, progress=progress("captioning")
    )
    print(f"{data.name}: {len(data)} pictures")
    print(as_table(figures))
    print("Figures about the training data themselves are not covered by epsilon.")
    if options.output:
        listed = dict(zip(map(str, data.ids), captions, strict=True))
        write_json(options.output, {"figures": figures, "captions": listed})


def generate(options: argparse.Namespace) -> None:
    from tfpriv.captioning import store
    from tfpriv.captioning.decode import caption_pictures
    from tfpriv.support import checkpoints, images
    from tfpriv.support.outputs import check_output_file

    if options.model is None:
        options.model = checkpoints.folder("captioning_private")
        print(
            "No --model: a captioner answers that knows drawn shapes only; what it "
            "says of a photograph means nothing.",
            file=sys.stderr,
        )
    if options.sheet:
        model_file = store.model_file(options.model)
        check_output_file(options.sheet, model_file, *options.pictures)
    model = store.load_captioner(options.model)
    pictures = images.load_many(options.pictures, model.image_size)
    captions = caption_pictures(model, pictures, beams=options.beams)
    for path, caption in zip(options.pictures, captions, strict=True):
        print(f"{path}: {caption}" if len(captions) > 1 else caption)
    if options.sheet:
        shown = [images.load(path, 256) for path in options.pictures]
        images.save(options.sheet, images.contact_sheet(shown, captions))


def export(options: argparse.Namespace) -> None:
    from tfpriv.accounting import mechanisms
    from tfpriv.accounting.ledger import Ledger
    from tfpriv.captioning import store
    from tfpriv.captioning.export import export as write
    from tfpriv.captioning.train import UNIT

    model = store.load_captioner(options.model)
    ledger = store.ledger_of(options.model, model)
    if ledger is None:
        ledger = Ledger()
        unknown = mechanisms.non_private("weights without a ledger")
        ledger.record(unknown, unit=UNIT, purpose="training")
    write(
        model, options.output, ledger=ledger, delta=options.delta, beams=options.beams
    )
    print(f"SavedModel (loads with TensorFlow alone): {options.output}")
