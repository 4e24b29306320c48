"""Several trainings side by side: a row of epsilons; plain, clip-only and private."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import keras

from tfpriv.captioning import report as pages
from tfpriv.captioning.coco import CaptionSet
from tfpriv.captioning.evaluate import evaluate
from tfpriv.captioning.model import Captioner
from tfpriv.captioning.train import (
    CaptioningRecipe,
    Protection,
    Trained,
    prepare,
    train,
)
from tfpriv.support import report, tables
from tfpriv.support.outputs import atomic_file, write_json

FIGURES = ("CIDEr", "BLEU-4", "ROUGE-L", "true", "loss")
_DRAWN = ("CIDEr", "loss")
_SAYS = "against epsilon, between the weights before and training without privacy"


@dataclasses.dataclass(frozen=True)
class Variant:
    """One training of a comparison.

    Args:
        label: What the table calls it.
        protection: How privately it trains; `None` does not train at all.
    """

    label: str
    protection: Protection | None


def epsilon_variants(epsilons: Sequence[float], delta: float) -> list[Variant]:
    """Untrained, one per epsilon in rising order, and without privacy.

    Raises:
        ValueError: Two epsilons are the same, or too near for names of their own.
    """
    labels = [f"epsilon {e:g}" for e in sorted(epsilons)]
    if len(set(labels)) < len(labels):
        raise ValueError(
            "Each epsilon is trained and named once. Expected different ones. "
            f"Received: epsilons={list(epsilons)}"
        )
    return [
        Variant("start weights", None),
        *(
            Variant(label, Protection(e, None, delta))
            for label, e in zip(labels, sorted(epsilons), strict=True)
        ),
        Variant("without privacy", Protection(delta=delta)),
    ]


def comparison_variants(protection: Protection) -> list[Variant]:
    """Plain, clipped without noise, and private: shows what costs what."""
    return [
        Variant("plain", Protection(delta=protection.delta)),
        Variant("clip only", Protection(None, 0.0, protection.delta)),
        Variant("private", protection),
    ]


def run(
    build: Callable[[], Captioner],
    data: CaptionSet,
    recipe: CaptioningRecipe,
    variants: Sequence[Variant],
    *,
    public: CaptionSet | None,
    seed: int = 0,
    verbose: int | str = 2,
    say: Callable[[str], None] = print,
    **options,
) -> list[tuple[dict, Trained | None]]:
    """Trains each variant from the same weights on the same examples.

    Args:
        build: Gives the weights to start from, anew at each call.
        data: Private training data.
        recipe: The same for all.
        variants: What to train.
        public: Data declared public, for the figures; or `None`.
        seed: Of initialisation (and of plain training's order), not of the noise.
        verbose: As in `fit`.
        say: Where progress goes.
        **options: For `train`.

    Returns:
        For each variant a row of the table, and what was trained.
    """
    examples, results = None, []
    for variant in variants:
        say(f"--- {variant.label}")
        keras.utils.set_random_seed(seed)
        model = build()
        trained = None
        if variant.protection is not None:
            if examples is None:
                examples = prepare(model, data, recipe)
            trained = train(
                model, examples, recipe, variant.protection, verbose=verbose, **options
            )
        figures = evaluate(model, public)[0] if public is not None else {}
        results.append((_row(variant, trained, figures), trained))
    return results


def _row(variant, trained, figures):
    row = {"training": variant.label}
    if trained is not None:
        row |= {
            "epsilon": trained.epsilon,
            "delta": trained.delta,
            "noise": trained.noise_multiplier,
            "seconds": round(trained.seconds, 1),
        }
    return row | {k: figures[k] for k in FIGURES if k in figures}


def markdown(rows: Sequence[dict]) -> str:
    """Rows as a Markdown table."""
    head, *cells = _cells(rows)
    return tables.markdown(head, cells) + "\n"


def _cells(rows):
    """The columns' names, and the cells of each row."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [names, *([_shown(row.get(name)) for name in names] for row in rows)]


def _shown(value):
    if value is None:
        return "-"
    if isinstance(value, float):
        return "infinite" if value == float("inf") else f"{value:.4g}"
    return str(value)


def plot(rows: Sequence[dict], path: str | Path) -> None:
    """Draws CIDEr and loss against epsilon; horizontal lines for the two ends."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for axis, name in zip(axes, _DRAWN, strict=True):
        _draw(axis, rows, name)
    with atomic_file(path) as file:
        figure.savefig(file, format="png", dpi=120)
    pyplot.close(figure)


def _draw(axis, rows, name):
    private = [r for r in rows if 0 < r.get("epsilon", 0) < float("inf")]
    axis.plot([r["epsilon"] for r in private], [r[name] for r in private], "o-")
    for row, style in ((rows[0], ":"), (rows[-1], "--")):
        axis.axhline(row[name], color="grey", linestyle=style, label=row["training"])
    axis.set(xscale="log", xlabel="epsilon", ylabel=name, title=f"{name}, public data")
    axis.set_xticks([r["epsilon"] for r in private])
    axis.set_xticklabels([f"{r['epsilon']:.2g}" for r in private])
    if name == "loss":  # untrained and trained differ by an order of magnitude
        axis.set_yscale("log")
    axis.minorticks_off()
    axis.legend()


def write(
    folder: Path, results: Sequence[tuple[dict, Trained | None]], manifest: dict
) -> None:
    """Writes `table.md`, `table.json`, `sweep.png` and `report.html`.

    Args:
        folder: where to; exists.
        results: what `run` returned for `epsilon_variants`.
        manifest: what to remember of the run.
    """
    rows = [row for row, _ in results]
    (folder / "table.md").write_text(markdown(rows))
    write_json(folder / "table.json", manifest | {"rows": rows})
    plot(rows, folder / "sweep.png")
    head, *cells = _cells(rows)
    drawn = (
        report.chart(
            lambda axis, name=name: _draw(axis, rows, name), f"{name}: {_SAYS}"
        )
        for name in _DRAWN
    )
    pages.sweep(
        folder / report.PAGE,
        report.table(head, cells),
        report.charts(*drawn),
        [t for _, t in results if t is not None and t.epsilon < float("inf")],
        manifest,
    )
