"""Samplers draw what their event says.

Each statistical check has a false alarm of 1e-6; the planted faults must trip them.
"""

import itertools

import integration
import keras
import numpy as np
import oracle
import pytest
import small
import tensorflow as tf
from scipy import stats

import tfpriv.dp as dp
from tfpriv.support.randomness import Randomness

FALSE_ALARM = 1e-6
UNITS, EXPECTED, DRAWS = 30, 9, 4000


def draw(sampler, draws):
    """The `x` of so many batches."""
    batches = sampler.batches(lambda: 0, Randomness())
    return [batch["x"] for _, batch in itertools.islice(batches, draws)]


def membership(batches):
    """Boolean `(draws, units)`: who was in which batch."""
    return np.array([np.isin(np.arange(UNITS), batch) for batch in batches])


def assert_bernoulli(member, q):
    """Asserts that each unit is in each batch independently with probability q."""
    draws, units = member.shape
    z = (member - q) / np.sqrt(q * (1 - q))
    checks = {
        "rate": (np.sum(z) ** 2 / z.size, 1),
        "units": (np.sum(np.sum(z, 0) ** 2) / draws, units),
        "batch sizes": (np.sum(np.sum(z, 1) ** 2) / units, draws),
        "pairs": _products(z.T @ z / np.sqrt(draws)),
        "from batch to batch": _products(z[1:].T @ z[:-1] / np.sqrt(draws - 1), True),
    }
    for name, (statistic, freedom) in checks.items():
        tails = stats.chi2.cdf(statistic, freedom), stats.chi2.sf(statistic, freedom)
        assert min(tails) > FALSE_ALARM / 20, name


def _products(scaled, diagonal=False):
    """Sum of squares of products that are standard normal for independent units."""
    if diagonal:
        return np.sum(scaled**2), scaled.size
    above = scaled[np.triu_indices(len(scaled), 1)]
    return np.sum(above**2), above.size


def test_poisson_inclusion_is_independent_bernoulli():
    batches = draw(dp.PoissonSampler(np.arange(UNITS), EXPECTED), DRAWS)
    assert_bernoulli(membership(batches), EXPECTED / UNITS)
    sizes = {len(batch) for batch in batches}
    assert min(sizes) < EXPECTED - 4
    assert max(sizes) > EXPECTED + 4


def fixed_size():
    return draw(dp.FixedSizeSampler(np.arange(UNITS), EXPECTED), DRAWS)


def cut_to_the_expected_size():
    batches = draw(dp.PoissonSampler(np.arange(UNITS), EXPECTED), DRAWS)
    return [batch[: EXPECTED + 2] for batch in batches]


