"""Runs that are killed lose no event: `kill -9`, resume, compare.

A child process trains and kills itself at a chosen place. For every batch that it draws
it writes a line into a file of its own, with `fsync`; that count is independent of the
ledger, and must be equal to it in the end.
"""

import json
import os
import random
import stat

import keras
import numpy as np
import pytest
import small

import tfpriv.dp as dp
from tfpriv.accounting import Journal, Ledger, LedgerError, mechanisms

EPOCHS, STEPS = 3, 5

CHILD = """
import json, os, signal, sys
import keras, small
import tfpriv.dp as dp
from tfpriv.dp import callbacks
from tfpriv.support.randomness import Randomness

folder, side, kind, place, number, budget = sys.argv[1:]
calls = 0

def reach(name):
    global calls
    calls += name == place
    if name == place and calls == int(number):
        os.kill(os.getpid(), signal.SIGKILL)

def spy(owner, name, before=None, after=None):
    real = getattr(owner, name)
    def watched(*args, **kwargs):
        if before: before()
        value = real(*args, **kwargs)
        if after: after()
        return value
    setattr(owner, name, watched)

def started():
    reach("paid")
    with open(side, "a") as file:
        file.write("started\\n")
        file.flush()
        os.fsync(file.fileno())
    reach("drawing")

class Places(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None): reach("begin")
    def on_train_batch_end(self, batch, logs=None): reach("end")
    def on_epoch_end(self, epoch, logs=None): reach("epoch end")

spy(Randomness, "bernoulli", before=started)
spy(Randomness, "key", before=lambda: reach("key"))
spy(callbacks.os, "replace", lambda: reach("saving"), lambda: reach("saved"))

backup = {
    "private": lambda: dp.BackupAndRestore(folder),
    "keras": lambda: keras.callbacks.BackupAndRestore(folder),
    "keras, 3": lambda: keras.callbacks.BackupAndRestore(folder, save_freq=3),
}[kind]()
limit = json.loads(budget)
model = small.private(small.sgd(budget=limit))
x, y = small.data(20)
model.fit(x, y, batch_size=4, epochs=3, verbose=0, callbacks=[backup, Places()])
ledger = model.privacy.ledger
(entry,) = ledger.entries
print(json.dumps({
    "events": len(ledger),
    "iterations": int(model.optimizer.iterations),
    "epsilon": model.privacy.epsilon(1e-5),
    "event": repr(entry.mechanism.event),
}))
"""


def train(folder, kind, place="nowhere", number=0, budget=None):
    """Trains in a child process; what it printed, or `None` where it was killed."""
    arguments = folder / "backup", folder / "side", kind, place, number
    printed = small.run_script(
        CHILD, *arguments, json.dumps(budget), kill_is_fine=place != "nowhere"
    )
    return json.loads(printed) if printed else None


def started(folder):
    side = folder / "side"
    return len(side.read_text().splitlines()) if side.exists() else 0


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def random_kill(kind):
    """A place in the code, and at which of its calls to die."""
    places = ["begin", "drawing", "key", "end", "epoch end"]
    place = random.choice([*places, "saving"] if kind == "private" else places)
    return place, random.randint(1, {"epoch end": 1, "saving": 3}.get(place, 7))


