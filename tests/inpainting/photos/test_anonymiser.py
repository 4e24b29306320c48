"""One photograph's file in, one out: fail closed, the same in any company."""

import dataclasses
import json

import numpy as np
import pytest
from photo_scenes import decoded, encoded, find, scene

from tfpriv.inpainting.photos.anonymiser import NO_FACE, Anonymiser, Settings
from tfpriv.inpainting.photos.boxes import Box
from tfpriv.inpainting.photos.recogniser import Keeper, PhotoRecogniser
from tfpriv.inpainting.photos.settings import MASKS
from tfpriv.inpainting.photos.tracking import Tracker
from tfpriv.inpainting.seeds import derived


class Seeded:
    """Paints a shade that its seed tells."""

    size = 16

    def __call__(self, images, masks, seed=0, **options):
        return np.where(masks[..., None], np.uint8(seed % 200), images)


def anonymiser(painter=None, find=find, **settings):
    return Anonymiser(Settings(**{"inpainter": "black"} | settings), painter, find)


FACES, EMPTY = encoded(scene((10, 20), (50, 30))), encoded(scene())


def test_faces_are_covered_and_the_rest_stays():
    outcome = anonymiser()("a.png", FACES)
    result = decoded(outcome.content)
    assert outcome.remark is None
    assert {box.place for box in outcome.faces} == {(10, 20, 12, 12), (50, 30, 12, 12)}
    assert (result[20:32, 10:22] == 0).all()
    assert (result[30:42, 50:62] == 0).all()
    np.testing.assert_array_equal(result[:10], scene()[:10])
    original, mask, shown = outcome.shown
    np.testing.assert_array_equal(original, decoded(FACES))
    np.testing.assert_array_equal(shown, result)
    assert mask[20:32, 10:22].all()


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("inpainter", ["black", Seeded(), "pixelate"])
def test_not_a_byte_of_a_file_follows_from_what_is_covered(tmp_path, mask, inpainter):
    """But where an obfuscation reads it, as it says."""
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps({"a.png": [[10, 20, 12, 12], [24, 22, 12, 12]]}))
    named = isinstance(inpainter, str)
    settings = {"inpainter": inpainter} if named else {}
    run = anonymiser(
        None if named else inpainter, boxes=str(path), mask=mask, **settings
    )
    one = run("a.png", FACES)
    original, covered, _ = one.shown
    other = original.copy()
    other[covered] = np.random.default_rng(1).integers(0, 256, (covered.sum(), 3))
    two = run("a.png", encoded(other))
    assert (one.content == two.content) == (inpainter != "pixelate")


def test_no_face_no_output():
    outcome = anonymiser()("a.png", EMPTY)
    assert outcome == (None, [], NO_FACE, None)


def test_no_face_but_asked_for():
    blurred = anonymiser(if_no_face="blur")("a.png", EMPTY)
    copied = anonymiser(if_no_face="copy")("a.png", EMPTY)
    assert blurred.remark == copied.remark == NO_FACE
    np.testing.assert_array_equal(decoded(copied.content), scene())
    assert decoded(blurred.content).std() < scene().std() / 4


@pytest.mark.parametrize("if_no_face", ["fail", "blur", "copy"])
def test_broken_photographs_have_no_output_whatever_is_asked_for(if_no_face):
    """And no faces, which is not the same as having looked and found none."""
    outcome = anonymiser(if_no_face=if_no_face)("a.png", FACES[:-400])
    assert outcome.content is outcome.faces is outcome.shown is None
    assert "Received: a.png" in outcome.remark


def test_one_pixel():
    outcome = anonymiser()("a.png", encoded(np.zeros((1, 1, 3), np.uint8)))
    assert (outcome.content, outcome.remark) == (None, NO_FACE)


def test_a_photograph_of_8000_pixels(tmp_path):
    """Found by a person here: a search takes minutes."""
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps({"a.jpg": [[7900, 1000, 99, 200]]}))
    content = encoded(np.full((2000, 8000, 3), 99, np.uint8), "JPEG")
    outcome = anonymiser(boxes=str(path))("a.jpg", content)
    result = decoded(outcome.content)
    assert result.shape == (2000, 8000, 3)
    assert result[1050:1150, 7930:7990].max() < 20
    assert result[:, :7000].min() > 95


def test_a_grey_photograph_stays_grey():
    painted = anonymiser(
        lambda i, m, seed, **_: np.where(m[..., None], [9, 99, 0], i).astype(np.uint8)
    )
    result = decoded(painted("a.png", encoded(scene((10, 20)), mode="L")).content)
    assert (np.ptp(result, -1) == 0).all()
    assert result[26, 16, 0] not in (0, 255)


def test_seeds_follow_from_the_name_and_the_face():
    def shades(name, content=FACES, **settings):
        result = decoded(anonymiser(Seeded(), **settings)(name, content).content)
        return result[26, 16, 0], result[36, 56, 0]

    one, two = shades("a.png")
    assert one == derived(0, "face", "a.png", 0) % 200
    assert two == derived(0, "face", "a.png", 1) % 200
    assert shades("a.png") == (one, two)
    assert shades("b.png") != (one, two)
    assert shades("a.png", seed=1) != (one, two)
    used = anonymiser(Seeded())
    used("b.png", FACES)
    np.testing.assert_array_equal(
        decoded(used("a.png", FACES).content)[26, 16], [one] * 3
    )


