"""Figures of folders made by hand, which can be computed by hand."""

import json

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import read

from tfpriv.accounting import Ledger, mechanisms
from tfpriv.faces.reader import NUMBERS
from tfpriv.inpainting import recognition
from tfpriv.inpainting.experiment import (
    evaluation,
    outputs,
)
from tfpriv.inpainting.experiment import (
    report as evaluation_report,
)
from tfpriv.inpainting.experiment.evaluation import evaluate
from tfpriv.inpainting.recognition import Gallery

SIZE = 32
COLOURS = {"R": (255, 0, 0), "G": (0, 255, 0), "B": (0, 0, 255)}
# Person, colour of the original, colour of the result. Persons are red, green and blue;
# the third picture is not recognised.
TABLE = [(0, "R", "G"), (0, "R", "R"), (1, "R", "B"), (1, "G", "B"), (2, "B", "B")]


def plain(colour):
    return np.full((SIZE, SIZE, 3), COLOURS[colour], np.uint8)


def write_folder(folder, table=TABLE):
    covered = np.zeros((SIZE, SIZE), bool)
    covered[: SIZE // 4] = True
    for number, (person, before, after) in enumerate(table):
        files = outputs.place(folder, str(number), person)
        pictures = outputs.Pictures(plain(before), covered, plain(after))
        outputs.write(files, pictures)
    return folder


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "experiment")


@pytest.fixture(scope="module")
def classifier():
    """Names the person of the strongest colour."""
    inputs = keras.Input((160, 160, 3))
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))


@pytest.fixture(scope="module")
def reader():
    """Reads a smile where there is red; glasses and pose are always the same."""
    inputs = keras.Input((64, 64, 3))
    mean = keras.layers.GlobalAveragePooling2D()(inputs)
    layer = keras.layers.Dense(len(NUMBERS))
    model = keras.Model(inputs, layer(mean))
    kernel, bias = np.zeros((3, len(NUMBERS))), np.full(len(NUMBERS), 1.0)
    kernel[0, NUMBERS.index("smile")] = 1
    bias[NUMBERS.index("smile")] = -100
    layer.set_weights([kernel, bias])
    return model


class Eye:
    """A recogniser that sees the mean colour."""

    def embed(self, pictures):
        return pictures.mean((1, 2)).astype(np.float32)


GALLERY = np.stack([plain(colour) for colour in "RRGB"]), np.array([0, 0, 1, 2])


def blacken(images, masks, prompt="", steps=50, guidance_scale=7.5, seed=0):
    return np.where(masks[..., None], np.uint8(0), images)


def test_the_published_figures(folder, classifier):
    found = evaluate(folder, classifier, obfuscators={})
    assert (found.accuracy.value, found.accuracy.count) == (4 / 5, 5)
    assert (found.recognised, found.fooled) == (4, 2)
    assert found.row("repainted").fooled.value == 2 / 4
    assert found.row("original").fooled.value == 0
    assert found.covered.value == 1 / 4
    assert found.row("repainted").rank_one is None


def test_counting_the_unrecognised_would_show(folder, classifier, monkeypatch):
    """Planted: the third picture, never recognised, taken for one that was fooled."""
    monkeypatch.setattr(
        evaluation._Verdict,
        "_fooled",
        lambda self, said: said["person"] != self._labels,
    )
    found = evaluate(folder, classifier, obfuscators={})
    assert found.row("repainted").fooled.value == 3 / 5


def test_a_second_recogniser(folder, classifier):
    found = evaluate(
        folder,
        classifier,
        recogniser=Eye(),
        gallery=GALLERY,
        obfuscators={},
        false_accepts=0.1,  # one of ten strangers: the third original is like person 0
    )
    before, after = found.row("original"), found.row("repainted")
    assert found.strangers == 10
    assert found.stranger_similarity == pytest.approx(0.1, abs=0.01)
    for row, right in ((before, 4 / 5), (after, 2 / 5)):
        assert row.rank_one.value == right
        assert row.verified.value == right
        assert row.similarity.value == pytest.approx(right, abs=0.01)
        assert row.rank_one.count == 5
    # Each of three is accepted as one of two others; the third original is, too.
    assert after.mistaken.value == pytest.approx(3 / 10)
    assert before.mistaken.value == pytest.approx(1 / 10)
    assert before.linked.value == 4 / 5  # the third one looks like the first
    assert after.linked.value == 2 / 5


def test_who_is_not_in_the_gallery_is_not_looked_for(folder, classifier):
    pictures, labels = GALLERY
    found = evaluate(
        folder,
        classifier,
        recogniser=Eye(),
        gallery=(pictures[labels > 0], labels[labels > 0]),
        obfuscators={},
        false_accepts=0.5,
    )
    assert found.row("repainted").rank_one.count == 3
    assert found.row("repainted").linked.count == 5


