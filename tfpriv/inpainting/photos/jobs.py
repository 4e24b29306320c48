"""Photographs, and folders and videos of them, anonymised file by file."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
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
_PARTIAL = re.compile(r"\.[0-9a-f]{8}\.(.+)")  # what `outputs.atomic_path` names
_NUMBERS = re.compile(r"(\d+)")


class Report(NamedTuple):
    """What was done.

    Attributes:
        root: folder that the photographs' names are relative to.
        done: photographs whose results were made.
        there: photographs whose results an earlier run had made.
        remarks: what somebody should look at, by photographs' names.
        missing: how many of these have no result.
        others: number of files that are no pictures and stay where they are.
        faces: of the photographs that were looked at, by their names.
        shown: some photographs, for a preview.
    """

    root: Path
    done: int
    there: int
    remarks: dict[str, str]
    missing: int
    others: int
    faces: dict[str, list[Box]]
    shown: list[tuple]

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
            f"Expected a name that ends in {sorted(images.FORMATS)}. Received: {output}"
        )
    if os.path.lexists(output):
        raise FileExistsError(
            f"The output is there already; name another one. Received: {output}"
        )
    check_new(output)  # can it be written?
    name = source.name
    outcome = anonymiser(name, source.read_bytes(), target=output.name)
    if outcome.content is not None:
        _write(output, outcome.content)
    made, faces = outcome.content is not None, {name: outcome.faces or []}
    remarks = {name: outcome.remark} if outcome.remark else {}
    shown = preview.shown(name, outcome)
    return Report(source.parent, int(made), 0, remarks, int(not made), 0, faces, shown)


def anonymise_folder(
    source: str | os.PathLike | Sequence[str | os.PathLike],
    output: str | os.PathLike,
    anonymiser: Anonymiser,
    *,
    share: tuple[int, int] = (1, 1),
    video: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Anonymises the photographs of folders and of all folders below them.

    A run that was interrupted goes on where it was. Several processes, of one share
    each, may work on one folder; which photographs are a share's, and what is painted
    in them, follows from their names alone. Beside the results `record` tells
    what was found.

    Args:
        source: a folder, a photograph, or several of these. Photographs, and results,
            are called by their paths in the folder; of several, in the innermost
            folder that holds all of them.
        output: folder of the results, outside of the folders that are read.
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
    output, settings = Path(output), anonymiser.settings
    _check_share(share, video)
    root, names, others = _below(source, output)
    targets = {name: settings.target(name) for name in names}
    times = Counter(targets.values())
    mine = [name for name in names if _share(name, share[1]) == share[0]]
    remarks = {n: files.clash(n, targets[n]) for n in mine if times[targets[n]] > 1}
    targets = {n: output / targets[n] for n in mine if n not in remarks}
    if video:
        targets = {name: targets[name] for name in sorted(targets, key=_numbered)}
    # Where somebody says where faces are, none is missed.
    patience = PATIENCE if settings.boxes is None else 0
    tracker = Tracker(patience) if video else None
    record = Record(output, settings.record() | {"video": video}, share)
    _remove_partial(targets.values())
    there = {name for name, target in targets.items() if target.is_file()}
    record.keep(name for name in targets if name in there)
    done, shown = 0, []
    for number, (name, target) in enumerate(targets.items(), 1):
        if name in there:
            outcome = _again(record.faces[name], tracker)
        else:
            outcome = _one(root, name, target, anonymiser, record, tracker)
            done += outcome.content is not None
        if outcome.remark:
            remarks[name] = outcome.remark
        if len(shown) < _SHOWN:
            shown += preview.shown(name, outcome)
        if progress:
            progress(number, len(targets))
    record.finish(remarks)
    missing, faces = len(mine) - len(there) - done, record.faces
    return Report(root, done, len(there), remarks, missing, others, faces, shown)


def _one(root, name, target, anonymiser, record, tracker) -> Outcome:
    try:
        content = (root / name).read_bytes()
    except OSError as error:
        return Outcome(None, None, f"The file cannot be read: {error}")
    outcome = anonymiser(name, content, tracker)
    if outcome.faces is not None:
        record.add(name, outcome.faces)
    if outcome.content is not None:
        _write(target, outcome.content)
    return outcome


def _again(faces, tracker) -> Outcome:
    """Tells the tracker of a picture what it knew when it was made."""
    if tracker is not None:
        tracker([f for f in faces if f.confidence is not None or not tracker.patience])
    return Outcome(None, faces, None if faces else NO_FACE)


def _check_share(share, video):
    if not 1 <= share[0] <= share[1]:
        raise ValueError(f"Expected a share, as (2, 4). Received: {share}")
    if video and share != (1, 1):
        raise ValueError(
            f"Video frames cannot be processed in shards. Received: {share}"
        )


def _below(source, output):
    """The photographs that are meant: their folder, their names, and other files."""
    given = [source] if isinstance(source, str | os.PathLike) else source
    folders, paths, others = [], [], 0
    for path in map(Path, given):
        if not path.exists():
            raise FileNotFoundError(f"There is nothing at this path. Received: {path}")
        if not path.is_dir():
            folders.append(path.parent.resolve())
            paths.append(folders[-1] / path.name)
            continue
        folders.append(path.resolve())
        if output.resolve().is_relative_to(folders[-1]):
            raise ValueError(
                f"The output must lie outside of the folders read. Received: {output}"
            )
        found, rest = images.below(folders[-1])
        paths += found
        others += rest
    root = Path(os.path.commonpath(folders))
    names = list(dict.fromkeys(path.relative_to(root).as_posix() for path in paths))
    if not names:
        raise ValueError(
            "There are no pictures in the folder, which end in one of "
            f"{', '.join(sorted(images.SUFFIXES))}. Received: {source}"
        )
    return root, names, others


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
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        file.write(content)
