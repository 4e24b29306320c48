"""`tfpriv caption` from the outside: what it prints, writes and refuses."""

import json
import math
import subprocess
import sys

import pytest
from reading import read

from tfpriv import cli
from tfpriv.accounting import Ledger
from tfpriv.accounting import cli as commands
from tfpriv.captioning import store
from tfpriv.support import images

SMALL = ["--width", "16", "--heads", "2", "--max-tokens", "7", "--image-size", "16"]
SHORT = ["--epochs", "1", "--batch-size", "20"]


def tfpriv(*words):
    return cli.main(["caption", *map(str, words)])


@pytest.fixture(scope="module")
def plain_run(scene_folder, tmp_path_factory):
    """A captioner trained for one pass without privacy."""
    output = tmp_path_factory.mktemp("runs") / "plain"
    arguments = ["train", "--data", scene_folder, "--no-privacy", "--output", output]
    assert tfpriv(*arguments, *SMALL, *SHORT) == 0
    return output


def test_help_comes_without_tensorflow():
    code = (
        "import sys; from tfpriv import cli; cli.main(['caption', 'train', '--help']); "
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert b"--noise-multiplier" in done.stdout


def test_make_data(tmp_path, capsys):
    words = ["make-data", "--output", tmp_path / "d", "--pictures", 3, "--size", 16]
    assert tfpriv(*words, "--validation", 1) == 0
    assert (tmp_path / "d" / "annotations" / "captions_val2017.json").is_file()
    assert tfpriv(*words) == 2
    assert "exists already" in capsys.readouterr().err


def test_train_evaluate_generate_export(plain_run, scene_folder, tmp_path, capsys):
    picture = next((scene_folder / "val2017").iterdir())
    assert tfpriv("generate", picture, "--model", plain_run) == 0
    (caption,) = capsys.readouterr().out.splitlines()
    report = tmp_path / "report.json"
    words = ["evaluate", "--model", plain_run, "--data", scene_folder]
    assert tfpriv(*words, "--output", report) == 0
    out = capsys.readouterr().out
    for name in ("BLEU-4", "ROUGE-L", "CIDEr", "tfpriv (PTB-like", "not covered"):
        assert name in out
    captions = json.loads(report.read_text())["captions"]
    assert captions[str(int(picture.stem))] == caption
    assert tfpriv("export", "--model", plain_run, "--output", tmp_path / "sm") == 0
    statement = tmp_path / "sm" / "assets.extra" / "privacy_statement.json"
    assert "without differential privacy" in statement.read_text()
    sheet = tmp_path / "sheet.png"
    words = ["generate", picture, picture, "--model", plain_run, "--sheet", sheet]
    assert tfpriv(*words) == 0
    assert images.load(sheet).shape[2] == 3


def test_private_training_from_public_weights(
    plain_run, scene_folder, tmp_path, capsys
):
    output = tmp_path / "private"
    words = ["train", "--data", scene_folder, "--output", output, "--epsilon", 3]
    words += ["--pretrained", plain_run, "--freeze-encoder", "--delta", 1e-3, *SHORT]
    assert tfpriv(*words) == 2
    assert "--pretrained-is-public" in capsys.readouterr().err
    assert not output.exists()
    assert tfpriv(*words, "--pretrained-is-public", "--validation-is-public") == 0
    out = capsys.readouterr().out
    assert "picture with all its captions" in out
    assert "epsilon = " in out
    manifest = json.loads((output / store.MANIFEST).read_text())
    assert 2 < manifest["epsilon"] <= 3
    assert "figures on data declared public" in manifest
    assert store.CURVES_LABEL not in manifest  # exact functions of private data
    assert "loss" not in json.dumps({k: manifest[k] for k in ("recipe", "data")})
    page = read(output / "report.html")
    assert f"epsilon = {math.ceil(manifest['epsilon'] * 1000) / 1000:g}" in page.words
    assert "each picture with all its captions" in page.words
    check_exported_delta(output, tmp_path, 1e-3)
    declared_public = (scene_folder / "val2017").iterdir()
    assert {picture.tobytes() for picture in page.pixels} == {
        images.load(path).tobytes() for path in declared_public
    }


def check_exported_delta(run, folder, delta):
    """Statements of an export, and of `budget show`, are at the training's delta."""
    exported = folder / "exported"
    assert tfpriv("export", "--model", run, "--output", exported) == 0
    statement = exported / "assets.extra" / "privacy_statement.json"
    assert json.loads(statement.read_text())["delta"] == delta
    for place in (exported, run / store.MODEL):
        assert commands._stated_delta(place) == delta


def test_an_export_has_the_delta_of_a_training_without_budget(scene_folder, tmp_path):
    words = ["train", "--data", scene_folder, "--output", tmp_path / "run", *SMALL]
    assert tfpriv(*words, "--noise-multiplier", 1, "--delta", 1e-3, *SHORT) == 0
    check_exported_delta(tmp_path / "run", tmp_path, 1e-3)


def test_the_page_of_a_training_without_privacy(plain_run):
    page = read(plain_run / "report.html")
    assert "Captioner, no differential privacy" in page.words
    assert "No differential privacy for any picture" in page.words
    assert not page.pictures
    losses = json.loads((plain_run / store.MANIFEST).read_text())
    assert store.CURVES_LABEL not in losses


def test_curves_are_asked_for_and_never_on_the_page(scene_folder, tmp_path):
    words = ["train", "--data", scene_folder, "--no-privacy", "--curves"]
    assert tfpriv(*words, "--output", tmp_path / "out", *SMALL, *SHORT) == 0
    manifest = json.loads((tmp_path / "out" / store.MANIFEST).read_text())
    (loss,) = manifest[store.CURVES_LABEL]["loss"]
    assert f"{loss:.3f}" not in (tmp_path / "out" / "report.html").read_text()


def test_a_training_is_written_where_a_link_leads(scene_folder, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    words = ["train", "--data", scene_folder, "--no-privacy"]
    assert tfpriv(*words, "--output", tmp_path / "link", *SMALL, *SHORT) == 0
    assert (tmp_path / "there" / store.MODEL).is_file()


def test_compare_sets_three_side_by_side(plain_run, scene_folder, tmp_path, capsys):
    words = ["train", "--data", scene_folder, "--output", tmp_path / "out"]
    words += ["--noise-multiplier", 1.0, "--pretrained", plain_run]
    words += ["--pretrained-is-public", "--freeze-encoder", "--compare", *SHORT]
    assert tfpriv(*words) == 0
    out = capsys.readouterr().out
    for name in ("| plain |", "| clip only |", "| private |", "not covered by epsilon"):
        assert name in out
    manifest = json.loads((tmp_path / "out" / store.MANIFEST).read_text())
    rows = manifest[store.COMPARISON_LABEL]
    assert [row["epsilon"] == "infinity" for row in rows] == [True, True, False]
    assert all("loss" not in key for row in rows for key in row)


def test_sweep_writes_table_and_plot(plain_run, scene_folder, tmp_path, capsys):
    words = ["sweep", "--data", scene_folder, "--output", tmp_path / "out"]
    words += ["--pretrained", plain_run, "--pretrained-is-public", "--freeze-encoder"]
    words += ["--epsilons", "1", *SHORT]
    assert tfpriv(*words) == 2
    assert "--validation-is-public" in capsys.readouterr().err
    assert tfpriv(*words, "--validation-is-public") == 0
    table = json.loads((tmp_path / "out" / "table.json").read_text())
    labels = [row["training"] for row in table["rows"]]
    assert labels == ["start weights", "epsilon 1", "without privacy"]
    assert 0.9 < table["rows"][1]["epsilon"] <= 1
    assert "CIDEr" in (tmp_path / "out" / "table.md").read_text()
    model = store.load_captioner(tmp_path / "out" / "epsilon_1")
    assert model.privacy.epsilon(1e-5) <= 1
    assert (tmp_path / "out" / "without_privacy" / store.LEDGER).is_file()
    assert images.load(tmp_path / "out" / "sweep.png").shape[0] > 100
    page = read(tmp_path / "out" / "report.html")
    assert "Not for publishing" in page.words
    assert "start weights" in page.words
    assert len(page.pictures) == 2  # CIDEr and loss
    assert read(tmp_path / "out" / "epsilon_1" / "report.html").words


@pytest.mark.slow
def test_a_sweep_counts_what_its_weights_have_spent(plain_run, scene_folder, tmp_path):
    first = tmp_path / "first"
    common = ["--data", scene_folder, "--freeze-encoder", *SHORT, "--pretrained"]
    words = [*common, plain_run, "--pretrained-is-public", "--noise-multiplier", 2]
    assert tfpriv("train", *words, "--output", first) == 0
    words = [*common, first, "--epsilons", "9", "--validation-is-public"]
    assert tfpriv("sweep", *words, "--output", tmp_path / "out") == 0
    before = Ledger.load(first / store.LEDGER)
    for name in ("epsilon_9", "without_privacy"):
        after = Ledger.load(tmp_path / "out" / name / store.LEDGER)
        assert len(after) > len(before)


def test_a_sweep_with_learned_words_is_refused(scene_folder, tmp_path, capsys):
    words = ["sweep", "--data", scene_folder, "--learn-vocabulary", *SMALL, *SHORT]
    words += ["--validation-is-public", "--output", tmp_path / "out"]
    assert tfpriv(*words) == 2
    assert "no budget can be kept" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_epsilons_rise_between_the_two_ends():
    from tfpriv.captioning.sweep import epsilon_variants

    labels = [v.label for v in epsilon_variants([8, 0.61, 3], 1e-6)]
    assert labels[1:-1] == ["epsilon 0.61", "epsilon 3", "epsilon 8"]


REFUSED = {
    "no privacy said": ("train --data D --output O", "one of the arguments"),
    "both said": (
        "train --data D --output O --epsilon 1 --no-privacy",
        "not allowed with",
    ),
    "no data": ("train --data nowhere --output O --no-privacy", "no data folder"),
    "no such split": (
        "train --data D --output O --no-privacy --split test",
        "'test'",
    ),
    "batch beyond data": (
        "train --data D --output O --no-privacy --batch-size 99",
        "batch_size=99",
    ),
    "budget and learned words": (
        "train --data D --output O --epsilon 1 --learn-vocabulary",
        "no budget can be kept",
    ),
    "frozen at random": (
        "train --data D --output O --epsilon 1 --freeze-encoder",
        "random weights",
    ),
    "compare without noise": (
        "train --data D --output O --no-privacy --compare --epochs 1",
        "--compare",
    ),
    "not a number": (
        "sweep --data D --output O --validation-is-public --epsilons 1,x",
        "'1,x'",
    ),
    "an epsilon twice": (
        "sweep --data D --output O --validation-is-public --epsilons 3,3",
        "Expected different ones",
    ),
    "a picture of no size": (
        "train --data D --output O --no-privacy --image-size 0",
        "--image-size must be positive",
    ),
    "fewer pictures than none": (
        "make-data --pictures 10 --validation -4 --output O",
        "validation=-4",
    ),
    "no beams": ("generate P --model M --beams 0", "beams=0"),
    "too many beams": ("generate P --model M --beams 100000", "beams=100000"),
    "no beams in an export": ("export --model M --output O --beams 0", "beams=0"),
    "a sheet over a picture": (
        "generate P --model M --sheet P",
        "replace what is read",
    ),
    "figures over captions": (
        "evaluate --data D --model M --output A",
        "replace what is read",
    ),
    "figures over a folder": ("evaluate --data D --model M --output D", "a folder"),
    "an output below a file": (
        "train --data D --output F/run --epsilon 1",
        "is none",
    ),
    "no model": ("evaluate --data D --model nowhere", "no model"),
    "no picture": ("generate none.jpg --model M", "none.jpg"),
    "no weights": (
        "train --data D --output O --no-privacy --pretrained captioning_publik",
        "captioning_public does",
    ),
    "another architecture": (
        "train --data D --output O --no-privacy --pretrained M --width 8",
        "leave these out",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line(name, scene_folder, plain_run, tmp_path, capsys):
    command, message = REFUSED[name]
    picture = next((scene_folder / "val2017").iterdir())
    captions = scene_folder / "annotations" / "captions_val2017.json"
    places = {"D": scene_folder, "O": tmp_path / "out", "M": plain_run}
    places |= {"P": picture, "A": captions, "F/run": captions / "run"}
    before = picture.read_bytes(), captions.read_bytes()
    assert tfpriv(*(places.get(word, word) for word in command.split())) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("tfpriv: error: ")
    assert message in error
    assert not list(tmp_path.iterdir())
    assert (picture.read_bytes(), captions.read_bytes()) == before


def test_a_damaged_picture_stops_training_before_it_starts(
    scene_folder, tmp_path, capsys
):
    import shutil

    shutil.copytree(scene_folder, tmp_path / "data")
    picture = sorted((tmp_path / "data" / "train2017").iterdir())[3]
    picture.write_bytes(picture.read_bytes()[:300])
    words = ["train", "--data", tmp_path / "data", "--output", tmp_path / "out"]
    assert tfpriv(*words, "--epsilon", 3, *SMALL, *SHORT) == 2
    assert picture.name in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
