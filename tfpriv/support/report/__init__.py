"""Reports: what was done, and what that protects and does not.

A report is one HTML file without scripts, which loads nothing from elsewhere. Its
sections are data, and their text is escaped when the file is rendered:

>>> from tfpriv.support.report import Text, html
>>> "&lt;b&gt;" in html("Faces", [Text("Names may hold <b>anything</b>.")])
True

`tfpriv.accounting.protection` makes the section on what a ledger protects.
"""

from tfpriv.support.report.page import PAGE, html, report
from tfpriv.support.report.sections import (
    Chart,
    Charts,
    Code,
    Facts,
    Group,
    Images,
    Section,
    Strips,
    Table,
    Text,
)
from tfpriv.support.report.unprotected import plain_training, without_epsilon

__all__ = [
    "PAGE",
    "Chart",
    "Charts",
    "Code",
    "Facts",
    "Group",
    "Images",
    "Section",
    "Strips",
    "Table",
    "Text",
    "html",
    "plain_training",
    "report",
    "without_epsilon",
]
