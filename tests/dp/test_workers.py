"""Private training by two processes: one clipped sum, one noise, one entry a step.

Each worker is a process of its own, which prints what it found. They meet at ports of
this machine.
"""

import concurrent.futures
import contextlib
import json
import socket

import keras
import numpy as np
import pytest
import small

import tfpriv.dp as dp
from tfpriv.accounting import Journal, mechanisms

START = """
import itertools, json, os, sys, warnings
index, ports = int(sys.argv[1]), json.loads(sys.argv[2])
folder = sys.argv[3]
os.environ["TF_CONFIG"] = json.dumps({
    "cluster": {"worker": [f"127.0.0.1:{port}" for port in ports]},
    "task": {"type": "worker", "index": index},
})
import tensorflow as tf
strategy = tf.distribute.MultiWorkerMirroredStrategy()
import numpy as np
import keras
import noise_checks, small
import tfpriv.dp as dp
from tfpriv.dp import noise

x = np.random.default_rng(5).normal(size=(9, 3)).astype("float32")
y = x.sum(axis=1, keepdims=True)
mine = slice(0, 5) if index == 0 else slice(5, 9)
found = {}

def sampler(batch_size=9, population=9, rows=mine):
    return dp.PoissonSampler((x[rows], y[rows]), batch_size, population=population)

def private(**options):
    with strategy.scope():
        return small.private(small.sgd(**options))

def refused(call):
    try:
        call()
    except (ValueError, RuntimeError) as error:
        return str(error)
"""

TRAINING = """
# What each step added to the weights, which are zero at first.
def fit(model, data, steps):
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])
    seen, draw = [], data._draw
    def draw_and_look(randomness):
        seen.append(model.get_weights())
        return draw(randomness)
    data._draw = draw_and_look
    dp.fit_on_workers(model, data, steps)
    seen.append(model.get_weights())
    return [
        [b - a for a, b in zip(*pair, strict=True)] for pair in itertools.pairwise(seen)
    ]

# Divided by 9 and multiplied by 9: what is added to the weights is the sum.
model = private(learning_rate=9.0, noise_multiplier=0.0)
found["sums"] = [-w.ravel() for w in fit(model, sampler(), 1)[0]]
found["sums"] = np.concatenate(found["sums"]).tolist()

def updates():
    with strategy.scope():
        model = dp.make_private(noise_checks.wide())
        optimizer = small.sgd(1.0, l2_norm_clip=0.5, noise_multiplier=2.0)
        small.compiled(model, optimizer, loss=noise_checks.zero)
    data = dp.PoissonSampler((x[mine, :2], y[mine]), 4, population=9)
    return model, fit(model, data, 3)

model, steps = updates()
noise_checks.assert_noise(steps, 0.5 * 2.0 / 4)
found["noise"] = "as promised"
found["weights"] = [w.tobytes().hex()[:400] for w in model.get_weights()]
found["events"] = len(model.privacy.ledger), int(np.asarray(model.optimizer.iterations))

real = noise._in_first_replica
noise._in_first_replica = lambda context, first, others: tf.nest.flatten(first())
try:
    noise_checks.assert_noise(updates()[1], 0.5 * 2.0 / 4)
except AssertionError as error:
    found["noise on each"] = str(error)
noise._in_first_replica = real
print(json.dumps(found))
"""

LEDGERS = """
journal = os.path.join(folder, "journal.jsonl")
model = private()
dp.fit_on_workers(model, sampler(3), 2, journal=journal)
found["first"] = len(model.privacy.ledger)
if index == 0:
    model.save(os.path.join(folder, "model.keras"))
dp.fit_on_workers(model, sampler(3), 1)
found["went on"] = len(model.privacy.ledger)
(entry,) = model.privacy.ledger.entries
found["runs"] = sorted(entry.runs.values())
# As after a kill, with weights from before the first step.
again = private()
again.set_weights([np.ones((3, 1)), np.ones(1)])
dp.fit_on_workers(again, sampler(3), 1, journal=journal)
found["resumed"] = len(again.privacy.ledger)

def with_budget():
    with strategy.scope():
        budget = dp.DPSGD.for_budget(2.0, 1e-5, population=9, batch_size=3, steps=4)
        return small.private(budget)

model = with_budget()
found["budget"] = dp.fit_on_workers(model, sampler(3), 100)
found["epsilon"] = model.privacy.epsilon(1e-5)
found["spent"] = refused(lambda: dp.fit_on_workers(model, sampler(3), 1))

with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    dp.fit_on_workers(with_budget(), sampler(1), 1)
found["small"] = [str(w.message) for w in said if "calibrated" in str(w.message)]

model = private()
everything = sampler(3, rows=slice(None))
found["not parts"] = refused(lambda: dp.fit_on_workers(model, everything, 1))
other = sampler(3, population=9 + index)
found["population"] = refused(lambda: dp.fit_on_workers(model, other, 1))
found["steps"] = refused(lambda: dp.fit_on_workers(model, sampler(3), 1 + index))
model.set_weights([np.full((3, 1), float(index)), np.ones(1)])
found["other weights"] = refused(lambda: dp.fit_on_workers(model, sampler(3), 1))
model = private(noise_multiplier=1.0 + index)
found["noise multiplier"] = refused(lambda: dp.fit_on_workers(model, sampler(3), 1))
found["fit"] = refused(lambda: model.fit(x, y))

model = private()
def full_disk(*args, **kwargs):
    raise OSError("no space left")
if index == 0:
    model.privacy.pay = full_disk
data, drawn = sampler(3), []
data._draw = drawn.append
try:
    dp.fit_on_workers(model, data, 1)
except (OSError, RuntimeError) as error:
    found["full disk"] = str(error)
found["drawn"] = len(drawn)
print(json.dumps(found))
"""

