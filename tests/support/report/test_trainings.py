"""The page of a training without privacy promises nothing."""

import pytest
from reading import read

from tfpriv.support import report

LINE = "tfpriv shuffle train --data <mine>"


@pytest.mark.parametrize("drawn", [True, False])
def test_it_promises_nothing(tmp_path, drawn):
    page = tmp_path / "report.html"
    figures = {"right": "90 of 100"}
    report.plain_training(page, "A classifier", LINE, figures, drawn=drawn)
    found = read(page)
    assert not found.faults
    for said in (
        "A classifier, trained without differential privacy",
        LINE,
        "right 90 of 100",
        "Protected is Nothing",
        "This is no differential privacy",
        "Against whom nobody",
    ):
        assert said in found.words
    assert ("of nobody" in found.words) is drawn
    assert ("Not for publishing" in found.words) is not drawn
    assert ("can hold whole images" in found.words) is not drawn


def test_no_figures(tmp_path):
    report.plain_training(tmp_path / "a.html", "A StyleGAN", LINE, {}, drawn=True)
    assert "Figures" not in read(tmp_path / "a.html").words
