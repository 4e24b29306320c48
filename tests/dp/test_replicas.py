"""The update of several replicas is that of one: sums first, noise once, then Keras.

Logical devices must be made before TensorFlow starts: a process of their own.
"""

import json

import pytest
import small

SCRIPT = """
import json, sys
import numpy as np
import tensorflow as tf
REPLICAS = int(sys.argv[1])
three = [tf.config.LogicalDeviceConfiguration()] * 3
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, three)
import keras
import small
import tfpriv.dp as dp
from tfpriv.dp import keras_internals
from tfpriv.dp.clipping import tags
from tfpriv.dp.privacy import Privacy

PARTS = np.random.default_rng(0).integers(-8, 8, (6, 4, 3)) / 64  # exact in any order
STRATEGIES = {1: tf.distribute.get_strategy()}
STRATEGIES[REPLICAS] = tf.distribute.MirroredStrategy(
    [f"CPU:{i}" for i in range(REPLICAS)]
)

def updated(kind, arguments, replicas, steps=3):
    # The variable after steps on sums of which each replica has a part.
    strategy = STRATEGIES[replicas]
    with strategy.scope():
        variable = keras.Variable(np.ones((4, 3), "float32"), name="kernel")
        optimizer = kind(0.1, l2_norm_clip=1.0, noise_multiplier=0.5, **arguments)
        optimizer.build([variable])
    optimizer.track(Privacy(max_occurrences=1, seed=7))

    def step():
        context = tf.distribute.get_replica_context()
        mine = tf.constant(PARTS)[context.replica_id_in_sync_group :: replicas]
        total = tf.cast(tf.reduce_sum(mine, axis=0), tf.float32)
        bound = optimizer.current_l2_norm_clip
        proof = tags.ClippedSum(bound, tf.shape(mine)[0])
        optimizer.apply(tags.mark([total], proof), [variable])

    run = tf.function(lambda: strategy.run(step), autograph=False)
    for _ in range(steps):
        run()
    values = getattr(variable.value, "values", [variable.value])
    return [np.asarray(v, "float64") for v in values]

def disagreement(kind, arguments):
    # The largest difference of any replica to one replica alone.
    (alone,) = updated(kind, arguments, 1)
    moved = np.abs(alone - 1).max()
    assert moved > 0
    others = updated(kind, arguments, REPLICAS)
    assert len(others) == REPLICAS
    return max(np.abs(v - alone).max() for v in others) / moved

KINDS = [k for n, k in vars(dp).items() if n.startswith("DP") and isinstance(k, type)]
ARGUMENTS = {
    "clipnorm": {"clipnorm": 0.01},
    "clipvalue": {"clipvalue": 0.001},
    "global_clipnorm": {"global_clipnorm": 0.01},
    "weight_decay": {"weight_decay": 0.1},
    "ema": {"use_ema": True},
    "loss scale": {"loss_scale_factor": 8.0},
    "momentum": {"momentum": 0.9, "nesterov": True},
}
found = {kind.__name__: disagreement(kind, {}) for kind in KINDS}
found |= {name: disagreement(dp.DPSGD, a) for name, a in ARGUMENTS.items()}
found["Adam, all"] = disagreement(
    dp.DPAdam, {"global_clipnorm": 0.01, "weight_decay": 0.1, "use_ema": True}
)
planted = keras_internals.AlreadyReduced._all_reduce_sum_gradients
del keras_internals.AlreadyReduced._all_reduce_sum_gradients
found["planted: Keras reduces again"] = disagreement(dp.DPSGD, {})
keras_internals.AlreadyReduced._all_reduce_sum_gradients = planted

def largest_update(arguments):
    # A canary of two rows under the replicas: how far a step moves the weights.
    with STRATEGIES[REPLICAS].scope():
        model = dp.make_private(keras.Sequential([keras.Input((1,)),
            keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")]))
        optimizer = dp.DPSGD(1.0, l2_norm_clip=1.0, noise_multiplier=1.0, **arguments)
        loss = lambda y, pred: keras.ops.sum(y * pred, -1)
        small.compiled(model, optimizer, loss=loss)
    steps = []
    class Watch(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.before = self.model.get_weights()[0]
        def on_train_batch_end(self, batch, logs=None):
            steps.append(self.model.get_weights()[0] - self.before)
    ones = np.ones((2, 1), "float32")
    model.fit(ones, ones, batch_size=2, epochs=8, verbose=0, callbacks=[Watch()])
    return float(np.max(np.abs(steps)))

found["canary"] = largest_update({"global_clipnorm": 0.01})
print(json.dumps(found))
"""

OPTIMIZERS = [
    "DPSGD",
    "DPAdam",
    "DPAdamW",
    "DPAdadelta",
    "DPAdafactor",
    "DPAdagrad",
    "DPAdamax",
    "DPFtrl",
    "DPLamb",
    "DPLion",
    "DPMuon",
    "DPNadam",
    "DPRMSprop",
    "DPScheduleFreeAdamW",
]
ARGUMENTS = ["clipnorm", "clipvalue", "global_clipnorm", "weight_decay", "ema"]
OTHERS = ["loss scale", "momentum", "Adam, all"]


@pytest.fixture(scope="module", params=[2, 3])
def found(request):
    # The collectives of one process have one number of replicas.
    return json.loads(small.run_script(SCRIPT, request.param).splitlines()[-1])


@pytest.mark.parametrize("name", OPTIMIZERS + ARGUMENTS + OTHERS)
def test_replicas_update_as_one(found, name):
    assert found[name] < 1e-5


def test_all_optimizers_were_compared(found):
    assert {name for name in found if name.startswith("DP")} == set(OPTIMIZERS)


def test_planted_second_reduction_is_found(found):
    assert found["planted: Keras reduces again"] > 0.5


def test_keras_clips_the_noisy_sum_and_not_the_replicas_parts(found):
    """By `global_clipnorm` no step moves the weight further, canary or not."""
    assert found["canary"] == pytest.approx(0.01, rel=1e-4)
