"""The demo in small: it ends with a printed epsilon, captions, a picture and a page."""

import pytest

from tfpriv import images
from tfpriv.captioning import demo, store
from tfpriv.captioning.train import Protection, Recipe


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(demo, "UNSEEN", 12)
    monkeypatch.setattr(demo, "SHOWN", 4)
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
    page = (tmp_path / "out" / "report.html").read_text()
    assert "data:image/png;base64," in page
    assert "picture with all its captions" in page
    model = store.load_captioner(old)
    assert model.privacy.epsilon(1e-5) == pytest.approx(result["epsilon"])
