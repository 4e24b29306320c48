"""Saved models carry weights, optimizer and ledger, and nothing that is secret."""

import contextlib
import io
import json
import re
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import small
import tensorflow as tf

import tfpriv.dp as dp
from tfpriv.accounting import Ledger, LedgerError, mechanisms
from tfpriv.accounting.cli import find_ledger
from tfpriv.dp import exporting, provenance
from tfpriv.dp.exporting import STATEMENT_NAME
from tfpriv.dp.model import LEDGER_KEY
from tfpriv.support.randomness import Randomness


def adam():
    return dp.DPAdam(1e-2, l2_norm_clip=1.0, noise_multiplier=1.1)


def with_dropout():
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((3,)), layers.Dense(4), layers.Dropout(0.5), layers.Dense(1)]
    )


def functional():
    x = keras.Input((3,))
    return keras.Model(x, keras.layers.Dense(1)(keras.layers.Dense(4)(x)))


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.hidden = keras.layers.Dense(width)
        self.out = keras.layers.Dense(1)

    def call(self, x):
        return self.out(self.hidden(x))

    def get_config(self):
        return {**super().get_config(), "width": self.width}


MAKERS = {
    "sequential": with_dropout,
    "functional": functional,
    "subclassed": lambda: Subclassed(4),
}


def trained(make=with_dropout, **options):
    model = small.compiled(dp.make_private(make(), **options), adam(), metrics=["mae"])
    model.fit(*small.data(8), batch_size=4, epochs=2, verbose=0)
    return model


def assert_same(model, loaded):
    assert isinstance(loaded, dp.PrivateModel)
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    pairs = zip(model.optimizer.variables, loaded.optimizer.variables, strict=True)
    for a, b in pairs:
        np.testing.assert_array_equal(a, b)
    assert loaded.privacy.ledger == model.privacy.ledger
    assert loaded.privacy.epsilon() == model.privacy.epsilon()
    assert loaded.privacy.unit == model.privacy.unit


@pytest.mark.parametrize("kind", MAKERS)
def test_keras_file(kind, tmp_path):
    model = trained(MAKERS[kind], unit="picture", max_occurrences=2)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert_same(model, loaded)
    assert loaded.privacy.max_occurrences == 2
    loaded.fit(*small.data(8), batch_size=4, verbose=0)
    assert len(loaded.privacy.ledger) == 6
    assert loaded.privacy.epsilon() > model.privacy.epsilon()


def test_unzipped_and_sharded_and_weights_only(tmp_path):
    model = trained()
    model.save(tmp_path / "folder", zipped=False)
    assert_same(model, keras.models.load_model(tmp_path / "folder"))
    for name, options in (
        ("m.weights.h5", {}),
        ("m.weights.json", {"max_shard_size": 1e-6}),
    ):
        model.save_weights(tmp_path / name, **options)
        fresh = small.compiled(dp.make_private(with_dropout()), adam())
        fresh.optimizer.build(fresh.trainable_variables)
        fresh.load_weights(tmp_path / name)
        assert fresh.privacy.ledger == model.privacy.ledger
        assert fresh.privacy.epsilon() == model.privacy.epsilon()
        assert int(fresh.optimizer.iterations) == 4


def test_a_fresh_process_loads_every_kind(tmp_path):
    for kind, make in MAKERS.items():
        if kind != "subclassed":  # its class lives in this file
            trained(make).save(tmp_path / f"{kind}.keras")
    script = """
import sys, keras, tfpriv.dp as dp
for path in sys.argv[1:]:
    model = keras.models.load_model(path)
    assert isinstance(model, dp.PrivateModel)
    print(model.privacy.epsilon(), len(model.privacy.ledger))
"""
    printed = small.run_script(script, *sorted(tmp_path.glob("*.keras")))
    lines = printed.strip().splitlines()
    assert len(lines) == 2
    assert all(float(line.split()[0]) > 0 and line.endswith(" 4") for line in lines)


def test_keras_names_the_module_that_was_not_imported(tmp_path):
    trained().save(tmp_path / "model.keras")
    script = """
import sys, keras
try:
    keras.models.load_model(sys.argv[1])
except TypeError as error:
    print(error)
"""
    printed = small.run_script(script, tmp_path / "model.keras")
    assert "Could not locate class 'Private" in printed
    assert "'module': 'tfpriv.dp'" in printed


