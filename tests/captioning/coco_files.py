"""Data sets in COCO's layout that tests change."""

import json
import shutil


def copy_of(scene_folder, tmp_path):
    """A copy of a folder of scenes, in `tmp_path`."""
    return shutil.copytree(scene_folder, tmp_path / "data")


def edit(folder, change):
    """Changes the document of the training captions."""
    file = folder / "annotations" / "captions_train2017.json"
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))
