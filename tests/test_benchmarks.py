"""The benchmarks compare what they say they do. Nothing is timed here."""

import shutil
from pathlib import Path

import keras
import pytest

from tfpriv.dp import clipping

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def _path(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)


def test_networks_have_the_stated_number_of_weights():
    from competitors import keras_networks, workload

    networks = {
        keras_networks.cnn: "cnn",
        keras_networks.hub_decoder: "decoder",
        keras_networks.plain_decoder: "decoder",
    }
    for build, name in networks.items():
        weights = keras.Model(*build(keras)).count_params()
        assert weights == workload.PARAMETERS[name], build


@pytest.mark.slow
def test_the_networks_of_the_zoo_have_the_stated_number_of_weights():
    from competitors import workload, zoo_networks

    for name, (_, weights) in workload.ZOO.items():
        assert zoo_networks.build(name, 1)[0].count_params() == weights, name


def test_deformable_layers_have_the_stated_number_of_weights():
    from competitors import deformable_ours, workload

    for form in ("deformable-whole-forward", "plain-fractions-training"):
        _, weights = deformable_ours.build("8x8x256", 1, form)
        assert weights == workload.SIZES["8x8x256"]


def test_the_generator_has_the_stated_number_of_weights():
    from competitors import stylegan_ours, workload

    _, weights = stylegan_ours.build("stylegan64", 1, "picture")
    assert weights == workload.SIZES["stylegan64"]


def test_the_tiny_unet_has_the_stated_number_of_weights():
    from competitors import diffusion_ours, workload

    _, weights = diffusion_ours.build("tiny", 1, "step")
    assert weights == workload.SIZES["tiny"]


def test_every_engine_has_a_row():
    import training

    assert {ours.name for ours in training.OURS} == set(clipping.ENGINES)
    names = [c.name for c in [*training.NONPRIVATE, *training.OURS, *training.PEERS]]
    assert len(names) == len(set(names))


def test_ratios_are_taken_round_by_round():
    from competitors import measure

    base = {0: 1.0, 1: 2.0, 2: 4.0}
    assert measure.ratios({0: 2.0, 1: 4.0, 2: 8.0}, base) == (2.0, 2.0, 2.0)
    assert measure.ratios({2: 2.0}, base) == (0.5, 0.5, 0.5)


WORKER = """
from competitors import worker

def build(network, batch_size, form):
    print("a library's chatter")
    return (lambda: bytearray(batch_size * 10**6)), 279_882

worker.main(build)
"""


@pytest.fixture
def start(monkeypatch, tmp_path):
    """A function from a network's name to the stub's process."""
    from competitors import process

    shutil.copytree(BENCHMARKS / "competitors", tmp_path / "competitors")
    (tmp_path / "competitors" / "stub.py").write_text(WORKER)
    monkeypatch.setattr(process, "HERE", tmp_path)
    stub = process.Competitor("stub", "Stub", "stub", "only")
    return lambda network: process.Process(stub, network, 64)


def test_a_competitor_answers_and_its_end_is_reported(start):
    from competitors import process

    running = start("cnn")
    try:
        running.build()
        assert running.ask("step 2") > 0
        assert running.ask("peak 1") > 64
        with pytest.raises(process.CompetitorError, match=r"stub ended[\s\S]*nonsense"):
            running.ask("nonsense")
    finally:
        running.quit()


def test_another_network_is_refused(start):
    from competitors import process

    running = start("decoder")
    try:
        with pytest.raises(process.CompetitorError, match="279882 weights instead"):
            running.build()
    finally:
        running.quit()
