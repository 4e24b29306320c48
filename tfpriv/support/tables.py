"""Tables of figures, in Markdown: readable on a terminal and in a document."""

from collections.abc import Iterable, Sequence


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table.

    Args:
        head: The columns' names.
        rows: The cells of each row, as many.

    Returns:
        Lines, without a line break at the end.
    """
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
