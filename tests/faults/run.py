"""Runs the tests that the table names: `make faults` writes and prints what held."""

import sys
from pathlib import Path

import page
import pytest
from table import ROWS

TESTS = Path(__file__).parents[1]


class Verdicts:
    """What became of each test, by its name; the worst where it has parts.

    Attributes:
        found: "passed", "failed" or "skipped", by the tests' names.
    """

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def pytest_runtest_logreport(self, report) -> None:
        name = report.nodeid.split("[")[0].removeprefix("tests/")
        if report.failed:
            self.found[name] = "failed"
        elif report.skipped and self.found.get(name) != "failed":
            self.found[name] = "skipped"
        elif report.when == "call":
            self.found.setdefault(name, "passed")


def main(arguments: list[str]) -> int:
    """Runs, writes `docs/faults.md`, prints; 1 where a row did not hold.

    Args:
        arguments: more for pytest.
    """
    verdicts = Verdicts()
    names = sorted({test for row in ROWS for test in row.tests})
    chosen = [str(TESTS / name) for name in names]
    pytest.main([*chosen, "-q", *arguments], plugins=[verdicts])
    page.PAGE.write_text(page.written(verdicts.found), encoding="utf-8")
    for row in ROWS:
        print(f"{row.fault}, {row.part}: {page.held(row, verdicts.found)}")
    bad = sum(page.held(row, verdicts.found) != "held" for row in ROWS)
    print(f"{len(ROWS) - bad} of {len(ROWS)} rows held ({len(names)} tests)")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
