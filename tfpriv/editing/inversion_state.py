"""Where an inversion stands: its best latents so far, and a file to go on from."""

import json
import os
from pathlib import Path

import numpy as np

from tfpriv.support.files import read_arrays
from tfpriv.support.outputs import atomic_file

NAME = "inversion.npz"
NEAR = 1e-3  # starts are the same: an encoder may guess a last bit otherwise
LOWER = 1e-3  # part by which a loss must fall to count as lower


class State:
    """The best latents, the losses, and what the optimizer remembers.

    Args:
        latents: tf.Variable that is optimised.
        optimizer: a built Keras optimizer.
        folder: where the state is kept, or None. What is there is gone on from.
        whose: whose inversion it is, and how it is done: what JSON can say of it.

    Attributes:
        history: losses (n,) of each step done.
        best_latents: float32, of each picture the one with the lowest loss.

    Raises:
        ValueError: the file there is damaged, or of another inversion.
    """

    def __init__(
        self, latents, optimizer, folder: str | os.PathLike | None, whose: dict
    ):
        self._latents, self._optimizer = latents, optimizer
        self._path = None if folder is None else Path(folder) / NAME
        count = latents.shape[0]
        self.history = []
        self._start = self.best_latents = latents.numpy()
        self._whose = json.dumps(whose, default=str)
        self._best = np.full(count, np.inf)
        self._mark, self._since = self._best.copy(), 0
        if self._path is not None and self._path.exists():
            self._load()

    def add(self, losses: np.ndarray, before: np.ndarray) -> None:
        """Counts a step.

        Args:
            losses: (n,), of the latents before the step.
            before: those latents.
        """
        better = losses < self._best
        self.best_latents = self.best_latents.copy()
        self.best_latents[better] = before[better]
        self._best = np.where(better, losses, self._best)
        lower = losses < self._mark * (1 - LOWER)
        self._mark = np.where(lower, losses, self._mark)
        self._since = 0 if lower.any() else self._since + 1
        self.history.append(losses)

    def stale(self, patience: int | None) -> bool:
        """Whether no loss has become lower for so many steps."""
        return patience is not None and self._since >= patience

    def save(self) -> None:
        """Keeps the state, if it has a folder: readable by its owner only."""
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        slots = {
            f"slot_{i}": np.asarray(v) for i, v in enumerate(self._optimizer.variables)
        }
        with atomic_file(self._path, private=True) as file:
            np.savez(
                file,
                whose=self._whose,
                start=self._start,
                latents=self._latents.numpy(),
                best_latents=self.best_latents,
                best=self._best,
                mark=self._mark,
                since=self._since,
                history=np.array(self.history),
                **slots,
            )

    def delete(self) -> None:
        """Removes the file, if there is one."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _load(self):
        try:
            kept = read_arrays(self._path)
        except ValueError as error:
            raise ValueError(
                f"The state is damaged; delete it to begin anew. Received: {self._path}"
            ) from error
        slots = self._optimizer.variables
        names = [f"slot_{i}" for i in range(len(slots))]
        others = ["history", "best_latents", "best", "mark", "since"]
        if not self._is_mine(kept) or any(n not in kept for n in names + others):
            raise ValueError(
                "The state belongs to another inversion: of other pictures, or with "
                "other options. Finish that one, name another folder, or delete the "
                f"state to begin anew. Received: {self._path}"
            )
        self._latents.assign(kept["latents"])
        for slot, name in zip(slots, names, strict=True):
            slot.assign(kept[name])
        self.history = list(kept["history"])
        self.best_latents = kept["best_latents"]
        self._best, self._mark = kept["best"], kept["mark"]
        self._since = int(kept["since"])

    def _is_mine(self, kept) -> bool:
        start, latents = (kept.get(n, np.empty(0)) for n in ("start", "latents"))
        shapes = {self._start.shape, start.shape, latents.shape}
        if len(shapes) > 1 or kept.get("whose", np.empty(0)).tolist() != self._whose:
            return False
        return np.allclose(start, self._start, atol=NEAR)
