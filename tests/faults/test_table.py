"""The table of faults: its tests exist, its page is its own, failures show."""

import page
import pytest
import run
from table import ROWS


@pytest.mark.parametrize("test", sorted({test for row in ROWS for test in row.tests}))
def test_a_test_that_is_named_exists(test):
    path, _, name = test.partition("::")
    source = (run.TESTS / path).read_text(encoding="utf-8")
    assert source.count(f"\ndef {name}(") == 1


def test_every_row_says_something_of_its_own():
    assert len({(row.fault, row.part) for row in ROWS}) == len(ROWS)
    assert len({row.fault for row in ROWS}) == 11
    assert all(row.happens and row.tests for row in ROWS)


def test_the_page_is_of_this_table():
    """But for the verdicts, which are those of the last `make faults`."""

    def rows(text):
        return [line.rpartition(" | ")[0] for line in text.splitlines()]

    assert rows(page.PAGE.read_text(encoding="utf-8")) == rows(page.written({}))


PLANTED = """
import pytest

@pytest.mark.parametrize("n", range(3))
def test_one_part_fails(n):
    assert n != 1

@pytest.mark.parametrize("n", range(2))
def test_good(n):
    pass

@pytest.fixture
def broken():
    raise RuntimeError

def test_never_starts(broken):
    pass

def test_skipped():
    pytest.skip("for want of something")
"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("test_good", "held"),
        ("test_one_part_fails", "not held: failed"),
        ("test_never_starts", "not held: failed"),
        ("test_skipped", "not held: skipped"),
        ("test_missing", "not held: not run"),
    ],
)
def test_planted_failures_are_not_held(tmp_path, name, expected):
    (tmp_path / "test_planted.py").write_text(PLANTED)
    verdicts = run.Verdicts()
    options = ["-q", "--import-mode=importlib", "--rootdir", str(tmp_path)]
    pytest.main([str(tmp_path), *options], plugins=[verdicts])
    row = ROWS[0]._replace(tests=(f"test_planted.py::{name}",))
    assert page.held(row, verdicts.found) == expected
    assert page.line(row, verdicts.found).endswith(f"| {expected} |")
