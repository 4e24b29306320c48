"""Private training by several processes, each with its own shard of the data.

Every worker draws from its own shard, each unit with the same probability. Where the
shards partition the units, that is Poisson sampling of all of them. The clipped sums
are added up by the strategy, and the chief's part carries the noise.
"""

import contextlib
import dataclasses
import json
import os
from typing import Any

import tensorflow as tf

from tfpriv.accounting.ledger import Ledger
from tfpriv.dp import feeding, fitting, preprocessing
from tfpriv.dp.sampling import SIZE_FROM_DATA, PoissonSampler
from tfpriv.support.weights import digest_of

_CHIEF = 0


def fit_on_workers(
    model: Any,
    sampler: PoissonSampler,
    steps: int,
    *,
    journal: str | os.PathLike[str] | None = None,
) -> int:
    """Trains one private model on several workers; each of them calls this.

    Afterwards all workers hold the same weights and the same ledger, in which each
    step stands once. Save the chief's. What was spent before is the union of the
    workers' ledgers: what each of them recorded by itself counts once for each.

    Args:
        model: Private model, built and compiled in the scope of a
            `tf.distribute.MultiWorkerMirroredStrategy` with one device a worker.
        sampler: `PoissonSampler` of the units that this worker alone has, with the
            `batch_size` and `population` of all workers together. A group lies on
            one worker.
        steps: Int, how many steps; fewer where the optimizer's budget ends before.
        journal: Path of the chief's journal, in which each step is written before a
            batch is drawn, or `None`. A run that goes on after a kill names it again.

    Returns:
        Int, how many steps were done.

    Raises:
        ValueError: If strategy, sampler or model do not fit, the workers disagree on
            settings or weights, or the shards are not together the population.
        RuntimeError: If another worker could not begin a step.
        tf.errors.OpError: If a worker was lost. The step under way is counted.
        tfpriv.accounting.LedgerError: If the budget is spent.

    Reference:
        Abadi et al., "Deep Learning with Differential Privacy", CCS 2016.
    """
    model._assert_compile_called("fit_on_workers")
    strategy = model.distribute_strategy
    _check(model, strategy, sampler, steps)
    sampler = preprocessing.sampler_for(model, sampler)
    mechanism = fitting.mechanism_of(model, sampler)
    # Shards are held against the population.
    notes = dict.fromkeys((*mechanism.notes, SIZE_FROM_DATA))
    mechanism = dataclasses.replace(mechanism, notes=tuple(notes))
    model.privacy.check(mechanism)
    model._prepare(sampler.element_spec(), sampler.group_size)
    is_chief = strategy.extended.should_checkpoint

    @tf.function(input_signature=[feeding.signature(sampler)], autograph=False)
    def step(data):
        strategy.run(model.train_step, args=(data,))

    with contextlib.ExitStack() as stack:
        stack.enter_context(fitting.clean_after_failure(model))
        stack.enter_context(model.privacy.training(journal if is_chief else None))
        stack.callback(model.privacy.ledger.begin_run)
        _agree(model, strategy, sampler, steps, mechanism)
        if is_chief:  # it speaks for all
            fitting.warn_of_small_batches(model.optimizer.planned_batches, sampler)
        steps = _affordable(model, mechanism, steps)
        pay = _make_pay(model, strategy, mechanism)
        batches = sampler.batches(pay, model.privacy.randomness)
        for _ in range(steps):
            ticket, batch = next(batches)
            step(feeding.element(batch, ticket, sampler.expected_batch_size))
    return steps


def _check(model, strategy, sampler, steps):
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        raise ValueError(
            "`fit_on_workers` needs a model that was built and compiled in the scope "
            "of a `tf.distribute.MultiWorkerMirroredStrategy`; on one machine use "
            f"`fit`. Received: a model under {type(strategy).__name__}"
        )
    if (devices := len(strategy.extended.worker_devices)) > 1:
        raise ValueError(
            "Expected one device for each worker: start a process for each GPU, with "
            f"one in its CUDA_VISIBLE_DEVICES. Received: {devices} devices in this one"
        )
    if not isinstance(sampler, PoissonSampler):
        raise ValueError(
            "Only Poisson batches can be drawn shard by shard. Expected a "
            f"`dp.PoissonSampler` of own units. Received: {type(sampler).__name__}"
        )
    if model._private_options["private_metrics"]:
        raise ValueError(
            "`fit_on_workers` shows no metrics, and a private loss would cost "
            "privacy for nothing. Expected private_metrics=False. Received: True"
        )
    if steps < 1:
        raise ValueError(f"`steps` must be at least 1. Received: steps={steps}")


