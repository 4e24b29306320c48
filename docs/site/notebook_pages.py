"""A notebook as a page: its texts, its code, and what it had put out."""

import json
from pathlib import Path

_CONTROL = "\x1b["  # colours of a terminal


def page(path: Path) -> str:
    """A notebook in Markdown.

    Args:
        path: its file.
    """
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join(part for cell in cells for part in _parts(cell)) + "\n"


def _parts(cell):
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield source
    elif source:
        yield _fenced(source, "python")
        for output in cell["outputs"]:
            yield from _shown(output)


def _shown(output):
    data = output.get("data", {})
    if "image/png" in data:
        content = "".join(data["image/png"]).replace("\n", "")
        yield f"![what the cell above drew](data:image/png;base64,{content})"
        return
    text = "".join(output.get("text", data.get("text/plain", ())))
    if text.strip() and _CONTROL not in text:
        yield _fenced(text.rstrip("\n"), "text")


def _fenced(text, language):
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"
