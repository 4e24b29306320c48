"""The site: every public name has a page, and links that work here work there."""

import importlib
import json
from pathlib import Path

import api
import notebook_pages
import pytest
import stage

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("room", api.ROOMS)
def test_every_public_name_is_on_the_page_of_its_room(room):
    module = importlib.import_module(f"tfpriv.{room}")
    if not hasattr(module, "__path__"):
        assert f"::: tfpriv.{room}\n" in api.pages(ROOT)[room]
        return
    names = api.names(ROOT, f"tfpriv.{room}")
    offered = getattr(module, "__all__", None)
    if offered is None:
        assert names
        assert all(importlib.import_module(name) for name in names)
        return
    assert {name.rpartition(".")[2] for name in names} == set(offered)
    for name in names:
        where, _, last = name.rpartition(".")
        if (ROOT / f"{name.replace('.', '/')}.py").exists():
            importlib.import_module(name)  # a module, which is public as a whole
            continue
        home = importlib.import_module(where)
        assert last in vars(home), f"{name} is not where the page says"
        assert getattr(home, last) is getattr(module, last)


def test_every_room_has_a_page_in_the_navigation():
    folders = (path.parent.name for path in (ROOT / "tfpriv").glob("*/__init__.py"))
    assert set(folders) == {room.partition(".")[0] for room in api.ROOMS}
    navigation = (ROOT / "mkdocs.yml").read_text()
    for room in api.ROOMS:
        assert f"- {room}: api/{room}.md\n" in navigation


def test_a_notebook_becomes_a_page(tmp_path):
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "text"]},
        {
            "cell_type": "code",
            "source": ["print('```')"],
            "outputs": [
                {"output_type": "stream", "text": ["```\n", "<b>\n"]},
                {"output_type": "stream", "text": ["\x1b[31mcolours"]},
                {"data": {"image/png": "QUJD\n", "text/plain": ["<Image>"]}},
                {"data": {"text/plain": ["42"]}},
            ],
        },
        {"cell_type": "code", "source": [], "outputs": []},
    ]
    path = tmp_path / "n.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    assert notebook_pages.page(path) == (
        "# Title\ntext\n\n"
        "````python\nprint('```')\n````\n\n"
        "````text\n```\n<b>\n````\n\n"
        "![what the cell above drew](data:image/png;base64,QUJD)\n\n"
        "```text\n42\n```\n"
    )


def test_pages_lie_as_in_the_repository(tmp_path, monkeypatch):
    home = tmp_path / "repository"
    for name, text in {
        "README.md": "[a](docs/a.md#top) [n](notebooks/n.ipynb) ![p](docs/p.png)",
        "docs/a.md": "[code](../tfpriv/x.py) [gone](gone.md) [web](https://x.org/y.png)",
        "docs/p.png": "picture",
        "tfpriv/x.py": "code",
        "notebooks/n.ipynb": '{"cells": []}',
    }.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(stage, "ROOT", home)
    monkeypatch.setattr(api, "ROOMS", ())
    target = tmp_path / "site"
    target.mkdir()
    (target / "old.md").write_text("of an earlier build")
    stage.stage(target)
    found = {str(p.relative_to(target)) for p in target.rglob("*") if p.is_file()}
    names = {"README.md", "docs/a.md", "docs/p.png", "tfpriv/x.py", "notebooks/n.md"}
    assert found == names
    text = (target / "README.md").read_text()
    assert text == "[a](docs/a.md#top) [n](notebooks/n.md) ![p](docs/p.png)"
    # What is not there is left for the strict build to find.
    assert "[gone](gone.md)" in (target / "docs" / "a.md").read_text()
