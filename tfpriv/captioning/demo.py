"""The main job in minutes: scenes, private training, captions of unseen pictures."""

import time
from pathlib import Path

import keras

from tfpriv.accounting.statement import rounded_up
from tfpriv.captioning import coco, report, scenes, store
from tfpriv.captioning.evaluate import as_table, evaluate
from tfpriv.captioning.train import CaptioningRecipe, Protection, prepare, train
from tfpriv.support import checkpoints, images
from tfpriv.support.outputs import check_holds_only, check_new, replaced_directory
from tfpriv.support.report import PAGE
from tfpriv.support.terminal import progress

PICTURES, UNSEEN = 15000, 300
RECIPE = CaptioningRecipe(
    epochs=9,
    batch_size=384,
    learning_rate=4e-3,
    captions_per_picture=2,
    freeze_encoder=True,
)
PROTECTION = Protection(epsilon=3.0, delta=1e-5)
PUBLIC_WEIGHTS = "captioning_public"


def run(
    output_dir: str | Path,
    *,
    pictures: int = PICTURES,
    recipe: CaptioningRecipe = RECIPE,
    protection: Protection = PROTECTION,
) -> dict:
    """Trains privately on generated scenes and captions scenes it never saw.

    Args:
        output_dir: Gets `report.html` and `captions.png`, and `run/` with the model,
            its ledger and manifest. What an earlier run left there is replaced.
        pictures: Number of private training pictures.
        recipe: How to train.
        protection: How privately.

    Returns:
        Dict with `epsilon`, `delta` and the figures before and after.

    Raises:
        FileExistsError: `run/` holds other things, too.
    """
    start = time.monotonic()
    output = Path(output_dir)
    _check_replaceable(output / "run")
    output.mkdir(parents=True, exist_ok=True)
    data, unseen = _draw(output, pictures)
    keras.utils.set_random_seed(0)
    model, _ = store.load_pretrained(
        checkpoints.folder(PUBLIC_WEIGHTS), public=True, private_training=True
    )
    before, _ = evaluate(model, unseen)
    examples = prepare(model, data, recipe, progress=progress("public features"))
    print(f"Training privately on {len(data)} pictures ...")
    trained = train(model, examples, recipe, protection, verbose=2)
    after, captions = evaluate(model, unseen, progress=progress("captioning"))
    result = {
        "epsilon": trained.epsilon,
        "delta": trained.delta,
        "before": before,
        "after": after,
        "seconds": round(time.monotonic() - start, 1),
    }
    _keep_run(output / "run", trained, result)
    images.save(output / "captions.png", _sheet(unseen, captions))
    public = report.Public(unseen, after, captions)
    report.demo(output / PAGE, trained, len(data), before, public)
    _say(result, captions, output)
    return result


def _draw(output, pictures):
    """The private pictures, and others to be captioned; drawn once, then reused."""
    folder = output / f"scenes_{pictures}"
    if not folder.is_dir():
        scenes.write_dataset(
            folder, pictures, validation=UNSEEN, progress=progress("drawing scenes")
        )
    return coco.load_coco(folder, "train"), coco.load_coco(folder, "val")


def _check_replaceable(folder):
    if folder.is_dir():
        check_holds_only(folder, (store.MODEL, store.LEDGER, store.MANIFEST, PAGE))
    else:
        check_new(folder)


def _keep_run(folder, trained, result):
    with replaced_directory(folder.resolve()) as new:  # a link stays
        store.save_run(new, trained, result)


def _sheet(unseen, captions):
    shown = unseen.head(report.SHOWN)
    return images.contact_sheet(
        [images.load(path) for path in shown.pictures],
        captions[: report.SHOWN],
        title="Pictures it never saw, and its captions",
    )


def _say(result, captions, output):
    print("Before, with public weights only:")
    print(as_table(result["before"]))
    print("After private training, on pictures it never saw:")
    print(as_table(result["after"]))
    for text in captions[:5]:
        print(f"  - {text}")
    print(f"Report with pictures: {output / PAGE}")
    print(
        "Caption a picture of your own: tfpriv caption generate photo.jpg "
        f"--model {output / 'run'}"
    )
    print(
        f"epsilon = {rounded_up(result['epsilon'])} at delta = {result['delta']:g}, "
        "for each picture with all its captions"
    )
