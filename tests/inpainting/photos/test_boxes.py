"""Files of boxes: out and in again, and refused where they are wrong."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfpriv.inpainting.photos import boxes
from tfpriv.inpainting.photos.boxes import Box

NAMES = st.text(min_size=1, max_size=8).filter(lambda text: text.isprintable())
BOXES = st.builds(
    Box,
    st.tuples(*[st.integers(-50, 9000)] * 2, *[st.integers(1, 9000)] * 2),
    st.none() | st.integers(0, 100).map(lambda n: n / 100),
    st.booleans(),
    st.none() | st.integers(0, 9),
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(NAMES, st.lists(BOXES, max_size=3), max_size=4))
def test_what_is_written_is_read_again(faces):
    text = boxes.to_csv(faces)
    assert boxes.from_csv(text, "boxes.csv") == faces
    parts = [boxes.to_csv({name: found}) for name, found in faces.items()]
    assert boxes.from_csv("".join([boxes.to_csv({}), *parts]), "boxes.csv") == faces


def test_json(tmp_path):
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps({"a.jpg": [[1, 2, 3, 4]], "b.jpg": []}))
    assert boxes.read(path) == {"a.jpg": [Box((1, 2, 3, 4))], "b.jpg": []}


def test_few_columns(tmp_path):
    path = tmp_path / "boxes.csv"
    path.write_text("picture,left,top,width,height\na.jpg,1,2,3,4\nb.jpg,,,,\n")
    assert boxes.read(path) == {"a.jpg": [Box((1, 2, 3, 4))], "b.jpg": []}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", ""),
        ("a.csv", "picture,left,top,width\na.jpg,1,2,3\n"),
        ("a.csv", "picture,left,top,width,height,colour\n"),
        ("a.csv", "picture,left,top,width,height\na.jpg,1,2,3\n"),
        ("a.csv", "picture,left,top,width,height\na.jpg,1,2,3,x\n"),
        ("a.csv", "picture,left,top,width,height\na.jpg,1,2,0,4\n"),
        ("a.csv", "picture,left,top,width,height\na.jpg,1,2,3,4.5\n"),
        ("a.csv", "picture,left,top,width,height\na.jpg,1,2,3,99999999\n"),
        ("a.csv", "picture,left,top,width,height,kept\na.jpg,1,2,3,4,maybe\n"),
        ("a.csv", "picture,left,top,width,height,kept\na.jpg,,,,,yes\n"),
        ("a.json", "[]"),
        ("a.json", "{"),
        ("a.json", '{"a.jpg": [[1, 2, 3]]}'),
        ("a.json", '{"a.jpg": [[1, 2, 3, -4]]}'),
        ("a.json", '{"a.jpg": [[1, 2, 3, true]]}'),
        ("a.json", '{"a.jpg": 3}'),
        ("a.json", "[" * 100_000),
        ("a.csv", "picture,left,top,width,height\n" + "a" * 200_000),
        ("a.txt", "picture,left,top,width,height\n"),
    ],
)
def test_wrong_files(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ValueError, match="Received: "):
        boxes.read(path)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="Received: "):
        boxes.read(tmp_path / "boxes.csv")


@pytest.mark.parametrize("place", [(-5, 0, 5, 5), (0, -9, 5, 5), (80, 0, 5, 5)])
def test_boxes_beside_the_photograph(place):
    Box((-4, -4, 5, 5)).check_meets((64, 80, 3))
    with pytest.raises(ValueError, match="must meet its photograph"):
        Box(place).check_meets((64, 80, 3))
