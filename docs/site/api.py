"""The pages of the API: each room's public names, found without importing anything."""

import ast
from pathlib import Path

# Modules of a package without `__all__` that only its commands need.
_COMMANDS = {"__init__", "arguments", "cli", "demo", "jobs", "report", "training_cli"}
ROOMS = (
    "accounting",
    "audit",
    "captioning",
    "dp",
    "editing",
    "faces",
    "inpainting",
    "networks.diffusion",
    "networks.facenet",
    "networks.perception",
    "networks.pretrained",
    "networks.stylegan",
    "ops",
    "shuffling",
    "shuffling.layers",
    "support.images",
    "support.report",
)


def pages(root: Path) -> dict[str, str]:
    """A page for each room, in Markdown for mkdocstrings.

    Args:
        root: the folder in which `tfpriv` lies.

    Returns:
        Texts, by the rooms' names.
    """
    return {room: _page(root, f"tfpriv.{room}") for room in ROOMS}


def _page(root, module):
    title = f"# {module}"
    if not _folder(root, module).is_dir():
        return (
            f"{title}\n\n::: {module}\n    options:\n      show_root_heading: false\n"
        )
    described = ast.get_docstring(_tree(root, module))
    others = [f"tfpriv.{r}" for r in ROOMS if not module.startswith(f"tfpriv.{r}")]
    on_others = {name for other in others for name in names(root, other)}
    entries = [
        f"See [`{name.rpartition('.')[2]}`][{name}]."
        if name in on_others and not name.startswith(f"{module}.")
        else f"::: {name}"
        for name in names(root, module)
    ]
    return "\n\n".join([title, described, *entries]) + "\n"


def names(root: Path, module: str) -> list[str]:
    """What a room offers.

    Args:
        root: as for `pages`.
        module: dotted name of the room, a package or a module.

    Returns:
        Where each of its public names is defined; if it names none, its modules;
        of a module, itself.
    """
    if not _folder(root, module).is_dir():
        return [module]
    if offered := _offered(root, module):
        ordered = sorted(offered, key=str.lower)
        return [_defined(root, offered[name], name) for name in ordered]
    files = sorted(_folder(root, module).glob("*.py"))
    return [f"{module}.{f.stem}" for f in files if f.stem not in _COMMANDS]


def _defined(root, module, name):
    """Follows a name to the module that defines it."""
    if _folder(root, module).is_dir():
        source = _offered(root, module).get(name, module)
        if source != module:
            return _defined(root, source, name)
    return f"{module}.{name}"


def _offered(root, module) -> dict[str, str]:
    """The names in `__all__`, and the modules that they are imported from."""
    sources, names = {}, set()
    for node in _tree(root, module).body:
        if isinstance(node, ast.ImportFrom):
            sources |= {alias.name: node.module for alias in node.names}
        elif isinstance(node, ast.Assign) and node.targets[0].id == "_MODULES":
            lazy = ast.literal_eval(node.value)
            sources |= {name: _full_name(module, part) for name, part in lazy.items()}
            names |= set(lazy)
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.List):
            names |= set(ast.literal_eval(node.value))  # __all__
    return {name: sources.get(name, module) for name in names}


def _full_name(package, module):
    """A module as a table of lazy names has it: of the package, or by its full name."""
    return module if module.startswith("tfpriv.") else f"{package}.{module}"


def _folder(root, module) -> Path:
    return root.joinpath(*module.split("."))


def _tree(root, module) -> ast.Module:
    return ast.parse((_folder(root, module) / "__init__.py").read_text("utf-8"))
