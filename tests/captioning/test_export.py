"""A SavedModel that captions pictures with TensorFlow alone."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tfpriv.accounting import Ledger, mechanisms
from tfpriv.captioning import decode, export
from tfpriv.captioning.train import UNIT
from tfpriv.support import images

SCRIPT = """
import sys
import tensorflow as tf
pictures = tf.stack([tf.io.decode_image(open(p, "rb").read()) for p in sys.argv[2:]])
loaded = tf.saved_model.load(sys.argv[1])
rows = loaded.serve(pictures).numpy()
single = [loaded.caption_file(open(p, "rb").read()).numpy()[0] for p in sys.argv[2:]]
assert list(rows) == single, (rows, single)
signature = loaded.signatures["serving_default"]
(served,) = signature(image=pictures).values()
assert list(served.numpy()) == single
assert not any(m.split(".")[0] in ("tfpriv", "keras_hub") for m in sys.modules)
print("\\n".join(r.decode() for r in rows))
"""


@pytest.fixture
def ledger():
    ledger = Ledger()
    ledger.record(mechanisms.poisson(0.1, 1.0), unit=UNIT, purpose="test", count=3)
    return ledger


@pytest.mark.parametrize(("decoder", "beams"), [("transformer", 3), ("gru", 1)])
def test_the_same_captions_without_tfpriv(
    build_captioner, tmp_path, ledger, decoder, beams
):
    model = build_captioner(decoder)
    pictures = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype="uint8")
    files = [tmp_path / f"{i}.png" for i in range(3)]
    for file, picture in zip(files, pictures, strict=True):
        images.save(file, picture)
    export.export(model, tmp_path / "out", ledger=ledger, beams=beams)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path / "out", *files],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    expected = decode.caption_pictures(model, pictures, beams=beams)
    assert done.stdout.splitlines() == expected
    extra = tmp_path / "out" / "assets.extra"
    assert Ledger.load(extra / "privacy_ledger.json") == ledger
    statement = json.loads((extra / "privacy_statement.json").read_text())
    assert UNIT in json.dumps(statement)
    with pytest.raises(FileExistsError, match="exists already"):
        export.export(model, tmp_path / "out", ledger=ledger)


@pytest.mark.parametrize("shape", [(48, 48), (60, 100), (101, 40), (20, 16), (9, 12)])
def test_the_graph_cuts_and_scales_as_the_door_does(tmp_path, shape):
    """Pillow and TensorFlow round differently; half a pixel of shift would show."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    picture = np.stack([x * 2, y * 2, x + y], axis=-1).astype("uint8")
    images.save(tmp_path / "a.png", picture)
    ours = images.load(tmp_path / "a.png", 16).astype(int)
    theirs = export.to_model_size(picture[None], 16).numpy()[0].astype(int)
    steps = max(1, min(shape) // 16) * 2
    assert np.abs(ours - theirs).max() <= steps


def test_words_are_joined_like_the_tokenizer_does(build_captioner):
    model = build_captioner()
    rows = np.random.default_rng(0).integers(0, 20, (50, 7))
    words = tf.constant(model.tokenizer.vocabulary)
    # Padding is said only after the end; before it, it would leave a double blank.
    rows[rows == 0] = 5
    rows[rows == 1] = 6
    found = [t.decode() for t in export.join_words(rows, words).numpy()]
    assert found == model.tokenizer.decode(rows)


def test_word_pieces_are_joined():
    words = tf.constant(["[PAD]", "[START]", "[END]", "[UNK]", "cat", "##s", "two"])
    rows = tf.constant([[6, 4, 5, 2, 4, 0], [4, 2, 0, 0, 0, 0], [2, 0, 0, 0, 0, 0]])
    texts = [t.decode() for t in export.join_words(rows, words).numpy()]
    assert texts == ["two cats", "cat", ""]
