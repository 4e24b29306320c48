"""Samplers: who is in a batch, and the accounting event that is true for it."""

import abc
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tfpriv.accounting import Mechanism, calibration, mechanisms
from tfpriv.dp import tensorflow_internals
from tfpriv.dp.grouping import members_of_groups, warn_of_repeated_files
from tfpriv.dp.sources import as_source, name_parts
from tfpriv.support.randomness import Randomness

SIZE_FROM_DATA = "data set size treated as public"
_LISTS = (
    "A list is taken as a list of examples; for several inputs pass a tuple that holds "
    "them, `([x1, x2], y)` or `([x1, x2],)`. "
)


class Sampler(abc.ABC):
    """Draws batches and says what each costs."""

    steps_per_epoch: int | None = None  # `None` where the data decides
    # Public constant that the noisy sum is divided by; `None`: the size of each batch.
    divisor: float | None = None
    groups_units: bool = False  # whether a unit is a group of examples
    group_size: Any = None  # examples in a group at most, or `None`

    @abc.abstractmethod
    def mechanism(self, noise_multiplier: float) -> Mechanism:
        """The `Mechanism` of one step with this sampler."""

    @abc.abstractmethod
    def batches(
        self, pay: Callable[[], int], randomness: Randomness
    ) -> Iterator[tuple[int, Any]]:
        """Yields `(ticket, batch)`; `pay()` is called before a batch is drawn."""

    @abc.abstractmethod
    def element_spec(self):
        """Dict of nested `tf.TensorSpec` of one example, without batch axis."""

    def preprocess_by(self, rows: Any) -> None:
        """Applies a function to what is drawn; see `tfpriv.dp.preprocessing`."""
        raise NotImplementedError(
            f"{type(self).__name__} does not apply a task's preprocessor. Define "
            "`preprocess_by`, or set `task.preprocessor = None`."
        )

    def arrays(self):
        """Nested arrays in memory that it draws from; empty where there are none."""
        return {}


class _RandomAccessSampler(Sampler):
    _rows = None  # a task's preprocessor

    def __init__(
        self, data, batch_size, steps_per_epoch, population, load, groups=None
    ):
        self.source, self._members = as_source(data, load), None
        found = len(self.source)
        members = None if groups is None else members_of_groups(groups, found)
        warn_of_repeated_files(data, found, members)
        if members is not None:
            found, self._members = len(members), members
        if found < 1:
            raise ValueError("Expected at least one example. Received: empty data")
        hint = _LISTS if isinstance(data, list) and groups is None else ""
        self._notes = () if population is not None else (SIZE_FROM_DATA,)
        self.found = found
        self._population = int(population or found)
        if not 0 < batch_size <= self._population:
            raise ValueError(
                "`batch_size` must be positive and at most the number of units. "
                f"{hint}Received: batch_size={batch_size} for {self._population} units"
            )
        self._divisor = float(batch_size)
        steps = steps_per_epoch or calibration.steps_per_epoch(
            self.population, batch_size
        )
        self.steps_per_epoch = int(steps)

    # Read-only: `fit` asks once what a step costs, and every batch is drawn by them.

    @property
    def population(self):
        """Number of units, treated as public."""
        return self._population

    @property
    def divisor(self) -> float:  # type: ignore[override]
        """Expected number of units in a batch."""
        return self._divisor

    def batches(
        self, pay: Callable[[], int], randomness: Randomness
    ) -> Iterator[tuple[int, Any]]:
        while True:
            ticket = pay()
            yield ticket, self._draw(randomness)

    def arrays(self):
        return self.source.arrays()

    def preprocess_by(self, rows: Any) -> None:
        self._rows = rows

    def _take(self, indices):
        """The examples at `indices`, as a dict of nested arrays."""
        if self._rows is None:
            return self.source.take(indices)
        # No rows would leave the shape of one open.
        some = self._rows(self.source.take(indices if len(indices) else np.array([0])))
        return tf.nest.map_structure(lambda a: a[: len(indices)], some)

    @abc.abstractmethod
    def _draw(self, randomness):
        """One batch: dict of nested arrays."""

    def element_spec(self):
        example = self._take(np.array([0]))
        return tf.nest.map_structure(
            lambda a: tf.TensorSpec(a.shape[1:], tf.as_dtype(a.dtype)), example
        )