def assert_nothing_is_lost(folder, kind, kills):
    survived = 0
    for place, number in kills:
        if train(folder, kind, place, number) is not None:
            (folder / "side").unlink()  # it ran through; the next one starts afresh
            survived = 0
            continue
        backup = folder / "backup"
        assert mode(backup) == 0o700
        if kind == "private":
            assert {mode(path) for path in backup.iterdir()} == {0o600}
        with Journal(backup / "privacy_journal.jsonl") as journal:
            assert survived <= len(journal) == started(folder)
            survived = len(journal)
    done = train(folder, kind)
    twice = started(folder) - EPOCHS * STEPS
    uninterrupted = Ledger()
    step = mechanisms.poisson(0.2, 1.1)
    uninterrupted.record(step, unit="example", purpose="training", count=15)
    if twice:
        uninterrupted.record(step, unit="example", purpose="training", count=twice)
    assert done["events"] == len(uninterrupted) == started(folder)
    assert done["event"] == repr(step.event)
    assert done["epsilon"] == pytest.approx(uninterrupted.epsilon(1e-5), rel=1e-12)
    if kind != "keras, 3":  # which replays an epoch on weights from its middle
        # Killed between its two files, a backup has an epoch done twice over.
        again = STEPS * sum(place in ("saving", "saved") for place, _ in kills)
        most = EPOCHS * STEPS + again
        assert done["iterations"] in range(EPOCHS * STEPS, most + 1, STEPS)
    assert not (folder / "backup").exists()
    return twice


def test_killed_and_resumed(tmp_path):
    # In the second epoch, after four of its steps: these four are done twice.
    assert assert_nothing_is_lost(tmp_path, "private", [("end", 9)]) == 4


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["private", "keras", "keras, 3"])
def test_killed_ten_times_at_random_and_resumed(kind, tmp_path):
    kills = [random_kill(kind) for _ in range(10)]
    print("kills:", kills)
    assert_nothing_is_lost(tmp_path, kind, kills)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "kill", "twice"),
    [
        ("private", ("saving", 3), 5),  # before the weights of epoch 2 are there
        ("private", ("saved", 3), 5),  # weights of epoch 2, but not its number
        ("private", ("begin", 8), 2),
        ("private", ("drawing", 8), 3),
        ("private", ("key", 20), None),
        ("keras", ("end", 9), 4),
        ("keras, 3", ("end", 9), None),
    ],
)
def test_killed_at_chosen_places(kind, kill, twice, tmp_path):
    assert assert_nothing_is_lost(tmp_path, kind, [kill]) == twice or twice is None


@pytest.mark.slow
def test_between_paying_and_drawing_an_event_counts_too_much_rather_than_too_little(
    tmp_path,
):
    assert train(tmp_path, "private", "paid", 7) is None
    with Journal(tmp_path / "backup" / "privacy_journal.jsonl") as journal:
        assert len(journal) == started(tmp_path) + 1 == 7
    assert train(tmp_path, "private")["events"] == started(tmp_path) + 1


@pytest.mark.slow
def test_the_budget_counts_steps_done_twice(tmp_path):
    ledger = Ledger()
    step = mechanisms.poisson(0.2, 1.1)
    ledger.record(step, unit="example", purpose="training", count=17)
    budget = [ledger.epsilon(1e-5), 1e-5]
    assert train(tmp_path, "private", "end", 9, budget) is None
    done = train(tmp_path, "private", budget=budget)
    assert done["events"] == 17 == started(tmp_path)
    assert done["iterations"] == 13  # of 15: four were done twice
    assert done["epsilon"] <= budget[0]


# Within one process.


class Stops(keras.callbacks.Callback):
    def __init__(self, batch):
        super().__init__()
        self.batch = batch

    def on_train_batch_end(self, batch, logs=None):
        if batch == self.batch:
            raise KeyboardInterrupt


def interrupted(folder, model=None):
    """A model whose first epoch is backed up, and whose second stopped on the way."""
    model = model or small.private()
    x, y = small.data(20)
    callbacks = [dp.BackupAndRestore(folder)]
    first = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: callbacks.append(None)
    )

    class StopLater(Stops):
        def on_train_batch_end(self, batch, logs=None):
            if len(callbacks) > 1:
                super().on_train_batch_end(batch, logs)

    with pytest.raises(KeyboardInterrupt):
        model.fit(
            x,
            y,
            batch_size=4,
            epochs=3,
            verbose=0,
            callbacks=[callbacks[0], first, StopLater(1)],
        )
    return model


def resume(folder, model=None):
    model = model or small.private()
    x, y = small.data(20)
    model.fit(
        x, y, batch_size=4, epochs=3, verbose=0, callbacks=[dp.BackupAndRestore(folder)]
    )
    return model


