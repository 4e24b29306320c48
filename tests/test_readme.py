"""The README's ten lines run as they stand and print an epsilon."""

import os
import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_ten_lines_print_an_epsilon(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    exec(compile(code, str(README), "exec"), {})
    said = capsys.readouterr().out
    assert "Differential privacy for each example: epsilon = 3 at delta = 1e-05" in said
    assert "training step: 50 x Gaussian noise" in said


def test_the_ten_lines_end_in_silence():
    """In a process of their own, TensorFlow's own lines of its start apart."""
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stderr.splitlines()
    start = ("cuda", "cpu_feature_guard", "enable the following", "absl::Initialize")
    start += ("oneDNN", "onednn")
    assert [line for line in lines if not any(word in line for word in start)] == []


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", README.read_text()):
        assert (README.parent / target).exists(), target
