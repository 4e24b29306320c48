"""Files that commit 1f741b2 wrote (by `write.py`) load, each in a fresh process."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FILES = Path(__file__).with_name("files")
PROGRAMS = {
    "private model": """
import keras, numpy as np, tfpriv.dp
known = np.load("known.npz")
model = keras.models.load_model("private.keras")
np.testing.assert_allclose(model(known["x"]), known["private"], atol=1e-5)
assert abs(model.privacy.epsilon(1e-5) - known["epsilon"]) < 1e-6
model.load_weights("private.weights.h5")
assert abs(model.privacy.epsilon(1e-5) - known["epsilon"]) < 1e-6
assert not model.privacy.ledger.releasable  # it had a seed
""",
    "ledger and journal": """
import numpy as np
from tfpriv.accounting import Journal, Ledger
known = np.load("known.npz")
assert abs(Ledger.load("ledger.json").epsilon(1e-5) - known["epsilon"]) < 1e-6
with Journal("journal.jsonl") as journal:
    assert len(journal) == 3
    assert journal.unit == "image"
""",
    "key": """
import numpy as np
from tfpriv import shuffling
known, key = np.load("known.npz"), shuffling.Key.load("my.key")
shuffled = shuffling.shuffle(known["images"], key, known["nonces"])
np.testing.assert_array_equal(shuffled, known["shuffled"])
""",
    "keyed network": """
import keras, numpy as np
import tfpriv.shuffling
from tfpriv.shuffling import Key, keyed_model, shuffle
known, key = np.load("known.npz"), Key.load("my.key")
twin = keras.models.load_model("keyed.keras")
twin.unlock(key)
images = known["images"].astype("float32")
found = np.reshape(twin(shuffle(images, key)), known["keyed"].shape)
np.testing.assert_allclose(found, known["keyed"], rtol=1e-5)
""",
}


@pytest.mark.parametrize("what", PROGRAMS)
def test_file_of_an_older_version_loads(what, tmp_path):
    shutil.copytree(FILES, tmp_path, dirs_exist_ok=True)
    (tmp_path / "my.key").chmod(0o600)  # git keeps no such modes
    (tmp_path / "journal.jsonl").chmod(0o600)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAMS[what]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