class PoissonSampler(_RandomAccessSampler):
    """Every unit is in a batch independently, with probability `batch_size / n`.

    Args:
        data: Arrays `(x, y, sample_weight)`, each of them one or nested lists, tuples
            and dicts of some; or an object with random access, such as a list of
            examples; see `tfpriv.dp.sources.as_source`.
        batch_size: Expected number of units in a batch; a public constant. Real
            batches vary in size and may be empty; none is ever cut.
        steps_per_epoch: Int; `None` takes n / batch_size, rounded up.
        population: Public number of units n. `None` takes it from the data, which
            the ledger notes.
        groups: `None`, or one label per example: a unit is then all examples with
            the same label (a person's images), and groups are what is drawn. Labels
            are numbers or texts, of one type, none of them missing.
        max_examples_per_group: With `groups`: at most so many examples of a drawn
            group, chosen at random, make its one clipped vector.
        load: Function from an item of `data` to `(x, y)`, for lists of files.

    Reference:
        Abadi et al., CCS 2016; Mironov et al., "Renyi Differential Privacy of the
        Sampled Gaussian Mechanism", 2019.
    """

    def __init__(
        self,
        data: Any,
        batch_size: float,
        *,
        steps_per_epoch: int | None = None,
        population: int | None = None,
        groups: Any = None,
        max_examples_per_group: int | None = None,
        load: Callable[[Any], Any] | None = None,
    ) -> None:
        if groups is not None:
            if max_examples_per_group is None or max_examples_per_group < 1:
                raise ValueError(
                    "With `groups`, say how many examples of a group are used at most. "
                    f"Received: max_examples_per_group={max_examples_per_group}"
                )
            self.groups_units = True
            self.group_size = int(max_examples_per_group)
        super().__init__(data, batch_size, steps_per_epoch, population, load, groups)

    @property
    def sampling_probability(self):
        """Probability q of a unit to be in a batch."""
        return min(1.0, self.divisor / self.population)

    def mechanism(self, noise_multiplier: float) -> Mechanism:
        return mechanisms.poisson(
            self.sampling_probability,
            noise_multiplier,
            population=self.population,
            notes=self._notes,
        )

    def _draw(self, randomness):
        drawn = randomness.bernoulli(self.sampling_probability, self.found)
        if self._members is None:
            return self._take(drawn)
        # (groups, k, ...), with a mask for groups smaller than k.
        k = self.group_size
        index = np.zeros((len(drawn), k), dtype=np.int64)
        present = np.zeros((len(drawn), k), dtype=bool)
        for row, group in enumerate(drawn):
            members = self._members[group]
            size = min(k, len(members))
            index[row, :size] = members[randomness.subset(size, len(members))]
            present[row, :size] = True
        batch = tf.nest.map_structure(
            lambda a: a.reshape((len(drawn), k, *a.shape[1:])),
            self._take(index.reshape(-1)),
        )
        return {**batch, "present": present}


