"""`tfpriv inpaint`: what is typed, what is written, and what the exit status says."""

import argparse
import inspect
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from photo_scenes import find, scene
from reading import read

from tfpriv import cli
from tfpriv.inpainting import embedded
from tfpriv.inpainting.experiment import outputs
from tfpriv.inpainting.experiment.generation import generate_dataset
from tfpriv.inpainting.photos import anonymiser, boxes
from tfpriv.inpainting.photos.settings import Settings
from tfpriv.networks.facenet import loading
from tfpriv.support import checkpoints, images


@pytest.fixture(autouse=True)
def light(monkeypatch):
    """White squares are faces; no time for TensorFlow's start."""
    monkeypatch.setattr(cli, "_import_tensorflow_quietly", lambda: None)
    honest = anonymiser.Anonymiser.__init__
    monkeypatch.setattr(
        anonymiser.Anonymiser,
        "__init__",
        lambda self, settings: honest(self, settings, None, find),
    )


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.jpg"
    images.save(path, scene((10, 20)))
    return path


def test_a_photograph_alone(photo, tmp_path, monkeypatch, capsys):
    """The embedded inpainter is missing: a clear error, and nothing is written."""
    monkeypatch.setattr(checkpoints, "_PLACES", (tmp_path / "nowhere",))
    assert cli.main(["inpaint", str(photo)]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "No inpainter comes with this tfpriv" in message
    assert list(photo.parent.iterdir()) == [photo]


def test_a_photograph(photo, capsys):
    arguments = [str(photo), "--inpainter", "black"]
    assert cli.main(["inpaint", *arguments]) == 0
    result = photo.with_name("photo-anonymised.jpg")
    said = capsys.readouterr().out
    assert f"Anonymised: 1 in {result}" in said
    assert "recognisers" not in said
    assert images.load(result)[26, 16].max() < 30
    assert set(photo.parent.iterdir()) == {photo, result}
    # Nothing is replaced.
    assert cli.main(["inpaint", *arguments]) == 2
    assert "there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "left"),
    [([], "knows drawn faces only"), (["--inpainter", "blur"], "recognisers read it")],
)
def test_what_an_inpainter_leaves_is_said(photo, capsys, options, left):
    assert cli.main(["inpaint", str(photo), "--steps", "1", *options]) == 0
    assert left in capsys.readouterr().out


def test_options_may_come_first(photo):
    assert cli.main(["inpaint", "--inpainter", "black", str(photo)]) == 0
    assert photo.with_name("photo-anonymised.jpg").is_file()


def test_outputs_of_a_photograph(photo, tmp_path):
    for output, result in [
        ("out.png", "out.png"),
        ("new/x.jpg", "new/x.jpg"),
        ("folder", "folder/photo.jpg"),
    ]:
        options = ["--inpainter", "black", "-o", str(tmp_path / output)]
        assert cli.main(["inpaint", str(photo), *options]) == 0
        assert images.load(tmp_path / result).shape == (64, 80, 3)
    assert boxes.read(tmp_path / "folder" / "boxes.csv")["photo.jpg"]


