"""`tfpriv edit` from drawn faces to their releases, file by file."""

import os
import shutil
import stat

import keras
import numpy as np
import pytest
import skimage
from reading import read

from tfpriv import cli, editing
from tfpriv.accounting import Ledger
from tfpriv.editing import Boundary, StyleGAN, jobs, save_generator
from tfpriv.support import checkpoints, images


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A generator of 16 pixels, two boundaries, and pictures that it drew."""
    home = tmp_path_factory.mktemp("edit")
    generator = StyleGAN(16, 8, channels=(8, 8, 8))
    save_generator(generator, home / "generator.safetensors")
    for i, name in enumerate(("age", "smile")):
        boundary = Boundary(np.eye(8)[i], name, generator=generator.fingerprint)
        boundary.save(home / f"{name}.npz")
    z = np.random.default_rng(0).normal(size=(3, 8)).astype("float32")
    drawn = images.to_uint8(generator.generate(np.asarray(generator.mapping(z))))
    (home / "faces").mkdir()
    for i, picture in enumerate(drawn):
        images.save(home / "faces" / f"{i}.png", picture)
    return home


@pytest.fixture
def run(home, monkeypatch, capsys):
    monkeypatch.chdir(home)

    def run(*words):
        code = cli.main(["edit", *map(str, words)])
        return (code, *capsys.readouterr())

    return run


INVERT = ("--generator", "generator.safetensors", "--aligned", "--steps", 20)
PRIVATIZE = ("--generator", "generator.safetensors", "--boundary", "age.npz")
PRIVATIZE += ("--clip", 2, "--epsilon", 1, "--delta", "1e-5")
STUDY = ("study", "--boundary", "age.npz", "--clip", 2)
EXPORT = ("export", "--boundary", "age.npz", "--clip", 2, "--epsilon", 1)


@pytest.fixture
def latents(home, tmp_path):
    """Latents of three faces, each time in a new folder."""
    folder = tmp_path / "latents"
    folder.mkdir()
    for i in range(3):
        np.save(folder / f"{i}.npy", np.full((1, 8), 0.1 * i, "float32"))
    return folder


def test_faces_are_inverted_once(run, home, tmp_path):
    (home / "faces" / "9.png").write_bytes(b"no picture")
    code, out, err = run("invert", "faces", *INVERT, "--output", tmp_path / "out")
    assert code == 1
    assert "Faces inverted: 3" in out
    assert "left out: " in err
    assert "9.png" in err
    for i in range(3):
        path = tmp_path / "out" / f"{i}.npy"
        assert np.load(path).shape == (1, 8)
        for private in (path, path.with_suffix(".png")):
            assert stat.S_IMODE(os.stat(private).st_mode) == 0o600
        assert images.load(path.with_suffix(".png")).shape == (16, 16, 3)
    before = path.stat().st_mtime_ns
    code, out, err = run("invert", "faces", *INVERT, "--output", tmp_path / "out")
    assert "There already: 3" in out
    assert path.stat().st_mtime_ns == before
    (home / "faces" / "9.png").unlink()


def test_a_photograph_goes_the_whole_way(run, tmp_path):
    """Detection, alignment, inversion and release."""
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    images.save(photographs / "astronaut.png", skimage.data.astronaut())
    (photographs / "folder.png").mkdir()
    invert = [word for word in INVERT if word != "--aligned"]
    code, out, _err = run("invert", photographs, *invert, "--output", tmp_path / "w")
    assert code == 0
    assert "Faces inverted: 1" in out
    code, out, _err = run(
        *("privatize", tmp_path / "w", *PRIVATIZE, "--output", tmp_path / "released")
    )
    assert code == 0
    (released,) = (tmp_path / "released").glob("*.png")
    assert released.stem == "astronaut"
    assert images.load(released).shape == (16, 16, 3)


def test_an_encoder_guesses_the_start(run, tmp_path):
    code, out, _err = run(
        *("train-encoder", "--generator", "generator.safetensors"),
        *("--steps", 2, "--output", tmp_path / "encoder.keras"),
    )
    assert (code, "Written: " in out) == (0, True)
    assert "Protected is Nothing" in read(tmp_path / "encoder.html").words
    how = ("--encoder", tmp_path / "encoder.keras", "--output", tmp_path / "out")
    code, out, _err = run("invert", "faces", *INVERT[:-1], 1, *how)
    assert (code, "Faces inverted: 3" in out) == (0, True)
    # One step of Adam at 0.01 from the guess moves each number by 0.01 at most.
    model = keras.saving.load_model(tmp_path / "encoder.keras")
    pictures = images.to_signed(images.load_many(["faces/0.png"], 16))
    guess = editing.encode(model, pictures)
    assert np.abs(np.load(tmp_path / "out" / "0.npy") - guess).max() < 0.011


def test_embedded_files_go_by_their_names(run, home, latents, tmp_path, monkeypatch):
    """Without `--generator`, and with a name for a boundary."""
    (tmp_path / "faces").mkdir()
    generator = editing.load_generator(home / "generator.safetensors")
    save_generator(generator, tmp_path / "faces" / "generator.keras")
    shutil.copy(home / "age.npz", tmp_path / "faces" / "age.npz")
    monkeypatch.setattr(checkpoints, "_PLACES", (tmp_path,))
    how = (*PRIVATIZE[PRIVATIZE.index("--clip") :], "--output", tmp_path / "a")
    code, out, _err = run("privatize", latents, "--boundary", "age", *how)
    assert (code, "Faces released: 3" in out) == (0, True)
    code, _out, err = run("privatize", latents, "--boundary", "hair", *how)
    assert code == 2
    assert "The embedded weights are age.npz. Received" in err


def test_a_photograph_without_a_face_is_left_out(run, home, tmp_path):
    options = [word for word in INVERT if word != "--aligned"]
    code, _out, err = run("invert", "faces/0.png", *options, "--output", tmp_path / "o")
    assert code == 1
    assert "No face was found in the picture. Received: faces/0.png" in err
    assert not list((tmp_path / "o").glob("*.npy"))


def test_the_page_of_releases_shows_nothing_else(run, latents, tmp_path):
    """It may be published with them: no original, no path, nothing that failed."""
    out = tmp_path / "<b>a"
    run("privatize", latents, *PRIVATIZE, "--output", out)
    images.save(out / "original.png", np.full((16, 16, 3), 255, np.uint8))
    (latents / "broken.npy").write_bytes(b"no latent")
    code, _out, _err = run("privatize", latents, *PRIVATIZE, "--output", out)
    assert code == 1
    page = read(out / "report.html")
    for said in (
        "Faces released without their age",
        "3 faces",
        "each face among those with the same rounded remainder",
        "REPLACE_ONE",
        "at delta = 1e-05",
        "pld: privacy loss distributions",
        "attribute release: age: 3 x Gaussian noise",
        "who it is: identity is meant to stay",
    ):
        assert said in page.words
    released = [images.load(out / f"{i}.png") for i in range(3)]
    assert np.array_equal(page.pixels, released)
    for hidden in ("broken", "original", str(latents), str(tmp_path)):
        assert hidden not in (out / "report.html").read_text()
        assert hidden not in (out / "settings.json").read_text()


def test_each_release_is_counted(run, latents, tmp_path):
    code, out, _err = run("privatize", latents, *PRIVATIZE, "--output", tmp_path / "a")
    assert (code, "Faces released: 3" in out) == (0, True)
    ledger = Ledger.load(tmp_path / "a" / "ledger.json")
    assert sum(entry.count for entry in ledger.entries) == 3
    # Elsewhere again: the journal beside the latents knows of the first.
    run("privatize", latents, *PRIVATIZE, "--output", tmp_path / "b")
    ledger = Ledger.load(tmp_path / "b" / "ledger.json")
    assert sum(entry.count for entry in ledger.entries) == 6
    released = [np.load(tmp_path / name / "0.npy") for name in "ab"]
    assert not np.array_equal(*released)
    # Along the boundary alone, up to the grid of the remainder.
    moved = released[0] - np.load(latents / "0.npy")
    assert np.abs(moved[0, 1:]).max() <= 2**-9
    assert images.load(tmp_path / "a" / "0.png").shape == (16, 16, 3)


def test_distinct_persons_are_one_event(run, latents, tmp_path):
    how = (*PRIVATIZE, "--output", tmp_path / "a", "--distinct-persons")
    code, _out, _err = run("privatize", latents, *how)
    assert code == 0
    ledger = Ledger.load(tmp_path / "a" / "ledger.json")
    assert ledger.epsilon(1e-5, accountant="pld") == pytest.approx(1, abs=1e-3)


def test_what_is_there_is_not_released_again(run, latents, tmp_path):
    how = (*PRIVATIZE, "--output", tmp_path / "a")
    run("privatize", latents, *how)
    np.save(latents / "7.npy", np.zeros((1, 8), "float32"))
    _code, out, _err = run("privatize", latents, *how)
    assert "There already: 3" in out
    assert "Faces released: 1" in out
    ledger = Ledger.load(tmp_path / "a" / "ledger.json")
    assert sum(entry.count for entry in ledger.entries) == 4


def test_another_attribute_does_not_add_up(run, latents, tmp_path):
    run("privatize", latents, *PRIVATIZE, "--output", tmp_path / "a")
    other = ["smile.npz" if word == "age.npz" else word for word in PRIVATIZE]
    code, _out, _err = run("privatize", latents, *other, "--output", tmp_path / "b")
    assert code == 2
    assert not list((tmp_path / "b").glob("*.npy"))


def released_and_counted(folder):
    """Latents in a folder of releases, and what the ledger beside them counts."""
    counted = len(Ledger.load(folder / "ledger.json"))
    return len(list(folder.glob("*.npy"))), counted


@pytest.mark.parametrize("saved", [0, 1, 2])
def test_the_ledger_beside_releases_never_says_less(
    run, latents, tmp_path, monkeypatch, saved
):
    """Interrupted in a second run, before each of its pictures."""
    how = (*PRIVATIZE, "--output", tmp_path / "a")
    run("privatize", latents / "0.npy", *how)
    save, seen = images.save, []

    def dying(path, picture):
        if len(seen) == saved:
            raise KeyboardInterrupt
        seen.append(path)
        save(path, picture)

    with monkeypatch.context() as patch:
        patch.setattr(images, "save", dying)
        run("privatize", latents, *how)
    assert released_and_counted(tmp_path / "a") == (1 + saved, 3)
    run("privatize", latents, *how)
    assert released_and_counted(tmp_path / "a") == (3, 5 - saved)


def test_releases_of_other_faces_are_not_mixed(run, latents, tmp_path):
    """The same face in two folders: the journal of the second knows of one release."""
    shutil.copytree(latents, tmp_path / "others")
    for folder in (latents, tmp_path / "others"):
        run("privatize", folder, *PRIVATIZE, "--output", tmp_path / folder.name[0])
    how = (*PRIVATIZE, "--output", tmp_path / "l")
    code, out, err = run("privatize", tmp_path / "others", *how)
    assert (code, out) == (2, "")
    assert "source differed" in err
    assert released_and_counted(tmp_path / "l") == (3, 3)


def test_releases_are_not_mixed_with_other_settings(run, latents, tmp_path):
    how = (*PRIVATIZE, "--output", tmp_path / "a")
    run("privatize", latents, *how)
    page = (tmp_path / "a" / "report.html").read_text()
    for other in (("--epsilon", 2), ("--clip", 1), ("--boundary", "smile.npz")):
        code, out, err = run("privatize", latents, *how, *other)
        assert (code, out) == (2, "")
        assert "other settings" in err
    assert (tmp_path / "a" / "report.html").read_text() == page


def test_a_lost_journal_does_not_shorten_the_ledger(run, latents, tmp_path):
    how = (*PRIVATIZE, "--output", tmp_path / "a")
    run("privatize", latents, *how)
    (latents / jobs.JOURNAL).unlink()
    code, _out, err = run("privatize", latents, *how)
    assert code == 2
    assert "says less than the ledger" in err
    assert released_and_counted(tmp_path / "a") == (3, 3)


def test_what_lies_in_the_output_stays(run, home, latents, tmp_path):
    """The sources' own folder, and one that holds other files of such names."""
    before = (home / "faces" / "0.png").read_bytes(), sorted(latents.iterdir())
    words = ("privatize", latents / "0.npy", *PRIVATIZE, "--output", latents)
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert "replace what is read" in err
    code, out, err = run("invert", "faces/0.png", *INVERT, "--output", "faces")
    assert (code, out) == (2, "")
    assert (
        (home / "faces" / "0.png").read_bytes(),
        sorted(latents.iterdir()),
    ) == before
    for source, how in (("faces/0.png", INVERT), (latents / "0.npy", PRIVATIZE)):
        for name in ("0.png", "report.html", "ledger.json"):
            other = tmp_path / f"{how[3]}-{name}"
            other.mkdir()
            (other / name).write_text("mine")
            action = "invert" if how is INVERT else "privatize"
            code, out, err = run(action, source, *how, "--output", other)
            assert (code, out) == (2, "")
            assert "holds other files" in err
            assert [p.read_text() for p in other.iterdir()] == ["mine"]


