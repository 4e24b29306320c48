"""The experiment's folder: the same however often it was interrupted."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from tfpriv import faces
from tfpriv.accounting import Journal, Ledger, LedgerError
from tfpriv.inpainting import FaceNet, identity_classifier
from tfpriv.inpainting.experiment import generation, outputs
from tfpriv.inpainting.experiment.generation import generate_dataset
from tfpriv.inpainting.experiment.people import People
from tfpriv.inpainting.masks import private as private_masks
from tfpriv.inpainting.masks.kinds import Settings
from tfpriv.support import images

SIZE, PEOPLE, PICTURES = 32, 3, 5
SMALL = Settings(seen=80, epsilon=6.0, count=3)


@pytest.fixture
def dataset(tmp_path):
    return faces.write_dataset(tmp_path / "faces", PEOPLE, PICTURES, size=(44, 36))


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(3)
    return FaceNet(0.03)


def fill(images, masks, prompt="", steps=50, guidance_scale=7.5, seed=0):
    """Paints each picture with one value, its seed's."""
    return np.where(masks[..., None], np.uint8(seed % 200), images)


class Killed(BaseException):
    """What no `except` of a pipeline catches."""


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*.jpg")
        if not path.name.startswith(".")
    }


def test_the_testing_side_and_nothing_else(dataset, tmp_path):
    report = generate_dataset(dataset, tmp_path / "out", "random", fill, size=SIZE)
    assert report == (PEOPLE, 0, [])
    people = People.load(dataset)
    found = outputs.listed(tmp_path / "out")
    names = {f"{output.image}.jpg" for output in found}
    assert names == {people.celeba.names[row] for row in people.testing}
    for output in found:
        row = people.celeba.names.index(f"{output.image}.jpg")
        assert output.label == people.labels[row]
        one = outputs.read(output)
        assert one.mask.mean() == 0.75
        assert one.original.shape == (SIZE, SIZE, 3)
        # JPEG moves values a little.
        assert np.abs(one.result[~one.mask] * 1.0 - one.original[~one.mask]).mean() < 9


@pytest.mark.parametrize("kind", ["gradcam", "gradients", "landmarks", "whole_face"])
def test_every_mask(dataset, tmp_path, network, kind):
    report = generate_dataset(
        dataset,
        tmp_path / "out",
        kind,
        fill,
        network=network,
        classifier=identity_classifier(network, PEOPLE),
        size=SIZE,
        settings=SMALL,
        limit=1,
    )
    assert report == (1, 0, [])
    assert outputs.read(outputs.listed(tmp_path / "out")[0]).mask.any()


@pytest.mark.parametrize("killed_at", range(9))
def test_killed_and_started_again(dataset, tmp_path, monkeypatch, killed_at):
    """Before each of the nine files."""
    whole, out = tmp_path / "whole", tmp_path / "out"
    generate_dataset(dataset, whole, "random", fill, size=SIZE)
    save, saved = images.save, []

    def dying(path, picture):
        if len(saved) == killed_at:
            raise Killed
        save(path, picture)
        saved.append(path)

    with monkeypatch.context() as patch:
        patch.setattr(images, "save", dying)
        with pytest.raises(Killed):
            generate_dataset(dataset, out, "random", fill, size=SIZE)
    report = generate_dataset(dataset, out, "random", fill, size=SIZE)
    assert report.there == killed_at // 3
    assert report.done == PEOPLE - killed_at // 3
    assert contents(out) == contents(whole)


SLOWLY = """
import sys, time
from tfpriv.inpainting.experiment.generation import generate_dataset

def fill(images, masks, seed):
    time.sleep(0.2)
    return images // 2 * masks[..., None] + images * ~masks[..., None]

generate_dataset(sys.argv[1], sys.argv[2], "random", fill, size=32)
print("done")
"""


