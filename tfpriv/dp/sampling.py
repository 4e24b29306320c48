"""Samplers: who is in a batch, and the accounting event that is true for it."""

import abc
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tfpriv.accounting import calibration, mechanisms
from tfpriv.accounting.mechanisms import Mechanism
from tfpriv.dp import tensorflow_internals
from tfpriv.dp.grouping import members_of_groups, warn_of_repeated_files
from tfpriv.dp.read_dataset import read_dataset
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
    expected_batch_size: float | None = None
    groups_units: bool = False  # whether a unit is a group of examples
    group_size: Any = None  # examples in a group at most, or `None`

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "divisor" in vars(cls):
            raise TypeError(
                "The attribute `divisor` of samplers is called `expected_batch_size`. "
                f"Received: class {cls.__name__} with `divisor`"
            )

    @abc.abstractmethod
    def mechanism(self, noise_multiplier: float) -> Mechanism:
        """The `Mechanism` of one step with this sampler."""

    @abc.abstractmethod
    def batches(
        self, pay: Callable[..., int], randomness: Randomness
    ) -> Iterator[tuple[int, Any]]:
        """Yields `(ticket, batch)`; `pay` is called before a batch is drawn.

        Args:
            pay: Function that records the events of a step and returns its ticket: one
                event, or as many as it is given.
            randomness: `Randomness` of the model.
        """

    @abc.abstractmethod
    def element_spec(self):
        """Dict of nested `tf.TensorSpec` of one example, without batch axis."""

    def events(self, start: int, steps: int) -> int:
        """How many events the steps from `start` on record, in one call of `fit`.

        Args:
            start: Int, number of steps of this call before them.
            steps: Int, number of steps.
        """
        del start
        return steps

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
        self.num_units = found
        self._population = int(population or found)
        if not 0 < batch_size <= self._population:
            raise ValueError(
                "`batch_size` must be positive and at most the number of units. "
                f"{hint}Received: batch_size={batch_size} for {self._population} units"
            )
        self._batch_size = float(batch_size)
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
    def expected_batch_size(self) -> float:  # type: ignore[override]
        """Expected number of units in a batch."""
        return self._batch_size

    def batches(
        self, pay: Callable[..., int], randomness: Randomness
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

    @classmethod
    def from_dataset(
        cls, dataset: tf.data.Dataset, batch_size: float, **options: Any
    ) -> "PoissonSampler":
        """Samples from a `tf.data.Dataset` of single examples, which is read once.

        What the data set does at random (`shuffle`, a random `map`) is drawn while it
        is read, and stays: augment in the model instead, by Keras' layers.

        Args:
            dataset: Finite `tf.data.Dataset` of `x`, `(x, y)` or `(x, y,
                sample_weight)` of single examples of one shape, which fits in memory.
            batch_size: As for the class.
            **options: As for the class, but for `load`.

        Raises:
            ValueError: If the data set is batched, infinite, empty or ragged, or
                repeats its examples without `groups`.
        """
        data = read_dataset(dataset, is_grouped=options.get("groups") is not None)
        return cls(data, batch_size, **options)

    @property
    def sampling_probability(self):
        """Probability q of a unit to be in a batch."""
        return min(1.0, self.expected_batch_size / self.population)

    def mechanism(self, noise_multiplier: float) -> Mechanism:
        return mechanisms.poisson(
            self.sampling_probability,
            noise_multiplier,
            population=self.population,
            notes=self._notes,
        )

    def _draw(self, randomness):
        drawn = randomness.bernoulli(self.sampling_probability, self.num_units)
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
            self.population,
            int(self.expected_batch_size),
            noise_multiplier,
            notes=self._notes,
        )

    def _draw(self, randomness):
        return self._take(
            randomness.subset(int(self.expected_batch_size), self.population)
        )


