"""Each step counts once, however ledgers are copied, saved, resumed and merged.

The oracle keeps a set of the ids of all steps that a ledger holds.
"""

import copy
import multiprocessing
import os
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfpriv.accounting import Journal, Ledger
from tfpriv.accounting import mechanisms as m
from tfpriv.accounting.entry import Entry

STEPS = [m.poisson(0.01, 1.1), m.poisson(0.5, 3.0)]


def record(ledger, kind=0, count=1):
    ledger.record(STEPS[kind], unit="image", purpose="training", count=count)


class World:
    """Ledgers and, for each, the set of (mechanism, id) of the steps that it holds."""

    def __init__(self):
        self.ledgers = [Ledger()]
        self.steps = [set()]
        self.number = 0

    def do(self, action, first, second):
        first, second = first % len(self.ledgers), second % len(self.ledgers)
        ledger = self.ledgers[first]
        if action in (0, 1):
            record(ledger, action, 1 + second)
            for _ in range(1 + second):
                self.steps[first].add((action, self.number))
                self.number += 1
        elif action == 2:
            ledger.merge(self.ledgers[second])
            self.steps[first] |= self.steps[second]
        else:
            same = (Ledger.copy, reread, copy.copy, copy.deepcopy, repickled)
            self.ledgers.append(same[action - 3](ledger))
            self.steps.append(set(self.steps[first]))

    def agrees(self):
        return all(
            counts(ledger) == [sum(kind == k for kind, _ in steps) for k in (0, 1)]
            for ledger, steps in zip(self.ledgers, self.steps, strict=True)
        ) and all(
            a.includes(b) == (steps_a >= steps_b)
            for a, steps_a in zip(self.ledgers, self.steps, strict=True)
            for b, steps_b in zip(self.ledgers, self.steps, strict=True)
        )


def counts(ledger):
    found = {entry.mechanism: entry.count for entry in ledger.entries}
    return [found.get(step, 0) for step in STEPS]


def reread(ledger):
    return Ledger.from_bytes(ledger.to_bytes())


def repickled(ledger):
    return pickle.loads(pickle.dumps(ledger))


actions = st.lists(
    st.tuples(st.integers(0, 7), st.integers(0, 5), st.integers(0, 5)), max_size=25
)


def play(acts):
    world = World()
    for act in acts:
        world.do(*act)
    return world


@settings(max_examples=300, deadline=None)
@given(actions)
def test_ledgers_hold_the_steps_that_sets_of_ids_hold(acts):
    assert play(acts).agrees()


@settings(max_examples=100, deadline=None)
@given(actions, st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
def test_the_union_is_commutative_associative_and_idempotent(acts, i, j, k):
    ledgers = play(acts).ledgers
    a, b, c = (ledgers[n % len(ledgers)] for n in (i, j, k))

    def same(one, other):
        return one == other and one.includes(other) and other.includes(one)

    assert same(a.copy().merge(b), b.copy().merge(a))
    assert same(a.copy().merge(b).merge(c), a.copy().merge(b.copy().merge(c)))
    assert same(a.copy().merge(a), a)
    assert same(a.copy().merge(b).merge(b), a.copy().merge(b))


def branches():
    """A training of 5 steps that went on twice, by 3 steps each."""
    trunk = Ledger()
    record(trunk, count=5)
    both = trunk.copy(), reread(trunk)
    for branch in both:
        record(branch, count=3)
    return both


def test_branches_of_equal_length_add_up():
    left, right = branches()
    assert not left.includes(right)
    assert len(left.merge(right)) == 5 + 3 + 3


def test_a_later_copy_adds_what_is_new():
    ledger = Ledger()
    record(ledger, count=5)
    earlier = reread(ledger)
    record(ledger, count=2)
    assert len(earlier.merge(ledger)) == len(ledger) == 7


def larger_count(self, other):
    runs = self.runs if self.count >= other.count else other.runs
    return Entry(*self.key, runs, self.first, self.last)


def sum_of_counts(self, other):
    keys = self.runs.keys() | other.runs.keys()
    runs = {run: self.runs.get(run, 0) + other.runs.get(run, 0) for run in keys}
    return Entry(*self.key, runs, self.first, self.last)


@pytest.mark.parametrize("fault", [larger_count, sum_of_counts])
def test_planted_union_by_counts_is_found(fault, monkeypatch):
    left, right = branches()
    monkeypatch.setattr(Entry, "union", fault)
    assert len(left.merge(right)) != 5 + 3 + 3


def test_planted_copies_that_share_a_run_are_found(monkeypatch):
    monkeypatch.setattr("secrets.token_hex", lambda size: "the same for all")
    left, right = branches()
    assert len(left.merge(right)) != 5 + 3 + 3


def _record_in_child(ledger, connection):
    record(ledger, count=3)
    connection.send_bytes(ledger.to_bytes())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_process_records_under_another_id():
    ledger = Ledger()
    record(ledger, count=5)
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=_record_in_child, args=(ledger, there))
    child.start()
    record(ledger, count=3)
    other = Ledger.from_bytes(here.recv_bytes())
    child.join()
    assert len(ledger.merge(other)) == 5 + 3 + 3