@pytest.mark.slow
def test_killed_by_the_system(tmp_path):
    """SIGKILL, again and again, until a run comes to its end."""
    data = faces.write_dataset(tmp_path / "faces", 6, 10, size=(44, 36))
    command = [sys.executable, "-c", SLOWLY, str(data)]
    subprocess.run([*command, str(tmp_path / "whole")], check=True)
    for _ in range(30):
        with subprocess.Popen([*command, str(tmp_path / "out")]) as process:
            before = len(contents(tmp_path / "out"))
            while process.poll() is None:
                if len(contents(tmp_path / "out")) > before + 6:
                    process.kill()
            if process.returncode == 0:
                break
    assert process.returncode == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_order_and_company_change_nothing(dataset, tmp_path):
    few, all_of_them = tmp_path / "few", tmp_path / "all"
    generate_dataset(dataset, few, "random", fill, size=SIZE, limit=1)
    generate_dataset(dataset, all_of_them, "random", fill, size=SIZE)
    few, all_of_them = contents(few), contents(all_of_them)
    assert len(few) == 3
    assert few.items() <= all_of_them.items()


def test_another_seed_is_another_experiment(dataset, tmp_path):
    generate_dataset(dataset, tmp_path / "one", "random", fill, size=SIZE)
    generate_dataset(dataset, tmp_path / "two", "random", fill, size=SIZE, seed=1)
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert {name for name in one if one[name] != two[name]} == {
        name for name in one if not name.startswith("original")
    }
    with pytest.raises(ValueError, match="seed differed"):
        generate_dataset(dataset, tmp_path / "one", "random", fill, size=SIZE, seed=1)
    (tmp_path / "one" / generation.RUN).unlink()
    with pytest.raises(FileExistsError, match="holds other files"):
        generate_dataset(dataset, tmp_path / "one", "random", fill, size=SIZE)


def test_a_data_set_without_pictures_to_test_with(tmp_path):
    folder = faces.write_dataset(tmp_path / "few", 3, 1, size=(44, 36))
    with pytest.raises(ValueError, match="3 pictures of 3 persons"):
        generate_dataset(folder, tmp_path / "out", "whole_face", fill, size=SIZE)
    assert not (tmp_path / "out").exists()


def test_bad_pictures_are_named_and_left_out(dataset, tmp_path):
    people = People.load(dataset)
    broken, gone, _ = people.paths(people.testing)
    broken.write_bytes(broken.read_bytes()[:200])
    gone.unlink()
    report = generate_dataset(dataset, tmp_path / "out", "random", fill, size=SIZE)
    assert report.done == 1
    assert [str(broken) in report.failures[0], str(gone) in report.failures[1]]
    assert len(outputs.listed(tmp_path / "out")) == 1


def test_an_inpainter_that_touches_the_rest_is_refused(dataset, tmp_path):
    def careless(images, masks, seed):
        return np.clip(images, 1, 200)

    with pytest.raises(ValueError, match="leave what is not covered"):
        generate_dataset(dataset, tmp_path / "out", "random", careless, size=SIZE)


# --- private masks: what is spent stands on the disk first ---


def private(dataset, output, network, inpainter=fill):
    return generate_dataset(
        dataset,
        output,
        "private",
        inpainter,
        network=network,
        size=SIZE,
        settings=SMALL,
    )


def events_on_disk(dataset, tmp_path):
    """What a crash at this moment would leave in the journal."""
    copy = tmp_path / "copy.journal"
    copy.write_bytes((dataset / generation.JOURNAL).read_bytes())
    with Journal(copy) as journal:
        return len(journal)


def test_private_masks_are_in_the_ledger(dataset, tmp_path, network):
    report = private(dataset, tmp_path / "out", network)
    assert report.done == PEOPLE
    ledger = Ledger.load(tmp_path / "out" / generation.LEDGER)
    assert len(ledger) == PEOPLE * SMALL.count
    assert ledger.epsilon(0) == pytest.approx(PEOPLE * SMALL.epsilon)
    assert ledger.releasable
    # Further masks of these pictures are added, wherever they are written.
    private(dataset, tmp_path / "more", network)
    ledger = Ledger.load(tmp_path / "more" / generation.LEDGER)
    assert ledger.epsilon(0) == pytest.approx(2 * PEOPLE * SMALL.epsilon)


def written_before_release(dataset, tmp_path, network):
    """Whether each picture's draws are on the disk when it is painted."""
    spent = []

    def looking(images, masks, **options):
        spent.append(events_on_disk(dataset, tmp_path))
        return fill(images, masks, **options)

    private(dataset, tmp_path / "looked", network, looking)
    return spent == [SMALL.count * (n + 1) for n in range(PEOPLE)]


