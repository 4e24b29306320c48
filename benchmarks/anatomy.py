"""Where the time of a private step goes: the ghost engine, one stage after the other.

Usage: python benchmarks/anatomy.py [cnn|decoder]

Each stage is a function of its own that does all before it, too; they take turns, and
what a stage adds is the difference of medians.
"""

import statistics
import sys
import time

import keras
import tensorflow as tf
from competitors import keras_networks, workload

from tfpriv.dp import clipping, keras_internals, noise
from tfpriv.dp.clipping import ghost, scaling, styles
from tfpriv.dp.clipping.objective import Chunk, example_seeds

BATCH, ROUNDS = 64, 15
NETWORKS = {"cnn": keras_networks.cnn, "decoder": keras_networks.hub_decoder}


def stages(network):
    """Functions without arguments, by what they add to the one before."""
    model = keras.Model(*NETWORKS[network](keras))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    batch = clipping.as_batch(*workload.batch(network, BATCH))
    objective = clipping.Objective(model, keras_internals.wrap_loss(loss, model))
    spec = clipping.spec_of(batch)
    flat = styles.get("flat")
    clipping.make_plan(objective, spec, flat, "ghost")
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(model.trainable_variables)
    key = tf.zeros([32], tf.uint8)
    style = flat.bind(objective)
    any_size = {k: _any_size(v) for k, v in spec.items()}

    def private(data, last):
        words = tf.zeros([len(objective.seed_generators) + 1, 2], tf.int64)
        seeds = example_seeds(words, BATCH)
        chunk = Chunk({**data, "seeds": seeds}, tf.fill([BATCH], True))
        seen = ghost.every_example(objective, chunk)
        if last == "pass":
            return [part.tensors for parts in seen.parts for part, _ in parts]
        gradients = ghost.per_variable(objective, chunk, seen)
        norms, _ = ghost.norms_of(gradients)
        if last == "norms":
            return norms
        bound = tf.constant(1.0, tf.float64)
        factors, used, _ = scaling.scale(norms, chunk, lambda n: style(n, bound))
        sums = ghost.weighted_sums(gradients, factors, used)
        if last == "sums":
            return sums
        sums = noise.release(
            [tf.cast(s, tf.float64) for s in sums],
            sensitivity=1.0,
            stddev=1.0,
            draw_key=lambda: key,
            dtypes=[s.dtype for s in sums],
        )
        if last == "noise":
            return sums
        return optimizer.apply(sums, model.trainable_variables)

    def ordinary(data):
        with tf.GradientTape() as tape:
            value = loss(data["y"], model(data["x"], training=True))
        return tape.gradient(value, [v.value for v in model.trainable_variables])

    def compiled(function, *args):
        traced = tf.function(
            lambda data: _touched(function(data, *args)),
            input_signature=[any_size],
            autograph=False,
        )
        return lambda: traced(batch).numpy()

    return {
        "ordinary: forward, backward": compiled(ordinary),
        "forward, backward to the layers' outputs": compiled(private, "pass"),
        "norms": compiled(private, "norms"),
        "weighted sums": compiled(private, "sums"),
        "noise": compiled(private, "noise"),
        "Adam": compiled(private, "Adam"),
    }


def _any_size(part):
    return tf.nest.map_structure(
        lambda s: tf.TensorSpec([None, *s.shape], s.dtype), part
    )


def _touched(results):
    """One number of each result, so that nothing is left out as unused."""
    flat = [t for t in tf.nest.flatten(results) if t is not None]
    firsts = [tf.cast(tf.reshape(t, [-1])[0], tf.float32) for t in flat]
    return tf.add_n(firsts) if firsts else tf.constant(0.0)


def main():
    """Prints a Markdown table for each network."""
    for network in sys.argv[1:] or NETWORKS:
        functions = stages(network)
        seconds = {name: [] for name in functions}
        for turn in range(ROUNDS + 2):
            for name, function in functions.items():
                start = time.perf_counter()
                function()
                if turn > 1:
                    seconds[name].append(time.perf_counter() - start)
        print(f"\n## {network}\n\n| stage | ms so far | adds |\n| --- | --- | --- |")
        before = 0.0
        for i, (name, times) in enumerate(seconds.items()):
            now = 1e3 * statistics.median(times)
            adds = f"{now - before:+.0f}" if i > 1 else "-"
            print(f"| {name} | {now:.0f} | {adds} |")
            before = now


if __name__ == "__main__":
    main()
