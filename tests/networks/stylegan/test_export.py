"""Generators elsewhere: as SavedModels without tfpriv, and on two devices."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tfpriv.networks.stylegan.export import export_generator

LOADED = """
import sys
import numpy as np
import tensorflow as tf

model = tf.saved_model.load(sys.argv[1])
given = np.load(sys.argv[2])
for space, name in (("z", "serve"), ("w", "from_w"), ("wp", "from_wp")):
    for latents, wanted in ((given[space], given["pictures"]),
                            (given[space][:1], given["pictures"][:1])):
        found = getattr(model, name)(latents)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)
assert "tfpriv" not in sys.modules
"""

MIRRORED = """
import sys
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
from tfpriv.networks.stylegan import load_generator

given = np.load(sys.argv[2])
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    generator = load_generator(sys.argv[1])
assert strategy.num_replicas_in_sync == 2
found = generator.generate(given["w"], "w", batch_size=2)
np.testing.assert_allclose(found, given["pictures"], rtol=0, atol=1e-4)
random = generator.generate(given["w"][[0, 0]], "w", noise="random", batch_size=2)
assert np.abs(random[0] - random[1]).max() > 1e-3  # devices do not share their noise
"""


@pytest.fixture(scope="module")
def latents(tiny, tmp_path_factory):
    """A file of z, the same as w and W+, and their pictures."""
    z = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    w = np.asarray(tiny.mapping(z))
    path = tmp_path_factory.mktemp("latents") / "latents.npz"
    wp = np.asarray(tiny.truncate(w))
    np.savez(path, z=z, w=w, wp=wp, pictures=tiny.generate(wp, "wp"))
    return path


def run(script, folder, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_saved_model_needs_no_tfpriv(tiny, latents, tmp_path):
    export_generator(tiny, tmp_path / "model")
    run(LOADED, tmp_path, tmp_path / "model", latents)


def test_nothing_is_overwritten(tiny, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").write_text("mine")
    with pytest.raises(FileExistsError, match="Received"):
        export_generator(tiny, tmp_path / "model")
    with pytest.raises(NotADirectoryError, match="Received"):
        export_generator(tiny, tmp_path / "model" / "saved_model.pb" / "x")
    assert (tmp_path / "model" / "saved_model.pb").read_text() == "mine"


def test_a_disk_that_fills_up_leaves_nothing(tiny, tmp_path, full_disk):
    with full_disk(1000), pytest.raises(OSError, match="cannot be written"):
        export_generator(tiny, tmp_path / "model")
    assert not list(tmp_path.iterdir())
    export_generator(tiny, tmp_path / "model")


def test_pictures_from_two_devices(tiny_file, latents):
    run(MIRRORED, Path(__file__).parents[3], tiny_file, latents)
