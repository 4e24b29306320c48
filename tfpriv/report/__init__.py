"""Pages for people: what was done, and what that protects and does not.

A page is one HTML file without scripts, which loads nothing from elsewhere. It is made
of pieces, whose text is escaped where they are made:

>>> from tfpriv import report
>>> page = report.html("Faces", report.text("Names may hold <b>anything</b>."))
>>> "&lt;b&gt;" in page
True
"""

from tfpriv.report.page import PAGE, html, write
from tfpriv.report.pictures import chart, charts, gallery, strips
from tfpriv.report.pieces import (
    Piece,
    bullets,
    command,
    details,
    facts,
    section,
    table,
    text,
    warning,
)
from tfpriv.report.protection import of_weights, protection, without_epsilon
from tfpriv.report.trainings import plain_training

__all__ = [
    "PAGE",
    "Piece",
    "bullets",
    "chart",
    "charts",
    "command",
    "details",
    "facts",
    "gallery",
    "html",
    "of_weights",
    "plain_training",
    "protection",
    "section",
    "strips",
    "table",
    "text",
    "warning",
    "without_epsilon",
    "write",
]