def test_inversions_of_other_pictures_are_not_mixed(run, tmp_path):
    """Another person's picture of the same name has no latent there."""
    shutil.copytree("faces", tmp_path / "others")
    how = (*INVERT[:-1], 1, "--output", tmp_path / "a")
    run("invert", "faces/0.png", *how)
    latent = (tmp_path / "a" / "0.npy").read_bytes()
    code, out, err = run("invert", tmp_path / "others" / "0.png", *how)
    assert (code, out) == (2, "")
    assert "source differed" in err
    assert (tmp_path / "a" / "0.npy").read_bytes() == latent


def test_nothing_is_released_that_is_not_on_the_disk(latents, home, tmp_path):
    """The planted fault: a journal that cannot be written."""
    from tfpriv.editing import AttributeMechanism, load_generator

    generator = load_generator(home / "generator.safetensors")
    release = AttributeMechanism(np.eye(8)[0], 2.0, epsilon=1.0, delta=1e-5)
    (latents / jobs.JOURNAL).mkdir()
    with pytest.raises(OSError, match=jobs.JOURNAL):
        jobs.release_files(latents, tmp_path / "out", generator, release)
    assert not list((tmp_path / "out").glob("*.npy"))


def test_latents_that_do_not_fit_are_left_out(run, latents, tmp_path):
    np.save(latents / "3.npy", np.zeros((1, 7), "float32"))
    np.save(latents / "4.npy", np.full((1, 8), np.nan, "float32"))
    np.save(latents / "5.npy", np.array([object()]), allow_pickle=True)
    (latents / "6.npy").write_bytes(b"")
    code, out, err = run("privatize", latents, *PRIVATIZE, "--output", tmp_path / "a")
    assert code == 1
    assert "Faces released: 3" in out
    for i in range(3, 7):
        assert f"{i}.npy" in err
    assert len(list((tmp_path / "a").glob("*.npy"))) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("privatize", "faces", *PRIVATIZE, "--output", "x"), ".npy"),
        (("privatize", "none.npy", *PRIVATIZE, "--output", "x"), "none.npy"),
        (("privatize", "age.npy", *PRIVATIZE, "--output", "x", "--epsilon", 0), "eps"),
        (("privatize", "faces", *PRIVATIZE, "--output", "x", "--clip", -1), "clip"),
        (("privatize", "faces", "--output", "x"), "--boundary"),
        (("invert", "faces", *INVERT, "--output", "x", "--steps", 0), "steps=0"),
        (("invert", "faces", *INVERT, "--output", "faces"), "replace what is read"),
        (
            ("invert", "faces", *INVERT, "--output", "x", "--learning-rate", "nan"),
            "nan",
        ),
        (("invert", "faces", *INVERT, "--output", "x", "--mean-pull", "nan"), "nan"),
        (("invert", "faces", *INVERT, "--output", "x", "--patience", -3), "patience"),
        (("invert", "faces", *INVERT, "--output", "x", "--seed", -1), "seed"),
        (("invert", "nowhere", *INVERT, "--output", "x"), "nowhere"),
        (("score", "--output", "x"), "--model"),
        (("train-encoder", "--output", "enc"), "ends in .keras"),
        (("train-reader", "--output", "reader"), "ends in .keras"),
        (("train-encoder", "--output", "e.keras", "--steps", 0), "`steps`"),
        (("fit", "--output", "x", "--learning-rate", "nan"), "`learning_rate`"),
        (("fit", "--output", "x", "--steps", 0), "`steps`"),
        ((), "action"),
    ],
)
def test_mistakes_are_one_line(run, home, words, message):
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not list(home.glob("x/*"))


