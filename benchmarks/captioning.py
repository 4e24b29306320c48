"""Time of an epoch of captioning, with tfpriv's clipping engines and without privacy.

Usage: python benchmarks/captioning.py [--rounds N] [--pictures N]

The model, data and recipe are those of `tfpriv caption make-data` and `train` where
nothing else is asked for.
"""

import argparse
import statistics
import tempfile
import time

import keras
from competitors import measure

from tfpriv import dp
from tfpriv.captioning import coco, scenes
from tfpriv.captioning.model import Captioner, CaptionLoss
from tfpriv.captioning.train import UNIT, Recipe, prepare
from tfpriv.captioning.vocabulary import load_vocabulary

RECIPE = Recipe()
PICTURES, ROUNDS = 500, 7
FORMS = {
    "no privacy": None,
    'private, `engine="vectorized"`': "vectorized",
    'private, `engine="auto"` (default)': "auto",
}


def main():
    """Everyone trains one epoch in turn; prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--pictures", type=int, default=PICTURES)
    options = parser.parse_args()
    examples, models = None, {}
    for name, engine in FORMS.items():
        model = _captioner()
        examples = examples or _examples(model, options.pictures)
        models[name] = _compiled(model, engine)
    times = {name: {} for name in models}
    for turn in range(-1, options.rounds):  # the first builds and traces
        for name, model in models.items():
            times[name][turn] = _epoch(model, examples)
        measure.tell(f"  round {turn + 1} of {options.rounds}")
    for seconds in times.values():
        del seconds[-1]
    _print(times, options)


def _captioner():
    keras.utils.set_random_seed(0)
    vocabulary = load_vocabulary("scenes")
    return Captioner(vocabulary, image_size=64, max_tokens=16, width=128)


def _examples(model, pictures):
    with tempfile.TemporaryDirectory() as folder:
        scenes.write_dataset(f"{folder}/scenes", pictures)
        return prepare(model, coco.load_coco(f"{folder}/scenes", "train"), RECIPE)


def _compiled(model, engine):
    rate = RECIPE.learning_rate
    if engine is None:
        optimizer = keras.optimizers.Adam(rate)
    else:
        dp.make_private(model, unit=UNIT, engine=engine)
        optimizer = dp.DPAdam(
            rate, l2_norm_clip=RECIPE.l2_norm_clip, noise_multiplier=1.0
        )
    model.compile(optimizer, CaptionLoss())
    return model


def _epoch(model, examples):
    start = time.perf_counter()
    model.fit(examples.x, examples.y, batch_size=RECIPE.batch_size, verbose=0)
    return time.perf_counter() - start


def _print(times, options):
    base = times["no privacy"]
    print(
        f"\n## Captioning: an epoch of {options.pictures} pictures, batch "
        f"{RECIPE.batch_size}, {options.rounds} rounds\n"
    )
    print("| | s | ratio to no privacy (quartiles) |")
    print("| --- | --- | --- |")
    for name, seconds in times.items():
        low, middle, high = measure.ratios(seconds, base)
        median = statistics.median(seconds.values())
        print(f"| {name} | {median:.2f} | {middle:.2f} ({low:.2f} to {high:.2f}) |")


if __name__ == "__main__":
    main()