def test_one_seed_for_each_person_of_a_video():
    tracker, run = Tracker(), anonymiser(Seeded())
    shades = []
    for step in range(3):
        content = encoded(scene((10 + step, 20), (50 - step, 30)))
        result = decoded(run(f"{step}.png", content, tracker).content)
        shades.append((result[26, 16, 0], result[36, 56, 0]))
    assert shades[0] == shades[1] == shades[2]
    assert shades[0][0] != shades[0][1]


def test_boxes_instead_of_a_search(tmp_path):
    path = tmp_path / "boxes.csv"
    path.write_text(
        "picture,left,top,width,height,kept\na.png,10,20,12,12,no\n"
        "a.png,50,30,12,12,yes\nb.png,200,9,9,9,no\nc.png,,,,,\n"
    )

    def never(picture):
        raise AssertionError("nobody is to search")

    run = anonymiser(boxes=str(path), find=never)
    result = decoded(run("a.png", FACES).content)
    assert (result[20:32, 10:22] == 0).all()
    assert (result[30:42, 50:62] == 255).all()
    assert "must meet" in run("b.png", FACES).remark
    assert run("b.png", FACES).content is None
    assert run("c.png", FACES) == (None, [], NO_FACE, None)
    assert "lacks this photograph" in run("d.png", FACES).remark


def test_masks_only():
    run = anonymiser(masks_only=True)
    result = decoded(run("a.jpg", FACES).content)
    assert set(np.unique(result)) == {0, 255}
    assert (result[20:32, 10:22] == 255).all()
    assert (result[:8] == 0).all()
    assert run.settings.target("a/b.jpg") == "a/b.png"
    blurred = anonymiser(masks_only=True, if_no_face="blur")("a.jpg", EMPTY)
    assert (decoded(blurred.content) == 255).all()
    _, mask, _ = anonymiser()("a.jpg", FACES).shown
    np.testing.assert_array_equal(result[..., 0] == 255, mask)


def test_an_inpainters_error_is_no_photographs():
    def broken(images, masks, **options):
        raise ValueError("no memory")

    with pytest.raises(ValueError, match="no memory"):
        anonymiser(broken)("a.png", FACES)


@pytest.mark.parametrize(
    "setting",
    [{"mask": "none"}, {"if_no_face": "publish"}, {"seed": -1}, {"steps": 0}],
)
def test_settings_out_of_range(setting):
    with pytest.raises(ValueError, match="Received: "):
        Settings(**setting)


def test_a_record_tells_files_of_other_content(tmp_path):
    path = tmp_path / "boxes.csv"
    path.write_text("one")
    settings = Settings(boxes=str(path))
    one = settings.record()
    assert one == dataclasses.replace(settings).record()
    path.write_text("two")
    assert one != settings.record()


class Brightness:
    """Knows faces by the shade in their middle."""

    trained_on = "photographs"

    def embed(self, pictures):
        shades = [p[len(p) // 2, len(p) // 2, 1] / 255 for p in pictures]
        points = [[np.cos(shade), np.sin(shade)] for shade in shades]
        return np.array(points, np.float32).reshape(len(pictures), 2)


BRIGHTNESS = PhotoRecogniser(Brightness())


def test_a_person_is_kept(tmp_path):
    from tfpriv.support import images

    reference = tmp_path / "me.png"
    images.save(reference, scene((30, 30)))
    keeper = Keeper(BRIGHTNESS, reference, 0.99, find)
    faces = [Box((10, 20, 12, 12)), Box((50, 30, 12, 12)), Box((2, 2, 9, 9), kept=True)]
    picture = scene((10, 20))
    assert [box.kept for box in keeper(picture, faces)] == [True, False, True]
    assert keeper(picture, []) == []


def test_who_is_to_be_kept_must_be_clear(tmp_path):
    from tfpriv.support import images

    reference = tmp_path / "us.png"
    for places, number in (((10, 10), (40, 40)), 2), ((), 0):
        images.save(reference, scene(*places))
        with pytest.raises(ValueError, match=f"with {number} faces"):
            Keeper(BRIGHTNESS, reference, find=find)
    with pytest.raises(ValueError, match=r"must be in \[-1, 1\]"):
        Keeper(BRIGHTNESS, reference, 2.0, find)


@pytest.mark.slow
def test_a_kept_person_by_a_network(tmp_path):
    """The whole way, with random weights: the reference's own face is the same."""
    from tfpriv.inpainting import FaceNet
    from tfpriv.support import images

    network, reference = tmp_path / "facenet.keras", tmp_path / "me.png"
    FaceNet(0.05, trained_on="photographs").save(network)
    images.save(reference, scene((10, 20)))
    settings = Settings(
        inpainter="black",
        keep_person=str(reference),
        facenet=str(network),
        keep_above=0.99999,
    )
    run = Anonymiser(settings, find=find)
    outcome = run("a.png", reference.read_bytes())
    assert outcome.faces[0].kept
    np.testing.assert_array_equal(decoded(outcome.content), scene((10, 20)))
