"""Imports point downwards, without circles, and the top is light."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "tfpriv"
COMMAND_LINE = {"__main__", "cli", "demo", "info"}
# From the bottom to the top. A package imports itself and the floors below it.
FLOORS = [
    {"support"},
    {"accounting", "ops"},
    {"dp", "networks"},
    {"audit", "faces"},
    {"captioning", "shuffling", "editing", "inpainting"},
    COMMAND_LINE,
]
ALLOWED = {
    part: set().union(*FLOORS[:number])
    for number, floor in enumerate(FLOORS)
    for part in floor
}
ALLOWED |= {part: ALLOWED[part] | COMMAND_LINE for part in COMMAND_LINE}
ALLOWED["__init__"] = {"support"}
# Modules, each of which imports the next when it is imported. It may not grow; 12 are
# wanted (docs/decisions.md, "Layout").
LONGEST_CHAIN = 22
NO_TENSORFLOW = {"accounting", "__init__", "cli"}
TENSORFLOW = {"tensorflow", "keras", "keras_hub", "tf_keras", "tensorflow_text"}


def part_of(module: str) -> str:
    """The part of the house that a dotted module of tfpriv belongs to."""
    return module.split(".")[1] if "." in module else "__init__"


def imported_modules(source: str, module: str):
    """Yields the absolute names that a module's source imports, wherever it does."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")[: -node.level]
                base = ".".join([*parents, base]).rstrip(".")
            # `from tfpriv import dp` names a module after the keyword.
            yield from (f"{base}.{alias.name}" for alias in node.names)


def violations(source: str, module: str) -> list[str]:
    """What a module imports although it may not."""
    part = part_of(module)
    found = []
    for name in imported_modules(source, module):
        top, *rest = name.split(".")
        if top == "tfpriv" and rest:
            other = rest[0]
            known = other in ALLOWED
            if known and other != part and other not in ALLOWED[part]:
                found.append(f"{module} imports {name}")
        elif top in TENSORFLOW and part in NO_TENSORFLOW:
            found.append(f"{module} imports {name}")
    return found


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(parts), path


def test_imports_point_downwards():
    wrong = []
    for module, path in modules():
        assert part_of(module) in ALLOWED, (
            f"{path}: give it a place in this test's table"
        )
        wrong += violations(path.read_text(), module)
    assert not wrong


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("tfpriv.dp.noise", "from tfpriv.captioning import data"),
        ("tfpriv.dp.noise", "import tfpriv.captioning.data"),
        ("tfpriv.dp.noise", "from tfpriv import captioning"),
        ("tfpriv.dp.noise", "from ..captioning import data"),
        ("tfpriv.dp.noise", "def late():\n    from tfpriv.cli import main"),
        ("tfpriv.captioning.model", "from tfpriv.editing import inversion"),
        ("tfpriv.ops.noise", "from tfpriv.dp import optimizers"),
        ("tfpriv.accounting.ledger", "import tensorflow as tf"),
        ("tfpriv.accounting.ledger", "from keras import ops"),
        ("tfpriv.accounting.ledger", "from tfpriv.ops import loader"),
        ("tfpriv.captioning.__init__", "from ..editing import inversion"),
        ("tfpriv.support.report", "from tfpriv.accounting import Ledger"),
        ("tfpriv.networks.facenet", "from tfpriv.faces import alignment"),
        ("tfpriv.__init__", "import tfpriv.dp"),
    ],
)
def test_a_planted_import_is_caught(module, source):
    assert violations(source, module)


def test_an_import_downwards_passes():
    source = (
        "import tfpriv\nfrom tfpriv import dp, support\nfrom ..accounting import Ledger"
    )
    assert not violations(source, "tfpriv.captioning.model")


def imported_at_once(source: str, module: str, known: set[str]) -> set[str]:
    """The modules of tfpriv that are imported when this one is."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [ast.Pass()]
    names = imported_modules(ast.unparse(tree), module)
    found = {n if n in known else n.rpartition(".")[0] for n in names}
    return (found & known) - {module}


def graph() -> dict[str, set[str]]:
    """Which module imports which."""
    sources = {m.removesuffix(".__init__"): (m, p.read_text()) for m, p in modules()}
    return {
        name: imported_at_once(source, module, set(sources))
        for name, (module, source) in sources.items()
    }


def longest_chain(imports: dict[str, set[str]]) -> list[str]:
    """The longest list of modules that import each other; raises for a circle."""
    chains: dict[str, list[str]] = {}
    for module in graphlib.TopologicalSorter(imports).static_order():
        below = (chains[name] for name in imports[module])
        chains[module] = [module, *max(below, key=len, default=[])]
    return max(chains.values(), key=len)


def test_imports_have_no_circles_and_short_chains():
    chain = longest_chain(graph())
    assert len(chain) <= LONGEST_CHAIN, " -> ".join(chain)


def test_planted_circle_and_long_chain_are_caught():
    chain = {str(n): {str(n + 1)} for n in range(LONGEST_CHAIN)}
    end = {str(LONGEST_CHAIN): set()}
    assert len(longest_chain(chain | end)) == LONGEST_CHAIN + 1
    with pytest.raises(graphlib.CycleError):
        longest_chain(chain | {str(LONGEST_CHAIN): {"0"}})


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import tfpriv", {"numpy", "dp_accounting", *TENSORFLOW}),
        ("import tfpriv.accounting", TENSORFLOW),
        (
            "from tfpriv import cli; assert cli.main(['--help']) == 0",
            {"numpy", *TENSORFLOW},
        ),
        (
            "from tfpriv import cli; assert cli.main(['budget', '--help']) == 0",
            TENSORFLOW,
        ),
        (
            "from tfpriv import cli; assert cli.main(['inpaint', '--help']) == 0",
            {"numpy", *TENSORFLOW},
        ),
    ],
)
def test_the_top_is_light(statement, absent):
    code = f"{statement}\nimport sys\nprint(sorted({absent!r} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "[]"