def test_interrupted_and_resumed_with_the_same_or_a_new_model(tmp_path):
    model = interrupted(tmp_path / "a")
    assert len(model.privacy.ledger) == 7
    assert len(resume(tmp_path / "a", model).privacy.ledger) == 17
    interrupted(tmp_path / "b")
    model = resume(tmp_path / "b")
    assert len(model.privacy.ledger) == 17
    assert int(model.optimizer.iterations) == 15
    model.fit(*small.data(20), batch_size=4, verbose=0)  # not from the resumed epoch
    assert len(model.privacy.ledger) == 22


def test_a_backup_in_a_list_of_callbacks_has_its_journal(tmp_path):
    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.seen = (tmp_path / "privacy_journal.jsonl").exists()

    look = Look()
    inner = keras.callbacks.CallbackList([dp.BackupAndRestore(tmp_path)])
    callbacks = keras.callbacks.CallbackList([inner, look])
    small.private().fit(*small.data(4), batch_size=4, verbose=0, callbacks=callbacks)
    assert look.seen


def test_a_backup_without_its_journal_brings_its_own_ledger(tmp_path):
    interrupted(tmp_path / "backup")
    (tmp_path / "backup" / "privacy_journal.jsonl").unlink()
    model = resume(tmp_path / "backup")
    # Five in the backup, ten since; the two after the backup were lost by hand.
    assert len(model.privacy.ledger) == 15
    assert model.privacy.epsilon() > 0


