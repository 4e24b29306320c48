"""The page of the faults: its table, and what it says around it."""

from pathlib import Path

from table import ROWS

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
HEAD = """\
# Faults in the world

What happens when a process is killed, a disk is full, a file is damaged or somebody
sends one that is meant to do harm. `make faults` runs the tests that are named, writes
this table and fails unless every row held. In no row is a result lost that had its
name, or a budget counted as less than what was spent.

| fault | part | what happens | shown by, in `tests/` | held |
| --- | --- | --- | --- | --- |
"""
FOOT = """
## Limits

Checksums and digests detect accidents: an adversary who edits a file together with its
checksum, or brings back an older ledger with older weights (a rollback), is not
detected; see [soundness.md](soundness.md). A full disk is simulated by the system's
limit on the size of files or by writes that fail half-way, and a power cut by what it
leaves in a file: no disk was filled, and no plug pulled.
"""


def written(verdicts: dict[str, str]) -> str:
    """The page.

    Args:
        verdicts: of each test of the table, "passed" or what else became of it.
    """
    return HEAD + "".join(f"{line(row, verdicts)}\n" for row in ROWS) + FOOT


def line(row, verdicts) -> str:
    """A row of the table, in Markdown."""
    tests = ", ".join(f"`{test}`" for test in row.tests)
    cells = row.fault, row.part, row.happens, tests, held(row, verdicts)
    return f"| {' | '.join(cells)} |"


def held(row, verdicts) -> str:
    """ "held" if all of its tests passed; else what became of those that did not."""
    found = {verdicts.get(test, "not run") for test in row.tests} - {"passed"}
    return f"not held: {', '.join(sorted(found))}" if found else "held"
