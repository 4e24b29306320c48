"""A little fuzzing with every test run; and a fuzzer that sees what it should."""

import json

import mutate
import numpy as np
import parsers
import pytest
import run

EACH = 40  # damaged files to a parser; `make fuzz` reads millions
SLOW = 3  # to those that build networks


@pytest.mark.parametrize("parser", parsers.parsers(), ids=lambda parser: parser.name)
def test_damage_is_answered_as_documented(parser, tmp_path):
    fuzzer = run.Fuzzer(parser, tmp_path, np.random.default_rng())
    slow = parser.name.startswith(("VAE", "tokenizer", "Keras"))
    for _ in range(SLOW if slow else EACH):
        content = fuzzer.once()
        assert content is None, f"{content!r}\n{fuzzer.count.failures[-1]}"


def _planted(read, change=mutate.damaged):
    def make(folder):
        (folder / "a.json").write_text('{"format": "x", "numbers": [1, 2, 3]}')
        return folder / "a.json"

    return parsers.Parser("planted", make, read, change=change)


def _careless(path):
    """Forgets that JSON may hold something else."""
    return json.loads(path.read_text())["numbers"][2]


def _gullible(path):
    """Takes damage for content."""
    text = path.read_bytes()
    assert text == b'{"format": "x", "numbers": [1, 2, 3]}' or b"x" not in text


@pytest.mark.parametrize("read", [_careless, _gullible])
def test_planted_faults_are_found(read, tmp_path):
    """Each is found by one input in ten or more: none in 500 has a chance of 1e-22."""
    fuzzer = run.Fuzzer(_planted(read), tmp_path, np.random.default_rng())
    found = [content for _ in range(500) if (content := fuzzer.once()) is not None]
    assert found
    assert len(fuzzer.count.failures) == len(found)
    assert f"| {len(found)} |" in run.table([fuzzer])


def test_a_good_file_that_is_refused_is_no_seed(tmp_path):
    def refuse(path):
        raise ValueError

    with pytest.raises(ValueError):
        run.Fuzzer(_planted(refuse), tmp_path, np.random.default_rng())


def test_checksums_are_right_after_a_change(tmp_path):
    """More of the forged files pass than of those that were only damaged."""
    passed = {}
    for parser in parsers.parsers()[:2]:
        folder = tmp_path / parser.name
        folder.mkdir()
        fuzzer = run.Fuzzer(parser, folder, np.random.default_rng())
        for _ in range(200):
            fuzzer.once()
        passed[parser.name] = fuzzer.count.runs - fuzzer.count.refused
    assert passed["ledger, checksum right"] > passed["ledger"]
