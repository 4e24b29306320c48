"""`tfpriv budget` as a user meets it."""

import json
import zipfile

import pytest

from tfpriv import cli
from tfpriv.accounting import Ledger
from tfpriv.accounting import mechanisms as m

PLAN = ["--population", 118_287, "--batch-size", 8192, "--steps", 500, "--delta", 1e-6]


@pytest.fixture
def run(capsys):
    def call(*words, code=0):
        assert cli.main(["budget", *map(str, words)]) == code
        output = capsys.readouterr()
        return output.out if code == 0 else output.err

    return call


def test_epsilon_from_noise(run):
    document = json.loads(
        run("epsilon", *PLAN, "--noise-multiplier", 12, "--format", "json")
    )
    ledger = Ledger()
    mechanism = m.poisson(8192 / 118287, 12.0, population=118287)
    ledger.record(mechanism, unit="image", purpose="x", count=500)
    assert document["epsilon"] == ledger.epsilon(1e-6)
    assert document["noise_multiplier"] == 12
    text = run("epsilon", *PLAN, "--noise-multiplier", 12, "--unit", "image")
    assert "noise multiplier = 12\n" in text
    assert "for each image: epsilon = 0.5" in text


@pytest.mark.parametrize("population", [118_287, 82_783 + 30_504])
def test_a_recipe_for_coco(run, population):
    plan = ["--population", population, *PLAN[2:]]
    text = run("noise", "--epsilon", 0.61, *plan)
    assert "epsilon = 0.61 at delta = 1e-06" in text
    noise = text.split("noise multiplier = ")[1].split()[0]
    back = run("epsilon", *plan, "--noise-multiplier", noise, "--format", "json")
    assert 0.609 < json.loads(back)["epsilon"] <= 0.61


def test_samplers(run):
    plan = ["--steps", 10, "--noise-multiplier", 20, "--format", "json"]
    sizes = ["--population", 1000, "--batch-size", 10]
    document = json.loads(run("epsilon", *plan, *sizes, "--sampler", "fixed"))
    assert document["relation"] == "REPLACE_ONE"
    document = json.loads(
        run("epsilon", *plan, "--sampler", "stream", "--max-occurrences", 2)
    )
    assert document["mechanisms"][0]["event"]["noise_multiplier"] == 10
    tight = json.loads(run("epsilon", *plan, *sizes, "--accountant", "pld"))
    assert tight["accountant"] == "pld"


@pytest.mark.parametrize("sampler", ["poisson", "fixed", "stream"])
def test_epochs(run, sampler):
    plan = ["--population", 1001, "--batch-size", 10, "--noise-multiplier", 20]
    plan += ["--sampler", sampler]
    steps = plan[4:] if sampler == "stream" else plan
    assert run("epsilon", *plan, "--epochs", 2) == run(
        "epsilon", *steps, "--steps", 202
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["epsilon", "--steps", 1, "--noise-multiplier", 1],
            "These are needed too: --population, --batch-size.",
        ),
        (
            ["epsilon", "--epochs", 1, "--noise-multiplier", 1, "--sampler", "stream"],
            "These are needed too: --population, --batch-size.",
        ),
        (
            ["noise", "--epsilon", 1],
            "These are needed too: --steps or --epochs, --population, --batch-size.",
        ),
        (
            ["noise", "--epsilon", 1, "--sampler", "stream"],
            "These are needed too: --steps or --epochs.",
        ),
        (
            ["epsilon", *PLAN, "--epochs", 1, "--noise-multiplier", 1],
            "not allowed with argument --steps",
        ),
        (
            ["noise", "--epsilon", 0, *PLAN],
            "0 < epsilon. Received: epsilon=0.0",
        ),
        (
            ["epsilon", "--noise-multiplier", 1, *PLAN, "--batch-size", 200_000],
            "--batch-size must lie between",
        ),
        (
            [
                "noise",
                "--epsilon",
                1,
                *PLAN,
                "--sampler",
                "fixed",
                "--accountant",
                "pld",
            ],
            "Use accountant='rdp'",
        ),
        (
            ["epsilon", *PLAN, "--noise-multiplier", 1, "--max-occurrences", 7],
            "--max-occurrences is for --sampler stream",
        ),
        (
            ["epsilon", *PLAN, "--noise-multiplier", 1, "--sampler", "stream"],
            "leave --population and --batch-size out",
        ),
        (
            ["epsilon", *PLAN[:4], "--steps", 0, "--noise-multiplier", 1],
            "--steps must be positive. Received: 0",
        ),
        (["show", "no_such_file"], "No such file"),
        (["epsilon", "--steps", "x"], "invalid int value"),
    ],
)
def test_wrong_usage_is_one_clear_line(run, words, message):
    error = run(*words, code=2)
    assert error.startswith("tfpriv: error: ")
    assert message in error
    assert error.count("\n") == 1


def test_nothing_is_printed_before_an_error(capsys):
    words = ["budget", "epsilon", *PLAN, "--noise-multiplier", 1, "--delta", "nan"]
    assert cli.main([*map(str, words)]) == 2
    assert capsys.readouterr().out == ""


@pytest.fixture
def ledger():
    ledger = Ledger()
    ledger.record(m.poisson(0.01, 1.1), unit="image", purpose="training", count=100)
    return ledger


def places(ledger, folder):
    """A ledger alone, in a SavedModel's folder, and in a `.keras` archive."""
    ledger.save(folder / "ledger.json")
    saved_model = folder / "saved_model"
    (saved_model / "assets.extra").mkdir(parents=True)
    ledger.save(saved_model / "assets.extra" / "privacy_ledger.json")
    with zipfile.ZipFile(folder / "m.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("assets/privacy_ledger.json", ledger.to_bytes())
    return folder / "ledger.json", saved_model, folder / "m.keras"


def test_show_finds_the_ledger(run, ledger, tmp_path):
    for place in places(ledger, tmp_path):
        assert run("show", place, "--delta", 1e-6) == ledger.statement(1e-6)
        document = json.loads(run("show", place, "--format", "json"))
        assert document == json.loads(ledger.statement(format="json"))


def test_show_takes_the_delta_of_the_statement_beside(run, ledger, tmp_path):
    _, saved_model, keras_file = places(ledger, tmp_path)
    statement = ledger.statement(1e-3, "json")
    beside = saved_model / "assets.extra" / "privacy_statement.json"
    beside.write_text(statement)
    config = json.dumps({"config": {"privacy_statement": statement}})
    with zipfile.ZipFile(keras_file, "w") as archive:
        archive.writestr("config.json", config)
        archive.writestr("assets/privacy_ledger.json", ledger.to_bytes())
    for place in (saved_model, keras_file):
        assert run("show", place) == ledger.statement(1e-3)
        assert run("show", place, "--delta", 1e-6) == ledger.statement(1e-6)
    beside.write_text("damaged")
    assert run("show", saved_model) == ledger.statement(1e-5)


def test_show_refuses_damage_and_absence(run, ledger, tmp_path):
    for place in places(ledger, tmp_path)[::2]:
        data = place.read_bytes()
        place.write_bytes(data.replace(b'": 100', b'": 101'))
        assert "tfpriv: error: " in run("show", place, code=2)
        place.write_bytes(data[: len(data) // 2])
        assert "tfpriv: error: " in run("show", place, code=2)
    (tmp_path / "empty").mkdir()
    assert "There is no privacy_ledger.json" in run("show", tmp_path / "empty", code=2)
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr("config.json", "{}")
    assert "Expected one privacy_ledger" in run("show", tmp_path / "m.zip", code=2)