def test_the_statement_is_inside_the_config(tmp_path):
    model = trained()
    model.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        config = json.loads(archive.read("config.json"))
    statement = json.loads(config["config"]["privacy_statement"])
    assert statement["epsilon"] == model.privacy.epsilon()
    assert statement["steps"] == 4
    assert statement["weights_digest"] == model.privacy.ledger.weights_digest


def test_the_ledger_can_be_read_without_keras(tmp_path):
    model = trained()
    model.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        (member,) = [n for n in archive.namelist() if n.endswith("privacy_ledger.json")]
        assert Ledger.from_bytes(archive.read(member)) == model.privacy.ledger


def test_saved_in_the_middle_of_training(tmp_path):
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")
    model = small.private(adam())
    x, y = small.data(8)
    model.fit(x, y, batch_size=4, epochs=3, callbacks=[checkpoint], verbose=0)
    loaded = keras.models.load_model(tmp_path / "2.keras")
    assert len(loaded.privacy.ledger) == 4
    assert 0 < loaded.privacy.epsilon() < model.privacy.epsilon()
    with zipfile.ZipFile(tmp_path / "2.keras") as archive:
        config = json.loads(archive.read("config.json"))
    statement = json.loads(config["config"]["privacy_statement"])
    assert statement["weights_digest"] == loaded.privacy.ledger.weights_digest


def test_saved_model(tmp_path, capfd):
    model = trained()
    model.export(tmp_path / "exported")
    extra = tmp_path / "exported" / "assets.extra"
    shown = capfd.readouterr().out
    assert str(extra / "privacy_ledger.json") in shown
    assert str(tmp_path / "tmp") not in shown  # the folder that was moved away
    assert Ledger.load(extra / "privacy_ledger.json") == model.privacy.ledger
    statement = json.loads((extra / "privacy_statement.json").read_text())
    assert statement["epsilon"] == model.privacy.epsilon()
    model.export(tmp_path / "exported", "tf_saved_model", 0)
    assert "Exported" not in capfd.readouterr().out
    served = tf.saved_model.load(tmp_path / "exported")
    x = small.data(5)[0]
    np.testing.assert_allclose(served.serve(x), model.predict(x, verbose=0), rtol=1e-5)
    script = """
import sys, tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
assert "tfpriv" not in sys.modules
print(loaded.serve(tf.ones([1, 3])).shape)
"""
    assert "(1, 1)" in small.run_script(script, tmp_path / "exported")


def check_ledger_goes_along(folder, model):
    """The ledger and its statement, at the delta of the budget, are in `assets/`."""
    assert find_ledger(folder) == model.privacy.ledger
    assert not (folder / "assets.extra").exists()
    statement = json.loads((folder / "assets" / STATEMENT_NAME).read_text())
    assert statement["delta"] == model.privacy.delta
    assert b"/tmp" not in (folder / "saved_model.pb").read_bytes()  # where it came from


@pytest.fixture(scope="module")
def saved():
    return trained()


def test_tensorflow_saves_the_ledger(saved, tmp_path):
    tf.saved_model.save(saved, tmp_path / "saved")
    check_ledger_goes_along(tmp_path / "saved", saved)
    x, loaded = small.data(4)[0], tf.saved_model.load(tmp_path / "saved")
    (found,) = loaded.signatures["serving_default"](tf.constant(x)).values()
    np.testing.assert_allclose(found, saved(x), rtol=1e-5)


def test_an_archive_that_tracks_the_model_saves_the_ledger(saved, tmp_path):
    archive = keras.export.ExportArchive()
    archive.track(saved)
    archive.add_endpoint("serve", saved.call, [tf.TensorSpec([None, 3])])
    archive.write_out(tmp_path / "saved", verbose=False)
    check_ledger_goes_along(tmp_path / "saved", saved)
    x, loaded = small.data(4)[0], tf.saved_model.load(tmp_path / "saved")
    np.testing.assert_allclose(loaded.serve(x), saved(x), rtol=1e-5)


def test_a_private_part_of_a_saved_module_brings_the_ledger(saved, tmp_path):
    around = keras.Sequential([keras.Input((3,)), saved])
    tf.saved_model.save(around, tmp_path / "model")
    module = tf.Module()
    module.part = saved
    tf.saved_model.save(module, tmp_path / "module")
    for name in ("model", "module"):
        check_ledger_goes_along(tmp_path / name, saved)


def test_planted_saved_model_without_its_ledger_is_found(saved, tmp_path, monkeypatch):
    monkeypatch.delattr(dp.PrivateModel, "_trackable_children")
    tf.saved_model.save(saved, tmp_path / "saved")
    with pytest.raises(LedgerError, match="There is no privacy_ledger"):
        check_ledger_goes_along(tmp_path / "saved", saved)


