"""The README's ten lines run as they stand and print an epsilon."""

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_ten_lines_print_an_epsilon(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    exec(compile(code, str(README), "exec"), {})
    said = capsys.readouterr().out
    assert "Differential privacy for each example: epsilon = 3 at delta = 1e-05" in said
    assert "training step: 50 x Gaussian noise" in said


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", README.read_text()):
        assert (README.parent / target).exists(), target
