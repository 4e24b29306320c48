"""Old module paths work until 1.0, with a warning that names the new path."""

import importlib
import subprocess
import sys
import warnings

import pytest

from tfpriv.accounting import Ledger
from tfpriv.dp import per_example
from tfpriv.dp.sampling import Sampler
from tfpriv.support import moved


@pytest.mark.parametrize("old", sorted(moved.MOVED))
def test_every_old_path_gives_the_module_of_the_new_one(old):
    if old == "tfpriv.inpainting.beam":
        pytest.importorskip("apache_beam")
    sys.modules.pop(old, None)
    new = moved.new_path(old)
    with pytest.warns(DeprecationWarning, match=f"`{old}` moved to `{new}`"):
        module = importlib.import_module(old)
    assert module is importlib.import_module(new)


def test_old_paths_are_gone_from_the_package():
    present = [old for old in moved.MOVED if _exists(old)]
    assert not present


def _exists(path):
    for finder in sys.meta_path:
        if isinstance(finder, moved.MovedModules):
            continue
        parent = importlib.import_module(path.rpartition(".")[0])
        if finder.find_spec(path, parent.__path__):
            return True
    return False


def test_modules_of_a_moved_package_follow_it():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old = importlib.import_module("tfpriv.layers.keyed")
    new = importlib.import_module("tfpriv.shuffling.layers.keyed")
    assert old.KeyedConv2D is new.KeyedConv2D


@pytest.mark.parametrize(
    "statement",
    [
        "import tfpriv.images",
        "from tfpriv import images",
        "from tfpriv.images import load",
    ],
)
def test_every_way_to_import_warns_at_the_line_of_the_import(statement):
    result = subprocess.run(
        [sys.executable, "-W", "always::DeprecationWarning", "-c", statement],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "<string>:1: DeprecationWarning: `tfpriv.images` moved" in result.stderr


def test_paths_that_never_existed_are_not_found():
    with pytest.raises(ModuleNotFoundError, match=r"tfpriv\.nowhere"):
        importlib.import_module("tfpriv.nowhere")


def test_renamed_attributes_give_the_new_ones():
    ledger = Ledger()
    with pytest.warns(DeprecationWarning, match="`Ledger.caution` is called `add_warn"):
        ledger.caution("Chosen by exact figures.")
    with pytest.warns(DeprecationWarning, match="recorded_warnings"):
        assert ledger.recorded_cautions == ledger.recorded_warnings
    with pytest.warns(DeprecationWarning, match="includes"):
        assert ledger.covers(Ledger())


def test_rules_may_use_the_old_names_of_gradients():
    with pytest.warns(DeprecationWarning, match=r"per_example\.Outer` is called `LowR"):
        assert per_example.Outer is per_example.LowRank
    with pytest.raises(AttributeError, match="Inner"):
        _ = per_example.Inner


def test_samplers_with_the_old_name_of_the_batch_size_are_refused():
    with pytest.raises(TypeError, match="called `expected_batch_size`"):
        type("Own", (Sampler,), {"divisor": 5.0})