def test_an_export_has_one_ledger(saved, tmp_path):
    saved.export(tmp_path / "exported", verbose=False)
    assert not (tmp_path / "exported" / "assets" / exporting.LEDGER_NAME).exists()
    tf.saved_model.save(saved, tmp_path / "saved")  # as before the export
    check_ledger_goes_along(tmp_path / "saved", saved)


def test_a_loaded_model_keeps_the_delta_and_accountant_of_its_budget(tmp_path):
    model = small.private(small.sgd(noise_multiplier=9.0, budget=(3, 1e-3, "pld")))
    model.fit(*small.data(8), verbose=0)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras", compile=False)
    assert (loaded.privacy.delta, loaded.privacy.accountant) == (1e-3, "pld")
    small.compiled(loaded)  # without a budget: the defaults
    assert (loaded.privacy.delta, loaded.privacy.accountant) == (1e-5, "rdp")


def export_files(target, *endings):
    """Exports as a format of files does, which writes them beside each other."""

    def export_to(path):
        for ending in ("", *endings):
            Path(path).with_suffix(ending or Path(path).suffix).write_bytes(b"new")

    return exporting.export(export_to, trained().privacy.ledger, 1e-5, target)


@pytest.mark.parametrize("folder", [True, False])
def test_an_export_loses_no_other_things(folder, tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    (results / "mine").touch()
    with pytest.raises(FileExistsError, match=r"other things.*results.*\['mine'\]"):
        trained().export(results) if folder else export_files(results)
    assert [path.name for path in tmp_path.rglob("*")] == ["results", "mine"]


@pytest.mark.parametrize(
    "name",
    ["assets/photo.png", "variables/mydata.csv", "saved_model.pb/of another kind"],
)
def test_a_folder_that_looks_like_an_export_is_none(name, tmp_path):
    mine = tmp_path / "results" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(FileExistsError, match="other things"):
        trained().export(tmp_path / "results")
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("name", ["assets.extra/notes.txt", "variables/mydata.csv"])
def test_what_was_added_to_an_export_is_not_lost(name, tmp_path):
    target, model = tmp_path / "exported", trained()
    model.export(target, verbose=False)
    (target / name).write_text("mine")
    with pytest.raises(FileExistsError, match=re.escape(f"['{name}']")):
        model.export(target, verbose=False)
    assert (target / name).read_text() == "mine"


def test_exports_behind_links_and_into_the_current_folder(tmp_path, monkeypatch):
    model = trained()
    (tmp_path / "link").symlink_to(tmp_path / "exported")
    for _ in range(2):
        model.export(tmp_path / "link", verbose=False)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "exported" / "saved_model.pb").is_file()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(FileExistsError, match="name one inside"):
        model.export(".")


