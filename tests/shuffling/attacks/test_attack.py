"""Attacks on both modes: the fixed one falls, the other one stands."""

import json
import math
import shlex
import sys

import numpy as np
import pytest
from PIL import Image
from reading import read
from scipy.ndimage import gaussian_filter

from tfpriv import cli
from tfpriv.shuffling import Key, data, shuffle
from tfpriv.shuffling import cli as commands
from tfpriv.shuffling.attacks import attack, orders, report
from tfpriv.shuffling.attacks.known_plaintext import recover_order
from tfpriv.shuffling.attacks.schemes import KeyedScheme, schemes
from tfpriv.support.fidelity import fidelity

SIZE = (12, 12)
TRAIN, TEST, SEEN = 240, 60, 120


def _pictures(rng, count):
    """Smooth noise, brighter above: it looks the same in a mirror, not upside down."""
    noise = gaussian_filter(rng.normal(size=(count, *SIZE, 3)), (0, 1.5, 2.5, 0))
    noise = noise / noise.std() * 50 + 128 + rng.normal(0, 2, noise.shape)
    noise += np.linspace(40, -40, SIZE[0])[:, None, None]
    return np.clip(noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def small():
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 2, TRAIN + TEST)
    pictures = _pictures(rng, TRAIN + TEST)
    return data.Dataset(
        "small",
        pictures[:TRAIN],
        labels[:TRAIN],
        pictures[TRAIN:],
        labels[TRAIN:],
        ("a", "b"),
    )


@pytest.fixture(scope="module")
def results(small):
    done = []
    found = attack.attack(
        small,
        pictures=SEEN,
        classifier=lambda pictures: np.zeros(len(pictures), int),
        progress=lambda *step: done.append(step),
    )
    assert done == [(i + 1, 18) for i in range(18)]
    return found


def _came_back(results, name, knows, scheme):
    (result,) = [
        r
        for r in results
        if r.attack == name and knows in r.knows and r.scheme == scheme
    ]
    return result.came_back


def test_the_fixed_mode_falls_to_one_known_picture(results):
    one = _came_back(results, "known plaintext", "1 picture ", "fixed")
    assert one.psnr > 20
    assert one.ssim > 0.8
    few = _came_back(results, "known plaintext", "8 pictures", "fixed")
    assert (few.psnr, few.exact) == (math.inf, 1)


@pytest.mark.parametrize("pairs", attack.PAIRS)
def test_the_other_mode_does_not(results, pairs):
    looks = _came_back(results, "none", "looks", "per picture")
    got = _came_back(
        results,
        "known plaintext",
        f"{pairs} picture{'s'[: pairs > 1]} ",
        "per picture",
    )
    assert got.ssim < 0.1
    assert abs(got.psnr - looks.psnr) < 1  # of 60 pictures: 1 dB is never seen


def test_blocks_fall_to_one_known_picture(results):
    one = _came_back(results, "known plaintext", "1 picture ", "blocks of 4x4")
    assert one.exact == 1


def test_nothing_gets_more_of_the_other_mode_than_needs_no_attack(results):
    bound = _came_back(results, "none", "average picture", "per picture").psnr + 1
    for result in results:
        attacked = result.attack in ("ciphertext only", "learned inverter")
        if result.scheme == "per picture" and attacked:
            assert result.came_back.psnr < bound, result.knows


def test_ciphertext_only_finds_the_order_of_the_fixed_mode(results):
    for scheme in ("fixed", "blocks of 4x4"):
        looks = _came_back(results, "none", "looks", scheme)
        got = _came_back(results, "ciphertext only", f"{SEEN} shuffled", scheme)
        assert got.psnr > looks.psnr + 3


def test_wrong_keys_are_all_alike_and_nearly_right_ones_are_not(results):
    for scheme in ("fixed", "per picture"):
        looks = _came_back(results, "none", "looks", scheme)
        for knows in ("another key", "one bit flipped"):
            wrong = _came_back(results, "wrong key", knows, scheme)
            assert abs(wrong.psnr - looks.psnr) < 1
            assert wrong.ssim < 0.1
        half, most, nearly = (
            _came_back(results, "wrong key", f"right at {share}", scheme).psnr
            for share in ("50%", "90%", "99%")
        )
        assert looks.psnr + 1 < half < most < nearly < math.inf