def test_earlier_steps_of_the_model_go_into_the_journal(tmp_path):
    model = small.private()
    model.fit(*small.data(20), batch_size=4, verbose=0)
    interrupted(tmp_path / "backup", model)
    with Journal(tmp_path / "backup" / "privacy_journal.jsonl") as journal:
        assert len(journal) == 12
    # A model that spent something else meanwhile: added, in the journal as well.
    other = small.private()
    other.privacy.record(mechanisms.poisson(0.5, 2.0), "elsewhere", count=3)

    class Look(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            text = (tmp_path / "backup" / "privacy_journal.jsonl").read_text()
            self.seen = "elsewhere" in text

    look = Look()
    x, y = small.data(20)
    backup = dp.BackupAndRestore(tmp_path / "backup")
    other.fit(x, y, batch_size=4, epochs=3, verbose=0, callbacks=[backup, look])
    assert look.seen
    assert len(other.privacy.ledger) == 12 + 3 + 10


def test_a_backup_under_another_relation_is_refused(tmp_path):
    interrupted(tmp_path / "backup")
    x, y = small.data(20)
    backup = dp.BackupAndRestore(tmp_path / "backup")
    fresh, used = small.private(), small.private()
    used.fit(dp.FixedSizeSampler((x, y), 4), verbose=0)
    epsilon = used.privacy.epsilon()
    for model in (fresh, used):
        with pytest.raises(LedgerError, match="relation"):
            model.fit(
                dp.FixedSizeSampler((x, y), 4), verbose=0, callbacks=[backup], epochs=3
            )
    assert used.privacy.epsilon() == epsilon
    with Journal(tmp_path / "backup" / "privacy_journal.jsonl") as journal:
        assert len(journal) == 7


def test_a_spent_budget_is_an_error_before_anything_is_drawn(tmp_path):
    budget = (4.0, 1e-5)
    interrupted(tmp_path / "backup", small.private(small.sgd(budget=(50.0, 1e-5))))
    model = small.private(small.sgd(budget=budget))
    weights = model.get_weights()
    with pytest.raises(LedgerError, match="budget is spent"):
        resume(tmp_path / "backup", model)
    np.testing.assert_equal(model.get_weights(), weights)
    with Journal(tmp_path / "backup" / "privacy_journal.jsonl") as journal:
        assert len(journal) == 7


def test_damaged_backups_are_clear_errors(tmp_path):
    interrupted(tmp_path / "a")
    journal = tmp_path / "a" / "privacy_journal.jsonl"
    text = journal.read_text()
    journal.write_text(text.replace("s 0 1", "s 0 0", 1))
    with pytest.raises(LedgerError, match="damaged in line"):
        resume(tmp_path / "a")
    journal.write_text(text)
    (tmp_path / "a" / "latest.weights.h5").write_bytes(b"not a file of weights")
    with pytest.raises(ValueError, match=r"damaged.*keep the journal"):
        resume(tmp_path / "a")
    (tmp_path / "a" / "latest.weights.h5").unlink()
    (tmp_path / "a" / "training_metadata.json").write_text('{"epo')
    with pytest.raises(ValueError, match=r"damaged.*keep the journal"):
        resume(tmp_path / "a")
    (tmp_path / "a" / "training_metadata.json").unlink()
    assert len(resume(tmp_path / "a").privacy.ledger) == 7 + 15


def test_two_runs_on_one_backup_folder(tmp_path):
    folder = tmp_path / "backup"
    folder.mkdir()
    with (
        Journal(folder / "privacy_journal.jsonl"),
        pytest.raises(LedgerError, match="open in another process"),
    ):
        resume(folder)
    resume(folder)


def test_a_full_disk_ends_training_with_every_step_counted(tmp_path, full_disk):
    interrupted(tmp_path / "backup")
    journal = tmp_path / "backup" / "privacy_journal.jsonl"
    model = small.private()
    with full_disk(journal.stat().st_size + 110), pytest.raises(OSError, match="large"):
        resume(tmp_path / "backup", model)
    spent = model.privacy.ledger
    with Journal(journal) as found:
        assert len(found) == len(spent) > 7
    # Five steps came with the backup; the two after it are in the journal alone.
    # The counter is raised while a batch is waited for: it may be one step ahead.
    assert int(model.optimizer.iterations) - 5 <= len(spent) - 7 + 1
    assert len(resume(tmp_path / "backup").privacy.ledger) == len(spent) + 10


def test_a_read_only_folder_ends_training_before_it_starts(read_only):
    model = small.private()
    weights = model.get_weights()
    with read_only as folder, pytest.raises(PermissionError):
        resume(folder / "backup", model)
    np.testing.assert_equal(model.get_weights(), weights)
    assert len(model.privacy.ledger) == 0


def test_files_are_private_and_deleted_when_training_completes(tmp_path):
    folder = tmp_path / "backup"
    before = os.umask(0)
    try:
        interrupted(folder)
    finally:
        os.umask(before)
    assert mode(folder) == 0o700
    assert {p.name: mode(p) for p in folder.iterdir()} == {
        "latest.weights.h5": 0o600,
        "training_metadata.json": 0o600,
        "privacy_journal.jsonl": 0o600,
    }
    resume(folder)
    assert not folder.exists()


@pytest.mark.parametrize("kind", [dp, keras.callbacks], ids=["private", "keras"])
def test_a_folder_with_other_things_is_refused_and_stays(tmp_path, kind):
    folder = tmp_path / "work"
    (folder / "photos").mkdir(parents=True)
    (folder / "thesis.txt").write_text("years of work")
    folder.chmod(0o755)
    model = small.private()
    with pytest.raises(FileExistsError, match=r"photos.*thesis\.txt"):
        model.fit(*small.data(20), verbose=0, callbacks=[kind.BackupAndRestore(folder)])
    assert (folder / "thesis.txt").read_text() == "years of work"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert not len(model.privacy.ledger)


def test_what_came_into_the_folder_meanwhile_stays(tmp_path, monkeypatch):
    class Writes(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            (tmp_path / "log.csv").write_text("of the user's own callback")

    monkeypatch.chdir(tmp_path)
    callbacks = [Writes(), dp.BackupAndRestore(".")]
    small.private().fit(*small.data(20), verbose=0, callbacks=callbacks)
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]
