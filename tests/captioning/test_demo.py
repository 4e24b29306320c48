"""The demo in small: it ends with a printed epsilon, captions, a picture and a page."""

import pytest
from reading import read

from tfpriv.captioning import demo, report, store
from tfpriv.captioning.train import Protection, Recipe
from tfpriv.support import images

CLAIM = (
    "each picture with all its captions",
    "ADD_OR_REMOVE_ONE",
    "at delta = 1e-05",
    "rdp: Renyi divergences",
    "Whoever sees the weights",
    "Not protected is",
    "training loss, metrics, gradient norms",
)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(demo, "UNSEEN", 12)
    monkeypatch.setattr(report, "SHOWN", 4)
    return {
        "pictures": 24,
        "recipe": Recipe(
            epochs=1, batch_size=12, freeze_encoder=True, captions_per_picture=1
        ),
        "protection": Protection(epsilon=3.0),
    }


def test_the_demo_replaces_an_earlier_one(tmp_path, capsys, small):
    old = tmp_path / "out" / "run"
    old.mkdir(parents=True)
    (old / store.MODEL).write_text("an earlier model")
    (tmp_path / "out" / "report.html").write_text("an earlier report")
    result = demo.run(tmp_path / "out", **small)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith(f"epsilon = {result['epsilon']:.3g} at delta")
    assert sum(line.startswith("  - ") for line in lines) == 5
    assert 2 < result["epsilon"] <= 3
    assert images.load(tmp_path / "out" / "captions.png").shape[2] == 3
    page = read(tmp_path / "out" / "report.html")
    assert len(page.pictures) == 4
    for said in CLAIM:
        assert said in page.words
    assert "Captions learned with epsilon" in page.words
    model = store.load_captioner(old)
    assert model.privacy.epsilon(1e-5) == pytest.approx(result["epsilon"])


def test_what_else_lies_beside_an_earlier_run_is_kept_with_it(tmp_path, small):
    old = tmp_path / "run"
    old.mkdir()
    for name in (store.MODEL, "notes.txt"):
        (old / name).write_text("earlier")
    with pytest.raises(FileExistsError, match=r"notes\.txt"):
        demo.run(tmp_path, **small)
    assert sorted(path.name for path in old.iterdir()) == [store.MODEL, "notes.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]  # before the work


def test_an_earlier_run_stays_if_the_new_one_cannot_be_written(tmp_path, monkeypatch):
    old = tmp_path / "run"
    old.mkdir()
    (old / store.MODEL).write_text("earlier")

    def full(*args):
        raise OSError("disk full")

    monkeypatch.setattr(store, "save_run", full)
    with pytest.raises(OSError, match="disk full"):
        demo._keep_run(old, None, {})
    assert (old / store.MODEL).read_text() == "earlier"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