def test_boundaries_from_scored_latents(run, home, tmp_path):
    import keras

    inputs = keras.Input((16, 16, 3))
    mean = keras.layers.GlobalAveragePooling2D()(inputs)
    keras.Model(inputs, keras.layers.Dense(2)(mean)).save(tmp_path / "scorer.keras")
    generator = ("--generator", "generator.safetensors")
    code, out, err = run(
        *("score", *generator, "--model", tmp_path / "scorer.keras", "--count", 150),
        *("--names", "first", "second", "--output", tmp_path / "scored"),
    )
    assert code == 0
    table = (tmp_path / "scored" / "scores.csv").read_text().splitlines()
    assert table[0] == "first,second"
    assert len(table) == 151
    assert (tmp_path / "scored" / "samples.png").exists()
    data = ("--latents", tmp_path / "scored" / "latents.npy")
    data += ("--scores", tmp_path / "scored" / "scores.csv")
    for name in ("first", "second"):
        code, out, err = run(
            *("boundary", *generator, *data, "--attribute", name),
            *("--output", tmp_path / f"{name}.npz"),
        )
        assert code == 0
        assert "Right side: " in out
    code, out, err = run(
        *("boundary", *generator, *data, "--attribute", "first"),
        *("--conditions", tmp_path / "second.npz", "--output", tmp_path / "c.npz"),
    )
    conditioned, second = (
        Boundary.load(tmp_path / name) for name in ("c.npz", "second.npz")
    )
    assert conditioned.normal @ second.normal == pytest.approx(0, abs=1e-9)
    code, out, err = run(
        *("boundary", *generator, *data, "--attribute", "third"),
        *("--output", tmp_path / "d.npz"),
    )
    assert code == 2
    assert "no column 'third'" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("score", "--model", "other.keras", "--output", "x"), "scores (n, columns)"),
        (("score", "--model", "r.keras", "--output", "x", "--count", 0), "`count`"),
        (
            (*STUDY, "--reader", "other.keras", "--output", "x"),
            "must be a face reader",
        ),
        (
            (*EXPORT, "--delta", "1e-5", "--encoder", "other.keras", "--output", "x"),
            "Expected an encoder",
        ),
        (
            (*EXPORT, "--delta", 0, "--encoder", "r.keras", "--output", "x"),
            "`delta` is out of range",
        ),
        (("export", "--output", "age.npz/x"), "Expected a folder"),
    ],
)
def test_other_networks_are_one_line(run, home, tmp_path, monkeypatch, words, message):
    """A generator, whose class has no shapes, in another network's place."""
    shutil.copytree(home, tmp_path / "home")
    monkeypatch.chdir(tmp_path / "home")
    generator = editing.load_generator("generator.safetensors")
    save_generator(generator, "other.keras")
    inputs = keras.Input((16, 16, 3))
    mean = keras.layers.GlobalAveragePooling2D()(inputs)
    keras.Model(inputs, keras.layers.Dense(2)(mean)).save("r.keras")
    before = sorted(os.listdir())
    code, out, err = run(words[0], "--generator", "generator.safetensors", *words[1:])
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert sorted(os.listdir()) == before


