"""Faces with known truth, drawn; and CelebA's files."""

from tfpriv.faces.celeba import CelebA, read_truth, write_dataset
from tfpriv.faces.drawing import draw, landmarks
from tfpriv.faces.looks import ATTRIBUTES, SCENE, TRAITS, Faces, sample

__all__ = [
    "ATTRIBUTES",
    "SCENE",
    "TRAITS",
    "CelebA",
    "Faces",
    "draw",
    "landmarks",
    "read_truth",
    "sample",
    "write_dataset",
]