def test_a_million_steps_are_one_entry():
    ledger = Ledger()
    record(ledger, count=10**6)
    for _ in range(1000):
        record(ledger)
    assert len(ledger) == 1_001_000
    assert ledger.to_bytes().count(b"\n") < 40


# Journals.


def spend(journal, count=1):
    journal.record(STEPS[0], unit="image", purpose="training", count=count)


def test_a_ledger_and_its_journal_hold_the_same_steps(tmp_path):
    ledger = Ledger()
    record(ledger, count=5)
    ledger.open_journal(tmp_path / "journal")
    spend(ledger, 2)
    ledger.close_journal()
    assert len(ledger) == 7
    saved = reread(ledger)
    record(ledger)  # after the journal was closed
    with Journal(tmp_path / "journal") as journal:
        assert journal.includes(saved)
        assert not journal.includes(ledger)
    ledger.open_journal(tmp_path / "journal")
    spend(ledger)
    ledger.close_journal()
    assert len(ledger.merge(saved)) == 9
    with Journal(tmp_path / "journal") as journal:
        assert journal == ledger


def test_a_journal_put_back_to_an_older_state_numbers_no_step_twice(tmp_path):
    path = tmp_path / "journal"
    with Journal(path) as journal:
        spend(journal, 3)
        older = path.read_bytes()
        spend(journal, 4)
        seven = journal.copy()
    path.write_bytes(older)
    with Journal(path) as journal:
        spend(journal, 4)
        assert len(journal.merge(seven)) == 3 + 4 + 4


def test_each_opening_of_a_journal_is_a_run(tmp_path):
    for _ in range(3):
        with Journal(tmp_path / "journal") as journal:
            spend(journal, 2)
            spend(journal)
    lines = (tmp_path / "journal").read_text().splitlines()
    assert [line[0] for line in lines] == ["{", "m", *3 * ["r", "s", "s"]]
    with Journal(tmp_path / "journal") as journal:
        (entry,) = journal.entries
    assert list(entry.runs.values()) == [3, 3, 3]


def test_a_ledger_that_does_not_compose_leaves_the_journal_as_it_was(tmp_path):
    path = tmp_path / "journal"
    with Journal(path) as journal:
        spend(journal)
    before = path.read_bytes()
    other = Ledger()
    other.record(STEPS[0], unit="person", purpose="training")
    with pytest.raises(ValueError, match="do not compose"):
        other.open_journal(path)
    assert path.read_bytes() == before
    assert len(other) == 1
    with Journal(path) as journal:  # the lock was released
        assert len(journal) == 1


def test_a_journal_of_version_1_is_one_run(tmp_path):
    path = tmp_path / "journal"
    with Journal(path) as journal:
        spend(journal, 3)
    texts = [line.rpartition(" ")[0] for line in path.read_text().splitlines()]
    texts = [text for text in texts if not text.startswith("r ")]
    texts[0] = texts[0].replace('"version":2', '"version":1')
    path.write_bytes(sealed(texts))
    with Journal(path) as journal:
        first = journal.copy()
        assert len(first) == 3
        spend(journal)
    with Journal(path) as journal:
        assert len(journal) == 4
        assert journal.includes(first)


def test_a_journal_whose_steps_have_no_run_is_damaged(tmp_path):
    path = tmp_path / "journal"
    with Journal(path) as journal:
        spend(journal, 3)
    texts = [line.rpartition(" ")[0] for line in path.read_text().splitlines()]
    path.write_bytes(sealed(text for text in texts if not text.startswith("r ")))
    with pytest.raises(ValueError, match="damaged in line 3"):
        Journal(path)


def sealed(texts):
    from tfpriv.accounting import journal_file

    content, chain = b"", 0
    for text in texts:
        line, chain = journal_file._seal(text, chain)
        content += line
    return content