def test_no_output_replaces_what_is_read_or_was_there(run, home, tmp_path, monkeypatch):
    shutil.copytree(home, tmp_path / "home")
    monkeypatch.chdir(tmp_path / "home")
    generator = editing.load_generator("generator.safetensors")
    save_generator(generator, "g.keras")
    np.save("l.npy", np.zeros((4, 8)))
    for name in ("l.csv", "enc.html", "scored/latents.npy", "gan/samples.png"):
        path = tmp_path / "home" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    files = {p: p.read_bytes() for p in (tmp_path / "home").rglob("*") if p.is_file()}
    own = ("--generator", "g.keras")
    data = ("--latents", "l.npy", "--scores", "l.csv", "--attribute", "a")
    for words, message in (
        (("boundary", *own, *data, "--output", "l.npy"), "replace what is read"),
        (("boundary", *own, *data, "--output", "no/l.npy"), "no such folder"),
        (("train-encoder", *own, "--output", "g.keras"), "replace what is read"),
        (("train-encoder", *own, "--output", "enc.keras"), "page would replace"),
        (("score", *own, "--model", "g.keras", "--output", "scored"), "exists already"),
        (("fit", "--output", "gan"), "holds other files"),
        (("train", "--output", "gan"), "holds other files"),
    ):
        code, out, err = run(*words)
        assert (code, out) == (2, "")
        assert message in err
    assert files == {
        p: p.read_bytes() for p in (tmp_path / "home").rglob("*") if p.is_file()
    }


def test_data_in_celebas_layout(run, tmp_path):
    code, _out, _err = run(
        *("make-data", "--people", 2, "--pictures", 2, "--output", tmp_path / "faces")
    )
    assert code == 0
    assert len(list((tmp_path / "faces" / "img_align_celeba").iterdir())) == 4


def test_a_small_generator_is_trained(run, tmp_path):
    how = ("--resolution", 16, "--people", 32, "--steps", 2, "--output", tmp_path / "g")
    code, _out, _err = run("train", *how)
    assert code == 0
    assert (tmp_path / "g" / "generator.keras").exists()


def test_the_ledger_says_what_is_protected(run, latents, tmp_path):
    _code, out, _err = run("privatize", latents, *PRIVATIZE, "--output", tmp_path / "a")
    said = " ".join(out.split())  # the statement is wrapped
    assert "face among those with the same rounded remainder (without age" in said


def test_a_study_is_not_overwritten(run, tmp_path):
    (tmp_path / "study.md").write_text("figures")
    code, _, err = run("study", "--boundary", "age", "--clip", 2, "--output", tmp_path)
    assert code == 2
    assert "exists already" in err
    assert (tmp_path / "study.md").read_text() == "figures"
