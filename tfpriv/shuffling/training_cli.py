"""`tfpriv shuffle train|test|infer|export`: networks on plain and shuffled pictures."""

import argparse
from pathlib import Path

from tfpriv.support.terminal import add_output, command_line

NETWORKS = ("small_cnn", "vgg16_bn", "preresnet110")
VIEWS = ("plain", "keyed", "shuffled")


def add_actions(actions) -> None:
    """Adds the actions of networks to the parser of `tfpriv shuffle`.

    Args:
        actions: what `add_subparsers` returned.
    """
    _add_train(actions)
    _add_average(actions)
    _add_test(actions)
    _add_infer(actions)
    _add_export(actions)


def add_data(parser) -> None:
    """Adds the options of commands that make a folder from labelled images.

    Args:
        parser: of the command.
    """
    _add_source(parser)
    add_output(parser)
    parser.add_argument("--seed", type=int, default=0, help="default: 0")


def _add_source(parser):
    parser.add_argument(
        "--data",
        required=True,
        metavar="SOURCE",
        help="shapes (generated), cifar10 or cifar100 (which TensorFlow Datasets "
        "downloads), a folder with CIFAR's binary files, or an .npz archive",
    )


def _add_train(actions):
    parser = actions.add_parser("train", help="train a network")
    parser.add_argument("--net", choices=NETWORKS, default="small_cnn")
    add_data(parser)
    parser.add_argument(
        "--view",
        choices=VIEWS,
        default="plain",
        help="pictures as they are; shuffled, with the key; shuffled, without it",
    )
    parser.add_argument("--key", type=Path, metavar="FILE", help="for shuffled views")
    parser.add_argument(
        "--recipe",
        choices=("short", "paper"),
        default="short",
        help="ten epochs, or the paper's 200 with steps at 60, 120 and 160",
    )
    parser.add_argument("--epochs", type=_positive, help="in place of the recipe's")
    parser.add_argument("-b", "--batch-size", type=_positive, help="the same")
    parser.add_argument(
        "--weights", type=_model, metavar="PATH", help="a model to train further"
    )
    parser.set_defaults(handler=train)


def _add_average(actions):
    parser = actions.add_parser(
        "average", help="the mean of networks, each trained on from the one before"
    )
    parser.add_argument("models", nargs="+", type=_model, metavar="PATH")
    add_data(parser)
    parser.set_defaults(handler=average)


def _add_test(actions):
    parser = actions.add_parser(
        "test", help="the table: plain, shuffled, with the key, with a wrong one"
    )
    add = parser.add_argument
    add("--model", type=_model, required=True, metavar="PATH")
    _add_source(parser)
    add("--key", type=Path, metavar="FILE", help="default: one made for this test")
    add("--finetuned", type=_model, metavar="PATH", help="trained with --view shuffled")
    add("--output", type=Path, metavar="FILE", help=".json to write")
    parser.set_defaults(handler=test)


def _add_infer(actions):
    parser = actions.add_parser("infer", help="classify one picture")
    parser.add_argument("--model", type=_model, required=True, metavar="PATH")
    parser.add_argument("image", type=Path, help="a picture, protected or plain")
    parser.add_argument(
        "--key", type=Path, metavar="FILE", help="for a protected picture"
    )
    parser.add_argument(
        "--feature-maps",
        type=Path,
        metavar="PNG",
        help="draw what the convolutions put out, as it lies in memory",
    )
    parser.set_defaults(handler=infer)


def _add_export(actions):
    parser = actions.add_parser("export", help="write a SavedModel")
    parser.add_argument("--model", type=_model, required=True, metavar="PATH")
    add_output(parser)
    parser.add_argument("--key", type=Path, metavar="FILE")
    parser.add_argument(
        "--include-key",
        action="store_true",
        help="whoever has the SavedModel then needs no key",
    )
    parser.add_argument(
        "--derived-keys",
        type=Path,
        metavar="NPZ",
        help="also write the keys that a SavedModel without the key asks for",
    )
    parser.add_argument(
        "--native",
        action="store_true",
        help="use tfpriv's ops: faster, and only where tfpriv is installed",
    )
    parser.set_defaults(handler=export)


def _model(text: str) -> Path:
    """A model's file; of a folder that `train` wrote, the one in it."""
    path = Path(text)
    return path / "model.keras" if path.is_dir() else path


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text}")
    return value


