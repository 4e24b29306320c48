"""Photographs, and folders and videos of them, anonymised file by file."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tfpriv.inpainting.photos import files, preview
from tfpriv.inpainting.photos.anonymiser import NO_FACE, Anonymiser, Outcome
from tfpriv.inpainting.photos.boxes import Box
from tfpriv.inpainting.photos.record import Record
from tfpriv.inpainting.photos.tracking import PATIENCE, Tracker
from tfpriv.support import images
from tfpriv.support.outputs import atomic_file, check_new

_SHOWN = 8  # photographs on a preview
_PARTIAL = re.compile(r"\.[0-9a-f]{8}\.(.+)")  # what `files.atomic_path` names
_NUMBERS = re.compile(r"(\d+)")

Progress = Callable[[int, int], None] | None


class Report(NamedTuple):
    """What was done.

    Attributes:
        done: photographs whose results were made.
        there: photographs whose results an earlier run had made.
        remarks: what somebody should look at, by photographs' names.
        missing: how many of these have no result.
        others: number of files that are no pictures and stay where they are.
        faces: of the photographs that were looked at, by their names.
        shown: some photographs, for a preview.
    """

    done: int
    there: int
    remarks: dict[str, str]
    missing: int
    others: int
    faces: dict[str, list[Box]]
    shown: list[preview.Shown]

    @property
    def kept(self) -> int:
        """Number of faces that were left as they are."""
        return sum(box.kept for faces in self.faces.values() for box in faces)

    @property
    def covered(self) -> int:
        """Number of the other faces."""
        return sum(map(len, self.faces.values())) - self.kept


def anonymise_file(
    source: str | os.PathLike, output: str | os.PathLike, anonymiser: Anonymiser
) -> Report:
    """Anonymises one photograph.

    Args:
        source: its file.
        output: file of the result, which must not exist; .jpg or .png.
        anonymiser: how.

    Returns:
        What was done.

    Raises:
        FileExistsError: there is something at `output`.
        FileNotFoundError: there is nothing at `source`.
        ValueError: `output` ends as no picture that can be written.
    """
    source, output = Path(source), Path(output)
    if output.suffix.lower() not in images.FORMATS:
        raise ValueError(
            f"A result's file must end in one of {sorted(images.FORMATS)}. "
            f"Received: {output}"
        )
    if os.path.lexists(output):
        raise FileExistsError(
            "The output is there already; remove it, or name another (--output). "
            f"Received: {output}"
        )
    check_new(output)  # can it be written?
    outcome = anonymiser(source.name, source.read_bytes(), target=output.name)
    if outcome.content is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        _write(output, outcome.content)
    remarks = {source.name: outcome.remark} if outcome.remark else {}
    done, faces = int(outcome.content is not None), {source.name: outcome.faces or []}
    shown = preview.shown(source.name, outcome)
    return Report(done, 0, remarks, 1 - done, 0, faces, shown)


def anonymise_folder(
    source: str | os.PathLike,
    output: str | os.PathLike,
    anonymiser: Anonymiser,
    *,
    share: tuple[int, int] = (1, 1),
    video: bool = False,
    progress: Progress = None,
) -> Report:
    """Anonymises the photographs of a folder and of all folders below it.

    A run that was interrupted goes on where it was. Several processes, of one share
    each, may work on one folder; which photographs are a share's, and what is painted
    in them, follows from their names alone. Beside the results `record` tells
    what was found.

    Args:
        source: a folder; or one photograph.
        output: folder of the results, outside of the source.
        anonymiser: how.
        share: (2, 4) for the second of four.
        video: whether the files, in the order of the numbers in their names, are
            pictures of one video, in which persons are followed.
        progress: `None`, or a function called with `(done, total)`.

    Returns:
        What was done. Bad photographs are left out and named.

    Raises:
        FileExistsError: the output folder holds other files.
        FileNotFoundError: there is nothing at `source`.
        ValueError: the output lies in the source, was made with other settings, or
            there are no photographs; or a share of a video.
    """
    source, output = _checked(Path(source), Path(output), share, video)
    root = source if source.is_dir() else source.parent
    paths, others = images.below(source) if source.is_dir() else ([source], 0)
    names = [path.relative_to(root).as_posix() for path in paths]
    targets = {name: anonymiser.settings.target(name) for name in names}
    if not targets:
        raise ValueError(
            "There are no pictures in the folder, which end in one of "
            f"{', '.join(sorted(images.SUFFIXES))}. Received: {source}"
        )
    mine = [name for name in names if _share(name, share[1]) == share[0]]
    clashes = _clashes(targets)
    remarks = {name: clashes[name] for name in mine if name in clashes}
    names = [name for name in mine if name not in clashes]
    if video:
        names.sort(key=_numbered)
    settings = anonymiser.settings.record() | {"video": video}
    run = _Run(root, output, anonymiser, Record(output, settings, share), video)
    return run(names, remarks, others, progress)


class _Run:
    """One photograph after the other."""

    def __init__(self, root, output, anonymiser, record, video):
        self._root, self._output = root, output
        self._anonymiser, self._record = anonymiser, record
        self._given = anonymiser.settings.boxes is not None
        # Where somebody says where faces are, none is missed.
        patience = 0 if self._given else PATIENCE
        self._tracker = Tracker(patience) if video else None

    def __call__(self, names, remarks, others, progress) -> Report:
        settings = self._anonymiser.settings
        targets = {name: self._output / settings.target(name) for name in names}
        _remove_partial(targets.values())
        there = {name for name in names if targets[name].is_file()}
        self._record.keep(name for name in names if name in there)
        done, missing, shown = 0, len(remarks), []
        for number, name in enumerate(names, 1):
            if name in there:
                self._follow(name)
                if not self._record.faces[name]:
                    remarks[name] = NO_FACE
            else:
                outcome = self._one(name, targets[name])
                done += outcome.content is not None
                missing += outcome.content is None
                if outcome.remark:
                    remarks[name] = outcome.remark
                if len(shown) < _SHOWN:
                    shown += preview.shown(name, outcome)
            if progress:
                progress(number, len(names))
        self._record.finish(remarks)
        faces = self._record.faces
        return Report(done, len(there), remarks, missing, others, faces, shown)

    def _one(self, name, target) -> Outcome:
        try:
            content = (self._root / name).read_bytes()
        except OSError as error:
            return Outcome(None, None, f"The file cannot be read: {error}")
        outcome = self._anonymiser(name, content, self._tracker)
        if outcome.faces is not None:
            self._record.add(name, outcome.faces)
        if outcome.content is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            _write(target, outcome.content)
        return outcome

    def _follow(self, name):
        """Tells the tracker of a picture what it knew when it was made."""
        if self._tracker is not None:
            faces = self._record.faces[name]
            found = [f for f in faces if self._given or f.confidence is not None]
            self._tracker(found)


def _checked(source, output, share, video):
    if not source.exists():
        raise FileNotFoundError(f"There is nothing at this path. Received: {source}")
    if source.is_dir() and output.resolve().is_relative_to(source.resolve()):
        raise ValueError(
            "The output folder must lie outside of the folder that is read. "
            f"Received: {source} and {output}"
        )
    if output.exists() and not output.is_dir():
        raise FileExistsError(f"The output is no folder. Received: {output}")
    if not 1 <= share[0] <= share[1]:
        raise ValueError(
            f"A share is a number from 1 to how many there are. Received: {share}"
        )
    if video and share != (1, 1):
        raise ValueError(
            "The pictures of a video hang together; they have no shares. "
            f"Received: {share}"
        )
    return source, output


def _clashes(targets: dict[str, str]) -> dict[str, str]:
    times = Counter(targets.values())
    return {n: files.clash(n, t) for n, t in targets.items() if times[t] > 1}


def _share(name: str, total: int) -> int:
    """Which share a photograph belongs to, whatever others there are."""
    digest = hashlib.sha256(name.encode(errors="surrogateescape")).digest()
    return 1 + int.from_bytes(digest[:8], "little") % total


def _numbered(name: str) -> tuple[list, str]:
    """Names in the order of the numbers in them: 2 before 10."""
    parts = _NUMBERS.split(name)
    return [int(p) if i % 2 else p for i, p in enumerate(parts)], name


def _remove_partial(targets) -> None:
    """What a killed process of the same share left half-written."""
    wanted = set(targets)
    for folder in {target.parent for target in wanted}:
        for path in folder.glob(".*"):
            match = _PARTIAL.fullmatch(path.name)
            if match and folder / match[1] in wanted:
                path.unlink()


def _write(path, content) -> None:
    with atomic_file(path) as file:
        file.write(content)
