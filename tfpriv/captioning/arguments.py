"""The arguments of `tfpriv caption`; imports nothing heavy, so help comes at once."""

import argparse
from pathlib import Path

DEFAULT_DELTA = 1e-5
_OF_MODEL = (
    ("--encoder", str, "cnn (default) or a name of keras.applications"),
    ("--backbone-weights", str, "for keras.applications: imagenet, or a file"),
    ("--width", int, "default: 128"),
    ("--layers", int, "of the transformer; default: 1"),
    ("--heads", int, "of the transformer; default: 4"),
    ("--image-size", int, "pixels; default: 64"),
    ("--max-tokens", int, "default: 24 (scenes: 16)"),
)


def add_data(parser: argparse.ArgumentParser, *, split: str) -> None:
    """Where the pictures and captions are."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--data", type=Path, metavar="DIR", help="folder in COCO's own layout"
    )
    where.add_argument(
        "--tfds", action="store_true", help="coco_captions of TensorFlow Datasets"
    )
    parser.add_argument("--tfds-dir", type=Path, help="folder of TensorFlow Datasets")
    parser.add_argument("--split", default=split, help=f"default: {split}")
    parser.add_argument("--limit", type=int, help="only the first so many pictures")


def add_model(parser: argparse.ArgumentParser) -> None:
    """What to train, from which weights. `None` means: as in the class."""
    group = parser.add_argument_group("model")
    words = group.add_mutually_exclusive_group()
    words.add_argument(
        "--vocabulary",
        choices=("scenes", "english"),
        help="built in and public; default: what the data name, else english",
    )
    words.add_argument(
        "--public-vocabulary",
        type=Path,
        metavar="FILE",
        help="one token a line; you declare that it was not made from the captions",
    )
    words.add_argument(
        "--learn-vocabulary",
        action="store_true",
        help="from the training captions: makes epsilon infinite",
    )
    group.add_argument("--decoder", choices=("transformer", "gru"))
    for flag, kind, text in _OF_MODEL:
        group.add_argument(flag, type=kind, help=text)
    group.add_argument(
        "--pretrained",
        type=Path,
        metavar="MODEL",
        help="weights to start from: a folder, or captioning_public, which comes along",
    )
    group.add_argument(
        "--pretrained-is-public",
        action="store_true",
        help="these weights were learned from public data only",
    )


def given_of_model(options: argparse.Namespace) -> list[str]:
    """The flags about a new model that were given."""
    flags = ["--vocabulary", "--public-vocabulary", "--learn-vocabulary", "--decoder"]
    flags += [flag for flag, _, _ in _OF_MODEL]
    values = [getattr(options, flag[2:].replace("-", "_")) for flag in flags]
    # Not given: a flag is False, and all else None. A given 0 is refused later.
    pairs = zip(flags, values, strict=True)
    return [f for f, value in pairs if value is not None and value is not False]


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """How to train."""
    group = parser.add_argument_group("training")
    add = group.add_argument
    add("--epochs", type=int, default=60, help="default: 60")
    add("--batch-size", type=int, default=10, help="default: 10")
    add("--learning-rate", type=float, default=2e-3)
    add("--l2-norm-clip", type=float, default=1.0, help="default: 1")
    add("--captions-per-picture", type=int, default=5)
    add("--freeze-encoder", action="store_true", help="train bridge and decoder only")
    add("--seed", type=int, default=0, help="of the initial weights; default: 0")


def add_privacy(parser: argparse.ArgumentParser) -> None:
    """How privately to train; one of the three must be said."""
    group = parser.add_argument_group("privacy")
    how = group.add_mutually_exclusive_group(required=True)
    how.add_argument("--epsilon", type=float, help="budget; the noise follows from it")
    how.add_argument(
        "--noise-multiplier", type=float, help="noise in units of the clip norm"
    )
    how.add_argument("--no-privacy", action="store_true", help="plain Keras")
    add_delta(group)


def add_delta(parser, default: float | None = DEFAULT_DELTA) -> None:
    """The delta of every epsilon; without a default, that of the model's budget."""
    shown = "that of the model's budget" if default is None else default
    parser.add_argument(
        "--delta", type=float, default=default, help=f"default: {shown}"
    )


def add_validation(parser: argparse.ArgumentParser) -> None:
    """Figures while epsilon is claimed need data that are not private."""
    group = parser.add_argument_group("validation")
    group.add_argument(
        "--validation-is-public",
        action="store_true",
        help="score the captions of --validation-split, which you declare public",
    )
    group.add_argument("--validation-split", default="val", help="default: val")
    group.add_argument("--validation-limit", type=int, help="only the first so many")


def add_output(parser: argparse.ArgumentParser) -> None:
    """Where the result goes."""
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder to make"
    )


def add_model_file(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Which captioner to use."""
    default = "" if required else "; default: the shipped captioner of scenes"
    parser.add_argument(
        "--model",
        type=Path,
        required=required,
        help=f"a .keras file, or the folder that `train` made{default}",
    )
    parser.add_argument(
        "--beams", type=int, default=1, help="1 (default) is greedy decoding"
    )
