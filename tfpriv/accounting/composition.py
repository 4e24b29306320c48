"""Entries that compose, and the epsilon that follows from them."""

from collections.abc import Sequence

import dp_accounting as dpa

from tfpriv.accounting import epsilon as bounds
from tfpriv.accounting.entry import Entry
from tfpriv.accounting.journal_file import Key
from tfpriv.support.moved import renamed
from tfpriv.support.warning import warn


class Composition:
    """What a ledger holds, to read: `Ledger` adds recording, files and statements.

    All entries have the same unit and neighbouring relation.
    """

    def __init__(self) -> None:
        self._entries: dict[Key, Entry] = {}
        self._not_for_release: list[str] = []
        self._warnings: list[str] = []
        self._weights_digest: str | None = None

    # What it holds.

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All entries, in the order in which each was first recorded."""
        return tuple(self._entries.values())

    def __len__(self) -> int:
        """Number of recorded steps and releases."""
        return sum(entry.count for entry in self.entries)

    def __bool__(self) -> bool:
        """True: an empty ledger is a ledger."""
        return True

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Composition):
            return NotImplemented
        return (
            {entry.key: entry.count for entry in self.entries}
            == {entry.key: entry.count for entry in other.entries}
            and set(self._not_for_release) == set(other._not_for_release)
            and set(self._warnings) == set(other._warnings)
            and self._weights_digest == other._weights_digest
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        unit = f", unit={self.unit!r}" if self.unit else ""
        return f"<Ledger of {len(self)} steps in {len(self.entries)} entries{unit}>"

    def _leading(self) -> Entry | None:
        """The entry whose unit and relation all others must share."""
        private = (e for e in self.entries if e.mechanism.is_private)
        return next(private, next(iter(self.entries), None))

    @property
    def unit(self) -> str | None:
        """The privacy unit, or None while nothing is recorded."""
        leading = self._leading()
        return leading.unit if leading else None

    @property
    def relation(self) -> dpa.NeighboringRelation | None:
        """The neighbouring relation, or None while nothing private is recorded."""
        leading = self._leading()
        private = leading and leading.mechanism.is_private
        return leading.mechanism.relation if leading and private else None

    @property
    def population(self) -> int | None:
        """The smallest data set that an entry names, or None if none does."""
        sizes = [e.mechanism.population for e in self.entries]
        return min((n for n in sizes if n is not None), default=None)

    # Epsilon.

    def epsilon(self, delta: float, accountant: str = "rdp") -> float:
        """Computes an upper bound of epsilon from the recorded events.

        Args:
            delta: the target delta, in [0, 1).
            accountant: "rdp" (Renyi divergences) or "pld" (privacy loss
                distributions: tighter, slower). Where "pld" cannot resolve the
                figure, a warning says so and the RDP bound is returned.

        Returns:
            The bound; infinity where there is none.

        Raises:
            ValueError: if an argument is out of range, or "pld" is asked about
                fixed-size sampling, for which there is no such distribution.

        Warns:
            UserWarning: if delta is 1/n or more for a data set of n units, since such
                a delta allows to publish one of them.
        """
        bound = bounds.epsilon(self.steps(), delta, accountant)
        for warning in self.warnings(delta, bound):
            warn(warning)
        return bound.value

    def delta(self, epsilon: float, accountant: str = "rdp") -> float:
        """Computes an upper bound of delta from the recorded events.

        Args:
            epsilon: the target epsilon, finite and at least 0.
            accountant: as for `epsilon`.

        Returns:
            The bound, at most 1.

        Raises:
            ValueError: as for `epsilon`.
        """
        bound = bounds.delta(self.steps(), epsilon, accountant)
        for warning in self.warnings(bound.value if bound.value < 1 else 0, bound):
            warn(warning)
        return bound.value

    def deltas(self, epsilons: Sequence[float], accountant: str = "rdp") -> list[float]:
        """Computes `delta` at several epsilons, for little more than the price of one.

        Args:
            epsilons: the targets, each finite and at least 0.
            accountant: as for `epsilon`.

        Returns:
            The bounds, each at most 1.

        Raises:
            ValueError: as for `epsilon`.
        """
        found = bounds.deltas(self.steps(), epsilons, accountant)
        return [bound.value for bound in found]

    def steps(self) -> list[tuple[dpa.DpEvent, int]]:
        """Returns the recorded events with their counts."""
        return [(entry.mechanism.event, entry.count) for entry in self.entries]

    def warnings(self, delta: float, bound: bounds.Bound) -> list[str]:
        """Returns what a reader of a bound at some delta should be warned of."""
        warnings = []
        n = self.population
        if n is not None and delta >= 1 / n:
            warnings.append(
                f"delta={delta:g} is not below 1/n for n={n}: such a delta would allow "
                f"one {self.unit} to be published. Choose a delta well below {1 / n:g}."
            )
        if bound.fallback:
            warnings.append(
                "The privacy loss distribution cannot resolve this: "
                f"{bound.fallback}. The RDP bound is given instead."
            )
        return warnings

    # Release.

    @property
    def recorded_warnings(self) -> tuple[str, ...]:
        """What `add_warning` added, in that order."""
        return tuple(self._warnings)

    @property
    def not_for_release(self) -> tuple[str, ...]:
        """Why it must not be released; empty if it may."""
        return tuple(self._not_for_release)

    @property
    def releasable(self) -> bool:
        """Whether no mark speaks against a release."""
        return not self._not_for_release

    @property
    def weights_digest(self) -> str | None:
        """The digest of the weights that this ledger matches, if any."""
        return self._weights_digest

    # Former names.

    cautions = renamed("cautions", "warnings")
    recorded_cautions = renamed("recorded_cautions", "recorded_warnings")
