"""Pages for people: what was done, and what that protects and does not.

A page is one HTML file without scripts, which loads nothing from elsewhere. It is made
of pieces, whose text is escaped where they are made:

>>> from tfpriv.support import report
>>> page = report.html("Faces", report.text("Names may hold <b>anything</b>."))
>>> "&lt;b&gt;" in page
True

The section about a ledger is made by `tfpriv.accounting.protection`.
"""

from tfpriv.support.report.page import PAGE, html, write
from tfpriv.support.report.pictures import chart, charts, gallery, strips
from tfpriv.support.report.pieces import (
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
from tfpriv.support.report.trainings import plain_training
from tfpriv.support.report.unprotected import without_epsilon

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
    "plain_training",
    "section",
    "strips",
    "table",
    "text",
    "warning",
    "without_epsilon",
    "write",
]