class FixedSizeSampler(_RandomAccessSampler):
    """Batches of exactly `batch_size` units, without replacement within a batch.

    Neighbours differ in one unit's data (REPLACE_ONE), which moves the sum by up to
    2C; at the same noise multiplier it costs more than Poisson sampling.

    Args:
        data: As for `PoissonSampler`, and so are the others.
        batch_size: Int, units in each batch.
        steps_per_epoch: Int or `None`.
        load: Function, or `None`.
    """

    def __init__(
        self,
        data: Any,
        batch_size: int,
        *,
        steps_per_epoch: int | None = None,
        load: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__(data, int(batch_size), steps_per_epoch, None, load)

    def mechanism(self, noise_multiplier: float) -> Mechanism:
        return mechanisms.fixed_size(
            self.population, int(self.divisor), noise_multiplier, notes=self._notes
        )

    def _draw(self, randomness):
        return self._take(randomness.subset(int(self.divisor), self.population))


class Stream(Sampler):
    """A `tf.data.Dataset` of batches as it comes: no amplification is claimed.

    Args:
        dataset: Batched `tf.data.Dataset` of `x`, `(x, y)` or
            `(x, y, sample_weight)`.
        max_occurrences: How often one unit can appear in one batch, declared by
            you: 1 for a pipeline that neither repeats within a batch nor
            oversamples.
        steps_per_epoch: Int, or `None` to run the data set to its end each epoch.

    Raises:
        ValueError: If `max_occurrences` is not declared, or the data set may be one of
            single examples, of which another axis would pass for the batch.
    """

    def __init__(
        self,
        dataset: tf.data.Dataset,
        max_occurrences: int | None = None,
        *,
        steps_per_epoch: int | None = None,
    ) -> None:
        if not isinstance(dataset, tf.data.Dataset):
            raise ValueError(
                "`Stream` takes a `tf.data.Dataset`. "
                f"Received: {type(dataset).__name__}"
            )
        if max_occurrences is None or max_occurrences < 1:
            raise ValueError(
                "Declare how often one unit (with everything made from it) can "
                "appear in one batch: `Stream(dataset, max_occurrences=1)`. "
                f"Received: max_occurrences={max_occurrences}"
            )
        _check_batched(dataset)
        self.dataset, self._max_occurrences = dataset, max_occurrences
        self.steps_per_epoch = steps_per_epoch
        if steps_per_epoch is None:
            length = self.steps_per_epoch = int(dataset.cardinality())
            if length < 1:
                raise ValueError(
                    "Expected at least one batch, and a known number of them, or "
                    "`Stream(dataset, ..., steps_per_epoch=...)`. Received: "
                    f"cardinality {length} (negative: unknown or infinite)"
                )

    @property
    def max_occurrences(self):
        """How often one unit can appear in one batch; read-only, as declared."""
        return self._max_occurrences

    def mechanism(self, noise_multiplier: float) -> Mechanism:
        return mechanisms.stream(noise_multiplier, max_occurrences=self.max_occurrences)

    def batches(
        self, pay: Callable[[], int], randomness: Randomness
    ) -> Iterator[tuple[int, Any]]:
        del randomness
        elements = itertools.chain.from_iterable(itertools.repeat(self.dataset))
        while True:
            ticket = pay()
            batch = name_parts(next(elements))
            yield ticket, tf.nest.map_structure(lambda t: t.numpy(), batch)

    def element_spec(self):
        parts = name_parts(self.dataset.element_spec)
        return tf.nest.map_structure(
            lambda s: tf.TensorSpec(s.shape[1:], s.dtype), parts
        )

    def preprocess_by(self, rows: Any) -> None:
        self.dataset = rows.over(self.dataset)


def _check_batched(dataset):
    """Raises `ValueError` unless tensors are dense, and each first axis a batch's.

    One of unknown length is taken for it; one of a fixed length may as well be an
    example's, unless the data set was seen to be batched.
    """
    leaves = tf.nest.flatten(name_parts(dataset.element_spec))
    kinds = {type(leaf).__name__ for leaf in leaves}
    if kinds - {"TensorSpec"}:
        raise ValueError(
            "Examples must be dense and of one shape. Convert the batches: `dataset."
            "map(lambda x, y: (x.to_tensor(shape=...), y))`, or `tf.sparse.to_dense`. "
            f"Received: elements of {sorted(kinds)}"
        )
    lengths = {s.shape[0] if s.shape.rank else "no axis" for s in leaves}
    fixed = lengths - {None}
    if len(fixed) > 1 or "no axis" in fixed:
        problem = f"first axes {sorted(map(str, lengths))}"
    elif fixed and not tensorflow_internals.is_batched(dataset):
        problem = f"elements with a first axis of {fixed.pop()}, and no batching step"
    else:
        return
    raise ValueError(
        "`Stream` takes batches, whose first axis is the batch's. Batch the examples: "
        "`dataset.batch(n)`; batches that are made already, of a fixed size: "
        "`dataset.unbatch().batch(n)`, or an `output_signature` with `None` as first "
        f"axis. Received: a data set of {problem}"
    )
