"""The guide's code runs as it stands; tests that `docs/soundness.md` names exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def snippets():
    return re.findall(
        r"```python\n(.*?)```", (ROOT / "docs/audit.md").read_text(), re.DOTALL
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", range(2))
def test_the_guides_code_runs(number, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = snippets()[number]
    exec(compile(code, f"docs/audit.md, {number}", "exec"), {})
    printed = capsys.readouterr().out
    if number == 0:
        assert re.match(r"claimed epsilon \S+ at delta 1e-05: at least", printed)
        assert printed.endswith("the claim stands\n")
    else:
        assert printed.count(" at 1 %, area 0.") == 4
        assert (tmp_path / "roc.png").exists()


def test_the_guide_has_two_snippets():
    assert len(snippets()) == 2


def test_tests_that_are_named_exist():
    text = (ROOT / "docs/soundness.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text)
    assert len(named) > 40
    for path, test in named:
        source = (ROOT / path).read_text()
        assert not test or f"def {test}(" in source, f"{path}::{test}"