class Stream(Sampler):
    """A `tf.data.Dataset` of batches as it comes: no amplification is claimed.

    Args:
        dataset: Batched `tf.data.Dataset` of `x`, `(x, y)` or
            `(x, y, sample_weight)`.
        max_occurrences: How often one unit can appear in one batch, declared by
            you: 1 for a pipeline that neither repeats within a batch nor
            oversamples.
        steps_per_epoch: Int, or `None` to run the data set to its end each epoch.
        max_participations_per_pass: In how many batches of one pass over the data set
            one unit can be, declared by you: 1 for a pipeline that shuffles and
            batches. An epoch is then one pass, and so many events are recorded for
            each; without a declaration a unit is charged in every batch.
        max_participations: In how many batches one unit can be in one call of `fit`,
            in place of `max_participations_per_pass`.

    A declaration holds if what is made of a unit does not change the rows or the
    batches of others: no MixUp, packing, or bucketing by length in the pipeline.

    Raises:
        ValueError: If `max_occurrences` is not declared, or the data set may be one of
            single examples, of which another axis would pass for the batch, or it
            cannot keep what is declared; while it is read, if the number of its batches
            changes, or it begins more passes than a unit can take part in.
    """

    def __init__(
        self,
        dataset: tf.data.Dataset,
        max_occurrences: int | None = None,
        *,
        steps_per_epoch: int | None = None,
        max_participations_per_pass: int | None = None,
        max_participations: int | None = None,
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
        self._per_pass, self._in_all = max_participations_per_pass, max_participations
        self._check_declared()
        length = steps_per_epoch
        if length is None:
            length = int(dataset.cardinality())
        if length < 1:
            raise ValueError(
                "Expected at least one batch, and a known number of them, or "
                "`Stream(dataset, ..., steps_per_epoch=...)`. Received: "
                f"cardinality {length} (negative: unknown or infinite)"
            )
        self.steps_per_epoch = self._length = length

    @property
    def max_occurrences(self):
        """How often one unit can appear in one batch; read-only, as declared."""
        return self._max_occurrences

    def mechanism(self, noise_multiplier: float) -> Mechanism:
        declared = ""
        if self._per_pass:
            declared = f"in at most {self._per_pass} of each pass's batches"
        elif self._in_all:
            declared = f"in at most {self._in_all} batches in all"
        return mechanisms.stream(
            noise_multiplier,
            max_occurrences=self.max_occurrences,
            participations=declared,
        )

    def events(self, start: int, steps: int) -> int:
        return self._events_before(start + steps) - self._events_before(start)

    def _events_before(self, step):
        """Events of the first steps: one for each batch that a unit can be in."""
        if self._in_all:
            return min(step, self._in_all)
        if not self._per_pass:
            return step
        passes, rest = divmod(step, self._length)
        of_a_pass = min(self._per_pass, self._length)
        return passes * of_a_pass + min(rest, of_a_pass)

    def batches(
        self, pay: Callable[..., int], randomness: Randomness
    ) -> Iterator[tuple[int, Any]]:
        del randomness
        elements, passes = iter(()), 0
        for step in itertools.count():
            if self._per_pass and step % self._length == 0:
                self._check_ended(elements)
                elements = iter(self.dataset)
            ticket = pay(self.events(step, 1))
            batch = next(elements, None)
            if batch is None:
                passes += 1
                self._check_next_pass(passes, step)
                elements = iter(self.dataset)
                batch = next(elements, None)
            if batch is None:
                raise ValueError(
                    "Expected at least one batch. Received: an empty data set"
                )
            yield ticket, tf.nest.map_structure(lambda t: t.numpy(), name_parts(batch))

    # What was declared.

    def _check_declared(self):
        """Raises `ValueError` for participations that the data set cannot keep."""
        given = {
            "max_participations_per_pass": self._per_pass,
            "max_participations": self._in_all,
        }
        bounds = {name: k for name, k in given.items() if k is not None}
        if not bounds:
            return
        if len(bounds) > 1 or min(bounds.values()) < 1:
            raise ValueError(
                "Expected one of `max_participations_per_pass` and "
                f"`max_participations`, at least 1. Received: {bounds}"
            )
        unfit = {"GroupByWindow": "batches by the lengths of their examples"}
        if self._per_pass:
            unfit["Repeat"] = "repeats its examples, and a pass has no end"
        for kind, reason in unfit.items():
            if tensorflow_internals.has_step(self.dataset, kind):
                raise ValueError(
                    f"The data set {reason}. Expected one pass over the examples, in "
                    "batches that do not depend on each other's examples, for "
                    f"`{next(iter(bounds))}`. Received: a data set with a step "
                    f"`{kind}`"
                )

    def _check_ended(self, elements):
        """Raises `ValueError` if a pass has more batches than an epoch has steps."""
        if next(elements, None) is not None:
            raise ValueError(
                "A pass over the data set has more batches than were declared. "
                f"Expected steps_per_epoch={self._length} of them, with "
                "`max_participations_per_pass`. Received: one more batch"
            )

    def _check_next_pass(self, number, step):
        """Raises `ValueError` if the data set may not begin this pass."""
        if self._per_pass:
            raise ValueError(
                "A pass over the data set has fewer batches than were declared. "
                f"Expected steps_per_epoch={self._length} of them, with "
                "`max_participations_per_pass`. Received: the end after "
                f"{step % self._length}"
            )
        if self._in_all and number > self._in_all:
            raise ValueError(
                f"The data set begins pass {number}, and its units take part again. "
                f"Expected at most max_participations={self._in_all} passes: train "
                "fewer epochs, or declare more. Received: more batches than in "
                f"{self._in_all} passes"
            )

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
