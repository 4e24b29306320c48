"""Per-example clipping: summed gradients, each unit's bounded before the sum."""

import weakref

import tensorflow as tf

from tfpriv.dp import keras_internals
from tfpriv.dp.clipping import tags, vectorized
from tfpriv.dp.clipping.microbatches import sum_over_chunks
from tfpriv.dp.clipping.probe import Plan, probe
from tfpriv.dp.clipping.problem import Problem

# Plans made for `clipped_gradients`, per model, forgotten with it.
_PLANS: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()

ENGINES = {"vectorized": vectorized.clipped_sum}


def get_engine(name):
    """The clipping engine of that name; `"auto"` is the fastest exact one.

    Raises:
        ValueError: If there is no such engine.
    """
    if name == "auto":
        name = "vectorized"
    if name not in ENGINES:
        raise ValueError(
            f"Unknown clipping engine. Expected 'auto' or one of {sorted(ENGINES)}. "
            f"Received: engine={name!r}"
        )
    return ENGINES[name]


def clipped_gradients(
    model,
    x,
    y=None,
    *,
    loss=None,
    l2_norm_clip,
    engine="auto",
    sample_weight=None,
    microbatch_size=None,
):
    """Sum over examples of gradients, each clipped to an L2 norm, for own loops.

    Every example is pushed through the model as a batch of one with
    `training=True`; its gradient over all `model.trainable_variables` together is
    scaled down to `l2_norm_clip` where its norm is larger, and the results are
    summed. An example whose gradient is not finite contributes zero.

    Hand the list, as it is, to a DP optimizer: `optimizer.apply(gradients)`. It adds
    the noise, divides by the number of examples given here, and charges the ledger
    one step without amplification by sampling.

    Args:
        model: Any Keras model, private or not.
        x: Nested tensors or arrays, leading axis: examples.
        y: The same, or `None`.
        loss: A Keras loss by name or instance, a function `(y_true, y_pred)`, or a
            structure of these as in `compile`. `None` takes the compiled loss.
        l2_norm_clip: Positive float, the bound C.
        engine: `"auto"` or `"vectorized"`.
        sample_weight: Nested tensors, one weight per example, or `None`.
        microbatch_size: Int, examples differentiated together. `None` fits memory.

    Returns:
        `(gradients, norms)`: a list of tensors shaped like
        `model.trainable_variables`, and the unclipped norms, shape `(examples,)`
        (infinity where a gradient was not finite). Norms are exact functions of
        private data: not covered by epsilon.

    Raises:
        ValueError: If the bound is not positive, the engine unknown, or the model
            one for which a bound per example does not hold.

    Reference:
        Abadi et al., "Deep Learning with Differential Privacy", CCS 2016.
    """
    check_l2_norm_clip(l2_norm_clip)
    run = get_engine(engine)
    batch = as_batch(x, y, sample_weight)
    problem, plan = _plan_for_call(model, loss, batch, microbatch_size)
    problem.map_examples = plan.map_examples
    gradients, norms, _ = sum_over_chunks(
        run, problem, batch, l2_norm_clip, plan.microbatch_size, on_chunk=None
    )
    divisor = tf.maximum(tf.shape(tf.nest.flatten(batch["x"])[0])[0], 1)
    tags.mark(gradients, tags.ClippedSum(float(l2_norm_clip), divisor))
    return gradients, norms


def as_batch(x, y=None, sample_weight=None):
    """The dict of tensors that engines take, without the absent entries."""
    parts = {"x": x, "y": y, "sample_weight": sample_weight}
    return {
        name: tf.nest.map_structure(tf.convert_to_tensor, part)
        for name, part in parts.items()
        if part is not None
    }


def spec_of(batch):
    """The `tf.TensorSpec` of one example of a batch."""
    return {
        name: tf.nest.map_structure(
            lambda t: tf.TensorSpec(t.shape[1:], t.dtype), batch[name]
        )
        for name in ("x", "y", "sample_weight")
        if name in batch
    }


def check_l2_norm_clip(l2_norm_clip):
    """Raises `ValueError` unless the bound is a positive, finite number."""
    if not 0 < float(l2_norm_clip) < float("inf"):
        raise ValueError(
            "`l2_norm_clip` must be a positive, finite number. "
            f"Received: l2_norm_clip={l2_norm_clip}"
        )


def _plan_for_call(model, loss, batch, microbatch_size):
    """Probes once per model, loss and shape; the plan is kept beside the model."""
    spec = spec_of(batch)
    trainable = tuple(id(v) for v in model.trainable_variables)
    key = (id(loss), repr(spec), trainable, microbatch_size)
    known = _PLANS.setdefault(model, {})
    if key not in known:
        compile_loss = (
            keras_internals.quiet_copy(keras_internals.compiled_loss(model))
            if loss is None
            else keras_internals.wrap_loss(loss, model)
        )
        problem = Problem(model, compile_loss)
        plan = probe(problem, spec, microbatch_size)
        trainable = tuple(id(v) for v in model.trainable_variables)
        key = (id(loss), repr(spec), trainable, microbatch_size)
        known[key] = problem, plan, loss  # keeps the loss, and so its id, alive
    problem, plan, _ = known[key]
    return problem, plan
