"""Per-example clipping: summed gradients, each unit's bounded before the sum."""

from typing import Any

import keras
import tensorflow as tf

from tfpriv.dp import keras_internals
from tfpriv.dp.clipping import styles, tags
from tfpriv.dp.clipping.microbatches import sum_over_chunks
from tfpriv.dp.clipping.objective import Objective, sum_dtype
from tfpriv.dp.clipping.plan import make_plan
from tfpriv.dp.sources import as_tensors

# Where a model keeps what `clipped_gradients` prepared for it, and how many of these.
_PREPARED = "_tfpriv_clipped_gradients"
_MOST_PREPARED = 8

ENGINES = ("auto", "ghost", "vectorized")


def check_engine(name):
    """Raises `ValueError` if there is no clipping engine of that name."""
    if name not in ENGINES:
        raise ValueError(
            f"Unknown clipping engine. Expected one of {list(ENGINES)}. "
            f"Received: engine={name!r}"
        )


@tf.autograph.experimental.do_not_convert
def clipped_gradients(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    loss: Any = None,
    l2_norm_clip: Any,
    clipping: Any = "flat",
    engine: str = "auto",
    sample_weight: Any = None,
    microbatch_size: int | None = None,
) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Sum of per-example gradients, each clipped, for custom training loops.

    Every example is pushed through the model as a batch of one with
    `training=True`; its gradient over all `model.trainable_variables` together is
    scaled down to `l2_norm_clip` where its norm is larger (or bounded in another
    style), and the results are summed. An example whose gradient is not finite
    contributes zero. Gradients are scaled to `l2_norm_clip * (1 - 2**-8)`: the rest is
    for the rounding of the sum, so that one example moves it by `l2_norm_clip` at most.

    Hand the list, as it is, to a DP optimizer: `optimizer.apply(gradients)`. It adds
    the noise, divides by the number of examples given here (on all replicas together),
    and charges the ledger one step without amplification by sampling.

    Args:
        model: Any Keras model, private or not.
        x: Nested tensors or arrays, leading axis: examples.
        y: The same, or `None`.
        loss: A Keras loss by name or instance, a function `(y_true, y_pred)`, or a
            structure of these as in `compile`. `None` takes the compiled loss.
        l2_norm_clip: Positive float, the bound C.
        clipping: `"flat"`, `"per_layer"` or `"automatic"`, as for DP optimizers.
        engine: `"auto"`: the fastest that is exact for this model; or `"ghost"`, or
            `"vectorized"`, the reference.
        sample_weight: Nested tensors, one weight per example, or `None`.
        microbatch_size: Int, examples differentiated together, at most 256. `None` fits
            memory.

    Returns:
        `(gradients, norms)`: a list of tensors shaped like
        `model.trainable_variables`, and the unclipped norms, shape `(examples,)`
        (infinity where a gradient was not finite). Norms are exact functions of
        private data: not covered by epsilon.

    Raises:
        ValueError: If the bound is not positive, style or engine unknown, or the
            model one for which a bound per example does not hold.

    Reference:
        Abadi et al., "Deep Learning with Differential Privacy", CCS 2016.
    """
    check_l2_norm_clip(l2_norm_clip)
    style = styles.get(clipping)
    if style.name not in styles.STYLES:
        raise ValueError(
            "Adaptive clipping also releases how many units were clipped, in the step "
            "of the gradients, which `clipped_gradients` returns alone. Train with "
            f"`make_private`, or use a fixed bound. Received: clipping={clipping!r}"
        )
    batch = as_batch(x, y, sample_weight)
    if loss is None:
        loss = keras_internals.compiled_loss(model)
    check_engine(engine)
    run = _prepare(model, loss, batch, (engine, style, microbatch_size))
    gradients, norms = run(batch, tf.constant(l2_norm_clip, tf.float64))
    size = tf.shape(tf.nest.flatten(batch["x"])[0])[0]
    proof = tags.ClippedSum(float(l2_norm_clip), size, clipping=style.name)
    tags.mark(gradients, proof)
    return gradients, norms


def as_batch(x, y=None, sample_weight=None):
    """The dict of tensors that engines take, without the absent entries."""
    parts = {"x": x, "y": y, "sample_weight": sample_weight}
    return {name: as_tensors(part) for name, part in parts.items() if part is not None}


def spec_of(batch):
    """The `tf.TensorSpec` of one example of a batch."""
    return tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape[1:], t.dtype), batch)


def check_l2_norm_clip(l2_norm_clip):
    """Raises `ValueError` unless the bound is a positive, finite number."""
    if not 0 < float(l2_norm_clip) < float("inf"):
        raise ValueError(
            "`l2_norm_clip` must be a positive, finite number. "
            f"Received: l2_norm_clip={l2_norm_clip}"
        )


def _prepare(model, loss, batch, options):
    """A function `(batch, l2_norm_clip) -> (sums, norms)`.

    The step is traced once per loss and shape of examples. What was prepared lies in
    the model's own dictionary, past Keras' tracking, and is forgotten with it.
    """
    prepared = vars(model).setdefault(_PREPARED, {})
    key = _key_of(model, loss, batch, options)
    if key not in prepared:
        made = _make_run(model, loss, batch, *options)
        while len(prepared) >= _MOST_PREPARED:
            prepared.pop(next(iter(prepared)))
        key = _key_of(model, loss, batch, options)  # now it is built
        prepared[key] = made, loss  # the loss lives as long as its id is in the key
    return prepared[key][0]


def _key_of(model, loss, batch, options):
    losses = keras.tree.map_structure(
        lambda one: one if isinstance(one, str) else id(one), loss
    )
    trainable = [id(v) for v in model.trainable_variables]
    engine, style, microbatch_size = options
    data = losses, spec_of(batch), trainable, engine, style.name, microbatch_size
    return repr(data)


def _make_run(model, loss, batch, engine, style, microbatch_size):
    if loss is None or isinstance(loss, keras_internals.CompileLoss):
        compile_loss = keras_internals.quiet_copy(loss)
    else:
        compile_loss = keras_internals.wrap_loss(loss, model)
    objective = Objective(model, compile_loss)
    plan = make_plan(objective, spec_of(batch), style, engine, microbatch_size)

    def run(batch, l2_norm_clip):
        sums, norms, _ = sum_over_chunks(plan, batch, l2_norm_clip)
        pairs = zip(sums, objective.variables, strict=True)
        return [tf.cast(s, sum_dtype(v.dtype)) for s, v in pairs], norms

    any_size = tf.nest.map_structure(
        lambda s: tf.TensorSpec([None, *s.shape], s.dtype), spec_of(batch)
    )
    signature = [any_size, tf.TensorSpec([], tf.float64)]
    compiled = tf.function(run, input_signature=signature, autograph=False)
    # Inside a user's own `tf.function` there is nothing to gain from another one.
    return lambda *args: compiled(*args) if tf.executing_eagerly() else run(*args)
