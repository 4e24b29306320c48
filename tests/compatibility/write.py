"""Wrote the files of this folder: run with commit 1f741b2 on the path.

git worktree add ../old 1f741b2 && cd ../old
PYTHONPATH=$PWD python THIS_FILE OUTPUT_FOLDER
"""

import sys

import keras
import numpy as np

import tfpriv.dp as dp
from tfpriv import shuffling
from tfpriv.accounting import Journal, mechanisms

OUTPUT = sys.argv[1]
rng = np.random.default_rng(0)
keras.utils.set_random_seed(0)

x, y = rng.normal(size=(32, 8, 8, 1)).astype("float32"), np.arange(32) % 2
layers = [
    keras.Input((8, 8, 1)),
    keras.layers.Conv2D(2, 3),
    keras.layers.BatchNormalization(),
    keras.layers.Flatten(),
    keras.layers.Dense(2),
]
model = dp.make_private(dp.replace_batchnorm(keras.Sequential(layers)), seed=0)
model.compile(
    dp.DPAdam(1e-2, l2_norm_clip=1.0, noise_multiplier=1.1),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
)
model.fit(x, y, batch_size=8, epochs=1, verbose=0)
model.save(f"{OUTPUT}/private.keras")
model.save_weights(f"{OUTPUT}/private.weights.h5")
model.privacy.ledger.save(f"{OUTPUT}/ledger.json")
with Journal(f"{OUTPUT}/journal.jsonl") as journal:
    journal.spend(
        mechanisms.poisson(0.01, 1.1), unit="image", purpose="training", count=3
    )

key = shuffling.Key.generate()
key.save(f"{OUTPUT}/my.key")
images, nonces = rng.integers(0, 256, (2, 8, 8, 3), np.uint8), shuffling.new_nonces(2)
layers = [
    keras.Input((8, 8, 3)),
    keras.layers.Conv2D(2, 3, padding="same", activation="relu"),
    keras.layers.GlobalAveragePooling2D(),
    keras.layers.Dense(2),
]
network = keras.Sequential(layers)
network = keras.Model(network.inputs, network.outputs)
shuffling.keyed(network, key).save(f"{OUTPUT}/keyed.keras")

np.savez(
    f"{OUTPUT}/known.npz",
    x=x[:2],
    private=np.asarray(model(x[:2])),
    epsilon=model.privacy.epsilon(1e-5),
    images=images,
    nonces=nonces,
    shuffled=shuffling.shuffle(images, key, nonces),
    keyed=np.asarray(network(images.astype("float32"))),
)
