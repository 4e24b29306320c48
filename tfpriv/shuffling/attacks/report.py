"""The report of attacks: a table, a sheet of images, and the figures."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import tfpriv
from tfpriv.shuffling.attacks.attack import AttackResult
from tfpriv.support import images, tables
from tfpriv.support.outputs import atomic_file, write_json
from tfpriv.support.report import (
    PAGE,
    Code,
    Group,
    Images,
    Table,
    Text,
    report,
    without_epsilon,
)

TABLE, FIGURES, SHEET = "attacks.md", "attacks.json", "attacks.png"
_CELL = 132  # pixels on the sheet: four images in a square
_ROWS_BESIDE = 2  # of the table, side by side on the sheet
_CLAIM = without_epsilon(
    "Where the pixels of a picture belong, by a secret key.",
    against="Whoever sees shuffled pictures and has neither the key nor any part of a "
    "permutation. Not against somebody who watches the machine, or has the key file.",
    leaves=(
        "colours and their numbers, in every mode: they tell which picture it is to "
        "somebody who has it, and a good deal about its kind",
        "all pictures of the fixed mode, once one of them is known: it is for "
        "repeating experiments",
        "pictures that share a nonce: they fall like the fixed mode",
        "sizes, numbers, names and labels",
        "anything against a better attack than these, which were tried and prove "
        "nothing",
    ),
)


def write(folder: Path, results: Sequence[AttackResult], run: dict[str, Any]) -> None:
    """Writes `attacks.md`, `attacks.json`, `attacks.png` and `report.html`.

    Only the report's owner can read it.

    Args:
        folder: where to; exists.
        results: what `attack` returned.
        run: what can be written as JSON about the run: `command`, `seed`, `data` and
            `pictures`.
    """
    with atomic_file(folder / TABLE) as file:
        file.write(f"`{run['command']}`\n\n{table(results)}\n".encode())
    figures = [_figures(result) for result in results]
    versions = {"tfpriv": tfpriv.__version__}
    write_json(folder / FIGURES, versions | run | {"results": figures})
    if any(result.shown is not None for result in results):
        images.save(folder / SHEET, sheet(results))
    head, rows = _table(results)
    sections = [
        Text(
            "Shows pictures of the data, some of them as they are: to be published "
            "only if they may be.",
            warning=True,
        ),
        Text(
            f"{run['pictures']} pictures were shuffled for this with keys of their "
            f"own, from seed {run['seed']}, which protect nothing else."
        ),
        Code(run["command"]),
        Group(
            "Figures",
            [
                Table(head, (map(_plain, row) for row in rows)),
                Text(
                    "How much of unseen pictures came back (PSNR, SSIM), or how often "
                    "a picture or its class was found."
                ),
            ],
        ),
        *_came_back(results),
        _CLAIM,
    ]
    title = f"What attacks get from shuffled pictures of {run['data']}"
    report(folder / PAGE, title, sections, private=True)


def table(results: Sequence[AttackResult]) -> str:
    """A Markdown table: a row for each attack, a column for each way of shuffling.

    Args:
        results: what `attack` returned.
    """
    return tables.markdown(*_table(results))


def _grid(results):
    """The ways of shuffling, and by attack the result for each of them."""
    rows: dict[tuple[str, str], dict[str, AttackResult]] = {}
    for result in results:
        rows.setdefault((result.attack, result.knows), {})[result.scheme] = result
    return list(dict.fromkeys(result.scheme for result in results)), rows


def _table(results):
    schemes, rows = _grid(results)
    cells = [
        [*row, *(_cell(found.get(s)) for s in schemes)] for row, found in rows.items()
    ]
    return ["attack", "the attacker has, or does", *schemes], cells


def _came_back(results) -> list[Group]:
    """What came back from each way of shuffling."""
    groups = []
    for scheme in dict.fromkeys(r.scheme for r in results):
        shown = [r for r in results if r.scheme == scheme and r.shown is not None]
        captions = [f"{r.attack}: {r.knows}. {_plain(_cell(r))}" for r in shown]
        pictures = Images([_square(r.shown) for r in shown], captions)
        groups += [Group(f"Came back: {scheme}", [pictures])] if shown else []
    return groups


def sheet(results: Sequence[AttackResult]) -> Image.Image:
    """What came back, as images: a row for each attack.

    Args:
        results: what `attack` returned; some of them hold images.
    """
    schemes, _ = _grid(results)
    _, rows = _grid([result for result in results if result.shown is not None])
    blank = np.full((2, 2, 3), 255, np.uint8)
    pictures, captions = [], []
    for (attack, knows), found in rows.items():
        for scheme in schemes:
            result = found.get(scheme)
            pictures.append(_square(result.shown) if result else blank)
            captions.append(f"{scheme}: {attack}\n{knows}\n{_plain(_cell(result))}")
    return images.contact_sheet(
        pictures, captions, columns=_ROWS_BESIDE * len(schemes), cell=_CELL
    )


def _cell(result: AttackResult | None) -> str:
    parts = []
    if result and result.came_back is not None:
        parts.append(
            "**exact**"
            if math.isinf(result.came_back.psnr)
            else f"{result.came_back.psnr:.1f} dB, {result.came_back.ssim:.2f}"
        )
    if result and result.accuracy is not None:
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
    """Up to four images, two by two."""
    four = np.full((4, *pictures.shape[1:]), 255, np.uint8)
    four[: len(pictures)] = pictures[:4]
    return np.concatenate(
        [np.concatenate(list(four[i : i + 2]), axis=1) for i in (0, 2)], axis=0
    )


def _figures(result):
    names = ("attack", "knows", "scheme", "places", "accuracy", "chance")
    figures = {name: getattr(result, name) for name in names}
    for name in ("psnr", "ssim", "exact"):
        figures[name] = getattr(result.came_back, name, None)
    if figures["psnr"] == math.inf:  # JSON knows no infinity: it was exact
        figures["psnr"] = None
    return figures
