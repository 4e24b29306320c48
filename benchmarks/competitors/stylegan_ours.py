"""tfpriv's StyleGAN: pictures from W+, and what an inversion step adds."""

import tensorflow as tf

from competitors import worker, workload
from tfpriv.networks.stylegan import StyleGAN


def build(network, batch_size, form):
    """See `worker.main`. The form is `"picture"` or `"inversion"`."""
    synthesis = StyleGAN(workload.STYLEGANS[network]).synthesis
    wp = tf.constant(workload.styles(network, batch_size))

    @tf.function
    def picture(wp):
        return synthesis(wp)

    @tf.function
    def inversion(wp):
        with tf.GradientTape() as tape:
            tape.watch(wp)
            loss = tf.reduce_mean(tf.square(synthesis(wp)))
        return tape.gradient(loss, wp)

    run = picture if form == "picture" else inversion
    weights = sum(v.value.shape.num_elements() for v in synthesis.trainable_weights)
    return (lambda: run(wp).numpy()), weights


if __name__ == "__main__":
    worker.main(build)