def test_the_ledger_is_written_ahead(dataset, tmp_path, network):
    assert written_before_release(dataset, tmp_path, network)


def test_a_ledger_written_after_the_release_is_caught(
    dataset, tmp_path, network, monkeypatch
):
    """Planted: each picture's events are written with the next picture's."""
    spend, late = private_masks.recording.spend, []

    def afterwards(*args, **options):
        late.append((args, options))
        if len(late) > 1:
            args, options = late[-2]
            spend(*args, **options)

    monkeypatch.setattr(private_masks.recording, "spend", afterwards)
    assert not written_before_release(dataset, tmp_path, network)


def test_a_kill_leaves_what_was_spent_in_the_ledger(dataset, tmp_path, network):
    painted = []

    def dying(images, masks, **options):
        painted.append(1)
        if len(painted) == 2:
            raise Killed
        return fill(images, masks, **options)

    with pytest.raises(Killed):
        private(dataset, tmp_path / "out", network, dying)
    report = private(dataset, tmp_path / "out", network)
    assert (report.done, report.there) == (2, 1)
    # The second picture's mask was drawn twice.
    ledger = Ledger.load(tmp_path / "out" / generation.LEDGER)
    assert len(ledger) == (PEOPLE + 1) * SMALL.count


@pytest.mark.parametrize("file", range(3))
def test_the_ledger_beside_masks_never_says_less(
    dataset, tmp_path, network, monkeypatch, file
):
    """Killed in a second run, before each file of its first picture."""
    out, save, saved = tmp_path / "out", images.save, []

    def dying(path, picture):
        if len(saved) == file:
            raise Killed
        save(path, picture)
        saved.append(path)

    options = {"network": network, "size": SIZE, "settings": SMALL}
    generate_dataset(dataset, out, "private", fill, limit=1, **options)
    with monkeypatch.context() as patch:
        patch.setattr(images, "save", dying)
        with pytest.raises(Killed):
            generate_dataset(dataset, out, "private", fill, **options)
    assert len(Ledger.load(out / generation.LEDGER)) == 2 * SMALL.count
    report = generate_dataset(dataset, out, "private", fill, **options)
    assert (report.done, report.there) == (2, 1)


def test_a_lost_journal_does_not_shorten_the_ledger(dataset, tmp_path, network):
    private(dataset, tmp_path / "out", network)
    (dataset / generation.JOURNAL).unlink()
    with pytest.raises(LedgerError, match="says less than the ledger"):
        private(dataset, tmp_path / "out", network)
    ledger = Ledger.load(tmp_path / "out" / generation.LEDGER)
    assert len(ledger) == PEOPLE * SMALL.count


def test_what_lies_in_the_output_stays(dataset, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.html").write_text("mine")
    with pytest.raises(FileExistsError, match="holds other files"):
        generate_dataset(dataset, tmp_path / "out", "random", fill, size=SIZE)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    "bad",
    [{"limit": 0}, {"limit": -1}, {"seed": -1}, {"guidance_scale": float("nan")}],
)
def test_bad_numbers(dataset, tmp_path, bad):
    with pytest.raises(ValueError, match="Received: "):
        generate_dataset(dataset, tmp_path / "out", "random", fill, size=SIZE, **bad)
    assert not (tmp_path / "out").exists()


def test_who_made_the_masks_does_not_judge_them(dataset, tmp_path, network):
    from tfpriv.inpainting.experiment.evaluation import evaluate

    private(dataset, tmp_path / "out", network)
    classifier = identity_classifier(network, PEOPLE)
    made = json.loads((tmp_path / "out" / generation.RUN).read_text())["networks"]
    assert made == generation.digests(classifier)
    people = People.load(dataset)
    gallery = people.pictures(people.training, SIZE), people.labels[people.training]
    options = {"gallery": gallery, "obfuscators": {}}
    with pytest.raises(ValueError, match="made no mask"):
        evaluate(tmp_path / "out", classifier, recogniser=network, **options)
    found = evaluate(tmp_path / "out", classifier, recogniser=FaceNet(0.03), **options)
    assert found.row("repainted").rank_one.count == PEOPLE
