"""The house's one rule: imports point downwards, and the top is light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "tfpriv"
SYSTEMS = {"captioning", "shuffling", "editing", "inpainting"}
REPORT = {"report"}
MIDDLE = {"audit", "dp", "faces", "layers", "perception", "training"}
BOTTOM = {
    "accounting",
    "images",
    "models",
    "ops",
    "pretrained",
    "randomness",
    "settings",
    "terminal",
    "weights",
}
FLOOR = {"checkpoints", "decoding", "files", "lazy", "tables", "tracing", "warning"}
COMMAND_LINE = {"__main__", "cli", "demo", "info"}
# Who may import whom, besides itself.
ALLOWED = {
    **dict.fromkeys(
        COMMAND_LINE, COMMAND_LINE | SYSTEMS | MIDDLE | REPORT | BOTTOM | FLOOR
    ),
    **dict.fromkeys(SYSTEMS, MIDDLE | REPORT | BOTTOM | FLOOR),
    **dict.fromkeys(MIDDLE, REPORT | BOTTOM | FLOOR),
    **dict.fromkeys(REPORT, BOTTOM | FLOOR),
    **dict.fromkeys(BOTTOM, FLOOR),
    **{part: set() for part in FLOOR},
    # Who audits private training runs it; training knows nothing of its auditor.
    "audit": {"dp"} | BOTTOM | FLOOR,
    # Who reads faces is trained, as others are.
    "faces": {"training"} | REPORT | BOTTOM | FLOOR,
    "__init__": set(),
}
NO_TENSORFLOW = {"accounting", "report", "__init__", "cli"}
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
        ("tfpriv.captioning.model", "from tfpriv.editing import stylegan"),
        ("tfpriv.ops.noise", "from tfpriv.dp import optimizers"),
        ("tfpriv.accounting.ledger", "import tensorflow as tf"),
        ("tfpriv.accounting.ledger", "from keras import ops"),
        ("tfpriv.accounting.ledger", "from tfpriv.ops import loader"),
        ("tfpriv.captioning.__init__", "from ..editing import stylegan"),
        ("tfpriv.__init__", "import tfpriv.dp"),
    ],
)
def test_a_planted_import_is_caught(module, source):
    assert violations(source, module)


def test_an_import_downwards_passes():
    source = (
        "import tfpriv\nfrom tfpriv import dp, images\nfrom ..accounting import Ledger"
    )
    assert not violations(source, "tfpriv.captioning.model")


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