DEATH = """
model = private()
data = sampler(3)
draw, seen = data._draw, []
def last_draw(randomness):
    seen.append(model.get_weights())
    if index == 1 and len(seen) == 3:
        os._exit(0)
    return draw(randomness)
data._draw = last_draw
try:
    dp.fit_on_workers(model, data, 9, journal=os.path.join(folder, "journal.jsonl"))
except tf.errors.OpError as error:
    found["error"] = type(error).__name__
found["ledger"] = len(model.privacy.ledger)
found["drawn"] = len(seen)
found["moved"] = not all(map(np.array_equal, model.get_weights(), seen[-1]))
print(json.dumps(found), flush=True)
os._exit(0)  # the strategy's own end would wait for the dead
"""


def run_two(script, folder="."):
    """What each of two workers printed; of one that died, nothing."""
    ports = free_ports(2)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        both = [
            pool.submit(
                small.run_script, START + script, index, json.dumps(ports), folder
            )
            for index in range(2)
        ]
        printed = [one.result().splitlines() for one in both]
    return [json.loads(lines[-1]) if lines else None for lines in printed]


def free_ports(count):
    """Ports of this machine that nobody listened on a moment ago."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@pytest.fixture(scope="module")
def trained():
    return run_two(TRAINING)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workers")
    return folder, run_two(LEDGERS, folder)


def test_the_clipped_sum_is_that_of_one_process(trained):
    x = np.random.default_rng(5).normal(size=(9, 3)).astype("float32")
    y = x.sum(axis=1, keepdims=True)
    model = small.private(small.sgd(noise_multiplier=0.0))
    model.set_weights([np.zeros((3, 1)), np.zeros(1)])
    gradients, norms = dp.clipped_gradients(model, x, y, l2_norm_clip=1.0)
    assert np.any(norms > 1)
    expected = np.concatenate([np.ravel(g) for g in gradients])
    for worker in trained:
        error = np.linalg.norm(worker["sums"] - expected)
        assert error < 1e-6 * np.linalg.norm(expected)


def test_noise_is_added_once_and_weights_stay_the_same(trained):
    assert [worker["noise"] for worker in trained] == ["as promised"] * 2
    assert trained[0]["weights"] == trained[1]["weights"]


def test_planted_fault_noise_on_each_worker(trained):
    for worker in trained:
        assert "sigma is off by 1.41" in worker["noise on each"]


def test_one_entry_a_step(trained):
    assert [worker["events"] for worker in trained] == [[3, 3]] * 2


@pytest.mark.slow
def test_the_chief_saves_for_all(kept):
    folder, _ = kept
    model = keras.models.load_model(folder / "model.keras")
    ledger = model.privacy.ledger
    assert len(ledger) == 2
    assert ledger.epsilon(1e-5) == model.privacy.epsilon(1e-5)
    (entry,) = ledger.entries
    expected = mechanisms.poisson(3 / 9, 1.1, population=9)
    assert entry.mechanism.event == expected.event


@pytest.mark.slow
def test_the_journal_goes_on_where_it_stood(kept):
    folder, workers = kept
    assert [(w["first"], w["resumed"]) for w in workers] == [(2, 3)] * 2
    assert len(Journal(folder / "journal.jsonl")) == 3


@pytest.mark.slow
def test_workers_record_the_same_steps(kept):
    for worker in kept[1]:
        assert (worker["went on"], worker["runs"]) == (3, [1, 2])


@pytest.mark.slow
def test_the_budget_holds_on_all_workers(kept):
    for worker in kept[1]:
        assert worker["budget"] == 4
        assert worker["epsilon"] <= 2.0
        assert "budget is spent" in worker["spent"]


@pytest.mark.slow
def test_the_chief_says_that_batches_are_small(kept):
    _, (chief, other) = kept
    assert len(chief["small"]) == 1
    assert "1 of 9 are drawn" in chief["small"][0]
    assert other["small"] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("not parts", "shards of [9, 9] units"),
        ("population", "disagree on population"),
        ("steps", "disagree on steps"),
        ("other weights", "disagree on weights"),
        ("noise multiplier", "disagree on step of the ledger"),
        ("fit", "dp.fit_on_workers"),
    ],
)
def test_disagreement_is_refused_by_all(kept, fault, words):
    for worker in kept[1]:
        assert words in worker[fault]


@pytest.mark.slow
def test_where_the_chief_cannot_write_nobody_draws(kept):
    _, (chief, other) = kept
    assert chief["full disk"] == "no space left"
    assert "1 of 2" in other["full disk"]
    assert (chief["drawn"], other["drawn"]) == (0, 0)


@pytest.mark.slow
def test_a_worker_that_dies_leaves_a_counted_step(tmp_path):
    chief, other = run_two(DEATH, tmp_path)
    assert other is None
    assert chief["error"] in ("UnavailableError", "AbortedError", "InternalError")
    assert (chief["ledger"], chief["drawn"]) == (3, 3)
    assert not chief["moved"]
    assert len(Journal(tmp_path / "journal.jsonl")) == 3


def test_other_strategies_and_samplers_are_refused():
    model = small.private()
    x, y = small.data(8)
    with pytest.raises(ValueError, match="on one machine use `fit`"):
        dp.fit_on_workers(model, dp.PoissonSampler((x, y), 4), 1)
