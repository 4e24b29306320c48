"""A SavedModel from pictures to releases: what it does, and what it counts."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfpriv import cli, ops
from tfpriv.accounting import Journal, Ledger
from tfpriv.audit import releases
from tfpriv.editing import (
    AttributeMechanism,
    IsotropicMechanism,
    StyleGAN,
    export_release,
    load_release,
    save_generator,
)
from tfpriv.editing import (
    export as exporting,
)
from tfpriv.editing.encoder import encoder

DIM = 8
AGE, SMILE = np.eye(DIM)[1], np.ones(DIM) / np.sqrt(DIM)
CLAIM = {"epsilon": 1.0, "delta": 1e-5}

ALONE = """
import os, sys
import numpy as np
import tensorflow as tf

model = tf.saved_model.load(sys.argv[1])
pictures = np.load(sys.argv[2])
keys = [np.frombuffer(os.urandom(32), np.uint8) for _ in range(2)]
one, again, other = (model.serve(pictures, key) for key in (keys[0], *keys))
np.testing.assert_array_equal(one["pictures"], again["pictures"])
assert np.abs(one["pictures"] - other["pictures"]).max() > 1
assert 0.99 < one["epsilon"] <= 1.0 and np.float32(one["delta"]) == np.float32(1e-5)
assert "tfpriv" not in sys.modules
"""


@pytest.fixture
def mechanism():
    return AttributeMechanism([AGE, SMILE], clip=2.0, **CLAIM)


@pytest.fixture(scope="module")
def parts():
    generator = StyleGAN(16, DIM, channels=(8, 8, 8))
    return generator, encoder(generator)


@pytest.fixture(scope="module")
def exported(parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("release") / "model"
    mechanism = AttributeMechanism([AGE, SMILE], clip=2.0, **CLAIM)
    export_release(*parts, mechanism, folder, delta=1e-5)
    return folder


@pytest.fixture
def pictures(rng):
    return rng.integers(0, 256, (3, 16, 16, 3)).astype(np.float32)


def key():
    return np.frombuffer(os.urandom(32), np.uint8)


def test_latents_are_released_as_the_mechanism_does(mechanism, rng):
    """The oracle: numpy, one coordinate of one latent after another."""
    latents, secret = rng.normal(scale=3, size=(40, DIM)), key()
    found = exporting.release_latents(mechanism, tf.constant(latents), secret).numpy()
    noise = np.asarray(ops.gaussian_noise(secret, (40, 2), "float64"))
    basis, step = mechanism.subspace.basis, mechanism.noise.scale / 2**10
    for one, latent, draws in zip(found, latents, noise, strict=True):
        x = np.array([latent @ row for row in basis])
        x *= min(1, 2.0 / np.linalg.norm(x))
        x = [np.trunc(c / step) * step + np.rint(d * 2**10) * step
             for c, d in zip(x, draws, strict=True)]  # fmt: skip
        rest = mechanism.remainder(latent) * mechanism.grid
        rest = rest - basis.T @ (basis @ rest)
        # A number at the edge of a step may fall on either side.
        assert np.abs(one - (rest + basis.T @ x)).max() < 1e-9 + step


def neighbours(mechanism, rng):
    """Faces with one rounded remainder, as latents: they differ along the attributes.

    Before it is rounded the remainder differs, too, by up to half a step of the grid,
    which no processor's rounding can hide. The first half is beyond the clip on one
    side, the second half on the other.
    """
    # Whole steps, at right angles to both attributes: the middle of a rounding cell.
    steps = rng.integers(-99, 100, DIM)
    steps[1] = 0
    steps[-1] -= steps.sum()
    within = np.zeros(DIM)
    within[2:4] = 1, -1
    far = np.concatenate([np.linspace(3, 9, 25), np.linspace(-9, -3, 25)])
    base = steps + np.linspace(-0.25, 0.25, len(far))[:, None] * within
    faces = base * mechanism.grid + far[:, None] * mechanism.subspace.basis[1]
    np.testing.assert_array_equal(
        mechanism.remainder(faces), np.tile(steps, (len(far), 1))
    )
    return faces


def test_neighbours_differ_by_whole_steps_and_nothing_else(mechanism, rng):
    latents = tf.constant(neighbours(mechanism, rng))
    released = exporting.release_latents(mechanism, latents, key()).numpy()
    # Numbers of up to a hundred, taken apart and put together again in float64.
    rest = mechanism.subspace.remainder(released)
    np.testing.assert_allclose(rest, np.tile(rest[0], (len(rest), 1)), atol=1e-11)
    steps = mechanism.subspace.coordinates(released) - mechanism.center
    steps /= mechanism.noise.scale / 2**10
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)


def released_bits(mechanism, faces):
    """How many releases there are of faces, bit for bit, all with the same noise."""
    same = key()
    return len(
        {
            exporting.release_latents(mechanism, tf.constant(face[None]), same)
            .numpy()
            .tobytes()
            for face in faces
        }
    )


def test_a_remainder_leaves_no_trace_in_the_last_bits(mechanism, rng):
    faces = neighbours(mechanism, rng)
    assert released_bits(mechanism, faces[:25]) == 1
    assert released_bits(mechanism, faces[25:]) == 1
    assert released_bits(mechanism, faces) == 2


def test_planted_fault_a_remainder_that_is_not_rounded(mechanism, rng):
    faces = neighbours(mechanism, rng)
    mechanism.grid = 2.0**-60  # keeps every bit
    assert released_bits(mechanism, faces[:25]) == 25


def test_noise_has_its_size_and_hides_what_is_beyond_the_clip(mechanism):
    """False alarms: 1e-3 each for the scale and for the audit."""

    def released(face):
        def run(count):
            faces = tf.constant(np.tile(face, (count, 1)))
            return exporting.release_latents(mechanism, faces, key()).numpy()

        return run

    far = 20 * mechanism.subspace.basis[0]
    finding = releases.audit_releases(
        released(far),
        released(-far),
        {"projection": lambda x: mechanism.subspace.coordinates(x)[:, 0]},
        delta=1e-5,
        count=20_000,
    )
    assert 0.2 < finding.epsilon <= 1.0
    drawn = mechanism.subspace.coordinates(released(np.zeros(DIM))(20_000))
    low, high = releases.scale_interval(drawn, "gaussian")
    assert low <= mechanism.noise.scale <= high
    assert high / low < 1.05


def test_it_runs_without_tfpriv(exported, pictures, tmp_path):
    np.save(tmp_path / "pictures.npy", pictures)
    words = [sys.executable, "-c", ALONE, str(exported), str(tmp_path / "pictures.npy")]
    done = subprocess.run(
        words, capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_ledger_counts_before_noise_is_drawn(exported, pictures, monkeypatch):
    release, ledger = load_release(exported), Ledger()
    released = release(pictures, ledger=ledger)
    assert released.shape == pictures.shape
    assert released.dtype == np.uint8
    assert [entry.count for entry in ledger.entries] == [3, 3]

    def broken(self):
        raise OSError

    monkeypatch.setattr(exporting.Randomness, "key", broken)
    with pytest.raises(OSError):
        release(pictures, ledger=ledger, distinct_persons=True)
    assert sum(entry.count for entry in ledger.entries) == 8


def test_one_picture_costs_what_is_recorded(exported, pictures, mechanism, tmp_path):
    release, ledger = load_release(exported), Ledger()
    release(pictures[:1], ledger=ledger)
    spent = ledger.epsilon(delta=1e-5, accountant="pld")
    assert spent == pytest.approx(release.epsilon, rel=1e-9)
    assert 0.99 < spent <= 1.0001
    assert release.unit == mechanism.unit
    with Journal(tmp_path / "journal") as journal:
        release(pictures, ledger=journal, distinct_persons=True)
        assert journal.epsilon(delta=1e-5, accountant="pld") == spent


@pytest.mark.parametrize("value", [np.nan, np.inf, -2.0, 300.0])
def test_bad_pictures_cost_nothing(exported, pictures, value):
    ledger = Ledger()
    pictures[0, 0, 0, 0] = value
    with pytest.raises(ValueError, match="0 to 255"):
        load_release(exported)(pictures, ledger=ledger)
    with pytest.raises(ValueError, match="0 to 255"):
        load_release(exported)(pictures[0], ledger=ledger)
    assert not ledger.entries


def test_latents_that_are_none_are_not_released(mechanism):
    for value in (np.nan, np.inf, 1e7):
        with pytest.raises(tf.errors.InvalidArgumentError, match="Not a latent"):
            exporting.release_latents(
                mechanism, tf.constant(np.full((1, DIM), value)), key()
            )


@pytest.mark.parametrize(
    "wrong",
    [
        AttributeMechanism(AGE, 2.0, epsilon=1.0, delta=0.0),
        AttributeMechanism(AGE, 2.0, **CLAIM, seed=1),
        AttributeMechanism(AGE, 2.0, **CLAIM, space="wp"),
        AttributeMechanism(np.eye(5)[0], 2.0, **CLAIM),
        IsotropicMechanism(AGE, 2.0, **CLAIM),
    ],
)
def test_other_mechanisms_are_refused(parts, wrong, tmp_path):
    with pytest.raises(ValueError, match="Expected an `AttributeMechanism`"):
        export_release(*parts, wrong, tmp_path / "model", delta=1e-5)
    assert not (tmp_path / "model").exists()


def test_another_encoder_is_refused(parts, mechanism, tmp_path):
    other = keras.Sequential([keras.Input((8,)), keras.layers.Dense(DIM)])
    with pytest.raises(ValueError, match="Expected an encoder"):
        export_release(parts[0], other, mechanism, tmp_path / "model", delta=1e-5)


def test_nothing_is_overwritten(parts, mechanism, tmp_path):
    (tmp_path / "kept").write_text("kept")
    with pytest.raises(FileExistsError):
        export_release(*parts, mechanism, tmp_path, delta=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_damaged_record_is_named(exported, tmp_path):
    with pytest.raises(FileNotFoundError, match="no release"):
        load_release(tmp_path)
    text = (exported / exporting.RECORD).read_text()
    (tmp_path / exporting.RECORD).write_text(text.replace('"epsilon"', '"epsilom"', 1))
    with pytest.raises(ValueError, match="damaged"):
        load_release(tmp_path)


def test_the_command(parts, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    generator, guess = parts
    save_generator(generator, "generator.safetensors")
    guess.save("encoder.keras")
    np.save("age.npy", AGE[None])
    words = "edit export --generator generator.safetensors --output out"
    assert cli.main([*words.split(), "--encoder", "encoder.keras"]) != 0
    assert "--boundary, --clip" in capsys.readouterr().err
    assert cli.main([*words.split(), "--clip", "2"]) != 0
    assert "--encoder" in capsys.readouterr().err
    words += " --encoder encoder.keras --boundary age.npy --clip 2 --epsilon 1"
    with pytest.warns(UserWarning, match="generator"):
        assert not cli.main([*words.split(), "--delta", "1e-5"])
    assert load_release("out").epsilon <= 1.0
