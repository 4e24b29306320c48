"""Folders of faces: inverted, and released with privacy, one file for each."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfpriv.accounting import recording
from tfpriv.accounting.journal import Journal
from tfpriv.editing import inversion, pictures
from tfpriv.editing.release import Release
from tfpriv.support import images
from tfpriv.support.files import read_array
from tfpriv.support.outputs import (
    SETTINGS,
    atomic_file,
    check_output,
    check_output_file,
    check_settings,
    take_up,
)

JOURNAL, LEDGER = "releases.journal", "ledger.json"


class EditingSummary(NamedTuple):
    """What was done.

    Attributes:
        done: files made.
        there: files that an earlier run had made.
        failures: what could not be done, one line each.
        advice: what to do about poor results, one line each.
    """

    done: int
    there: int
    failures: list[str]
    advice: list[str]


def invert_files(
    source: str | os.PathLike,
    output: str | os.PathLike,
    generator,
    loss,
    *,
    aligned: bool = False,
    start: str | Callable[[np.ndarray], np.ndarray] = "mean",
    at_once: int = 4,
    progress: Callable[[int, int], None] | None = None,
    **options,
) -> EditingSummary:
    """Inverts pictures; each gives its latent `NAME.npy` and `NAME.png`, both private.

    A run that was interrupted goes on where it was: pictures whose latents are there
    are left alone. `settings.json` in the output tells whose they are: it is for one
    folder of pictures, one generator and one space.

    Args:
        source: a picture, or a folder of them.
        output: folder to write.
        generator: a `StyleGAN`.
        loss: as for `inversion.invert`.
        aligned: whether faces fill the pictures as the generator's do.
        start: as for `inversion.invert`; or a function from pictures to their starts,
            such as an encoder's.
        at_once: pictures inverted together.
        progress: `None`, or a function called with `(done, total)`.
        **options: further ones of `inversion.invert`.

    Returns:
        What was done. Bad pictures, and those without a face, are left out and named.

    Raises:
        FileExistsError: the output holds other files.
        FileNotFoundError: there is nothing at `source`.
        ValueError: for an option out of range, a folder without pictures, or an output
            that holds the sources, or results of others.
    """
    inversion.check_options(**options)
    output = Path(output)
    made = {
        "source": _mark(source),
        "generator": generator.fingerprint,
        "space": options.get("space", "w"),
        "aligned": aligned,
    }
    todo, there = _missing(source, output, pictures.SUFFIXES, made)
    failures, advice, done = [], [], 0
    for first in range(0, len(todo), at_once):
        part, faces = [], []
        for path in todo[first : first + at_once]:
            try:
                faces.append(
                    pictures.read_face(path, generator.resolution, aligned=aligned)
                )
                part.append(path)
            except ValueError as error:
                failures.append(str(error))
        if part:
            take_up(output / SETTINGS, made)
            given = np.stack(faces)
            first_guess = start(given) if callable(start) else start
            found = inversion.invert(
                generator, given, loss, start=first_guess, **options
            )
            for path, latent, drawn in zip(
                part, found.latents, found.pictures, strict=True
            ):
                content = images.encode(images.to_uint8(drawn), ".png")
                with atomic_file(output / f"{path.stem}.png", private=True) as file:
                    file.write(content)
                inversion.save_latents(output / f"{path.stem}.npy", latent)
            advice += found.advice(part)
        done += len(part)
        if progress:
            progress(min(first + at_once, len(todo)), len(todo))
    return EditingSummary(done, there, failures, advice)


def release_files(
    source: str | os.PathLike,
    output: str | os.PathLike,
    generator,
    release: Release,
    *,
    distinct_persons: bool = False,
    progress: Callable[[int, int], None] | None = None,
    **options,
) -> EditingSummary:
    """Releases latents with privacy; each gives `NAME.npy` and its picture `NAME.png`.

    What is spent stands in `releases.journal` beside the latents before any noise is
    drawn: further releases of these faces, wherever they are written, are added to it,
    and one over other attributes, which would not add up, is refused. `ledger.json` in
    the output is its copy, written before the latents. A run that was interrupted goes
    on where it was, and counts what was begun twice twice. `settings.json` in the
    output tells how it was made: it is for one folder of latents and one release.

    Args:
        source: a latent `.npy` as InterFaceGAN's, or a folder of them.
        output: folder to write.
        generator: a `StyleGAN`.
        release: an `AttributeMechanism`, or another release.
        distinct_persons: whether the latents are of different persons, each of whom is
            released in this run alone: one event then covers them all.
        progress: `None`, or a function called with `(done, total)`.
        **options: `psi` and `layers` of `StyleGAN.generate`.

    Returns:
        What was done. Files that hold no latent of this generator are left out and
        named.

    Raises:
        FileExistsError: the output holds other files.
        FileNotFoundError: there is nothing at `source`.
        LedgerError: the journal there is damaged, or of other releases, or says less
            than the output's ledger.
        ValueError: for an option out of range, a folder without latents, or an output
            that holds the sources, or other releases.
    """
    output = Path(output)
    made = {"source": _mark(source), "generator": generator.fingerprint}
    made |= release.settings()
    todo, there = _missing(source, output, (".npy",), made)
    latents, failures = _read_latents(todo, generator, release.space)
    with Journal(pictures.folder_of(source) / JOURNAL) as journal:
        recording.check_copy(output / LEDGER, journal)
        released = ()
        if latents:
            released = release(
                np.stack(list(latents.values())),
                ledger=journal,
                distinct_persons=distinct_persons,
            )
        if latents or there:
            take_up(output / SETTINGS, made)
            # Before the first result: none is ever beside a ledger that says less.
            journal.save(output / LEDGER)
        for i, (path, latent) in enumerate(zip(latents, released, strict=True)):
            drawn = generator.generate(latent, release.space, **options)
            images.save(output / f"{path.stem}.png", images.to_uint8(drawn))
            with atomic_file(output / f"{path.stem}.npy") as file:
                np.save(file, latent[None] if latent.ndim == 1 else latent)
            if progress:
                progress(i + 1, len(latents))
    return EditingSummary(len(latents), there, failures, [])


def read_latent(path: str | os.PathLike, generator, space: str) -> np.ndarray:
    """Reads a latent of a generator.

    Args:
        path: `.npy` of (1, latent_dim), or (num_layers, latent_dim) for W+.
        generator: a `StyleGAN`.
        space: "z", "w" or "wp".

    Returns:
        float32 (latent_dim,), or (num_layers, latent_dim).

    Raises:
        ValueError: the file is damaged, or holds something else.
    """
    try:
        latent = read_array(path)
        if space != "wp" and latent.ndim == 2 and len(latent) == 1:
            latent = latent[0]
        if latent.ndim != (2 if space == "wp" else 1) or latent.dtype.kind != "f":
            raise ValueError(f"An array of {latent.dtype}, shape {latent.shape}.")
        return generator.checked(latent, space)
    except ValueError as error:
        raise ValueError(
            f"The file holds no latent of {space!r} of this generator. Received: "
            f"{path} ({error})"
        ) from error


def _missing(source, output, suffixes, made) -> tuple[list[Path], int]:
    """Files whose results are still to be made, and the number of the others."""
    files = pictures.files_of(source, suffixes)
    check_output(output, *files)
    check_settings(output / SETTINGS, made)
    output.mkdir(parents=True, exist_ok=True)
    check_output_file(output / SETTINGS)
    todo = [p for p in files if not (output / f"{p.stem}.npy").exists()]
    return todo, len(files) - len(todo)


def _mark(source) -> str:
    """Tells folders of sources apart, and names none where results are shown."""
    folder = os.fsencode(pictures.folder_of(source).resolve())
    return hashlib.sha256(folder).hexdigest()


def _read_latents(paths, generator, space) -> tuple[dict[Path, np.ndarray], list[str]]:
    latents, failures = {}, []
    for path in paths:
        try:
            latents[path] = read_latent(path, generator, space)
        except ValueError as error:
            failures.append(str(error))
    return latents, failures
