"""Warnings that point at the user's own line."""

import sys
import types
import warnings

_LIBRARIES = ("tfpriv", "keras", "tensorflow")


def warn(sentence: str) -> None:
    """Warns of something at the line outside of libraries that led here."""
    level = 1
    frame: types.FrameType | None = sys._getframe()
    while frame and frame.f_globals.get("__name__", "").split(".")[0] in _LIBRARIES:
        level, frame = level + 1, frame.f_back
    warnings.warn(sentence, stacklevel=level)
