"""What `tfpriv caption train` and `sweep` do, from parsed arguments to files."""

import argparse
import sys

import keras

from tfpriv.captioning import arguments, coco, report, store, tfds_data, vocabulary
from tfpriv.captioning import sweep as sweeps
from tfpriv.captioning.coco import CaptionSet
from tfpriv.captioning.evaluate import as_table
from tfpriv.captioning.evaluate import evaluate as score
from tfpriv.captioning.model import Captioner
from tfpriv.captioning.report import Public
from tfpriv.captioning.train import CaptioningRecipe, Protection, prepare
from tfpriv.captioning.train import train as fit_captioner
from tfpriv.support import checkpoints
from tfpriv.support.outputs import check_new, new_directory
from tfpriv.support.terminal import command_line

DEFAULT_IMAGE_SIZE = 64
PUBLIC = "figures on data declared public"


def load_data(
    options: argparse.Namespace, split: str, limit: int | None, image_size: int
) -> CaptionSet:
    """The data set that `--data` or `--tfds` names."""
    if options.tfds:
        return tfds_data.load_tfds(
            split, image_size=image_size, data_dir=options.tfds_dir, limit=limit
        )
    return coco.load_coco(options.data, split).head(limit)


def train(options: argparse.Namespace) -> None:
    """`tfpriv caption train`."""
    protection = Protection(options.epsilon, options.noise_multiplier, options.delta)
    if options.compare and not protection.private:
        raise ValueError(
            "`--compare` sets private training beside plain and clip-only: give "
            "--epsilon or a positive --noise-multiplier."
        )
    recipe = _recipe(options)
    check_new(options.output)  # before the work, not after it
    start = _start(options, private_training=protection.private)
    data, model, ledger = start
    unseen, public = _public_data(options, model), None
    manifest = _manifest(options, data, recipe)
    if options.compare:
        trained, rows = _compare(options, start, recipe, protection, unseen)
        manifest[store.COMPARISON_LABEL] = rows
    else:
        trained = fit_captioner(
            model,
            prepare(model, data, recipe),
            recipe,
            protection,
            ledger=ledger,
            learned_vocabulary=options.learn_vocabulary,
            verbose=_verbosity(),
        )
        if unseen is not None:
            public = Public(unseen, *score(model, unseen))
            print(f"{unseen.name}, declared public: {len(unseen)} pictures")
            print(as_table(public.figures))
            manifest[PUBLIC] = {"data": unseen.name} | public.figures
    manifest |= {
        "epsilon": trained.epsilon,
        "delta": trained.delta,
        "noise_multiplier": trained.noise_multiplier,
        "seconds": round(trained.seconds, 1),
    }
    if options.curves:
        manifest[store.CURVES_LABEL] = {"loss": trained.losses}
    store.save_run(options.output, trained, manifest, public)
    print(trained.ledger.statement(delta=options.delta))
    print(f"epsilon = {trained.epsilon:.4g} at delta = {trained.delta:g}")
    print(f"Captioner, ledger, manifest and report.html: {options.output}")


def sweep(options: argparse.Namespace) -> None:
    """`tfpriv caption sweep`."""
    if not options.validation_is_public:
        raise ValueError(
            "The table shows figures of --validation-split; say that these data are "
            "public with --validation-is-public."
        )
    try:
        epsilons = [float(e) for e in options.epsilons.split(",")]
    except ValueError as error:
        raise ValueError(
            "`--epsilons` takes numbers with commas between them. "
            f"Received: {options.epsilons!r}"
        ) from error
    recipe = _recipe(options)
    variants = sweeps.epsilon_variants(epsilons, options.delta)
    start = _start(options, private_training=True)
    data, model, _ = start
    with new_directory(options.output) as folder:
        public = _public_data(options, model)
        results = _run_all(options, start, recipe, variants, public)
        manifest = _manifest(options, data, recipe)
        report.sweep(folder, results, manifest)
        for row, trained in results:
            if trained is not None:
                name = row["training"].replace(" ", "_")
                store.save_run(folder / name, trained, manifest | row)
    print(report.markdown([row for row, _ in results]))
    print(f"Table, plot and report.html: {options.output}")