def test_an_export_of_files_brings_all_of_them_and_the_ledger(tmp_path):
    model = trained()
    model.export(tmp_path / "model.xml", verbose=False)  # what it replaces
    place = export_files(tmp_path / "model.xml", ".bin")
    assert Ledger.load(place).epsilon(1e-5) > 0
    names = ["model.bin", "model.xml", f"model.xml.{exporting.LEDGER_NAME}"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert (tmp_path / "model.xml").read_bytes() == b"new"


# Nothing secret.


class Spy:
    """Records everything that `Randomness` hands out, as bytes that a file may hold."""

    def __init__(self, monkeypatch):
        self.secrets = []
        for name in ("key", "words", "bernoulli", "subset"):
            self._watch(monkeypatch, name)

    def _watch(self, monkeypatch, name):
        real = getattr(Randomness, name)

        def watched(randomness, *arguments):
            value = real(randomness, *arguments)
            self.secrets.append((name, value))
            return value

        monkeypatch.setattr(Randomness, name, watched)

    def needles(self):
        """What must not be found: keys, seeds, drawn indices."""
        for name, value in self.secrets:
            if name == "key":
                yield value
                yield value.hex().encode()
                yield value[:8]
            elif len(value) > 3:
                for dtype in ("int64", "int32", "uint8"):
                    yield value.astype(dtype).tobytes()
                yield str(list(value)).encode()
                yield ",".join(map(str, value)).encode()


def contents(path):
    """All bytes of a file or folder: of archives and HDF5 what is inside as well."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    for file in files:
        yield file.read_bytes()
        if not zipfile.is_zipfile(file):
            continue
        with zipfile.ZipFile(file) as archive:
            for name in archive.namelist():
                yield archive.read(name)
                if name.endswith(".h5"):
                    yield from _datasets(archive.read(name))


def _datasets(data):
    found = []
    with h5py.File(io.BytesIO(data)) as file:
        file.visititems(
            lambda name, item: (
                found.append(np.asarray(item).tobytes())
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
    return found


def find(needles, path):
    haystack = b"\0\0".join(contents(path))
    return [needle for needle in needles if needle in haystack]


def test_released_files_hold_no_randomness(tmp_path, monkeypatch):
    spy = Spy(monkeypatch)
    model = small.compiled(dp.make_private(with_dropout()), adam())
    x, y = small.data(4000)
    model.fit(x, y, batch_size=500, epochs=1, verbose=0)
    model.save(tmp_path / "m.keras")
    model.export(tmp_path / "exported", verbose=False)
    needles = list(spy.needles())
    assert sum(name == "key" for name, _ in spy.secrets) > 16  # noise, batches, dropout
    assert sum(name == "bernoulli" for name, _ in spy.secrets) == 8
    assert find(needles, tmp_path / "m.keras") == []
    assert find(needles, tmp_path / "exported") == []


def test_planted_key_is_found(tmp_path, monkeypatch):
    spy = Spy(monkeypatch)
    model = trained()
    _, key = next(s for s in spy.secrets if s[0] == "key")
    model.privacy.record(mechanisms.non_private(f"noise key {key.hex()}"), "leak")
    model.save(tmp_path / "m.keras")
    model.export(tmp_path / "exported", verbose=False)
    assert find(spy.needles(), tmp_path / "m.keras")
    assert find(spy.needles(), tmp_path / "exported")


def numbers_in(path):
    """Every number in the SavedModel's variables or the `.keras` file's data sets."""
    if path.is_dir():
        reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
        values = [reader.get_tensor(n) for n in reader.get_variable_to_shape_map()]
    else:
        values = []
        with (
            zipfile.ZipFile(path) as archive,
            h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file,
        ):
            file.visititems(
                lambda name, item: (
                    values.append(np.asarray(item))
                    if isinstance(item, h5py.Dataset) and LEDGER_KEY not in name
                    else None
                )
            )
    numbers = [np.ravel(v) for v in values if getattr(v, "dtype", "S") != "S"]
    return np.concatenate([n.astype("float64") for n in numbers if n.dtype.kind != "S"])


def test_released_files_do_not_tell_batch_sizes(tmp_path, monkeypatch):
    """No counter in a file depends on how many examples were really drawn."""
    sizes = iter([[937, 11], [2, 401]])
    found = []
    for run in range(2):
        drawn = iter(next(sizes))
        monkeypatch.setattr(
            Randomness, "bernoulli", lambda self, q, n, d=drawn: np.arange(next(d))
        )
        model = small.compiled(
            dp.make_private(with_dropout(), microbatch_size=10), adam(), metrics=["mae"]
        )
        x, y = small.data(1000)
        model.fit(x, y, batch_size=500, verbose=0)
        model.save(tmp_path / f"{run}.keras")
        model.export(tmp_path / f"{run}", verbose=False)
        for path in (tmp_path / f"{run}.keras", tmp_path / f"{run}"):
            numbers = numbers_in(path)
            found.append(set(numbers[numbers == np.round(numbers)]) - {0.0})
    # Dense numbers in the files: steps done, and the seeds of Keras' own generators.
    for first, second in (found[::2], found[1::2]):
        both = {n for n in first | second if abs(n) < 1e6}
        assert both <= {2.0}, both


def test_a_test_seed_is_not_saved(tmp_path):
    model = trained(seed=918273645)
    model.save(tmp_path / "m.keras")
    assert find([b"918273645", (918273645).to_bytes(4, "little")], tmp_path) == []
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert not loaded.privacy.ledger.releasable


# Damage.


def rewrite(path, change):
    """Rewrites the ledger inside a `.weights.h5` file."""
    with h5py.File(path, "r+") as file:
        group = next(g for g in (file, file.get("vars")) if g and LEDGER_KEY in g)
        stored = bytes(group[LEDGER_KEY][()])
        del group[LEDGER_KEY]
        changed = change(stored)
        if changed is not None:
            group[LEDGER_KEY] = np.frombuffer(changed, dtype="uint8")


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[:-20],
        lambda b: b.replace(b'": 4', b'": 1'),
        lambda b: b"\0" * len(b),
    ],
)
def test_a_corrupt_ledger_inside_a_file(damage, trained_once, tmp_path):
    trained_once.save_weights(tmp_path / "m.weights.h5")
    rewrite(tmp_path / "m.weights.h5", damage)
    fresh = small.compiled(dp.make_private(with_dropout()), adam())
    before = fresh.get_weights()
    for skip in (False, True):
        with pytest.raises(LedgerError, match="ledger"):
            fresh.load_weights(tmp_path / "m.weights.h5", skip_mismatch=skip)
        np.testing.assert_equal(fresh.get_weights(), before)
    assert fresh.privacy.epsilon() == 0
    # As a part of a plain model Keras loads its layers: no finite epsilon.
    whole = keras.Sequential([keras.Input((3,)), fresh])
    with pytest.raises(ValueError, match="could not be loaded"):
        whole.load_weights(part_of(tmp_path / "m.weights.h5"))
    assert fresh.privacy.epsilon() == np.inf


def part_of(path):
    """A copy of a file of weights in which its model is the layer of another."""
    target = path.with_name("whole.weights.h5")
    with h5py.File(path) as file, h5py.File(target, "w") as whole:
        group = whole.create_group("layers/private_sequential")
        for name in file:
            file.copy(name, group)
    return target


def test_a_ledger_that_does_not_compose_is_refused_before_any_weight(tmp_path):
    other = dp.make_private(with_dropout(), unit="person")
    other.privacy.record(mechanisms.poisson(0.1, 1.1), "elsewhere")
    other.save_weights(tmp_path / "other.weights.h5")
    model = dp.make_private(with_dropout())
    model.privacy.record(mechanisms.poisson(0.1, 1.1), "elsewhere")
    before, epsilon = model.get_weights(), model.privacy.epsilon()
    for load in (
        lambda: model.load_weights(tmp_path / "other.weights.h5"),
        lambda: model.set_weights(other.get_weights()),
    ):
        with pytest.raises(LedgerError, match="different units do not compose"):
            load()
        np.testing.assert_equal(model.get_weights(), before)
        assert model.privacy.epsilon() == epsilon


def test_a_file_without_its_ledger_under_a_trained_model(trained_once, tmp_path):
    model = trained()
    trained_once.save_weights(tmp_path / "m.weights.h5")
    rewrite(tmp_path / "m.weights.h5", lambda _: None)
    model.load_weights(tmp_path / "m.weights.h5")
    with pytest.raises(LedgerError, match="does not match"):
        model.privacy.epsilon()
    model.privacy.add(trained_once.privacy.ledger)
    model.privacy.bind_weights()
    assert len(model.privacy.ledger) == 8


def test_the_older_format_is_refused(tmp_path):
    with pytest.raises(ValueError, match="lose the privacy ledger"):
        trained().save(tmp_path / "m.h5")
    assert list(tmp_path.iterdir()) == []


def test_the_older_format_behind_our_back_does_not_load(tmp_path):
    model = trained()
    keras.saving.save_model(model, tmp_path / "m.h5")
    script = """
import sys, keras, tfpriv.dp
try:
    keras.models.load_model(sys.argv[1])
except ValueError as error:
    print("refused:", error)
"""
    assert "refused:" in small.run_script(script, tmp_path / "m.h5")


def test_weights_changed_after_training_cannot_be_saved_as_private(tmp_path):
    model = trained()
    model.set_weights([w + 1 for w in model.get_weights()])
    for save in (
        lambda: model.save(tmp_path / "m.keras"),
        lambda: model.export(tmp_path / "exported", verbose=False),
        lambda: tf.saved_model.save(model, tmp_path / "saved"),
    ):
        with pytest.raises(LedgerError, match="does not match"):
            save()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def trained_once():
    """A trained model that tests only save."""
    return trained()


def test_loading_an_earlier_file_refunds_nothing(tmp_path):
    """Train, save, train on, look, load the earlier file: each try adds up."""
    model = trained()
    model.save_weights(tmp_path / "early.weights.h5")
    for tries in (1, 2, 3):
        model.fit(*small.data(8), batch_size=4, verbose=0)
        spent = model.privacy.epsilon()
        model.load_weights(tmp_path / "early.weights.h5")
        assert int(model.optimizer.iterations) == 4
        assert model.privacy.epsilon() == spent
        assert len(model.privacy.ledger) == 4 + 2 * tries
    assert ALONE not in model.privacy.statement()  # it holds its own tries
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert loaded.privacy.epsilon() == spent


def test_planted_load_that_replaces_the_ledger_is_found(tmp_path, monkeypatch):
    from tfpriv.dp.privacy import Privacy

    def replace(privacy, ledger, is_private=None):
        for variable in privacy.provenance._model.weights:
            setattr(variable, provenance._LEDGERS, ())
        privacy._ledger = privacy.provenance.ledger = ledger

    monkeypatch.setattr(Privacy, "load", replace)
    with pytest.raises(AssertionError):
        test_loading_an_earlier_file_refunds_nothing(tmp_path)


ALONE = "about these weights alone"


def test_a_fresh_model_has_the_ledger_of_the_file(trained_once, tmp_path):
    trained_once.save(tmp_path / "m.keras")
    trained_once.save_weights(tmp_path / "m.weights.h5")
    fresh = small.compiled(dp.make_private(with_dropout()), adam())
    fresh.optimizer.build(fresh.trainable_variables)
    fresh.load_weights(tmp_path / "m.weights.h5")
    epsilon = trained_once.privacy.epsilon()
    for loaded in (fresh, keras.models.load_model(tmp_path / "m.keras")):
        assert loaded.privacy.epsilon() == epsilon
        assert ALONE in " ".join(loaded.privacy.statement().split())
    assert ALONE not in " ".join(trained_once.privacy.statement().split())
    # Loaded again, and into the model that it is from: nothing counts twice.
    for model in (fresh, trained_once):
        model.load_weights(tmp_path / "m.weights.h5")
        assert model.privacy.epsilon() == epsilon


def test_two_branches_of_one_file_add_up(trained_once, tmp_path):
    trained_once.save_weights(tmp_path / "trunk.weights.h5")
    branches = []
    for name in ("a", "b"):
        branch = small.compiled(dp.make_private(with_dropout()), adam())
        branch.optimizer.build(branch.trainable_variables)
        branch.load_weights(tmp_path / "trunk.weights.h5")
        branch.privacy.record(mechanisms.poisson(0.5, 3.0), "a threshold")
        branch.save_weights(tmp_path / f"{name}.weights.h5")
        branches.append(branch)
    branches[0].load_weights(tmp_path / "b.weights.h5")
    assert len(branches[0].privacy.ledger) == 4 + 1 + 1


def test_weights_from_before_training_refund_nothing(tmp_path):
    model = small.compiled(dp.make_private(with_dropout()), adam())
    model.save_weights(tmp_path / "start.weights.h5")
    start = model.get_weights()
    model.fit(*small.data(8), batch_size=4, verbose=0)
    epsilon = model.privacy.epsilon()
    model.load_weights(tmp_path / "start.weights.h5")
    small.compiled(model, adam())
    model.load_weights(tmp_path / "start.weights.h5")
    assert model.privacy.epsilon() == epsilon > 0
    # Another model may start from these public weights.
    fresh = small.compiled(dp.make_private(with_dropout()), adam())
    fresh.load_weights(tmp_path / "start.weights.h5")
    assert fresh.privacy.epsilon() == 0
    fresh.set_weights(start)
    assert fresh.privacy.epsilon() == 0


@pytest.mark.parametrize("skip", [True, False])
def test_weights_loaded_in_part_keep_what_was_spent(skip, tmp_path):
    """An untrained private model's file, whose head has another shape."""
    other = dp.make_private(
        keras.Sequential(
            [*with_dropout().layers[:-1], keras.layers.Dense(3)], name="other"
        )
    )
    other.build((None, 3))
    other.save_weights(tmp_path / "untrained.weights.h5")
    model = trained()
    epsilon, head = model.privacy.epsilon(), model.layers[-1].kernel.numpy()
    with contextlib.nullcontext() if skip else pytest.raises(ValueError):
        model.load_weights(tmp_path / "untrained.weights.h5", skip_mismatch=skip)
    np.testing.assert_array_equal(model.layers[-1].kernel, head)
    with pytest.raises(LedgerError, match="loaded in part"):
        model.privacy.epsilon()
    model.privacy.bind_weights()
    assert model.privacy.epsilon() == epsilon


def test_two_trainings_mixed_by_a_load_are_both_counted(tmp_path):
    def trained_for(epochs, **options):
        head = keras.layers.Dense(1, **options)
        model = keras.Sequential([*with_dropout().layers[:-1], head])
        small.compiled(dp.make_private(model))  # by SGD, which remembers nothing
        model.fit(*small.data(8), batch_size=4, epochs=epochs, verbose=0)
        return model

    other, model = trained_for(1, use_bias=False), trained_for(2)
    other.save_weights(tmp_path / "other.weights.h5")
    model.load_weights(tmp_path / "other.weights.h5", skip_mismatch=True)
    assert len(model.privacy.ledger) == 6
    # Parts of it, too, whichever file or training they are from.
    taken = keras.Sequential([keras.Input((3,)), model.layers[0]])
    assert len(dp.make_private(taken).privacy.ledger) == 6


def test_a_load_that_fails_before_any_weight_changes_nothing(tmp_path):
    other = dp.make_private(small.plain(9, 2))
    other.save_weights(tmp_path / "other.weights.h5")
    model = trained()
    epsilon = model.privacy.epsilon()
    for name in ("other.weights.h5", "missing.weights.h5"):
        with pytest.raises((ValueError, OSError)):
            model.load_weights(tmp_path / name)
        assert model.privacy.epsilon() == epsilon


def test_a_private_part_of_another_model_is_loaded_with_it(tmp_path):
    trained().save_weights(tmp_path / "encoder.weights.h5")
    encoder = dp.make_private(with_dropout())
    encoder.load_weights(tmp_path / "encoder.weights.h5")
    whole = keras.Sequential([keras.Input((3,)), encoder, keras.layers.Dense(1)])
    whole.save_weights(tmp_path / "m.weights.h5")
    for _ in range(2):
        whole.load_weights(tmp_path / "m.weights.h5")
        assert len(encoder.privacy.ledger) == 4
        assert encoder.privacy.epsilon() > 0


def test_a_frozen_backbone_of_a_loaded_model_brings_the_ledger(tmp_path):
    model = trained(functional)
    model.layers[1].trainable = False
    small.compiled(model, adam()).fit(*small.data(8), batch_size=4, verbose=0)
    model.save(tmp_path / "m.keras")
    model.save_weights(tmp_path / "m.weights.h5")
    fresh = dp.make_private(functional())
    fresh.load_weights(tmp_path / "m.weights.h5")
    for loaded in (keras.models.load_model(tmp_path / "m.keras"), fresh):
        backbone = loaded.layers[1]
        backbone.trainable = False
        layers = [keras.Input((3,)), backbone, keras.layers.Dense(2)]
        reused = dp.make_private(keras.Sequential(layers))
        assert reused.privacy.epsilon() == model.privacy.epsilon()
        assert reused.privacy.ledger.epsilon(1e-5) == model.privacy.epsilon(1e-5)


def test_a_public_backbone_of_a_loaded_model_brings_nothing(tmp_path):
    model = dp.make_private(functional())
    model.layers[1].trainable = False
    small.compiled(model).fit(*small.data(8), batch_size=4, verbose=0)
    model.save(tmp_path / "m.keras")
    backbone = keras.models.load_model(tmp_path / "m.keras").layers[1]
    layers = [keras.Input((3,)), backbone, keras.layers.Dense(2)]
    assert dp.make_private(keras.Sequential(layers)).privacy.epsilon() == 0


def test_a_part_of_a_part_brings_the_ledger_of_both(tmp_path):
    """The whole's ledger lies in the file before that of the encoder in it."""
    encoder = trained()
    whole = keras.Sequential([keras.Input((3,)), encoder, keras.layers.Dense(1)])
    small.compiled(dp.make_private(whole)).fit(*small.data(8), batch_size=4, verbose=0)
    whole.save_weights(tmp_path / "m.weights.h5")
    inner = dp.make_private(with_dropout())
    outer = keras.Sequential([keras.Input((3,)), inner, keras.layers.Dense(1)])
    dp.make_private(outer).load_weights(tmp_path / "m.weights.h5")
    taken = keras.Sequential([keras.Input((3,)), inner, keras.layers.Dense(2)])
    assert dp.make_private(taken).privacy.epsilon() >= whole.privacy.epsilon()


def test_what_a_copy_inherits_is_saved_with_it(tmp_path):
    model, copied = trained(), with_dropout()
    copied.set_weights(model.get_weights())
    small.compiled(dp.make_private(copied), adam())
    copied.save_weights(tmp_path / "m.weights.h5")
    with h5py.File(tmp_path / "m.weights.h5") as file:
        saved = Ledger.from_bytes(bytes(file["vars"][LEDGER_KEY][()]))
    assert saved.epsilon(1e-5) == model.privacy.epsilon(1e-5)
    assert saved.weights_digest == model.privacy.ledger.weights_digest


def test_saving_does_not_vouch_for_weights_that_something_changed(tmp_path):
    model = trained()
    model.layers[0].set_weights([w + 1 for w in model.layers[0].get_weights()])
    model.save_weights(tmp_path / "m.weights.h5")
    fresh = small.compiled(dp.make_private(with_dropout()), adam())
    fresh.optimizer.build(fresh.trainable_variables)
    fresh.load_weights(tmp_path / "m.weights.h5")
    for changed in (model, fresh):
        with pytest.raises(LedgerError, match="does not match"):
            changed.privacy.epsilon()


@pytest.mark.parametrize("private", [True, False])
def test_weights_of_untrained_and_plain_models_load_in_silence(
    private, tmp_path, recwarn
):
    source = small.plain()
    (dp.make_private(source) if private else source).save_weights(
        tmp_path / "m.weights.h5"
    )
    model = small.private()
    model.load_weights(tmp_path / "m.weights.h5")
    assert model.privacy.epsilon() == 0
    model.fit(*small.data(8), batch_size=4, verbose=0)
    assert not [w for w in recwarn if "wrote nothing" in str(w.message)]
    assert "had learned before" not in model.privacy.statement()


# Dense or not at all.


def test_an_interrupted_save_leaves_the_old_file(tmp_path, monkeypatch):
    model = trained()
    model.save(tmp_path / "m.keras")
    before = (tmp_path / "m.keras").read_bytes()
    model.fit(*small.data(8), batch_size=4, verbose=0)

    def full(*args):
        raise OSError("disk full")

    monkeypatch.setattr(dp.DPAdam, "save_own_variables", full)
    with pytest.raises(OSError, match="disk full"):
        model.save(tmp_path / "m.keras")
    assert (tmp_path / "m.keras").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_a_failing_export_leaves_the_old_one(tmp_path, monkeypatch):
    model = trained()
    target = tmp_path / "exported"
    model.export(target, verbose=False)
    before = {p: p.read_bytes() for p in target.rglob("*") if p.is_file()}

    def full(*args):
        raise OSError("disk full")

    monkeypatch.setattr(Ledger, "save", full)
    with pytest.raises(OSError, match="disk full"):
        model.export(target, verbose=False)
    assert {p: p.read_bytes() for p in target.rglob("*") if p.is_file()} == before
    monkeypatch.undo()
    model.export(target, verbose=False)
    assert sorted(tmp_path.iterdir()) == [target]


def test_an_export_interrupted_in_its_swap_leaves_the_old_one(tmp_path, monkeypatch):
    model, target = trained(), tmp_path / "exported"
    model.export(target, verbose=False)
    before = {p: p.read_bytes() for p in target.rglob("*") if p.is_file()}

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.export(target, verbose=False)
    assert {p: p.read_bytes() for p in target.rglob("*") if p.is_file()} == before
    assert sorted(tmp_path.iterdir()) == [target]


def test_a_disk_that_fills_up_leaves_the_old_folders(tmp_path, full_disk):
    model = trained()
    model.export(tmp_path / "exported", verbose=False)
    model.save(tmp_path / "unzipped", zipped=False)
    model.save(tmp_path / "unzipped", zipped=False)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with full_disk(1000):
        with pytest.raises(OSError, match="cannot be written"):
            model.export(tmp_path / "exported", verbose=False)
        with pytest.raises(OSError, match="large"):
            model.save(tmp_path / "unzipped", zipped=False)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    (tmp_path / "unzipped" / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"mine\.txt"):
        model.save(tmp_path / "unzipped", zipped=False)


@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5"])
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_file_cut_short_is_no_model(name, keep, tmp_path):
    model, path = trained(), tmp_path / name
    (model.save if name == "m.keras" else model.save_weights)(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole))])
    fresh = small.compiled(dp.make_private(with_dropout()), adam())
    load = keras.models.load_model if name == "m.keras" else fresh.load_weights
    with pytest.raises((OSError, ValueError)):
        load(path)


def test_a_read_only_folder_keeps_the_old_file(read_only):
    model = trained()
    model.save(read_only.folder / "m.keras")
    before = (read_only.folder / "m.keras").read_bytes()
    with read_only as folder:
        for name in ("m.keras", "new.keras"):
            with pytest.raises(PermissionError):
                model.save(folder / name)
        assert (folder / "m.keras").read_bytes() == before
        assert [path.name for path in folder.iterdir()] == ["m.keras"]
