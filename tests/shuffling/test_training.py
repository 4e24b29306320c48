"""Training, the table of experiments, and the commands that run them."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from tfpriv import cli, dp
from tfpriv.shuffling import (
    Key,
    data,
    experiments,
    inference,
    networks,
    recipes,
    shuffle,
    train,
)


@pytest.fixture(scope="module")
def shapes():
    return data.shapes(384, 60)


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "my.key"
    Key.generate().save(path)
    return path


@pytest.fixture(scope="module")
def trained(shapes, tmp_path_factory):
    """A folder with a small network that knows the shapes a little."""
    folder = tmp_path_factory.mktemp("trained")
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Rescaling(1 / 64, offset=-2),
            keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(4),
        ],
        name="little",
    )
    model.save(folder / "start.keras")
    experiments.run_training(
        shapes,
        folder,
        network="small_cnn",
        recipe="paper",
        view="plain",
        key=None,
        epochs=5,
        batch_size=32,
        seed=0,
        weights=folder / "start.keras",
        command="test",
    )
    return folder


def test_the_manifest_says_what_was_measured(trained, shapes):
    manifest = json.loads((trained / experiments.MANIFEST_NAME).read_text())
    model = experiments.load_network(trained / experiments.MODEL_NAME)
    right = train.predictions(model, shapes.test_images) == shapes.test_labels
    assert manifest["test_right"] == right.sum()
    assert manifest["classes"] == list(shapes.class_names)


def test_with_the_key_as_plain_and_without_it_not(trained, shapes, key):
    model = experiments.load_network(trained / experiments.MODEL_NAME)
    rows = experiments.compare(model, shapes, Key.load(key), finetuned=model)
    same = {row.experiment: row.same for row in rows}
    correct = {row.experiment: row.correct for row in rows}
    for name in ("with key", "with key and nonces"):
        assert same[name] == len(shapes.test_labels)
        assert correct[name] == correct["plain network, plain pictures"]
    assert same["with a wrong key"] < len(shapes.test_labels)
    assert correct["fine-tuned on shuffled"] == correct["plain network, shuffled"]


def test_the_keyed_view_takes_the_steps_of_the_plain_one(shapes, key):
    def weights(view, secret):
        keras.utils.set_random_seed(0)
        model = networks.preresnet(8, (32, 32, 3), 4)
        recipe = recipes.ShufflingRecipe(
            64, 1, 0.0, 4, lambda steps, epochs: keras.optimizers.SGD(1e-3)
        )
        train.train(model, shapes, view=view, key=secret, recipe=recipe, seed=1)
        return model.get_weights()

    pairs = zip(weights("plain", None), weights("keyed", Key.load(key)), strict=True)
    for plain, through in pairs:
        np.testing.assert_allclose(through, plain, rtol=1e-5, atol=1e-3)


@pytest.mark.slow
def test_a_training_that_was_interrupted_goes_on(shapes, tmp_path):
    class StoppedError(Exception):
        pass

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise StoppedError

    epochs = []

    class Count(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            epochs.append(epoch)

    def run(callback):
        model = networks.preresnet(8, (32, 32, 3), 4)
        arguments = {"epochs": 3, "batch_size": 96, "folder": tmp_path / "state"}
        train.train(model, shapes, callbacks=(callback,), **arguments)

    with pytest.raises(StoppedError):
        run(Stop())
    run(Count())
    assert epochs == [2]


@pytest.mark.parametrize(("view", "has_key"), [("keyed", False), ("plain", True)])
def test_a_view_and_its_key(shapes, view, has_key):
    secret = Key.generate() if has_key else None
    with pytest.raises(ValueError, match="with a key for the last two"):
        train.train(networks.preresnet(8), shapes, view=view, key=secret)


@pytest.fixture
def few(shapes):
    some = [shapes.train_images[:8], shapes.train_labels[:8]]
    return data.Dataset("few", *some, *some, shapes.class_names)


def moved(few):
    """All pictures that augmentation may make: mirrored or not, moved by up to 4."""
    padded = np.pad(few.train_images, [(0, 0), (4, 4), (4, 4), (0, 0)], "reflect")
    return [
        side[y : y + 32, x : x + 32]
        for picture in padded
        for side in (picture, picture[:, ::-1])
        for y in range(9)
        for x in range(9)
    ]


def test_augmentation_moves_by_four_pixels_and_mirrors(few):
    images, _ = next(iter(train.training_batches(few, 8)))
    possible = {picture.tobytes() for picture in moved(few)}
    assert all(image.tobytes() in possible for image in images.numpy().astype("uint8"))


def test_augmentation_blanks_out_a_square(few):
    images, _ = next(iter(train.training_batches(few, 8, seed=3, hole=8)))
    possible = np.stack(moved(few))
    for image in images.numpy():
        blank = (image == 120).all(-1)
        rows, columns = (np.flatnonzero(blank.any(axis)) for axis in (1, 0))
        # All of it, or what of it lies inside the picture.
        assert 4 <= len(rows) <= 8
        assert 4 <= len(columns) <= 8
        assert blank[np.ix_(rows, columns)].all()
        assert blank.sum() == len(rows) * len(columns)
        assert (possible == image)[:, ~blank].all((1, 2)).any()


def test_weight_decay_is_part_of_the_gradient():
    weight, bias = keras.Variable([[2.0]]), keras.Variable([2.0])
    optimizer = recipes.WeightDecaySGD(0.1, momentum=0.5, decay=0.25)
    optimizer.build([weight, bias])
    value, velocity = 2.0, 0.0
    for _ in range(3):
        optimizer.apply([np.zeros((1, 1), "float32"), np.zeros(1, "float32")])
        velocity = 0.5 * velocity - 0.1 * 0.25 * value
        value += velocity
    np.testing.assert_allclose(weight, [[value]], rtol=1e-6)
    np.testing.assert_allclose(bias, [2.0])
    again = recipes.WeightDecaySGD.from_config(optimizer.get_config())
    assert again.decay == 0.25


def test_the_papers_schedule():
    rate = recipes.Milestones(0.1, 10)
    found = [float(rate(10 * epoch + 5)) for epoch in (0, 30, 90, 130, 190)]
    np.testing.assert_allclose(found, [0.06, 0.1, 0.02, 0.004, 0.0008], rtol=1e-5)


def test_a_triangle_rises_and_falls():
    rates = [float(recipes.Triangle(1.0, 10)(step)) for step in range(10)]
    np.testing.assert_allclose(rates[:3], [0.5, 1.0, 0.875], rtol=1e-5)
    assert rates[-1] == pytest.approx(0.01)


# --- The commands ---


@pytest.fixture(scope="module")
def picture(shapes, tmp_path_factory):
    path = tmp_path_factory.mktemp("picture") / "plain.png"
    Image.fromarray(shapes.test_images[0]).save(path)
    return path


@pytest.mark.parametrize("options", [[], ["--fixed"]])
def test_one_picture_protected_and_plain(
    trained, picture, key, options, tmp_path, capsys
):
    protected = tmp_path / "protected.png"
    arguments = [str(picture), "--key", str(key), "--output", str(protected)]
    assert cli.main(["shuffle", "protect", *arguments, *options]) == 0
    model = ["--model", str(trained / experiments.MODEL_NAME)]
    capsys.readouterr()
    answers, sheets = [], []
    for given in ([str(picture)], [str(protected), "--key", str(key)]):
        maps = tmp_path / f"{len(answers)}.png"
        drawn = ["--feature-maps", str(maps)]
        assert cli.main(["shuffle", "infer", *model, *given, *drawn]) == 0
        answers.append(capsys.readouterr().out.splitlines()[:3])
        sheets.append(np.asarray(Image.open(maps)))
    assert answers[0] == answers[1]
    assert sheets[0].shape == sheets[1].shape
    assert (sheets[0] != sheets[1]).any()  # features stay shuffled


def test_the_table(trained, key, shapes, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(data, "load", lambda source: shapes)
    report = tmp_path / "report.json"
    arguments = ["--model", str(trained), "--data", "shapes", "--key", str(key)]
    code = cli.main(["shuffle", "test", *arguments, "--output", str(report)])
    assert code == 0
    assert "| with key |" in capsys.readouterr().out
    rows = {row["experiment"]: row for row in json.loads(report.read_text())["rows"]}
    assert rows["with key"]["same"] == rows["with key"]["pictures"] == 60


def test_a_network_is_not_overwritten(trained, shapes, capsys, monkeypatch):
    monkeypatch.setattr(data, "load", lambda source: shapes)
    before = (trained / experiments.MODEL_NAME).read_bytes()
    output = ["--data", "shapes", "--output", str(trained)]
    for arguments in (["train", "--epochs", "1"], ["average", str(trained)]):
        assert cli.main(["shuffle", *arguments, *output]) == 2
        assert "a network in this folder already" in capsys.readouterr().err
    assert (trained / experiments.MODEL_NAME).read_bytes() == before


def test_a_private_model_is_loaded_by_a_command_that_knows_of_none(tmp_path, picture):
    """In a process that nobody has imported `tfpriv.dp` into."""
    model = dp.make_private(
        keras.Sequential(
            [
                keras.Input((32, 32, 3)),
                keras.layers.Rescaling(1 / 255),
                keras.layers.Conv2D(2, 3),
                keras.layers.Flatten(),
                keras.layers.Dense(4),
            ]
        )
    )
    model.save(tmp_path / "model.keras")
    argv = [sys.executable, "-m", "tfpriv", "shuffle", "infer", "--model"]
    done = subprocess.run(
        [*argv, tmp_path, picture], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" %  ") == 3  # the three likeliest classes


def test_an_export_and_the_keys_that_it_asks_for(trained, key, shapes, tmp_path):
    import tensorflow as tf

    model, keys = trained / experiments.MODEL_NAME, tmp_path / "keys.npz"
    arguments = ["--model", str(model), "--output", str(tmp_path / "m")]
    arguments += ["--key", str(key), "--derived-keys", str(keys)]
    assert cli.main(["shuffle", "export", *arguments]) == 0
    assert keys.stat().st_mode & 0o777 == 0o600
    x = shapes.test_images[:2].astype("float32")
    exported = tf.saved_model.load(tmp_path / "m")
    found = exported.serve(shuffle(x, Key.load(key)), np.load(keys)["serve"])
    wanted = experiments.load_network(model)(x)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-3)


def test_a_key_is_not_replaced_by_what_is_exported(trained, key, tmp_path, capsys):
    model = ["--model", str(trained), "--output", str(tmp_path / "m")]
    before = key.read_bytes()
    for bad in (key, tmp_path, tmp_path / "none" / "keys.npz"):
        keys = ["--key", str(key), "--derived-keys", str(bad)]
        assert cli.main(["shuffle", "export", *model, *keys]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert key.read_bytes() == before
    assert not list(tmp_path.iterdir())


def test_derived_keys_are_never_open_to_others(trained, key, tmp_path, monkeypatch):
    seen = []

    def savez(file, **arrays):
        seen.append(os.fstat(file.fileno()).st_mode & 0o777)

    monkeypatch.setattr(np, "savez", savez)
    arguments = ["--key", str(key), "--derived-keys", str(tmp_path / "keys.npz")]
    arguments += ["--model", str(trained), "--output", str(tmp_path / "m")]
    assert cli.main(["shuffle", "export", *arguments]) == 0
    assert seen == [0o600]


def test_an_export_onto_a_full_disk_leaves_nothing(
    trained, tmp_path, full_disk, capsys
):
    arguments = ["--model", str(trained), "--output", str(tmp_path / "m")]
    with full_disk(1000):
        assert cli.main(["shuffle", "export", *arguments]) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "saved_model.pb").write_text("mine")
    assert cli.main(["shuffle", "export", *arguments]) == 2
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "m" / "saved_model.pb").read_text() == "mine"


def test_what_is_read_is_not_replaced(trained, picture, key, tmp_path, capsys):
    given = {path: path.read_bytes() for path in (picture, key)}
    model = ["--model", str(trained)]
    for path in given:
        infer = ["infer", *model, str(picture), "--key", str(key)]
        test = ["test", *model, "--key", str(key), "--data", str(picture)]
        for words in ([*infer, "--feature-maps"], [*test, "--output"]):
            assert cli.main(["shuffle", *words, str(path)]) == 2
            assert "replace what is read" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in given} == given
    test = ["test", *model, "--data", "shapes", "--output", str(tmp_path)]
    assert cli.main(["shuffle", *test]) == 2
    assert "a folder" in capsys.readouterr().err


def test_a_training_leaves_the_users_own_training_folder(
    shapes, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(data, "load", lambda source: shapes)
    labels = tmp_path / "net" / "training" / "labels.csv"
    labels.parent.mkdir(parents=True)
    labels.write_text("a,1")
    words = ["train", "--data", "shapes", "--epochs", "1", "--output"]
    assert cli.main(["shuffle", *words, str(tmp_path / "net")]) == 2
    assert "labels.csv" in capsys.readouterr().err
    assert labels.read_text() == "a,1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["train", "--data", "shapes", "--output", "o", "--view", "keyed"],
            "need --key",
        ),
        (["train", "--data", "none", "--output", "o"], "There is no none"),
        (["train", "--data", "shapes", "--output", "o", "--epochs", "0"], "positive"),
        (["infer", "--model", "none.keras", "none.png"], "none.keras"),
        (["export", "--model", "x", "--output", "o", "--include-key"], "need --key"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(
    arguments, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    try:
        code = cli.main(["shuffle", *arguments])
    except SystemExit as stop:
        code = stop.code
    assert code != 0
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert message in lines[0]
    assert not list(tmp_path.iterdir())


def test_a_protected_picture_needs_its_key(trained, picture, key, tmp_path, capsys):
    protected = tmp_path / "p.png"
    arguments = [str(picture), "--key", str(key), "--output", str(protected)]
    cli.main(["shuffle", "protect", *arguments])
    model = ["--model", str(trained / experiments.MODEL_NAME)]
    assert cli.main(["shuffle", "infer", *model, str(protected)]) != 0
    assert "protected" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"classes": 3}', '{"classes": [3]}'])
def test_a_manifest_without_names_of_classes(tmp_path, text):
    (tmp_path / experiments.MANIFEST_NAME).write_text(text)
    with pytest.raises(ValueError, match="Received: "):
        inference.class_names(tmp_path / experiments.MODEL_NAME)
