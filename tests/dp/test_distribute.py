"""Private training on two devices: one clipped sum, one noise, one event per step.

Logical devices must be made before TensorFlow starts, so that all of this happens in a
process of its own, which prints what it found.
"""

import json

import numpy as np
import pytest
import small
import tensorflow as tf

import tfpriv.dp as dp
from tfpriv.dp import fitting

SCRIPT = """
import json, os
import numpy as np
import tensorflow as tf
two = [tf.config.LogicalDeviceConfiguration()] * 2
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, two)
import keras
import noise_checks, small
import tfpriv.dp as dp
from tfpriv.dp import noise

found = {}
mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
one_device = tf.distribute.get_strategy()
x, y = small.data(7)

def trained(strategy):
    with strategy.scope():
        model = small.private(small.sgd(0.5, noise_multiplier=0.0))
    model.set_weights([np.ones((3, 1)), np.ones(1)])
    model.fit(x, y, batch_size=7, epochs=3, verbose=0)
    return np.concatenate([w.ravel() for w in model.get_weights()]).tolist()

found["one"], found["two"] = trained(one_device), trained(mirrored)

def updates(steps=3, stop_after=None):
    with mirrored.scope():
        model = dp.make_private(noise_checks.wide())
        optimizer = small.sgd(1.0, l2_norm_clip=0.5, noise_multiplier=2.0)
        small.compiled(model, optimizer, loss=noise_checks.zero)
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])
    seen = noise_checks.Updates()
    sampler = dp.PoissonSampler(small.data(8, 2), 4, steps_per_epoch=steps)
    model.fit(sampler, verbose=0, callbacks=[seen])
    return model, seen.steps

model, steps = updates()
noise_checks.assert_noise(steps, 0.5 * 2.0 / 4)
found["noise"] = "as promised"
found["events"] = len(model.privacy.ledger)
found["iterations"] = int(np.asarray(model.optimizer.iterations))
found["replicas agree"] = all(
    np.array_equal(*[value.numpy() for value in variable.value.values])
    for variable in model.trainable_variables
)

def own_key(self, ticket):
    key = tf.numpy_function(lambda: np.frombuffer(os.urandom(32), "u1"), [], tf.uint8)
    return tf.ensure_shape(key, [32])

private, real = dp.optimizers.PrivateOptimizer, noise._in_first_replica
noise._in_first_replica = lambda context, first, others: tf.nest.flatten(first())
for name, draw in (("with ticket", private._draw_key), ("with own key", own_key)):
    private._draw_key, drawn = draw, private._draw_key
    try:
        noise_checks.assert_noise(updates()[1], 0.5 * 2.0 / 4)
    except (AssertionError, tf.errors.InvalidArgumentError) as error:
        found[name] = str(error)
    private._draw_key = drawn
noise._in_first_replica = real

class Watch(keras.callbacks.Callback):
    events = []
    def on_train_batch_end(self, batch, logs=None):
        self.events.append(len(self.model.privacy.ledger))

with mirrored.scope():
    budget = dp.DPSGD.for_budget(2.0, 1e-5, population=40, batch_size=10, steps=6)
    model = small.private(budget)
model.fit(*small.data(40), batch_size=10, epochs=9, verbose=0, callbacks=[Watch()])
found["budget"] = len(model.privacy.ledger), int(np.asarray(model.optimizer.iterations))
found["ahead"] = Watch.events
found["epsilon"] = model.privacy.epsilon(1e-5)
try:
    model.train_on_batch(x, y)
except ValueError as error:
    found["own batch"] = str(error)

def own_loop(strategy, size, noise_multiplier, **options):
    # What a step of clipped gradients, and one of `train_step`, adds to a weight.
    with strategy.scope():
        inputs = keras.Input((1,))
        shape = {"use_bias": False, "kernel_initializer": "zeros"}
        wide = keras.layers.Dense(20_000, **shape)
        model = dp.make_private(keras.Model(inputs, wide(inputs)), max_occurrences=1)
        optimizer = small.sgd(1.0, 0.5, noise_multiplier, **options)
        small.compiled(model, optimizer, loss=lambda y, pred: -keras.ops.sum(pred, -1))
        optimizer.build(model.trainable_variables)
    example = {"x": tf.TensorSpec([1]), "y": tf.TensorSpec([1])}
    model._prepare(example)

    def clipped(x, y):
        found = dp.clipped_gradients(model, x, y, l2_norm_clip=0.5)
        optimizer.apply(found[0], model.trainable_variables)

    moved = []
    steps = [lambda x, y: model.train_step((x, y))]
    for step in steps if options else [clipped, *steps]:
        whole = tf.data.Dataset.from_tensors((tf.ones([size, 1]), tf.ones([size, 1])))
        before = model.get_weights()[0]
        for batch in strategy.experimental_distribute_dataset(whole.rebatch(size)):
            tf.function(lambda b: strategy.run(step, args=b), autograph=False)(batch)
        moved.append(model.get_weights()[0] - before)
    return moved, float(optimizer.current_l2_norm_clip)

found["own loop"] = {
    size: {
        "sum": [float(np.linalg.norm(m)) for m in own_loop(mirrored, size, 0.0)[0]],
        "noise": [float(np.std(m)) for m in own_loop(mirrored, size, 2.0)[0]],
    }
    for size in (4, 3, 1)
}
quiet = dp.AdaptiveClipping(indicator_stddev=0.0)
found["own bound"] = [
    own_loop(strategy, 3, 0.0, clipping=quiet)[1] for strategy in (mirrored, one_device)
]

with mirrored.scope():
    model = small.private(small.sgd(0.0, noise_multiplier=1e-6), private_metrics=True)
model.set_weights([np.zeros((3, 1)), np.zeros(1)])
history = model.fit(x, y, batch_size=7, steps_per_epoch=2, verbose=0)
found["private loss"] = history.history["private_loss"]
found["true loss"] = float(np.minimum(np.square(y), 10).mean())
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found():
    return json.loads(small.run_script(SCRIPT).splitlines()[-1])


def test_the_clipped_sum_is_that_of_one_device(found):
    np.testing.assert_allclose(found["two"], found["one"], rtol=1e-5)


def test_noise_is_added_once(found):
    assert found["noise"] == "as promised"
    assert found["replicas agree"]


def test_planted_fault_noise_in_every_replica(found):
    assert "sigma is off by 1.41" in found["with own key"]
    # It would not come that far: a ticket gives one key.
    assert "without an event" in found["with ticket"]


def test_one_event_a_step(found):
    assert found["events"] == found["iterations"] == 3


def test_no_event_is_paid_ahead_and_the_budget_holds(found):
    assert found["ahead"] == [1, 2, 3, 4, 5, 6]
    assert found["budget"] == [6, 6]
    assert found["epsilon"] <= 2.0


def test_own_batches_are_refused(found):
    assert "2 replicas" in found["own batch"]


@pytest.mark.parametrize("size", [4, 3, 1])
def test_own_loops_divide_by_the_whole_batch(found, size):
    """However unequal the replicas' shares are, one of them empty included."""
    seen = found["own loop"][str(size)]
    # C less the margin for rounding, for a mean of equals.
    assert seen["sum"] == pytest.approx([0.5 * (1 - 2**-8)] * 2, rel=1e-4)
    assert seen["noise"] == pytest.approx([0.5 * 2.0 / size] * 2, rel=0.03)


def test_own_loops_adapt_the_bound_by_the_whole_batch(found):
    assert found["own bound"][0] == pytest.approx(found["own bound"][1])


def test_private_loss_is_the_mean_over_all_replicas(found):
    assert found["private loss"][0] == pytest.approx(found["true loss"], rel=1e-3)


def test_parameter_servers_are_refused_when_compiling(monkeypatch):
    servers = tf.distribute.experimental.ParameterServerStrategy
    model, optimizer = small.private(), small.sgd()
    kind = property(lambda _: object.__new__(servers))
    monkeypatch.setattr(type(model), "distribute_strategy", kind)
    with pytest.raises(ValueError, match="MirroredStrategy"):
        fitting.check_compile(model, optimizer, 1, False)


def test_noise_outside_of_a_replica_is_refused():
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with strategy.scope(), pytest.raises(ValueError, match="cross-replica"):
        dp.optimizers.noise.release(
            [tf.ones(2)], sensitivity=1.0, stddev=1.0, draw_key=None, dtypes=["float32"]
        )
