"""A study for people: a table, curves, and a sheet of faces."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tfpriv.editing import report as pages
from tfpriv.editing.study import EVERYWHERE, SEED, SUBSPACE, Row, Study
from tfpriv.support import images, report, tables
from tfpriv.support.outputs import atomic_file, write_json

TABLE, FIGURES, CURVES, FACES = "study.md", "study.json", "study.png", "faces.png"
_CELL = 128  # pixels on the sheet
_HEAD = (
    "release",
    "epsilon",
    "spread of the attribute",
    "drift of the others",
    "identity",
    "SSIM",
    "read from natural faces: picture",
    "latent",
    "from pairs: picture",
    "latent",
    "ceiling for pairs",
)


def write(folder: Path, study: Study, run: dict[str, Any]) -> None:
    """Writes `study.md`, `study.json`, two pictures, and `report.html`.

    Args:
        folder: where to; made if need be.
        study: what was found.
        run: what can be written as JSON about the run: its command, seed, generator.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        **run,
        "attribute": study.attribute,
        "delta": study.delta,
        "clip": study.clip,
        "before": dataclasses.asdict(study.before),
        "rows": [dataclasses.asdict(row) for row in study.rows],
    }
    write_json(folder / FIGURES, figures)
    with atomic_file(folder / TABLE) as file:
        file.write(f"`{run['command']}`\n\n{table(study)}\n".encode())
    images.save(folder / FACES, sheet(study))
    plot(study, folder / CURVES)
    shown = report.table(_HEAD, map(_cells, study.rows))
    pages.study(folder / report.PAGE, study, shown, _charts(study), run["command"])


def table(study: Study) -> str:
    """The study as a Markdown table; accuracies in percent, with their bounds."""
    return tables.markdown(_HEAD, map(_cells, study.rows))


def _cells(row: Row) -> list[str]:
    return [
        row.method,
        f"{row.epsilon:g}",
        *(f"{x:.3f}" for x in (row.spread, row.drift, row.identity, row.ssim)),
        *(
            f"{100 * r.accuracy:.1f} ({100 * r.low:.1f} to {100 * r.high:.1f})"
            for r in (row.natural, row.natural_latent, row.pair, row.pair_latent)
        ),
        f"{100 * row.ceiling:.1f}",
    ]


def sheet(study: Study) -> Image.Image:
    """Faces as they were, and below them as they were released."""
    pictures, captions = list(study.originals), ["as they were"]
    captions += [""] * (len(study.originals) - 1)
    for (method, epsilon), released in study.released.items():
        pictures += list(released)
        captions += [f"{method}, epsilon {epsilon:g}"] + [""] * (len(released) - 1)
    return images.contact_sheet(
        pictures, captions, columns=len(study.originals), cell=_CELL
    )


def plot(study: Study, path: Path) -> None:
    """Draws what is kept and what is given away against epsilon."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure = draw(study, pyplot)
    with atomic_file(path) as file:
        figure.savefig(file, format="png", dpi=120)
    pyplot.close(figure)


def draw(study: Study, pyplot):
    """The curves as a figure of `matplotlib.pyplot`."""
    figure, axes = pyplot.subplots(2, 3, figsize=(12, 6.4), layout="constrained")
    for axis, title in zip(axes.flat, _panels(study), strict=True):
        _draw_panel(axis, study, title)
    axes.flat[0].legend((SUBSPACE, EVERYWHERE, SEED))
    return figure


def _panels(study):
    """What is drawn, by its title: from rows to figures."""
    return {
        "identity": lambda row: row.identity,
        "SSIM": lambda row: row.ssim,
        "drift of other attributes": lambda row: row.drift,
        f"spread of {study.attribute}": lambda row: row.spread,
        "read from natural faces": lambda row: row.natural.accuracy,
        "read from pairs": lambda row: row.pair_latent.accuracy,
    }


def _draw_panel(axis, study, title):
    value = _panels(study)[title]
    for method in (SUBSPACE, EVERYWHERE, SEED):
        rows = [row for row in study.rows if row.method == method]
        axis.plot([r.epsilon for r in rows], list(map(value, rows)), "o-")
    axis.set(xscale="log", xlabel="epsilon", title=title)
    epsilons = sorted({row.epsilon for row in study.rows})
    axis.set_xticks(epsilons, [f"{epsilon:g}" for epsilon in epsilons])
    axis.minorticks_off()
    if title.startswith("read"):
        _draw_ceiling(axis, study)


def _charts(study) -> report.Piece:
    """Each panel with a legend of its own, since a phone shows one at a time."""

    names = (SUBSPACE, EVERYWHERE, SEED, "ceiling for pairs", "before")

    def drawn(title):
        def draw_it(axis):
            _draw_panel(axis, study, title)
            lines = axis.lines
            axis.legend(lines, names[: len(lines)], fontsize="small")

        return report.chart(draw_it, f"{title}, against epsilon, by way of release")

    return report.charts(*map(drawn, _panels(study)))


def _draw_ceiling(axis, study):
    rows = [row for row in study.rows if row.method == SUBSPACE]
    ceilings = np.array([row.ceiling for row in rows])
    line = {"color": "grey", "linestyle": "--", "label": "ceiling for pairs"}
    axis.plot([row.epsilon for row in rows], ceilings, **line)
    axis.axhline(study.before.accuracy, color="grey", linestyle=":", label="before")
    axis.set_ylim(0.45, 1.02)
    axis.legend(handles=axis.lines[-2:])
