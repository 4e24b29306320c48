"""A private step of tfpriv: `train_on_batch`, the ledger's entry included."""

import tensorflow as tf

from competitors import keras3_networks, worker, workload
from tfpriv import dp


def build(network, batch_size, form):
    """See `worker.main`. The form is the name of a clipping engine."""
    model = keras3_networks.build(network)
    x, y = tf.nest.map_structure(
        tf.convert_to_tensor, workload.batch(network, batch_size)
    )
    dp.make_private(
        model, max_occurrences=1, engine=form, microbatch_size=batch_size
    ).compile(
        dp.DPAdam(
            workload.LEARNING_RATE,
            l2_norm_clip=workload.L2_NORM_CLIP,
            noise_multiplier=workload.NOISE_MULTIPLIER,
        ),
        keras3_networks.loss(),
    )
    return lambda: model.train_on_batch(x, y), model.count_params()


if __name__ == "__main__":
    worker.main(build)
