"""Models and workflows of keras.io's examples: trained privately, or refused truly.

`python -m pytest tests/dp/test_everyday_keras.py -m slow -s` prints the list.
"""

import math
import time
import warnings

import everyday
import keras
import numpy as np
import oracle
import pytest

import tfpriv.dp as dp

BATCH_SIZE, STEPS = 4, 2
OUTCOMES: dict = {}


@pytest.fixture(scope="module", autouse=True)
def table():
    """Prints what became of each workflow."""
    yield
    print("\n| workflow | page | outcome | seconds |\n| --- | --- | --- | --- |")
    for name, (outcome, seconds) in OUTCOMES.items():
        page = everyday.WORKFLOWS[name].page
        print(f"| {name} | {page} | {outcome} | {seconds:.0f} |")
    kinds = [outcome for outcome, _ in OUTCOMES.values()]
    for kind in ("trained", "refused", "failed"):
        print(f"{kind}: {kinds.count(kind)}")


def fit(case):
    """Trains one epoch of two private steps; returns the private model."""
    model = dp.make_private(case.model)
    optimizer = dp.DPAdam(0.01, l2_norm_clip=1.0, noise_multiplier=1.0)
    model.compile(optimizer=optimizer, **case.compile)
    model.fit(case.x, case.y, batch_size=BATCH_SIZE, epochs=1, verbose=0, **case.fit)
    return model


def check_trained(case):
    model = case.model
    before = {w.path: w.numpy() for w in model.trainable_variables}
    model = fit(case)
    assert model.trainable_variables
    for weight in model.trainable_variables:
        assert np.all(np.isfinite(weight))
        if weight.path in before:
            assert np.any(before[weight.path] != weight.numpy()), weight.path
    assert len(model.privacy.ledger) == STEPS
    assert math.isfinite(model.privacy.epsilon(1e-5))


def check_refused(case, reason):
    with pytest.raises((ValueError, TypeError), match=reason):
        fit(case)
    if isinstance(case.model, dp.PrivateModel):
        assert len(case.model.privacy.ledger) == 0


def check_exact(case):
    """Against the loop over single examples, with layers that draw switched off."""
    model = case.model
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0
        if isinstance(layer, keras.layers.MultiHeadAttention):
            layer._dropout = 0
    model.compile(optimizer="sgd", **case.compile)
    rows = slice(0, 3)
    x = keras.tree.map_structure(lambda a: a[rows], case.x)
    model(x)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No clipping rule")
        oracle.assert_exact(model, x, case.y[rows], tolerance=2e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", everyday.WORKFLOWS)
def test_workflow(name, rng):
    entry, start = everyday.WORKFLOWS[name], time.monotonic()
    OUTCOMES[name] = "failed", 0.0
    if entry.refused:
        check_refused(entry.build(rng), entry.refused)
    else:
        check_trained(entry.build(rng))
    if entry.exact:
        check_exact(entry.build(rng))
    outcome = "refused" if entry.refused else "trained"
    OUTCOMES[name] = outcome, time.monotonic() - start


def test_there_are_at_least_forty():
    assert len({entry.page for entry in everyday.WORKFLOWS.values()}) >= 40
