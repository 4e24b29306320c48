"""The README's ten lines run as they stand and print an epsilon."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def test_the_ten_lines_print_an_epsilon(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    exec(compile(code, str(README), "exec"), {})
    last = capsys.readouterr().out.strip().splitlines()[-1]
    epsilon = float(re.fullmatch(r"epsilon = (\d+\.\d+)", last)[1])
    assert epsilon == pytest.approx(4.6, abs=2.0)


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", README.read_text()):
        assert (README.parent / target).exists(), target
