"""Reports of releases of faces, and of studies of them."""

import dataclasses
from pathlib import Path
from typing import Any

from PIL import Image

from tfpriv.accounting import protection
from tfpriv.accounting.ledger import Ledger
from tfpriv.editing.mechanism import AttributeMechanism
from tfpriv.editing.study import EVERYWHERE, SEED, SUBSPACE, Study, StudyRow
from tfpriv.support import images, tables
from tfpriv.support.outputs import atomic_file, write_json
from tfpriv.support.report import (
    PAGE,
    Chart,
    Charts,
    Code,
    Group,
    Images,
    Strips,
    Table,
    Text,
    report,
)
from tfpriv.support.report import charts as drawing

SHOWN = 12
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
_AGAINST = (
    "Whoever sees the released latent, or any picture made of it, knows both faces "
    "that it may be of, all other faces, the boundaries, the code and this page, and "
    "computes for as long as they like. Not against somebody who watches the machine "
    "that releases."
)
_LEAVES = (
    "the attributes themselves: the rest of the latent, which is released as it is, "
    "may show them",
    "who it is: identity is meant to stay",
    "the same face released over other attributes besides: that adds up with nothing "
    "here",
    "anything else that is made of the face: the photograph, the latent file, a "
    "background that is pasted back",
    "what boundaries, clip and epsilon tell, if they were chosen by looking at private "
    "faces",
    "how many faces there are",
)
_CLAIM = {"against": _AGAINST, "leaves": _LEAVES, "accountant": "pld"}


def release(
    path: Path, mechanism: AttributeMechanism, ledger: Ledger, delta: float
) -> None:
    """Writes the report of a folder of released faces, which may go where they go.

    It is made of what is released already: images in the folder, the ledger, and the
    mechanism's public settings. It names no file that was left out, and no path.

    Args:
        path: where to, in the folder of the releases.
        mechanism: what released them.
        ledger: what all releases of these faces have spent.
        delta: of the claim.
    """
    # An image without a released latent beside it is somebody else's.
    latents = sorted(path.parent.glob("*.npy"))
    released = [
        p.with_suffix(".png") for p in latents if p.with_suffix(".png").is_file()
    ]
    shown = released[:SHOWN]
    attributes = ", ".join(mechanism.subspace.attributes)
    sections = [
        Text(
            f"{len(released)} faces, each with a noised value in place of its own: "
            f"{attributes}. The last run clipped values to {mechanism.noise.radius:g} "
            f"from a public centre, in the space {mechanism.space!r}."
        ),
        Images(shown, [p.name for p in shown]),
        protection.protection(ledger, delta, **_CLAIM),
    ]
    report(path, f"Faces released without their {attributes}", sections)


def study(folder: Path, found: Study, run: dict[str, Any]) -> None:
    """Writes `study.md`, `study.json`, two images, and `report.html`.

    The faces of a study are nobody's.

    Args:
        folder: where to; made if need be.
        found: what the study found.
        run: what can be written as JSON about the run: its command, seed, generator.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        **run,
        "attribute": found.attribute,
        "delta": found.delta,
        "clip": found.clip,
        "before": dataclasses.asdict(found.before),
        "rows": [dataclasses.asdict(row) for row in found.rows],
    }
    write_json(folder / FIGURES, figures)
    with atomic_file(folder / TABLE) as file:
        file.write(f"`{run['command']}`\n\n{table(found)}\n".encode())
    images.save(folder / FACES, sheet(found))
    drawing.save(charts(found), folder / CURVES)
    sections = [
        Text(
            "The faces are drawn from random latents: they are nobody's. Each was "
            f"released in three ways; {SEED!r} adds noise without a clip, and no "
            "epsilon is true of it."
        ),
        Code(run["command"]),
        Group("Faces", [Strips(_faces(found))]),
        Group(
            "Figures",
            [
                Charts(charts(found)),
                Table(_HEAD, map(_cells, found.rows)),
                Text(
                    "Accuracies in percent, with bounds that are wrong once in a "
                    "thousand. The ceiling is for pairs of faces that the attribute "
                    "alone tells apart; what is read from natural faces beyond it is "
                    "what the rest of the latent shows."
                ),
            ],
        ),
        protection.protection(
            found.claim,
            found.delta,
            title=f"What one release protects ({SUBSPACE}, the least epsilon)",
            **_CLAIM,
        ),
    ]
    title = f"What a private release of {found.attribute} keeps and gives away"
    report(folder / PAGE, title, sections)


def table(found: Study) -> str:
    """A study as a Markdown table; accuracies in percent, with their bounds."""
    return tables.markdown(_HEAD, map(_cells, found.rows))


def _cells(row: StudyRow) -> list[str]:
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


def _faces(found: Study) -> dict:
    """By caption, the faces as they were and as they were released."""
    return {"as they were": found.originals} | {
        f"{method}, epsilon {epsilon:g}": faces
        for (method, epsilon), faces in found.released.items()
    }


def sheet(found: Study) -> Image.Image:
    """Faces as they were, and below them as they were released."""
    columns = len(found.originals)
    faces, captions = [], []
    for caption, row in _faces(found).items():
        faces += list(row)
        captions += [caption] + [""] * (columns - 1)
    return images.contact_sheet(faces, captions, columns=columns, cell=_CELL)


def charts(found: Study) -> list[Chart]:
    """What releases keep and give away, against epsilon."""
    values = {
        "identity": lambda row: row.identity,
        "SSIM": lambda row: row.ssim,
        "drift of other attributes": lambda row: row.drift,
        f"spread of {found.attribute}": lambda row: row.spread,
        "read from natural faces": lambda row: row.natural.accuracy,
        "read from pairs": lambda row: row.pair_latent.accuracy,
    }
    return [_chart(found, title, value) for title, value in values.items()]


def _chart(found, title, value) -> Chart:
    rows = {
        method: [row for row in found.rows if row.method == method]
        for method in (SUBSPACE, EVERYWHERE, SEED)
    }
    bounds = {}
    if title.startswith("read"):
        bounds["references"] = {
            "ceiling for pairs": [row.ceiling for row in rows[SUBSPACE]],
            "before": found.before.accuracy,
        }
        bounds["y_range"] = (0.45, 1.02)
    return Chart(
        title,
        f"{title}, against epsilon, by way of release",
        [row.epsilon for row in rows[SUBSPACE]],
        {method: list(map(value, some)) for method, some in rows.items()},
        **bounds,
    )