def train(options: argparse.Namespace) -> None:
    from tfpriv.shuffling import data, experiments

    if (options.key is None) != (options.view == "plain"):
        raise ValueError(
            "--view keyed and --view shuffled need --key FILE, --view plain has none. "
            f"Received: --view {options.view}"
        )
    experiments.check_output(options.output)
    manifest = experiments.run_training(
        data.load(options.data),
        options.output,
        network=options.net,
        recipe=options.recipe,
        view=options.view,
        key=_key(options.key),
        epochs=options.epochs,
        batch_size=options.batch_size,
        seed=options.seed,
        weights=options.weights,
        command=command_line(),
    )
    drawn = options.data == "shapes" and options.weights is None
    _report(manifest, options, drawn)


def _report(manifest, options, drawn) -> None:
    from tfpriv.support import report

    right = f"{manifest['test_right']} of {manifest['test_pictures']} test pictures"
    report.plain_training(
        options.output / report.PAGE,
        "A classifier of pictures",
        command_line(),
        {"right": right},
        drawn=drawn,
    )
    print(f"Right: {right}")
    print(f"Written: {options.output}")


def average(options: argparse.Namespace) -> None:
    from tfpriv.shuffling import averaging, data, experiments

    experiments.check_output(options.output)
    pictures = data.load(options.data)
    model = averaging.average(options.models, pictures, options.seed)
    manifest = experiments.save(
        model,
        pictures,
        options.output,
        command=command_line(),
        view="plain",
        key=None,
        seed=options.seed,
    )
    _report(manifest, options, drawn=False)  # whatever the networks were trained on


def test(options: argparse.Namespace) -> None:
    from tfpriv.shuffling import Key, data, experiments
    from tfpriv.support.outputs import check_output_file, write_json

    if options.output is not None:
        check_output_file(
            options.output,
            options.model,
            options.finetuned,
            options.key,
            options.data,
        )
    rows = experiments.compare(
        experiments.load_network(options.model),
        data.load(options.data),
        _key(options.key) or Key.generate(),
        finetuned=options.finetuned and experiments.load_network(options.finetuned),
    )
    print(experiments.as_table(rows))
    if options.output is not None:
        found = {"command": command_line(), "rows": [vars(row) for row in rows]}
        write_json(options.output, found)


def infer(options: argparse.Namespace) -> None:
    from tfpriv.shuffling import experiments, inference
    from tfpriv.support.outputs import check_output_file

    if options.feature_maps is not None:
        check_output_file(
            options.feature_maps, options.image, options.model, options.key
        )
    model = experiments.load_network(options.model)
    picture = inference.read(options.image, _key(options.key))
    names = inference.class_names(options.model)
    for name, probability in inference.classify(model, picture, names):
        print(f"{100 * probability:6.2f} %  {name}")
    if options.feature_maps is not None:
        inference.draw_feature_maps(model, picture, options.feature_maps)
        print(f"Written: {options.feature_maps}")


def export(options: argparse.Namespace) -> None:
    import numpy as np

    from tfpriv.shuffling import experiments, keyed
    from tfpriv.shuffling.purposes import FIXED, PER_PICTURE
    from tfpriv.support.outputs import atomic_file, check_new, check_output_file

    key = _key(options.key)
    if key is None and (options.include_key or options.derived_keys):
        raise ValueError("--include-key and --derived-keys need --key FILE")
    check_new(options.output)
    if options.derived_keys is not None:
        check_new(options.derived_keys)  # it may be a key: nothing is replaced
        check_output_file(options.derived_keys)
    twin = keyed(experiments.load_network(options.model), key)
    twin.export(
        str(options.output),
        include_key=options.include_key,
        portable=not options.native,
        verbose=False,
    )
    print(f"Written: {options.output}")
    if options.derived_keys is not None:
        with atomic_file(options.derived_keys, private=True) as file:
            np.savez(
                file,
                serve=twin.derived_keys(key, FIXED),
                serve_per_picture=twin.derived_keys(key, PER_PICTURE),
            )
        print(f"Written, as secret as the key: {options.derived_keys}")


def _key(path: Path | None):
    from tfpriv.shuffling import Key

    return None if path is None else Key.load(path)
