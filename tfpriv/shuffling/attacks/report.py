"""What attacks got, for people: a table, a sheet of pictures, and the figures."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import tfpriv
from tfpriv.shuffling.attacks import page
from tfpriv.shuffling.attacks.attack import Result
from tfpriv.support import images, report, tables
from tfpriv.support.outputs import atomic_file

TABLE, FIGURES, SHEET = "attacks.md", "attacks.json", "attacks.png"
_CELL = 132  # pixels on the sheet: four pictures in a square
_ROWS_BESIDE = 2  # of the table, side by side on the sheet
_NO_FIGURE = ""


def write(folder: Path, results: Sequence[Result], run: dict[str, Any]) -> None:
    """Writes `attacks.md`, `attacks.json`, `attacks.png` and `report.html`.

    Args:
        folder: where to; exists.
        results: what `attack` returned.
        run: what can be written as JSON about the run: its command, seed, data.
    """
    text = f"`{run['command']}`\n\n{table(results)}\n"
    _write_text(folder / TABLE, text)
    figures = {
        "tfpriv": tfpriv.__version__,
        **run,
        "results": [_figures(result) for result in results],
    }
    _write_text(folder / FIGURES, json.dumps(figures, indent=1, allow_nan=False) + "\n")
    if any(result.shown is not None for result in results):
        images.save(folder / SHEET, sheet(results))
    page.write(folder / report.PAGE, _plain_table(results), _by_scheme(results), run)


def table(results: Sequence[Result]) -> str:
    """A Markdown table: a row for each attack, a column for each way of shuffling.

    Args:
        results: what `attack` returned.
    """
    return tables.markdown(*_table(results))


def _table(results):
    schemes = list(dict.fromkeys(result.scheme for result in results))
    rows: dict[tuple[str, str], dict[str, Result]] = {}
    for result in results:
        rows.setdefault((result.attack, result.knows), {})[result.scheme] = result
    head = ["attack", "the attacker has, or does", *schemes]
    shown = (
        [*row, *(_cell(cells[s]) if s in cells else _NO_FIGURE for s in schemes)]
        for row, cells in rows.items()
    )
    return head, shown


def _plain_table(results):
    head, rows = _table(results)
    return report.table(head, (map(_plain, row) for row in rows))


def _by_scheme(results):
    """What came back from each way of shuffling, in pictures and words."""
    found: dict[str, list] = {}
    for r in results:
        if r.shown is not None:
            said = f"{r.attack}: {r.knows}. {_plain(_cell(r))}"
            found.setdefault(r.scheme, []).append((_square(r.shown), said))
    return found


def sheet(results: Sequence[Result]) -> Image.Image:
    """What came back, in pictures: a row for each attack.

    Args:
        results: what `attack` returned; some of them hold pictures.
    """
    schemes = list(dict.fromkeys(result.scheme for result in results))
    rows: dict[tuple[str, str], dict[str, Result]] = {}
    for result in results:
        if result.shown is not None:
            rows.setdefault((result.attack, result.knows), {})[result.scheme] = result
    pictures, captions = [], []
    for (attack, knows), cells in rows.items():
        for scheme in schemes:
            result = cells.get(scheme)
            blank = np.full((2, 2, 3), 255, np.uint8)
            pictures.append(blank if result is None else _square(result.shown))
            figure = "" if result is None else _plain(_cell(result))
            captions.append(f"{scheme}: {attack}\n{knows}\n{figure}")
    return images.contact_sheet(
        pictures, captions, columns=_ROWS_BESIDE * len(schemes), cell=_CELL
    )


def _cell(result):
    parts = []
    if result.came_back is not None:
        parts.append(
            "**exact**"
            if math.isinf(result.came_back.psnr)
            else f"{result.came_back.psnr:.1f} dB, {result.came_back.ssim:.2f}"
        )
    if result.accuracy is not None:
        by_chance = (
            "" if result.chance is None else f" (chance {_percent(result.chance)})"
        )
        parts.append(f"{_percent(result.accuracy)}{by_chance}")
    return "; ".join(parts)


def _plain(cell):
    """Without Markdown."""
    return cell.replace("*", "")


def _percent(share):
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def _square(pictures):
    """Up to four pictures, two by two."""
    four = np.full((4, *pictures.shape[1:]), 255, np.uint8)
    four[: len(pictures)] = pictures[:4]
    return np.concatenate(
        [np.concatenate(list(four[i : i + 2]), axis=1) for i in (0, 2)], axis=0
    )


def _figures(result):
    back = result.came_back
    return {
        "attack": result.attack,
        "knows": result.knows,
        "scheme": result.scheme,
        # JSON knows no infinity: what is exact has no PSNR.
        "psnr": None if back is None or math.isinf(back.psnr) else back.psnr,
        "ssim": None if back is None else back.ssim,
        "exact": None if back is None else back.exact,
        "places": result.places,
        "accuracy": result.accuracy,
        "chance": result.chance,
    }


def _write_text(path, text):
    with atomic_file(path) as file:
        file.write(text.encode())
