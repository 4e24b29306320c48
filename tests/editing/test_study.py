"""A study of releases, where the truth is known: a painter and a reader of one number.

The judge reads the first number of a latent from the picture's brightness, without
error: what it tells about pairs is what the mechanism gives away.
"""

import json

import keras
import numpy as np
import pytest
from reading import read

from tfpriv import cli
from tfpriv.audit.leakage import ceiling
from tfpriv.editing import Boundary, StyleGAN, report, save_generator
from tfpriv.editing.study import EVERYWHERE, SEED, SUBSPACE, study
from tfpriv.faces.reader import NUMBERS

DIM, CLIP = 6, 2.0


class Painter:
    """Latents as pictures: number k in row k, smile being the first."""

    latent_dim = DIM

    def mapping(self, z):
        return 1.5 * z

    def generate(self, latents, psi, batch_size):
        rows = np.tanh(np.asarray(latents, "float32") / 8)
        return np.broadcast_to(
            np.repeat(rows, 2, axis=1)[:, :, None, None], (len(rows), 12, 12, 3)
        )


def judge():
    """Reads smile from the first number, and five traits from the others."""
    inputs = keras.Input((12, 12, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(inputs)
    x = keras.layers.Flatten()(keras.layers.AveragePooling2D((2, 12))(x))
    outputs = keras.layers.Dense(len(NUMBERS), use_bias=False)(x)
    model = keras.Model(inputs, outputs)
    kernel = np.zeros((3 * DIM, len(NUMBERS)), "float32")
    kernel[0, NUMBERS.index("smile")] = 8
    for k in range(1, DIM):
        kernel[3 * k, k] = 8  # traits
    kernel[3, NUMBERS.index("pose")] = 8
    model.set_weights([kernel])
    return model


@pytest.fixture(scope="module")
def found():
    return study(
        Painter(),
        judge(),
        Boundary(np.eye(DIM)[0], "smile"),
        clip=CLIP,
        epsilons=(0.5, 4.0),
        delta=1e-5,
        count=600,
    )


def row(found, method, epsilon):
    return next(r for r in found.rows if (r.method, r.epsilon) == (method, epsilon))


@pytest.mark.parametrize("epsilon", [0.5, 4.0])
@pytest.mark.parametrize("method", [SUBSPACE, EVERYWHERE])
def test_pairs_are_told_apart_no_better_than_epsilon_allows(found, method, epsilon):
    """False alarm: 1e-3 for each reading."""
    one = row(found, method, epsilon)
    assert one.ceiling == ceiling(epsilon, 1e-5)
    assert one.pair.low <= one.ceiling
    assert one.pair_latent.low <= one.ceiling


def test_the_seeds_method_breaks_its_claim(found):
    one = row(found, SEED, 0.5)
    assert one.pair.low > one.ceiling
    assert one.pair_latent.low > one.ceiling
    # Whatever is claimed: noise that was cut to 1 parts no two faces that are 4 apart.
    assert one.pair_latent.accuracy == row(found, SEED, 4.0).pair_latent.accuracy == 1


def test_the_gaussian_mechanism_is_read_as_well_as_its_noise_lets(found):
    # At epsilon 4, delta 1e-5: z = 1.08, so the best guess is right in 67.8 %.
    one = row(found, SUBSPACE, 4.0)
    assert one.pair_latent.low < 0.678 < one.pair_latent.high
    assert one.pair_latent.low > 0.5


def test_only_the_attribute_changes(found):
    one, other = row(found, SUBSPACE, 0.5), row(found, EVERYWHERE, 0.5)
    # All but the grid's rounding and the picture's 256 levels is as it was.
    assert one.identity > 0.99
    assert one.drift < 0.02
    assert other.identity < one.identity
    assert other.drift > one.drift
    assert other.ssim < one.ssim


def test_noise_falls_with_epsilon(found):
    for method in (SUBSPACE, EVERYWHERE):
        assert row(found, method, 4.0).score < row(found, method, 0.5).score


def test_the_attribute_was_there_to_be_read(found):
    assert found.before.accuracy > 0.95


def test_a_report_is_written_whole(found, tmp_path):
    report.study(tmp_path / "new", found, {"command": "tfpriv edit study"})
    names = {path.name for path in (tmp_path / "new").iterdir()}
    pages = {"study.md", "report.html"}
    assert names == pages | {"study.json", "study.png", "faces.png"}
    kept = json.loads((tmp_path / "new" / "study.json").read_text())
    assert len(kept["rows"]) == 6
    text = (tmp_path / "new" / "study.md").read_text()
    assert text.count("\n| ") == 1 + 6 + 1
    page = read(tmp_path / "new" / "report.html")
    assert len(page.pictures) == 6 + len(page.pixels)  # charts, faces
    assert len(page.pixels) == 6 * (1 + 6)
    for said in (
        "they are nobody's",
        "each face among those with the same rounded remainder",
        "REPLACE_ONE",
        "epsilon = 0.5 at delta = 1e-05",
        "pld: privacy loss distributions",
        "who it is: identity is meant to stay",
    ):
        assert said in page.words


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"count": 99}, "100 faces"),
        ({"epsilons": ()}, "an epsilon"),
        ({"epsilons": (-1.0,)}, "epsilon"),
        ({"clip": 0.0}, "clip"),
        ({"boundary": Boundary(np.eye(DIM)[0], "hair")}, "reads age"),
        (
            {"judge": keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])},
            "face reader",
        ),
    ],
)
def test_bad_arguments(change, words):
    arguments = {
        "judge": judge(),
        "boundary": Boundary(np.eye(DIM)[0], "smile"),
        "clip": CLIP,
        "count": 100,
    } | change
    with pytest.raises(ValueError, match=words):
        study(Painter(), **arguments)


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    generator = StyleGAN(16, 8, channels=(8, 8, 8))
    save_generator(generator, "generator.safetensors")
    # The direction that the untrained judge happens to read parts its answers evenly.
    Boundary(np.eye(8)[0], "smile", generator=generator.fingerprint).save("smile.npz")
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(keras.layers.Flatten()(inputs))
    x = keras.layers.Dense(len(NUMBERS), use_bias=False)(x)
    x = keras.layers.BatchNormalization(center=False)(x)
    model = keras.Model(inputs, x)
    z = np.random.default_rng(0).normal(size=(200, 8)).astype("float32")
    drawn = 127.5 * (generator.generate(np.asarray(generator.mapping(z)), psi=0.7) + 1)
    readings = model.predict(drawn, verbose=0)
    model.layers[-1].set_weights(
        [np.ones(len(NUMBERS)), readings.mean(0), readings.var(0)]
    )
    model.save("reader.keras")
    words = "edit study --generator generator.safetensors --reader reader.keras"
    words += " --boundary smile.npz --clip 2 --epsilons 1 --count 100 --output found"
    assert not cli.main(words.split())
    assert (tmp_path / "found" / "study.png").stat().st_size > 1000
    assert "seed's (not private)" in capsys.readouterr().out
