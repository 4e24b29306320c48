"""Faces: drawn with known truth, found in photographs; and CelebA's files."""

from tfpriv.faces.alignment import align
from tfpriv.faces.celeba import CelebA, read_truth, split_within, write_dataset
from tfpriv.faces.detection import Face, find_faces
from tfpriv.faces.drawing import draw, landmarks
from tfpriv.faces.looks import ATTRIBUTES, SCENE, TRAITS, Faces, of_numbers, sample

__all__ = [
    "ATTRIBUTES",
    "SCENE",
    "TRAITS",
    "CelebA",
    "Face",
    "Faces",
    "align",
    "draw",
    "find_faces",
    "landmarks",
    "of_numbers",
    "read_truth",
    "sample",
    "split_within",
    "write_dataset",
]
