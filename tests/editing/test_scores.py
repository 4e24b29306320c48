"""Tables of scores."""

import numpy as np
import pytest

from tfpriv.editing.scores import read_scores, write_scores


def test_what_is_written_is_read(tmp_path):
    write_scores(tmp_path / "a.csv", ("age", "smile"), np.array([[0.5, -1], [2, 1e-9]]))
    np.testing.assert_array_equal(read_scores(tmp_path / "a.csv", "smile"), [-1, 1e-9])


def test_an_empty_field_is_a_missing_score(tmp_path):
    (tmp_path / "a.csv").write_text("age,smile\n1,\n,2\n")
    np.testing.assert_array_equal(read_scores(tmp_path / "a.csv", "age"), [1, np.nan])


@pytest.mark.parametrize(
    "text", ["", "smile\n1\n", "age\nold\n", "smile,age\n1\n", "age\n" + "1" * 200_000]
)
def test_damaged_tables_are_named(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=r"Received: .*a\.csv"):
        read_scores(tmp_path / "a.csv", "age")
