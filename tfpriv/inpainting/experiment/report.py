"""The report of an evaluation: its figures, a table, and a sheet of images."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tfpriv.audit.intervals import Estimate
from tfpriv.inpainting.experiment.evaluation import Evaluation, EvaluationRow
from tfpriv.inpainting.report import masks_claim
from tfpriv.support import images, tables
from tfpriv.support.outputs import atomic_file, write_json
from tfpriv.support.report import PAGE, Code, Group, Strips, Table, Text, report

TABLE, FIGURES, SHEET = "evaluation.md", "evaluation.json", "evaluation.png"
_CELL = 128  # pixels on the sheet


def write(
    folder: Path,
    evaluation: Evaluation,
    run: dict[str, Any],
    experiment: Path,
) -> None:
    """Writes `evaluation.md`, `.json` and `.png`, and `report.html`.

    Args:
        folder: where to; made if need be. Sheet and report show originals, and only
            the report's owner can read it.
        evaluation: what was found.
        run: what can be written as JSON about the run: its command.
        experiment: the folder that was evaluated.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        field.name: getattr(evaluation, field.name)
        for field in dataclasses.fields(evaluation)
        if field.name not in ("shown", "masks")
    }
    write_json(folder / FIGURES, run | _plain(figures))
    with atomic_file(folder / TABLE) as file:
        file.write(f"`{run['command']}`\n\n{text(evaluation)}\n".encode())
    images.save(folder / SHEET, sheet(evaluation))
    lines = [Text(line) for line in _lines(evaluation)]
    sections = [
        Text(
            "Shows originals, and figures that are exact functions of them: not to be "
            "published.",
            warning=True,
        ),
        Code(run["command"]),
        Group("Pictures", [Strips(_columns(evaluation))]),
        Group("Figures", [*lines, Table(*_table(evaluation))]),
        masks_claim(experiment),
    ]
    report(folder / PAGE, "Who is still recognised", sections, private=True)


def text(evaluation: Evaluation) -> str:
    """The published figures, and a Markdown table of all methods."""
    return "\n".join(_lines(evaluation)) + f"\n\n{table(evaluation)}"


def _lines(evaluation):
    n = evaluation.accuracy.count
    lines = [
        f"Recognised: {evaluation.recognised} of {n} originals "
        f"({_percent(evaluation.accuracy)} %).",
        f"Fooled among these: {evaluation.fooled}.",
        f"Covered: {_percent(evaluation.covered)} % of the pixels.",
    ]
    lines += [
        f"Trained on {faces}: {judge}."
        for judge, faces in evaluation.trained_on.items()
    ]
    if evaluation.strangers:
        lines.append(
            f"Looked for among {evaluation.persons} persons. Verified at "
            f"{100 * evaluation.false_accepts:g} % false accepts, set by "
            f"{evaluation.strangers} similarities to strangers "
            f"(mean {evaluation.stranger_similarity:.3f})."
        )
    return lines


def table(evaluation: Evaluation) -> str:
    """One line for each method; shares in percent, intervals of 95 % in brackets."""
    return tables.markdown(*_table(evaluation))


def _table(evaluation):
    columns = {
        "fooled": ("fooled, % of the recognised", _percent),
        "rank_one": ("found by a second recogniser (rank 1), %", _percent),
        "verified": ("verified by it, %", _percent),
        "mistaken": ("and as each stranger, %", _percent),
        "similarity": ("similarity to other pictures", _figure),
        "linked": ("linked to an original, %", _percent),
        "kept": ("smile, glasses, pose kept, %", _percent),
        "ssim": ("SSIM", _figure),
        "lpips": ("LPIPS", _figure),
    }
    measured = {
        name: column
        for name, column in columns.items()
        if any(getattr(row, name) is not None for row in evaluation.rows)
    }
    head = ["pictures", *(title for title, _ in measured.values())]
    return head, [_cells(row, measured) for row in evaluation.rows]


def sheet(evaluation: Evaluation) -> Image.Image:
    """A row for each picture: original, masked, and what each method made of it."""
    columns = _columns(evaluation)
    pictures = [p for row in zip(*columns.values(), strict=True) for p in row]
    captions = [*columns, *[""] * (len(pictures) - len(columns))]
    return images.contact_sheet(pictures, captions, columns=len(columns), cell=_CELL)


def _columns(evaluation):
    shown = evaluation.shown
    masked = np.where(
        evaluation.masks[..., None], np.uint8(128), next(iter(shown.values()))
    )
    first, *others = shown
    return {first: shown[first], "mask": masked} | {m: shown[m] for m in others}


def _cells(row: EvaluationRow, columns):
    return [row.method, *(write(getattr(row, n)) for n, (_, write) in columns.items())]


def _percent(estimate: Estimate) -> str:
    return _written(estimate, 100, 1)


def _figure(estimate: Estimate) -> str:
    return _written(estimate, 1, 3)


def _written(estimate, factor, digits):
    if math.isnan(estimate.value):
        return "-"
    numbers = [
        f"{factor * x:.{digits}f}"
        for x in (estimate.value, estimate.low, estimate.high)
    ]
    if math.isnan(estimate.low):
        return numbers[0]
    return f"{numbers[0]} ({numbers[1]} to {numbers[2]})"


def _plain(value):
    """What JSON knows: no dataclasses, and no NaN."""
    if dataclasses.is_dataclass(value):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value