def test_what_is_kept(folder, classifier, reader):
    def distance(one, other):
        return np.abs(one - other).mean((1, 2, 3))

    found = evaluate(
        folder,
        classifier,
        reader=reader,
        lpips=distance,
        obfuscators={"blackened": blacken},
    )
    before, after = found.row("original"), found.row("repainted")
    assert after.attributes["smile"].value == 3 / 5
    assert after.attributes["glasses"].value == 1
    assert after.kept.value == pytest.approx((3 / 5 + 1 + 1) / 3)
    assert before.kept.value == before.ssim.value == 1
    assert before.lpips.value == 0
    # Two of three channels differ, by 2, in 3 of 5 pictures.
    assert after.lpips.value == pytest.approx(3 / 5 * 4 / 3, abs=0.02)
    black = found.row("blackened")
    assert black.fooled.value == 0  # three quarters keep their colour
    assert 0 < black.ssim.value < 1
    # One channel, 2 where it was 1, on a quarter of the pixels.
    assert black.lpips.value == pytest.approx(2 / 3 / 4, abs=0.02)


def test_the_report(folder, classifier, reader, tmp_path):
    found = evaluate(
        folder, classifier, reader=reader, obfuscators={"blackened": blacken}
    )
    run = {"command": "tfpriv"}
    evaluation_report.write(tmp_path / "report", found, run, folder)
    figures = json.loads((tmp_path / "report" / "evaluation.json").read_text())
    assert figures["recognised"] == 4
    assert figures["rows"][1]["fooled"]["value"] == 0.5
    text = (tmp_path / "report" / "evaluation.md").read_text()
    assert "Recognised: 4 of 5 originals (80.0 (28.4 to 99.5) %)." in text
    assert "| repainted | 50.0 (6.8 to 93.2) |" in text
    assert "rank 1" not in text  # nobody was there to judge it
    assert (tmp_path / "report" / "evaluation.png").is_file()
    page = read(tmp_path / "report" / "report.html")
    assert "Shows originals" in page.words
    assert "Recognised: 4 of 5 originals (80.0 (28.4 to 99.5) %)." in page.words
    assert "This is no differential privacy" in page.words
    assert len(page.pictures) == 5 * 4  # original, mask, repainted, blackened
    mode = (tmp_path / "report" / "report.html").stat().st_mode
    assert mode & 0o077 == 0  # for its owner's eyes


def test_the_report_of_private_masks(folder, classifier, tmp_path):
    ledger = Ledger()
    ledger.record(mechanisms.pure(0.5), unit="face inside of a region", purpose="mask")
    experiment = write_folder(tmp_path / "private")
    ledger.save(experiment / "ledger.json")
    found = evaluate(experiment, classifier, obfuscators={})
    out = tmp_path / "report"
    evaluation_report.write(out, found, {"command": "tfpriv"}, experiment)
    page = read(out / "report.html")
    for said in (
        "each face inside of a region",
        "REPLACE_ONE",
        "epsilon = 0.5 at delta = 0",
        "rdp: Renyi divergences",
        "what lies outside of the public region",
    ):
        assert said in page.words


def test_nobody_recognised_is_no_figure(tmp_path, classifier):
    folder = write_folder(tmp_path, [(1, "R", "R"), (2, "R", "G")])
    found = evaluate(folder, classifier, obfuscators={})
    assert np.isnan(found.row("repainted").fooled.value)
    assert "| repainted | - |" in evaluation_report.table(found)


def test_wrong_arguments(folder, classifier, tmp_path):
    other = write_folder(tmp_path / "other", [(7, "R", "R")])
    with pytest.raises(ValueError, match=r"knows 3 persons\. Received: label 7"):
        evaluate(other, classifier)
    with pytest.raises(ValueError, match="go together"):
        evaluate(folder, classifier, recogniser=Eye())


# --- recognition, with loops ---


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.sampled_from([0, 0.05, 0.3, 0.99]))
def test_thresholds_let_in_no_more_than_allowed(seed, allowed):
    random = np.random.default_rng(seed)
    similarities = random.choice(np.linspace(-1, 1, 9), random.integers(1, 60))
    limit = recognition.threshold(similarities, allowed)
    assert (similarities > limit).mean() <= allowed + 1e-12
    lower = similarities[similarities < limit]
    if len(lower):  # any lower one lets in too many
        assert (similarities > lower.max()).mean() > allowed


def test_galleries_against_loops(rng):
    labels = np.array([5, 2, 5, 9, 2])
    embeddings, probes = rng.normal(size=(5, 4)), rng.normal(size=(3, 4))
    gallery = Gallery.of(embeddings, labels)
    found = gallery.similarities(probes)
    for i, probe in enumerate(probes):
        for column, person in enumerate([2, 5, 9]):
            mean = sum(e / np.linalg.norm(e) for e in embeddings[labels == person])
            cosine = probe @ mean / np.linalg.norm(probe) / np.linalg.norm(mean)
            assert found[i, column] == pytest.approx(cosine)
    columns = gallery.columns(np.array([9, 2, 5]))
    assert recognition.own(found, columns).tolist() == [
        found[0, 2],
        found[1, 0],
        found[2, 1],
    ]
    assert sorted(recognition.strangers(found, columns)) == sorted(
        [*found[0, :2], *found[1, 1:], found[2, 0], found[2, 2]]
    )
    assert gallery.known([2, 3]).tolist() == [True, False]


def test_galleries_of_one_person():
    with pytest.raises(ValueError, match="a gallery of 1"):
        Gallery.of(np.ones((2, 3)), [4, 4])
