"""What trainings of captioners write for people: one page each."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfpriv.accounting import Ledger, protection
from tfpriv.accounting.statement import rounded_up
from tfpriv.captioning.coco import CaptionSet
from tfpriv.captioning.train import Trained
from tfpriv.support import images, report

SHOWN = 12
_FIGURES = ("CIDEr", "BLEU-4", "ROUGE-L", "true", "loss")
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
    """Writes the page of one training, which may go where the weights go.

    Nothing on it comes from the training pictures but through the weights: no loss, no
    curve, and none of the pictures.

    Args:
        path: where to.
        trained: what was trained.
        manifest: with `recipe` and `data`, where they are known.
        public: how it does, or None.
    """
    report.write(
        path,
        f"Captioner, {_claim(trained)}",
        *_how(manifest),
        *(_shown(public) if public else ()),
        protection.of_weights(trained.ledger, trained.delta, leaves=_LEAVES),
    )


def demo(path: Path, trained: Trained, pictures: int, before: dict, public: Public):
    """Writes the page of `tfpriv demo`.

    Args:
        path: where to.
        trained: what was trained.
        pictures: how many it was trained with.
        before: figures of the public weights that it began with.
        public: how it does.
    """
    report.write(
        path,
        f"Captions learned with {_claim(trained)}",
        report.text(
            f"The captioner below was trained on {pictures} generated pictures with "
            "differential privacy for each picture with all its captions. It had seen "
            "pictures of another, public kind before: single objects, listed in "
            "telegram style. The pictures below are ones that it never saw.",
        ),
        _gallery(public),
        report.section(
            "What it learned",
            report.table(
                ["on pictures it never saw", "public weights only", "after training"],
                [
                    [name, f"{before[name]:.3f}", f"{public.figures[name]:.3f}"]
                    for name in _FIGURES
                ],
            ),
            report.text(_TRUE.format(public.figures["tokenizer"])),
        ),
        protection.of_weights(trained.ledger, trained.delta, leaves=_LEAVES),
    )


def sweep(
    path: Path,
    table: report.Piece,
    charts: report.Piece,
    private: Sequence[Trained],
    manifest: dict,
) -> None:
    """Writes the page of a comparison, which is not to be published as it is.

    Args:
        path: where to.
        table: a row for each training.
        charts: figures against epsilon.
        private: what was trained privately, at one delta.
        manifest: of the run.
    """
    together = Ledger()
    for trained in private:
        together.merge(trained.ledger)
    report.write(
        path,
        "What privacy costs a captioner",
        report.warning(
            "Not for publishing: a row without privacy is an exact function of the "
            "training data, which no epsilon covers, and its folder holds such weights."
        ),
        *_how(manifest),
        report.section(
            "Figures on data that were declared public",
            table,
            charts,
            report.text(
                "Each row's epsilon is for whoever sees that row's weights alone. Who "
                "sees several of them learns more; below is what all private ones "
                "spent together."
            ),
        ),
        protection.of_weights(together, private[0].delta, leaves=_LEAVES),
    )


def _claim(trained) -> str:
    if math.isinf(trained.epsilon):
        return "no differential privacy"
    return f"epsilon = {rounded_up(trained.epsilon)} (delta = {trained.delta:g})"


def _how(manifest):
    if "data" in manifest:
        data = manifest["data"]
        yield report.text(f"Trained on {data['name']}: {data['pictures']} pictures.")
    if "command" in manifest:
        yield report.command(manifest["command"])
    if "recipe" in manifest:
        recipe = {name: str(value) for name, value in manifest["recipe"].items()}
        yield report.details("How it was trained", report.facts(recipe))


def _shown(public):
    rows = [
        [name, value if isinstance(value, str) else f"{value:.4g}"]
        for name, value in public.figures.items()
        if name != "tokenizer"
    ]
    yield report.section(
        "On data that were declared public",
        _gallery(public),
        report.table([public.data.name, f"{len(public.data)} pictures"], rows),
        report.text(_TRUE.format(public.figures["tokenizer"])),
    )


def _gallery(public):
    shown, captions = public.data.head(SHOWN).pictures, public.captions[:SHOWN]
    if not isinstance(shown, np.ndarray):
        return report.gallery(map(images.load, shown), captions)
    return report.gallery(shown, captions)