@pytest.mark.parametrize("bit", [0, 7, 100, 255])
def test_one_bit_of_the_key_moves_all(small, bit):
    """Places in common by chance: Poisson of mean 1; 12 or more: below 1e-9."""
    bits = bytearray(np.random.default_rng(0).bytes(32))
    places = np.arange(144).reshape(*SIZE, 1)
    right = shuffle(places, Key(bytes(bits)))
    bits[bit // 8] ^= 1 << bit % 8
    assert (right == shuffle(places, Key(bytes(bits)))).sum() < 12


def test_colours_tell_pictures_apart_in_every_mode(results):
    found = [r for r in results if r.knows.startswith("the picture, among")]
    assert [r.accuracy for r in found] == [1, 1, 1]
    assert [r.chance for r in found] == [1 / (TEST + SEEN)] * 3


def test_the_classifier_is_asked(results, small):
    zeros = float(np.mean(small.test_labels == 0))
    judged = [r for r in results if r.came_back is not None]
    assert judged
    assert {r.accuracy for r in judged} == {zeros}


def test_a_nonce_used_again_is_found(rng):
    """The planted fault: the mode that stands falls with its nonces."""
    pictures = _pictures(rng, 9)
    nonce, bits = rng.bytes(12), rng.bytes(32)
    # A new `Key` object each time: one would refuse the second picture.
    again = np.stack([shuffle(picture, Key(bits), nonce) for picture in pictures])
    found = recover_order(pictures[:8], again[:8], rng)
    assert found.pairs == 8
    opened = orders.undo(again[8:], found.order)
    assert fidelity(pictures[8:], opened).exact == 1


def test_schemes_tell_the_truth_about_their_orders(small):
    for scheme in schemes(SIZE, seed=3):
        shuffled = scheme.shuffle(small.test_images)
        opened = orders.undo(shuffled.images, shuffled.orders)
        np.testing.assert_array_equal(opened, small.test_images)
        one_for_all = (shuffled.orders == shuffled.orders[0]).all()
        assert one_for_all == (scheme.name != "per picture")


def test_a_seed_repeats_a_run(small):
    def run(seed):
        scheme = KeyedScheme(True, np.random.default_rng(seed))
        return scheme.shuffle(small.test_images).images

    np.testing.assert_array_equal(run(1), run(1))
    assert (run(1) != run(2)).any()


def test_the_table_and_the_figures(results, tmp_path):
    table = report.table(results).splitlines()
    assert table[0].endswith("| fixed | per picture | blocks of 4x4 |")
    assert len(table) == 2 + len({(r.attack, r.knows) for r in results})
    assert {line.count("|") for line in table} == {6}
    run = {"command": "a command", "seed": 0, "data": "<shapes>", "pictures": 40}
    report.write(tmp_path, results, run)
    figures = json.loads((tmp_path / "attacks.json").read_text())
    assert figures["command"] == "a command"
    assert len(figures["results"]) == len(results)
    exact = [r for r in figures["results"] if r["exact"] == 1]
    assert exact
    assert all(r["psnr"] is None for r in exact)
    assert (tmp_path / "attacks.md").read_text().startswith("`a command`\n\n| attack |")
    assert Image.open(tmp_path / "attacks.png").size[0] > 400
    page = read(tmp_path / "report.html")
    assert len(page.pictures) == sum(r.shown is not None for r in results)
    for said in (
        "What attacks get from shuffled pictures of <shapes>",
        "Came back: per picture",
        "This is no differential privacy",
        "the fixed mode, once one of them is known",
    ):
        assert said in page.words
    assert "**" not in page.words
    assert (tmp_path / "report.html").stat().st_mode & 0o077 == 0


def test_too_few_pictures_and_unknown_attacks(small):
    for pictures in (19, TRAIN // 2 + 1):
        with pytest.raises(ValueError, match=f"Received: {pictures}"):
            attack.attack(small, pictures=pictures)
    for names in (("magic",), ()):
        with pytest.raises(ValueError, match="Attacks are none, known"):
            attack.attack(small, pictures=20, attacks=names)


def test_the_command(tmp_path, capsys, monkeypatch):
    assert tuple(attack.ATTACKS) == commands.ATTACKS
    out = tmp_path / "out"
    words = ["--data", "shapes", "--pictures", "20", "--seed", "3"]
    words += ["--attack", "none", "known-plaintext"]
    typed = ["shuffle", "attack", *words, "--output", str(out)]
    monkeypatch.setattr(sys, "argv", ["tfpriv", *typed])
    assert cli.main() == 0
    said = capsys.readouterr()
    assert "| known plaintext | 1 picture and" in said.out
    assert "attacking" in said.err
    names = {"attacks.json", "attacks.md", "attacks.png", "report.html"}
    assert {path.name for path in out.iterdir()} == names
    figures = json.loads((out / "attacks.json").read_text())
    assert (figures["seed"], figures["data"]) == (3, "shapes")
    assert figures["command"] == shlex.join(["tfpriv", *typed])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "--data"),
        (("--data", "shapes"), "--output"),
        (("--data", "none.npz", "--output", "x"), "none.npz"),
        (("--data", "shapes", "--output", "x", "--pictures", "5"), "Received: 5"),
        (("--data", "shapes", "--output", "x", "--attack", "magic"), "magic"),
        (("--data", "shapes", "--output", "file"), "file"),
        (("--data", "shapes", "--output", "x", "--model", "no.keras"), "no.keras"),
    ],
)
def test_mistakes_are_one_line(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("in the way")
    assert cli.main(["shuffle", "attack", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