def every_unit_once_an_epoch():
    rng = np.random.default_rng(0)
    for _ in range(DRAWS // 3):
        coin = rng.integers(0, 3, UNITS)
        yield from (np.flatnonzero(coin == i) for i in range(3))


def every_batch_twice():
    batches = draw(dp.PoissonSampler(np.arange(UNITS), EXPECTED), DRAWS // 2)
    return [batch for batch in batches for _ in range(2)]


def neighbours_together():
    batches = draw(dp.PoissonSampler(np.arange(UNITS // 2), EXPECTED / 2), DRAWS)
    return [np.concatenate([2 * batch, 2 * batch + 1]) for batch in batches]


@pytest.mark.parametrize(
    "fault",
    [
        fixed_size,
        cut_to_the_expected_size,
        every_unit_once_an_epoch,
        every_batch_twice,
        neighbours_together,
    ],
)
def test_planted_faults_of_sampling_are_found(fault):
    member = membership(list(fault()))
    with pytest.raises(AssertionError):
        assert_bernoulli(member, EXPECTED / UNITS)


def test_planted_shuffling_in_the_sampler_is_found(monkeypatch):
    """Every unit once in three batches: how many are drawn varies far too little."""
    left = []

    def from_a_shuffled_epoch(self, randomness):
        if not left:
            left.extend(np.array_split(randomness.subset(UNITS, UNITS), 3))
        return self.source.take(left.pop())

    monkeypatch.setattr(dp.PoissonSampler, "_draw", from_a_shuffled_epoch)
    batches = draw(dp.PoissonSampler(np.arange(UNITS), UNITS / 3), DRAWS)
    with pytest.raises(AssertionError, match="rate"):
        assert_bernoulli(membership(batches), 1 / 3)


def test_fixed_size_draws_every_subset_equally_often():
    batches = draw(dp.FixedSizeSampler(np.arange(6), 3), 4000)
    subsets = ["".join(map(str, sorted(batch))) for batch in batches]
    assert all(len(set(subset)) == 3 for subset in subsets)
    _, counts = np.unique(subsets, return_counts=True)
    assert len(counts) == 20
    assert stats.chisquare(counts).pvalue > FALSE_ALARM


def test_groups_are_drawn_and_not_their_examples():
    labels = np.repeat(np.arange(UNITS), np.arange(UNITS) % 4 + 1)
    sampler = dp.PoissonSampler(
        labels, EXPECTED, groups=labels, max_examples_per_group=2
    )
    batches = draw(sampler, DRAWS)
    assert all(batch.shape[1] == 2 for batch in batches)
    assert_bernoulli(membership([b[:, 0] for b in batches]), EXPECTED / UNITS)


def test_examples_of_a_group_are_chosen_equally_often_and_at_most_k():
    sampler = dp.PoissonSampler(
        np.arange(7), 2, groups=[0] * 5 + [1] * 2, max_examples_per_group=3
    )
    batches = sampler.batches(lambda: 0, Randomness())
    counts = np.zeros(7)
    for _, batch in itertools.islice(batches, 2000):
        np.testing.assert_array_equal(batch["present"].sum(axis=1), [3, 2])
        used = batch["x"][batch["present"]]
        assert len(set(used)) == 5
        counts[used] += 1
    assert np.all(counts[5:] == 2000)
    # Hypergeometric: variances are smaller than for a multinomial, by this factor.
    statistic = np.sum((counts[:5] - 1200) ** 2) / (2000 * 0.6 * 0.4) * 4 / 5
    assert stats.chi2.sf(statistic, 4) > FALSE_ALARM


def noiseless(x, y, sampler_options, **options):
    """The sum of clipped gradients that one step of everybody applies."""
    model = small.private(
        small.sgd(1.0, l2_norm_clip=0.5, noise_multiplier=0.0), **options
    )
    model.set_weights([np.zeros((3, 1)), np.zeros(1)])
    sampler = dp.PoissonSampler((x, y), steps_per_epoch=1, **sampler_options)
    model.fit(sampler, verbose=0)
    return -sampler.expected_batch_size * np.concatenate(
        [w.ravel() for w in model.get_weights()]
    )


def gradients_at_zero(x, y):
    """Per-example gradients of the squared error where all weights are zero."""
    return -2 * y * np.concatenate([x, np.ones((len(x), 1))], axis=1)


def clip(vectors, bound=0.5):
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors * np.minimum(1, bound * (1 - oracle.MARGIN) / norms)


def test_overflow_adds_chunks_and_is_never_cut():
    x, y = small.data(50)
    total = noiseless(x, y, {"batch_size": 50}, microbatch_size=4)
    expected = clip(gradients_at_zero(x, y)).sum(axis=0)
    np.testing.assert_allclose(total, expected, rtol=1e-4, atol=1e-5)


def test_one_person_with_a_hundred_pictures_gives_one_clipped_vector():
    x, y = small.data(103)
    groups = ["many"] * 100 + ["b", "b", "c"]
    options = {"batch_size": 3, "groups": groups, "max_examples_per_group": 100}
    total = noiseless(x, y, options, unit="person")
    g = gradients_at_zero(x, y)
    persons = [g[:100].mean(axis=0), g[100:102].mean(axis=0), g[102]]
    expected = clip(np.array(persons)).sum(axis=0)
    np.testing.assert_allclose(total, expected, rtol=1e-4, atol=1e-5)


def test_a_group_moves_the_sum_by_no_more_than_c():
    x, y = small.data(104)
    groups = np.array([0] * 100 + [1, 2, 3, 4])
    options = {"batch_size": 5, "max_examples_per_group": 100}
    with_group = noiseless(x, y, {**options, "groups": groups}, unit="person")
    options["batch_size"] = 4
    rest = {**options, "groups": groups[100:]}
    without = noiseless(x[100:], y[100:], rest, unit="person")
    assert np.linalg.norm(with_group - without) <= 0.5 * (1 + 1e-5)


def test_sampling_pictures_and_grouping_afterwards_would_cost_far_more():
    """Why groups are what is drawn: the same noise, ten pictures for one person."""
    right = integration.poisson(0.05, 1.1, 2, 1e-5)
    # Ten pictures sampled one by one, each clipped alone: up to 10 C in one batch.
    weights = stats.binom.pmf(np.arange(11), 10, 0.05)
    tenfold = dict(zip(np.arange(11.0), weights, strict=True))
    wrong = integration.mixtures(tenfold, {0.0: 1.0}, 1.1, 2, 1e-5)
    assert wrong > 3 * right


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 11}, "batch_size"),
        ({"batch_size": 2, "groups": [0] * 10}, "max_examples_per_group"),
        (
            {"batch_size": 2, "groups": [0] * 9, "max_examples_per_group": 2},
            "one label per example",
        ),
    ],
)
def test_arguments_of_poisson_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        dp.PoissonSampler(small.data(10), **options)


@pytest.mark.parametrize(
    "name", ["expected_batch_size", "population", "max_occurrences"]
)
def test_what_a_step_costs_by_is_read_only(name):
    """`fit` asks once for the cost of a step; a callback could change it after that."""
    data = small.data(10)
    batches = tf.data.Dataset.from_tensor_slices(data).batch(2)
    made = [dp.PoissonSampler(data, 2), dp.FixedSizeSampler(data, 2)]
    if name == "max_occurrences":
        made = [dp.Stream(batches, 1)]
    for sampler in made:
        with pytest.raises(AttributeError, match="no setter"):
            setattr(sampler, name, 5)


def examples(*shapes):
    arrays = tuple(np.ones((12, *shape), "float32") for shape in shapes)
    return tf.data.Dataset.from_tensor_slices(arrays)


UNBATCHED = {
    "sequences": lambda: examples((7, 3), (7, 1)),
    "numbers": lambda: examples((7, 3), ()),
    "axes that differ": lambda: examples((7, 3), (2,)).batch(12).unbatch(),
    "batches taken apart": lambda: examples((7, 3)).batch(4).unbatch().prefetch(1),
    "batches flattened": lambda: (
        examples((7, 3)).batch(4).flat_map(tf.data.Dataset.from_tensor_slices)
    ),
}
BATCHED = {
    "of some size": lambda: examples((3,), (1,)).batch(4),
    "of one size": lambda: examples((7, 3), (7, 1)).batch(4, drop_remainder=True),
    "padded": lambda: examples((7, 3)).padded_batch(4, drop_remainder=True).repeat(2),
    "mapped": lambda: (
        examples((3,)).batch(4, True, num_parallel_calls=2).map(lambda x: x).prefetch(1)
    ),
    "mixed": lambda: tf.data.Dataset.sample_from_datasets(
        [examples((3,)).batch(4, True), examples((3,)).batch(4, True)]
    ),
    "apart and together": lambda: examples((3,)).batch(4).unbatch().batch(2, True),
    "made by a generator": lambda: tf.data.Dataset.from_generator(
        lambda: iter([np.ones((4, 3))]),
        output_signature=tf.TensorSpec([None, 3], tf.float32),
    ),
}


@pytest.mark.parametrize("kind", UNBATCHED)
def test_streams_of_single_examples_are_refused(kind):
    with pytest.raises(ValueError, match=r"takes batches.*Received"):
        dp.Stream(UNBATCHED[kind](), 1, steps_per_epoch=1)


@pytest.mark.parametrize("kind", BATCHED)
def test_streams_of_batches_pass(kind):
    dp.Stream(BATCHED[kind](), 1, steps_per_epoch=1)


def test_stream_must_declare_and_end():
    dataset = tf.data.Dataset.from_tensor_slices(small.data(4)).batch(2)
    with pytest.raises(ValueError, match="max_occurrences=1"):
        dp.Stream(dataset)
    with pytest.raises(ValueError, match="steps_per_epoch"):
        dp.Stream(dataset.repeat(), 1)
    with pytest.raises(ValueError, match="at least one batch"):
        dp.Stream(dataset.take(0), 1)
    with pytest.raises(ValueError, match=r"tf\.data\.Dataset"):
        dp.Stream(small.data(4), 1)


def test_stream_that_repeats_declares_its_steps():
    dataset = tf.data.Dataset.from_tensor_slices(small.data(4)).batch(2).repeat()
    model = small.private()
    model.fit(dp.Stream(dataset, 1, steps_per_epoch=3), epochs=2, verbose=0)
    assert len(model.privacy.ledger) == 6


class Watched:
    """Stands in for a data set: calls a function whenever a batch is taken."""

    def __init__(self, dataset, look):
        self.element_spec, self._dataset, self._look = (
            dataset.element_spec,
            dataset,
            look,
        )

    def __iter__(self):
        for element in self._dataset:
            self._look()
            yield element


@pytest.mark.parametrize("kind", ["poisson", "fixed size", "stream"])
def test_the_event_is_on_disk_before_the_batch_is_drawn(kind, monkeypatch, tmp_path):
    path = tmp_path / "backup" / "privacy_journal.jsonl"
    seen = []

    def look(*_):
        lines = path.read_text().splitlines()
        seen.append(sum(line.startswith("s ") for line in lines))

    def looking(real):
        return lambda *arguments: (look(), real(*arguments))[1]

    for name in ("bernoulli", "subset"):
        monkeypatch.setattr(Randomness, name, looking(getattr(Randomness, name)))
    arrays = small.data(9)
    if kind == "stream":
        sampler = dp.Stream(tf.data.Dataset.from_tensor_slices(arrays).batch(3), 1)
        sampler.dataset = Watched(sampler.dataset, look)
    else:
        classes = {"poisson": dp.PoissonSampler, "fixed size": dp.FixedSizeSampler}
        sampler = classes[kind](arrays, 3)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    small.private().fit(sampler, epochs=2, verbose=0, callbacks=[backup])
    assert seen == [1, 2, 3, 4, 5, 6]
