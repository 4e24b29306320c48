"""Reports of captioners that were trained: one, several side by side, the demo."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tfpriv.accounting import protection
from tfpriv.accounting.ledger import Ledger
from tfpriv.accounting.statement import rounded_up
from tfpriv.captioning.coco import CaptionSet
from tfpriv.captioning.evaluate import FIGURES
from tfpriv.captioning.train import Trained
from tfpriv.support import tables
from tfpriv.support.outputs import write_json
from tfpriv.support.report import (
    PAGE,
    Chart,
    Charts,
    Code,
    Facts,
    Group,
    Images,
    Section,
    Table,
    Text,
    charts,
    report,
)

SHOWN = 12
_LEAVES = ("somebody who is in several pictures: those are several units",)
_TRUE = (
    '"true" is the share of captions that say nothing false of their picture. Scores '
    "by: {}."
)


class Public(NamedTuple):
    """How a captioner does on data that were declared public.

    Attributes:
        data: the pictures.
        figures: what `evaluate` measured.
        captions: one for each picture.
    """

    data: CaptionSet
    figures: dict
    captions: list[str]


def run(path: Path, trained: Trained, manifest: dict, public: Public | None) -> None:
    """Writes the report of one training, which may go where the weights go.

    Nothing in it comes from the training pictures but through the weights: no loss, no
    curve, and none of the pictures.

    Args:
        path: where to.
        trained: what was trained.
        manifest: with `recipe` and `data`, where they are known.
        public: how it does, or None.
    """
    sections = [
        *_how(manifest),
        *([_shown(public)] if public else []),
        protection.of_weights(trained.ledger, trained.delta, leaves=_LEAVES),
    ]
    report(path, f"Captioner, {_claim(trained)}", sections)


def demo(
    path: Path, trained: Trained, pictures: int, before: dict, public: Public
) -> None:
    """Writes the report of `tfpriv demo`.

    Args:
        path: where to.
        trained: what was trained.
        pictures: how many it was trained with.
        before: figures of the public weights that it began with.
        public: how it does.
    """
    rows = [[n, f"{before[n]:.3f}", f"{public.figures[n]:.3f}"] for n in FIGURES]
    head = ["on pictures it never saw", "public weights only", "after training"]
    sections = [
        Text(
            f"The captioner below was trained on {pictures} generated pictures with "
            "differential privacy for each picture with all its captions. It had seen "
            "pictures of another, public kind before: single objects, listed in "
            "telegram style. The pictures below are ones that it never saw."
        ),
        _images(public),
        Group("What it learned", [Table(head, rows), _scores(public)]),
        protection.of_weights(trained.ledger, trained.delta, leaves=_LEAVES),
    ]
    report(path, f"Captions learned with {_claim(trained)}", sections)


def sweep(
    folder: Path, results: Sequence[tuple[dict, Trained | None]], manifest: dict
) -> None:
    """Writes `table.md`, `table.json`, `sweep.png` and `report.html`.

    The report is not to be published as it is.

    Args:
        folder: where to; exists.
        results: what `sweep.run` returned for `sweep.epsilon_variants`.
        manifest: what to remember of the run.
    """
    rows = [row for row, _ in results]
    (folder / "table.md").write_text(markdown(rows))
    write_json(folder / "table.json", manifest | {"rows": rows})
    drawn = [_chart(rows, "CIDEr"), _chart(rows, "loss")]
    charts.save(drawn, folder / "sweep.png")
    private = [t for _, t in results if t is not None and math.isfinite(t.epsilon)]
    together = Ledger()
    for trained in private:
        together.merge(trained.ledger)
    sections = [
        Text(
            "Not for publishing: a row without privacy is an exact function of the "
            "training data, which no epsilon covers, and its folder holds such "
            "weights.",
            warning=True,
        ),
        *_how(manifest),
        Group(
            "Figures on data that were declared public",
            [
                Table(*_table(rows)),
                Charts(drawn),
                Text(
                    "Each row's epsilon is for whoever sees that row's weights alone. "
                    "Who sees several of them learns more; below is what all private "
                    "ones spent together."
                ),
            ],
        ),
        protection.of_weights(together, private[0].delta, leaves=_LEAVES),
    ]
    report(folder / PAGE, "What privacy costs a captioner", sections)


def markdown(rows: Sequence[dict]) -> str:
    """Rows of a comparison as a Markdown table."""
    return tables.markdown(*_table(rows)) + "\n"


def _table(rows):
    names = list(dict.fromkeys(name for row in rows for name in row))
    return names, [[_cell(row.get(name)) for name in names] for row in rows]


def _cell(value):
    if value is None:
        return "-"
    if isinstance(value, float):
        return "infinite" if math.isinf(value) else f"{value:.4g}"
    return str(value)


def _chart(rows, name) -> Chart:
    """A figure against epsilon, between the start weights and no privacy."""
    private = [r for r in rows if 0 < r.get("epsilon", 0) < math.inf]
    return Chart(
        f"{name}, public data",
        f"{name}: against epsilon, between the weights before and training without "
        "privacy",
        [r["epsilon"] for r in private],
        {"private": [r[name] for r in private]},
        {r["training"]: r[name] for r in (rows[-1], rows[0])},
        log_y=name == "loss",  # untrained and trained differ by an order of magnitude
    )


def _claim(trained) -> str:
    if math.isinf(trained.epsilon):
        return "no differential privacy"
    return f"epsilon = {rounded_up(trained.epsilon)} (delta = {trained.delta:g})"


def _how(manifest) -> list[Section]:
    sections: list[Section] = []
    if "data" in manifest:
        data = manifest["data"]
        sections.append(
            Text(f"Trained on {data['name']}: {data['pictures']} pictures.")
        )
    if "command" in manifest:
        sections.append(Code(manifest["command"]))
    if "recipe" in manifest:
        recipe = {name: str(value) for name, value in manifest["recipe"].items()}
        sections.append(Group("How it was trained", [Facts(recipe)], folded=True))
    return sections


def _shown(public) -> Group:
    rows = [
        [name, value if isinstance(value, str) else f"{value:.4g}"]
        for name, value in public.figures.items()
        if name != "tokenizer"
    ]
    table = Table([public.data.name, f"{len(public.data)} pictures"], rows)
    sections = [_images(public), table, _scores(public)]
    return Group("On data that were declared public", sections)


def _images(public) -> Images:
    return Images(public.data.pictures[:SHOWN], public.captions[:SHOWN])


def _scores(public) -> Text:
    return Text(_TRUE.format(public.figures["tokenizer"]))
