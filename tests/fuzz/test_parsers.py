"""Each parser takes some hundred inputs that are almost right; the long run is apart.

Inputs are the same each time, and a failing one is printed: `make fuzz` searches on.
"""

import json
import pickle

import engine
import numpy as np
import parsers
import pytest
import weight_targets
from target import Target

from tfpriv.support.files import parse_json

_COUNT = 100
_SLOW = {
    "tokenizer": 10,
    "config of a UNet": 10,
    "config of a VAE": 10,
    "config of a text encoder": 10,
    "protected picture": 30,
    "mark of a data set": 30,
}


def _count(name):
    return _SLOW.get(name.partition(":")[0], _COUNT)


@pytest.mark.parametrize("name", parsers.TARGETS)
def test_only_documented_errors(name):
    """The same inputs in every run: `make fuzz` is for new ones."""
    with engine.bounded_memory():
        found = engine.plain_run(parsers.TARGETS[name], _count(name), seed=0)
    assert not found, f"{name}: {found}"


@pytest.mark.parametrize("name", parsers.TARGETS)
def test_seeds_are_read(name):
    target = parsers.TARGETS[name]
    read = 0
    for seed in target.seeds():
        try:
            target.read(seed)
            read += 1
        except target.allowed:
            pass
    assert read, "no seed is taken: nothing behind the first check is fuzzed"


# --- What is planted must be found ---


def _on_a_byte(data):
    if b"\x80" in data:
        raise KeyError("planted")


def _on_a_kind(data):
    content = parse_json(data)
    if not isinstance(content, dict):
        raise ValueError("documented")
    len(content.get("a", ""))  # a number has no length


def _too_large(data):
    size = int(data.decode("ascii"))  # UnicodeDecodeError is a ValueError
    np.empty(min(max(size, 0), 1 << 40), np.uint8)


def _taken_silently(data):
    assert data == b"seed", "planted: damage is not noticed"


@pytest.mark.parametrize(
    ("read", "seed", "error"),
    [
        (_on_a_byte, b"0123456789", "KeyError"),
        (_on_a_kind, json.dumps({"a": "b"}).encode(), "TypeError"),
        (_too_large, b"12", "MemoryError"),
        (_taken_silently, b"seed", "AssertionError"),
    ],
)
def test_planted_faults_are_found(read, seed, error):
    target = Target("planted", lambda: [seed], read)
    with engine.bounded_memory():
        found = engine.plain_run(target, 1000, seed=0)
        again = [engine.described(engine.fault(target, d)) for d in found.values()]
    assert any(text.startswith(error) for text in found), found
    assert again == list(found)


def test_a_pickle_that_is_executed_is_found():
    command = weight_targets.COMMAND
    with pytest.raises(AssertionError, match=r"executed: .*os\.system"):
        weight_targets.WATCH.run(pickle.loads, command)
    with pytest.raises(ValueError, match="Nothing was executed"):
        parsers.TARGETS["pickle"].read(command)
