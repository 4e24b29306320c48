"""The main job in minutes: scenes, private training, captions of unseen pictures."""

import base64
import html
import io
import time
from pathlib import Path

import keras

from tfpriv import checkpoints, images
from tfpriv.captioning import coco, scenes, store
from tfpriv.captioning.evaluate import as_table, evaluate
from tfpriv.captioning.train import Protection, Recipe, prepare, train
from tfpriv.files import atomic_file
from tfpriv.terminal import progress

PICTURES, UNSEEN, SHOWN = 15000, 300, 12
RECIPE = Recipe(
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
    recipe: Recipe = RECIPE,
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
    """
    start = time.monotonic()
    output = Path(output_dir)
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
    sheet = _sheet(unseen, captions)
    images.save(output / "captions.png", sheet)
    page = _page(sheet, len(data), trained, before, after)
    with atomic_file(output / "report.html") as file:
        file.write(page.encode())
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


def _keep_run(folder, trained, result):
    if folder.is_dir():
        for name in (store.MODEL, store.LEDGER, store.MANIFEST):
            (folder / name).unlink(missing_ok=True)
    store.save_run(folder, trained, result)


def _sheet(unseen, captions):
    shown = unseen.head(SHOWN)
    return images.contact_sheet(
        [images.load(path) for path in shown.pictures],
        captions[:SHOWN],
        title="Pictures it never saw, and its captions",
    )


def _say(result, captions, output):
    print("Before, with public weights only:")
    print(as_table(result["before"]))
    print("After private training, on pictures it never saw:")
    print(as_table(result["after"]))
    for text in captions[:5]:
        print(f"  - {text}")
    print(f"Report with pictures: {output / 'report.html'}")
    print(
        f"epsilon = {result['epsilon']:.3g} at delta = {result['delta']:g}, for each "
        "picture with all its captions"
    )


PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>tfpriv: private captions</title>
<style>body{{font:16px/1.5 sans-serif;max-width:56em;margin:2em auto;padding:0 1em}}
img{{max-width:100%}} td,th{{padding:.2em 1em;text-align:right}}
pre{{background:#f4f4f4;padding:1em;white-space:pre-wrap}}</style>
<h1>Captions learned with epsilon = {epsilon:.3g} (delta = {delta:g})</h1>
<p>The captioner below was trained on {pictures} pictures of scenes with
differential privacy for each picture with all its captions. It had seen pictures of
another, public kind before: single objects, listed in telegram style.</p>
<img alt="pictures with captions" src="data:image/png;base64,{picture}">
<table><tr><th></th><th>public weights only</th><th>after private training</th></tr>
{rows}</table>
<p>"true" is the share of captions that are true of their picture, word for word.
Scores by: {tokenizer}.</p>
<h2>What was spent</h2><pre>{statement}</pre>
<h2>What this does not protect</h2>
<p>Epsilon covers the weights. It does not cover the training loss shown while it ran,
nor what many pictures have in common: a caption may still say what is usual in the
data. A picture that is in the data set twice counts as two.</p>
</html>
"""


def _page(sheet, pictures, trained, before, after):
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    rows = "\n".join(
        f"<tr><th>{name}</th><td>{before[name]:.3f}</td><td>{after[name]:.3f}</td></tr>"
        for name in ("CIDEr", "BLEU-4", "ROUGE-L", "true", "loss")
    )
    return PAGE.format(
        epsilon=trained.epsilon,
        delta=trained.delta,
        pictures=pictures,
        picture=base64.b64encode(buffer.getvalue()).decode(),
        rows=rows,
        tokenizer=html.escape(str(after["tokenizer"])),
        statement=html.escape(trained.ledger.statement(delta=trained.delta)),
    )