def _compare(options, start, recipe, protection, public):
    """Trains plainly, with clipping alone and privately; shows the three."""
    variants = sweeps.comparison_variants(protection)
    results = _run_all(options, start, recipe, variants, public, _verbosity())
    shown = [row | {"training loss*": trained.losses[-1]} for row, trained in results]
    print(report.markdown(shown))
    print("* an exact function of the training data: not covered by epsilon")
    return results[-1][1], [row for row, _ in results]


def _run_all(options, start, recipe, variants, public, verbose=2):
    """Trains each variant from copies of the same model."""
    data, model, ledger = start
    return sweeps.run(
        lambda: store.copy_of(model),
        data,
        recipe,
        variants,
        public=public,
        seed=options.seed,
        verbose=verbose,
        ledger=ledger,
        learned_vocabulary=options.learn_vocabulary,
    )


def _recipe(options):
    return CaptioningRecipe(
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        l2_norm_clip=options.l2_norm_clip,
        captions_per_picture=options.captions_per_picture,
        freeze_encoder=options.freeze_encoder,
    )


def _start(options, *, private_training):
    """The data, the model to train, and the ledger that its weights bring along."""
    _check_pretrained(options)
    keras.utils.set_random_seed(options.seed)
    if options.pretrained is None:
        size = DEFAULT_IMAGE_SIZE if options.image_size is None else options.image_size
        data = load_data(options, options.split, options.limit, size)
        return data, _new_model(options, data, size), None
    path = checkpoints.path_of(options.pretrained)
    if not path.exists():
        raise FileNotFoundError(
            "There is no model here, and none of this name comes along "
            f"(captioning_public does). Received: {path}"
        )
    model, ledger = store.load_pretrained(
        path, public=options.pretrained_is_public, private_training=private_training
    )
    data = load_data(options, options.split, options.limit, model.image_size)
    return data, model, ledger


def _check_pretrained(options):
    if options.pretrained is None:
        if options.pretrained_is_public:
            raise ValueError("`--pretrained-is-public` needs --pretrained.")
        if options.freeze_encoder and options.encoder in (None, "cnn"):
            raise ValueError(
                "`--freeze-encoder` without --pretrained would freeze random weights."
            )
        return
    if given := arguments.given_of_model(options):
        raise ValueError(
            "With --pretrained the model is what was saved; leave these out. "
            f"Received: {', '.join(given)}"
        )


def _new_model(options, data, image_size):
    if options.learn_vocabulary:
        tokens, name = vocabulary.learn(data.captions), "learned"
    else:
        name = options.public_vocabulary or options.vocabulary
        name = name or data.vocabulary or "english"
        tokens = vocabulary.load_vocabulary(name)
    sizes = {
        "image_size": image_size,
        "max_tokens": 16 if name == "scenes" else 24,
        "width": 128,
        "layers": 1,
        "heads": 4,
    }
    for size in sizes:
        if getattr(options, size) is not None:
            sizes[size] = getattr(options, size)
        if sizes[size] < 1:
            flag = "--" + size.replace("_", "-")
            raise ValueError(f"{flag} must be positive. Received: {sizes[size]}")
    return Captioner(
        tokens,
        encoder=options.encoder or "cnn",
        decoder=options.decoder or "transformer",
        backbone_weights=options.backbone_weights,
        **sizes,
    )


def _public_data(options, model) -> CaptionSet | None:
    if not options.validation_is_public:
        return None
    split, limit = options.validation_split, options.validation_limit
    return load_data(options, split, limit, model.image_size)


def _manifest(options, data, recipe):
    """Command, data and seeds of data and initialisation; nothing of the noise."""
    pretrained = options.pretrained and {
        "model": options.pretrained,
        "declared public": options.pretrained_is_public,
    }
    return {
        "command": command_line(),
        "data": {"name": data.name, "pictures": len(data)},
        "recipe": vars(recipe),
        "pretrained": pretrained,
        "seed of initialisation": options.seed,
        "software": store.software(),
    }


def _verbosity():
    """A progress bar on a terminal, a line an epoch elsewhere."""
    return 1 if sys.stdout.isatty() else 2
