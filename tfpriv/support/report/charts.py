"""Charts drawn with matplotlib: into a PNG file, or as SVG for a page."""

import io
import itertools
import os
from collections.abc import Sequence

import numpy as np

from tfpriv.support.outputs import atomic_file
from tfpriv.support.report.sections import Chart

_SIZE = (4.6, 3.9)  # inches of a chart: legible on a phone
_COLUMNS = 3  # of charts in one figure


def figure(charts: Sequence[Chart]):
    """Draws charts.

    Args:
        charts: At least one.

    Returns:
        A `matplotlib.figure.Figure` with three charts in a row.
    """
    from matplotlib.figure import Figure

    columns = min(len(charts), _COLUMNS)
    rows = -(-len(charts) // columns)
    drawn = Figure((_SIZE[0] * columns, _SIZE[1] * rows), layout="constrained")
    for place, chart in enumerate(charts, 1):
        _draw(drawn.add_subplot(rows, columns, place), chart)
    return drawn


def save(charts: Sequence[Chart], path: str | os.PathLike) -> None:
    """Writes charts as one PNG file.

    Args:
        charts: At least one.
        path: The file. It is replaced if it exists.
    """
    with atomic_file(path) as file:
        figure(charts).savefig(file, format="png", dpi=120)


def svg(chart: Chart) -> bytes:
    """A chart as an SVG image with a transparent background."""
    with io.BytesIO() as file:
        figure([chart]).savefig(
            file, format="svg", transparent=True, metadata={"Date": None}
        )
        return file.getvalue()


def _draw(axes, chart):
    for label, values in chart.lines.items():
        axes.plot(chart.x, values, "o-", label=label)
    styles = itertools.cycle(("--", ":"))
    for (label, value), style in zip(chart.references.items(), styles, strict=False):
        how = {"color": "grey", "linestyle": style, "label": label}
        if np.ndim(value):
            axes.plot(chart.x, value, **how)
        else:
            axes.axhline(value, **how)
    axes.set(xscale="log", xlabel=chart.x_label, title=chart.title, ylim=chart.y_range)
    if chart.log_y:
        axes.set_yscale("log")
    axes.set_xticks(chart.x, [f"{x:.3g}" for x in chart.x])
    axes.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
    # Below the axes, where it covers no line.
    axes.legend(
        fontsize="small", ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.18)
    )