def _affordable(model, mechanism, steps):
    """So many of the steps as the budget pays for, the same number on all workers."""
    budget, ledger = model.optimizer.budget, model.privacy.ledger
    if budget is None:
        return steps
    budget.check(ledger, mechanism)
    left = budget.steps_left(ledger, mechanism)
    if model.distribute_strategy.extended.should_checkpoint:
        model.optimizer.warn_of_large_delta(ledger, mechanism)
        budget.warn_of_early_stop(ledger, mechanism, left, steps)
    return min(steps, left)


# Before the first step: what must be the same on all workers, is.


def _agree(model, strategy, sampler, steps, mechanism):
    """Raises `ValueError`, on all workers alike, unless they fit together."""
    own = {
        "steps": steps,
        "population": sampler.population,
        "batch_size": sampler.expected_batch_size,
        "max_examples_per_group": sampler.groups_units and sampler.group_size,
        # Notes may name layers, which Keras numbers by what a process made before.
        "step of the ledger": repr(dataclasses.replace(mechanism, notes=())),
        "unit": model.privacy.unit,
        "optimizer": repr(model.optimizer.get_config()),
        "data": repr(sampler.element_spec()),
        "weights": digest_of(model.weights),
        "optimizer's state": digest_of(model.optimizer.variables),
    }
    everyone = _gather(strategy, [own, sampler.num_units])
    for name in own:
        values = [settings[name] for settings, _ in everyone]
        if any(value != values[_CHIEF] for value in values):
            raise ValueError(
                f"Workers disagree on {name}. Expected the same on each. Received, "
                f"worker by worker: {values}"
            )
    found = [found for _, found in everyone]
    if sum(found) != sampler.population:
        raise ValueError(
            "The workers' shards must be the population's parts, each unit on one "
            "worker. Expected `PoissonSampler(shard, batch_size, "
            f"population={sum(found)})` on each, or shards that do not overlap. "
            f"Received: population={sampler.population}, and shards of {found} units"
        )
    _share_ledgers(model.privacy, strategy)


def _share_ledgers(privacy, strategy):
    """Gives all workers the union of their ledgers, and one run for what comes.

    The chief's journal may hold steps that a killed run had begun.
    """
    own = [privacy.ledger.to_bytes().decode(), privacy.ledger.begin_run()]
    everyone = _gather(strategy, own)
    for ledger, _ in everyone:
        privacy.add(Ledger.from_bytes(ledger.encode()))
    privacy.ledger.begin_run(everyone[_CHIEF][1])


def _gather(strategy, value):
    """The values of all workers, the chief's first; anything that JSON can say."""
    line = tf.constant(list(f"{json.dumps(value)}\n".encode()), tf.int32)
    lines = bytes(strategy.gather(line, axis=0).numpy().tolist())
    return [json.loads(line) for line in lines.splitlines()]


# Each step.


def _make_pay(model, strategy, mechanism):
    """A function that writes a step down; it returns when all workers have.

    So no batch is drawn anywhere before the step is in the chief's journal, and where
    one cannot write, none goes on.
    """
    noise_multiplier = model.optimizer.noise_multiplier
    workers = strategy.num_replicas_in_sync

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32)], autograph=False)
    def total(value):
        def added_up():
            context = tf.distribute.get_replica_context()
            return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(value))

        return strategy.run(added_up)

    def pay():
        ticket = None
        try:
            ticket = model.privacy.pay(mechanism, noise_multiplier)
        finally:
            ready = int(total(float(ticket is not None)))
        if ready < workers:
            raise RuntimeError(
                "Another worker could not write the step down; its error says why. "
                "Nothing was drawn. Expected all workers to begin the step. Received: "
                f"{ready} of {workers}"
            )
        return ticket

    return pay