def test_several_paths(tmp_path, photo, capsys):
    """Results have the names that photographs have in the folder of all of them."""
    for name in ("a/one.png", "a/two.png", "b/c/one.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        images.save(tmp_path / name, scene((10, 20)))
    words = [photo, tmp_path / "a", tmp_path / "a" / "two.png", tmp_path / "b" / "c"]
    run = ["inpaint", *map(str, words), "--inpainter", "black", "-o"]
    output = tmp_path / "out"
    assert cli.main([*run, str(output)]) == 0
    assert "Anonymised: 4" in capsys.readouterr().out
    names = {p.relative_to(output).as_posix() for p in output.rglob("*one.png")}
    assert names == {"a/one.png", "b/c/one.png"}
    faces = boxes.read(output / "boxes.csv")
    assert list(faces) == ["a/one.png", "a/two.png", "b/c/one.png", "photo.jpg"]
    assert cli.main([*run, str(tmp_path / "b" / "c" / "out")]) == 2
    assert "outside of the folder" in capsys.readouterr().err
    assert cli.main(run[:-1]) == 2
    assert "--output DIR" in capsys.readouterr().err


def test_several_paths_are_as_their_folder(tmp_path):
    """To the last byte: what is painted follows from names in the folder."""
    source = tmp_path / "photos"
    for i, name in enumerate(("1.png", "2.png")):
        source.mkdir(exist_ok=True)
        images.save(source / name, scene((10, 20), seed=i))
    ways = {"one": [source], "two": sorted(source.iterdir(), reverse=True)}
    for output, words in ways.items():
        run = ["inpaint", *map(str, words), "--mask", "random", "--inpainter", "black"]
        assert cli.main([*run, "-o", str(tmp_path / output)]) == 0
    one, two = (
        {p.name: p.read_bytes() for p in (tmp_path / output).glob("*.[pc]*")}
        for output in ways
    )
    assert one == two
    assert len(one) == 3


def test_a_folder_that_is_called_as_a_verb(tmp_path, monkeypatch, capsys):
    (tmp_path / "dataset").mkdir()
    images.save(tmp_path / "dataset" / "photo.png", scene((10, 20)))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["inpaint", "./dataset", "--inpainter", "black"]) == 0
    assert (tmp_path / "dataset-anonymised" / "photo.png").is_file()
    capsys.readouterr()
    assert cli.main(["inpaint", "dataset", "--inpainter", "black"]) == 2
    assert "required: DATA" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "call"),
    [
        ("generate a.jpg --output b", "tfpriv inpaint a.jpg --output b"),
        (
            "generate --mask gradcam faces",
            "tfpriv inpaint dataset --mask gradcam faces",
        ),
        ("generate --help", "tfpriv inpaint --help"),
        ("generate", "tfpriv inpaint"),
    ],
)
def test_the_verb_of_old_names_the_new_call(tmp_path, monkeypatch, capsys, words, call):
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "identity_CelebA.txt").touch()
    monkeypatch.chdir(tmp_path)
    assert cli.main(["inpaint", *words.split()]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert captured.err.endswith(f"Call: {call}\n")
    assert not captured.out


def test_help_shows_photographs_and_verbs(capsys):
    assert cli.main(["inpaint", "--help"]) == 0
    overview = capsys.readouterr().out
    verbs = ("PATHS", "mask", "dataset", "prepare", "finetune", "evaluate", "export")
    assert all(f"    {verb}" in overview for verb in verbs)
    assert "generate" not in overview
    assert cli.main(["inpaint", "PATHS", "--help"]) == 0
    assert "--if-no-face" in capsys.readouterr().out


def test_no_face_fails(tmp_path, capsys):
    path = tmp_path / "empty.webp"
    images.from_array(scene()).save(path)
    assert cli.main(["inpaint", str(path), "--inpainter", "black"]) == 1
    captured = capsys.readouterr()
    assert "No result: empty.webp: no face was found\n" in captured.err
    assert "--if-no-face blur" in captured.err
    assert not captured.out  # nothing is named that was not written
    assert list(tmp_path.iterdir()) == [path]
    options = ["--inpainter", "blur", "--if-no-face", "copy"]
    assert cli.main(["inpaint", str(path), *options]) == 0
    assert "recognisers" not in capsys.readouterr().out  # nobody was covered
    assert (tmp_path / "empty-anonymised.png").is_file()


def test_a_folder(tmp_path, photo, capsys):
    source = tmp_path / "photos"
    source.mkdir()
    photo.rename(source / "photo.jpg")
    (source / "broken.png").write_bytes(b"no picture")
    run = ["inpaint", str(source), "--inpainter", "pixelate", "--preview"]
    for done in ("Anonymised: 1", "There already: 1"):
        assert cli.main(run) == 1
        captured = capsys.readouterr()
        assert done in captured.out
        assert "to be reviewed: broken.png" in captured.err
        assert "Photographs without a result: 1" in captured.err
    output = tmp_path / "photos-anonymised"
    assert {path.name for path in output.iterdir()} == {
        "photo.jpg",
        "boxes.csv",
        "report.html",
        "review.txt",
        "settings.json",
    }
    page = read(output / "report.html")
    assert "Photographs: 1; faces covered: 1, blurred or pixelated" in page.words
    assert "Protected is Nothing for certain." in page.words
    assert (tmp_path / "photos-anonymised-preview.png").is_file()


@pytest.mark.parametrize("name", ["photo-anonymised-preview.png", "out-preview.png"])
def test_a_preview_replaces_nobodys_file(tmp_path, photo, capsys, name):
    """Of a photograph, or of a folder."""
    source = photo
    words = ["--inpainter", "black", "--preview"]
    if name.startswith("out"):
        source = tmp_path / "photos"
        source.mkdir()
        photo.rename(source / "photo.jpg")
        words += ["--output", str(tmp_path / "out")]
    (tmp_path / name).write_text("mine")
    assert cli.main(["inpaint", str(source), *words]) == 2
    assert "preview would replace" in capsys.readouterr().err
    assert (tmp_path / name).read_text() == "mine"
    assert not list(tmp_path.glob("*anonymised.*"))
    assert not (tmp_path / "out").exists()


def test_a_preview_of_the_current_folder(tmp_path, photo, monkeypatch):
    (tmp_path / "photos").mkdir()
    (tmp_path / "out").mkdir()
    photo.rename(tmp_path / "photos" / "photo.jpg")
    monkeypatch.chdir(tmp_path / "out")
    words = ["../photos", "--output", ".", "--inpainter", "black", "--preview"]
    assert cli.main(["inpaint", *words]) == 0
    assert (tmp_path / "out-preview.png").is_file()
    assert (tmp_path / "out" / "report.html").is_file()


def test_a_scale_that_is_no_number(tmp_path, photo, capsys):
    words = ["--inpainter", "black", "--guidance-scale", "nan"]
    for source in (photo, tmp_path):
        out = tmp_path.with_name(f"{tmp_path.name}-out")
        output = [] if source == photo else ["--output", str(out)]
        assert cli.main(["inpaint", str(source), *words, *output]) == 2
        assert "`guidance_scale` is out of range" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [photo]


def test_the_page_of_a_folder_shows_results_alone(tmp_path, capsys):
    """Neither originals, nor copies of photographs, nor names of what has no result."""
    source, output = tmp_path / "photos", tmp_path / "out"
    (source / "beach").mkdir(parents=True)
    names = ["beach/<script>.png", "'\"&.png"]
    for i, name in enumerate(names):
        images.save(source / name, scene((10, 20), (50, 30), seed=i))
    images.save(source / "nobody.png", scene())
    (source / "broken.png").write_bytes(b"no picture")
    words = [str(source), "--output", str(output), "--inpainter", "black"]
    assert cli.main(["inpaint", *words, "--if-no-face", "copy"]) == 1
    assert f"to look at: {output / 'report.html'}" in capsys.readouterr().out
    page = read(output / "report.html")
    for said in (
        "Photographs: 2; faces covered: 4, painted anew under the mask whole_face",
        "with mask and seed fixed, no byte of a result follows",
        "This is no differential privacy",
        "a face that was not found: it stays as it is",
        *names,
    ):
        assert said in page.words
    assert (output / "nobody.png").is_file()
    for hidden in ("nobody", "broken", str(tmp_path)):
        assert hidden not in (output / "report.html").read_text()
    results = {images.load(output / name).tobytes() for name in names}
    assert {picture.tobytes() for picture in page.pixels} == results
    originals = {images.load(source / name).tobytes() for name in names}
    assert not originals & results


def test_what_a_recogniser_still_finds(tmp_path, monkeypatch, capsys):
    class Anybody:
        trained_on = "photographs"

        def embed(self, pictures):
            return np.ones((len(pictures), 2), np.float32)

    where = "tfpriv.networks.facenet.loading.load_facenet"
    monkeypatch.setattr(where, lambda path: Anybody())
    source = tmp_path / "photos"
    source.mkdir()
    for i in range(3):
        images.save(source / f"{i}.png", scene((10, 20), seed=i))
    run = ["inpaint", str(source), "--inpainter", "black", "--facenet", "x.pt"]
    assert cli.main(run) == 0
    assert "1 of 3 repainted faces are still closest" in capsys.readouterr().out


def test_without_a_recogniser_nothing_is_claimed(tmp_path, capsys):
    source = tmp_path / "photos"
    source.mkdir()
    images.save(source / "0.png", scene((10, 20), seed=0))
    assert cli.main(["inpaint", str(source), "--inpainter", "black"]) == 0
    assert "re-identification: not measured" in capsys.readouterr().out


def test_shards(tmp_path):
    source = tmp_path / "photos"
    source.mkdir()
    for i in range(8):
        images.save(source / f"{i}.png", scene((10, 20), seed=i))
    output = tmp_path / "out"
    for shard in ("1/2", "2/2"):
        options = ["--inpainter", "black", "--output", str(output), "--shard", shard]
        assert cli.main(["inpaint", str(source), *options]) == 0
    assert len(list(output.glob("[!.]*.png"))) == 8
    pages = [read(output / f"report-{i}-of-2.html") for i in (1, 2)]
    assert sum(len(page.pictures) for page in pages) == 8


def test_masks(photo):
    assert cli.main(["inpaint", "mask", str(photo), "--mask", "landmarks"]) == 0
    mask = images.load(photo.with_name("photo-mask.png"))
    assert set(np.unique(mask)) == {0, 255}
    assert (mask[26, 16] == 255).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.jpg"], "neither a photograph nor a folder"),
        (["{photo}", "--mask", "gradcam"], "invalid choice: 'gradcam'"),
        (["{photo}", "--inpainter", "sepia"], "Received: sepia"),
        (["{photo}", "--boxes", "none.csv"], "no file of boxes"),
        (["{photo}", "--shard", "3/2"], "a share is like 2/4: '3/2'"),
        (["{photo}", "--shard", "1/2"], "--shard are for folders"),
        (["{photo}", "--video"], "--video and --shard are for folders"),
        (["{photo}", "--keep-person", "{photo}"], "FaceNet trained on photographs"),
        (
            ["{photo}", "--keep-person", "{photo}", "--facenet", "drawn"],
            "No facenet.keras comes with",
        ),
        (["{photo}", "--seed", "-1"], "seed=-1"),
        (["{photo}", "--classifier", "x.keras"], "unrecognized arguments"),
        ([], "PATHS | VERB"),
    ],
)
def test_wrong_arguments(photo, capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.setattr(checkpoints, "_PLACES", (tmp_path,))
    words = [word.format(photo=photo) for word in arguments]
    if words and "--inpainter" not in words:
        words += ["--inpainter", "black"]
    assert cli.main(["inpaint", *words]) == 2
    assert message in capsys.readouterr().err
    assert list(photo.parent.iterdir()) == [photo]


@pytest.fixture
def generation(monkeypatch):
    """Takes the place of the module that repaints data sets."""

    def generate_dataset(source, output, mask, inpainter, **options):
        module.calls.append((source, output, {"mask": mask} | options))
        for number, value in enumerate((0, 99)):
            picture = np.full((8, 8, 3), value, np.uint8)
            parts = outputs.Pictures(picture, picture[..., 0] > 0, picture + 50)
            outputs.write(outputs.place(output, f"00{number}", number), parts)
        return argparse.Namespace(done=2, there=1, failures=module.failures)

    module = types.ModuleType("tfpriv.inpainting.experiment.generation")
    module.generate_dataset, module.calls, module.failures = generate_dataset, [], []
    module.SIZE = 512
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(
        "tfpriv.inpainting.experiment.generation", module, raising=False
    )
    return module


def test_a_data_set_of_people(generation, tmp_path, capsys):
    run = ["inpaint", "dataset", str(tmp_path), "--inpainter", "black"]
    run += ["--output", str(tmp_path / "out"), "--seed", "3", "--mask", "landmarks"]
    assert cli.main(run) == 0
    source, output, options = generation.calls[0]
    assert (source, output) == (tmp_path, tmp_path / "out")
    del options["progress"]
    assert options == {
        "mask": "landmarks",
        "size": 512,
        "limit": None,
        "seed": 3,
        "prompt": "",
        "steps": 50,
        "guidance_scale": 7.5,
    }
    page = read(tmp_path / "out" / "report.html")
    assert "under masks of the kind landmarks" in page.words
    assert "the folder holds the originals" in page.words
    assert "This is no differential privacy" in page.words
    assert [picture.max() for picture in page.pixels] == [50, 149]  # results alone
    assert "with mask and seed fixed, no byte of a result follows" in page.words
    blurred = [word if word != "black" else "blur" for word in run]
    assert cli.main(blurred) == 0
    page = read(tmp_path / "out" / "report.html")
    assert "Protected is Nothing for certain." in page.words
    generation.failures = ["000001.jpg is broken"]
    assert cli.main(run) == 1
    assert "left out: 000001.jpg is broken" in capsys.readouterr().err
    assert cli.main([*run, "--keep-metadata", "--boxes", "x.csv"]) == 2
    assert "unrecognized arguments: --keep-metadata" in capsys.readouterr().err
    assert cli.main([*run, "--facenet", "x.pt", "--seen", "96"]) == 2
    assert "for the masks gradcam and private" in capsys.readouterr().err
    assert cli.main(run[:5]) == 2
    assert "required: -o/--output" in capsys.readouterr().err


def test_gradcam_takes_its_network_as_large_as_it_knows_faces(
    generation, tmp_path, monkeypatch
):
    monkeypatch.setattr(loading, "load_facenet", lambda path: Path(path).name)
    monkeypatch.setattr(embedded, "path", lambda name: name)
    run = ["inpaint", "dataset", str(tmp_path), "--inpainter", "black"]
    run += ["--output", str(tmp_path / "out"), "--mask", "gradcam"]
    for more in ([], ["--facenet", "x.pt"], ["--facenet", "x.pt", "--seen", "96"]):
        assert cli.main([*run, *more]) == 0
    given = [(o["network"], o["settings"].seen) for _, _, o in generation.calls]
    assert given == [("facenet.keras", 160), ("x.pt", 512), ("x.pt", 96)]


def test_defaults_are_those_of_the_code():
    photographs = cli._parser("inpaint").parse_args(["inpaint", "PATHS", "."])
    for name, value in vars(Settings()).items():
        assert getattr(photographs, name, value) == value
    words = ["inpaint", "dataset", ".", "-o", "."]
    experiment = vars(cli._parser("inpaint").parse_args(words))
    function = inspect.signature(generate_dataset).parameters
    for name in ("mask", "seed", "limit"):
        assert experiment[name] == function[name].default
