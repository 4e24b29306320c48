"""What a ledger records, refuses, adds up and states."""

import json
import math
import warnings

import dp_accounting
import pytest

from tfpriv.accounting import Ledger, LedgerError, serialization
from tfpriv.accounting import ledger as ledger_module
from tfpriv.accounting import mechanisms as m

REPLACE = dp_accounting.NeighboringRelation.REPLACE_ONE
TRAIN = m.poisson(0.01, 1.1, population=60_000, notes=(m.PUBLIC_SIZE,))


@pytest.fixture
def ledger():
    ledger = Ledger()
    ledger.record(TRAIN, unit="image", purpose="training", count=1000)
    return ledger


def test_equal_entries_are_counted_together(ledger):
    ledger.record(TRAIN, unit="image", purpose="training", count=5)
    ledger.record(TRAIN, unit="image", purpose="fine-tuning")
    assert [(e.purpose, e.count) for e in ledger.entries] == [
        ("training", 1005),
        ("fine-tuning", 1),
    ]
    assert len(ledger) == 1006
    first, last = ledger.entries[0].first, ledger.entries[0].last
    assert first.endswith("+00:00")
    assert first <= last


@pytest.mark.parametrize(
    ("mechanism", "unit"),
    [
        (TRAIN, "person"),
        (m.fixed_size(60_000, 256, 1.1), "image"),
        (m.stream(9.0), "image"),
        (m.gaussian_release(9.0), "image"),
        (m.pure(0.1), "image"),
        (m.approximate(0.1, 0.0, m.Relation.REPLACE_ONE), "image"),
    ],
)
def test_other_units_and_relations_do_not_compose(ledger, mechanism, unit):
    before = ledger.to_bytes()
    with pytest.raises(LedgerError, match="do not compose"):
        ledger.record(mechanism, unit=unit, purpose="release")
    other = Ledger()
    other.record(m.non_private("first, and harmless"), unit=unit, purpose="x")
    other.record(mechanism, unit=unit, purpose="release")
    with pytest.raises(LedgerError, match="do not compose"):
        ledger.merge(other)
    assert ledger.to_bytes() == before


def test_nothing_private_composes_with_everything(ledger):
    ledger.record(m.non_private("early stopping"), unit="person", purpose="selection")
    assert ledger.epsilon(1e-5) == math.inf
    assert ledger.unit == "image"
    other = Ledger()
    other.record(m.stream(0), unit="person", purpose="selection")
    other.merge(ledger)
    assert other.unit == "image"
    assert other.relation is m.Relation.ADD_OR_REMOVE_ONE
    with pytest.raises(LedgerError, match="units do not compose"):
        other.record(TRAIN, unit="person", purpose="training")


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": 0},
        {"count": -1},
        {"count": 1.0},
        {"count": True},
        {"count": 2**53},
        {"unit": ""},
        {"unit": None},
        {"purpose": " "},
        {"mechanism": TRAIN.event},
    ],
)
def test_record_checks_its_arguments(ledger, wrong):
    before = ledger.to_bytes()
    right = {"mechanism": TRAIN, "unit": "image", "purpose": "training", "count": 1}
    arguments = {**right, **wrong}
    with pytest.raises(ValueError, match="Received: "):
        ledger.record(arguments.pop("mechanism"), **arguments)
    assert ledger.to_bytes() == before


def test_merge_is_the_union_and_stays_in_place(ledger):
    other = ledger.copy()
    other.record(TRAIN, unit="image", purpose="training", count=7)
    other.mark_not_for_release("seeded noise")
    assert ledger.merge(other) is ledger
    assert len(ledger) == 1007
    assert ledger.not_for_release == ("seeded noise",)
    assert len(ledger.merge(ledger)) == 1007
    assert len(other) == 1007
    assert Ledger().merge(other).epsilon(1e-6) == other.epsilon(1e-6)


def test_merge_counts_separate_trainings_of_equal_length_twice(ledger):
    other = Ledger()
    other.record(TRAIN, unit="image", purpose="training", count=1000)
    assert not ledger.includes(other)
    assert len(ledger.merge(other)) == 2000


def test_covers_compares_steps(ledger):
    less, more, other = ledger.copy(), ledger.copy(), ledger.copy()
    for branch in (more, other):
        branch.record(TRAIN, unit="image", purpose="training")
    assert ledger.includes(less)
    assert more.includes(ledger)
    assert not ledger.includes(more)
    assert not other.includes(more)  # as many, but others
    assert ledger.includes(Ledger())
    assert not Ledger().includes(ledger)


def test_merge_speaks_for_weights_only_if_both_do(ledger):
    ledger.set_weights_digest("abc")
    twin, other = ledger.copy(), ledger.copy()
    assert ledger.merge(twin).weights_digest == "abc"
    other.set_weights_digest("def")
    assert ledger.merge(other).weights_digest is None


def test_a_copy_changes_by_itself(ledger):
    twin = ledger.copy()
    assert twin == ledger
    twin.record(TRAIN, unit="image", purpose="training")
    assert twin != ledger
    assert len(ledger) == 1000


def test_equality_is_about_what_was_spent(ledger):
    twin = Ledger()
    for _ in range(1000):
        twin.record(TRAIN, unit="image", purpose="training")
    assert twin == ledger
    twin.mark_not_for_release("seeded noise")
    assert twin != ledger
    assert ledger != "a ledger"


def test_weights(ledger):
    with pytest.raises(LedgerError, match="does not match these weights"):
        ledger.check_weights("abc")
    ledger.set_weights_digest("abc")
    ledger.check_weights("abc")
    with pytest.raises(LedgerError, match="digest='abd'"):
        ledger.check_weights("abd")
    assert Ledger.from_bytes(ledger.to_bytes()).weights_digest == "abc"


def test_epsilon_follows_the_events_alone(ledger):
    value = ledger.epsilon(1e-6)
    ledger.record(TRAIN, unit="image", purpose="training")
    assert ledger.epsilon(1e-6) > value
    document = json.loads(ledger.to_bytes())
    assert "epsilon" not in json.dumps(document)


def test_large_delta_warns(ledger):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ledger.epsilon(1.6e-5)
    with pytest.warns(UserWarning, match="1/n for n=60000"):
        ledger.epsilon(1 / 60_000)
    with pytest.warns(UserWarning, match="n=10"):
        ledger.merge(_tiny()).epsilon(0.5)


def _tiny() -> Ledger:
    ledger = Ledger()
    tiny = m.poisson(0.5, 1.0, population=10)
    ledger.record(tiny, unit="image", purpose="training")
    return ledger


def test_statement_in_words(ledger):
    ledger.mark_not_for_release("noise from a fixed seed")
    text = " ".join(ledger.statement(1e-6).split())
    for part in (
        "Differential privacy for each image: epsilon = 1.977",
        "at delta = 1e-06",
        "one image added or taken away",
        "training: 1000 x Gaussian noise, 1.1 of the sensitivity",
        "Poisson sampling, q = 0.01",
        "is right with a chance of at most 87.9 %",
        "knows in which of them one image would be, epsilon is at most 5",
        "Accountant: rdp",
        "data set size treated as public",
        "NOT FOR RELEASE: noise from a fixed seed",
        "Not covered by epsilon: training loss, metrics",
    ):
        assert part in text, part
    assert "WARNING: delta=0.1" in ledger.statement(0.1)


def test_an_example_is_explained():
    for unit, explained in (("example", True), ("person", False)):
        ledger = Ledger()
        ledger.record(TRAIN, unit=unit, purpose="training")
        assert ("An example is one item" in ledger.statement(1e-6)) is explained


@pytest.mark.parametrize(("epsilon", "delta"), [(0.01, 0.0), (1.0, 0.1), (8.0, 1e-5)])
def test_the_chance_of_a_right_guess_is_that_of_the_best(epsilon, delta):
    """That of a release that tells all with chance delta, and else lies sometimes."""
    ledger = Ledger()
    ledger.record(
        m.approximate(epsilon, delta, REPLACE), unit="image", purpose="release"
    )
    best = delta + (1 - delta) * math.exp(epsilon) / (1 + math.exp(epsilon))
    said = " ".join(ledger.statement(delta).split())
    shown = float(said.split("a chance of at most ")[1].split()[0])
    assert 100 * best <= shown < 100 * best + 0.1


def test_statement_never_rounds_down(ledger):
    from tfpriv.accounting.statement import rounded_up

    for value in (0.6100001, 0.60999, 1e-9, 123456.7, 9.99951, 3e5):
        assert value * (1 - 1e-9) <= float(rounded_up(value)) <= value * 1.002
    assert rounded_up(0.61 * (1 + 1e-12)) == "0.61"
    assert rounded_up(math.inf) == "infinity"
    shown = float(ledger.statement(1e-6).split("epsilon = ")[1].split()[0])
    assert shown >= ledger.epsilon(1e-6)


def test_statement_for_programs(ledger):
    ledger.set_weights_digest("abc")
    document = json.loads(ledger.statement(1e-6, format="json"))
    assert document["epsilon"] == ledger.epsilon(1e-6)
    assert document["epsilon_without_amplification"] > 500
    assert document["unit"] == "image"
    assert document["relation"] == "ADD_OR_REMOVE_ONE"
    assert document["delta"] == 1e-6
    assert document["accountant"] == "rdp"
    assert document["steps"] == 1000
    assert document["releasable"] is True
    assert document["notes"] == [m.PUBLIC_SIZE]
    assert document["weights_digest"] == "abc"
    assert document["mechanisms"][0]["event"]["type"] == "PoissonSampledDpEvent"
    assert any("training loss" in what for what in document["not_covered"])


def test_every_statement_is_about_one_run(ledger, spent):
    plain = spent(m.non_private("plain"))
    for each in (ledger, spent(m.pure(0.1)), plain, Ledger()):
        scope = json.loads(each.statement(1e-6, "json"))["scope"]
        assert "about the run recorded in this ledger only" in scope
        assert "runs of which the best is kept" in scope
        assert "epsilons add up" in scope
        assert scope in " ".join(each.statement(1e-6).split())


def test_cautions_are_part_of_a_ledger(ledger):
    plain, epsilon = ledger.copy(), ledger.epsilon(1e-6)
    for _ in range(2):
        ledger.add_warning("A choice was made.")
    assert ledger.recorded_warnings == ("A choice was made.",)
    assert ledger != plain
    assert ledger.epsilon(1e-6) == epsilon
    assert ledger.releasable
    assert "WARNING: A choice was made." in ledger.statement(1e-6)
    warned = json.loads(ledger.statement(1e-6, "json"))["warnings"]
    assert warned == ["A choice was made."]
    assert Ledger.from_bytes(ledger.to_bytes()) == ledger
    assert ledger.copy() == ledger
    assert plain.merge(ledger).recorded_warnings == ledger.recorded_warnings
    with pytest.raises(ValueError, match="text"):
        ledger.add_warning(" ")


def test_ledgers_written_before_there_were_cautions(ledger):
    kind, version = ledger_module._KIND, ledger_module._VERSION
    _, content = serialization.unseal(ledger.to_bytes(), kind, (version,))
    del content["cautions"]
    older = Ledger.from_bytes(serialization.seal(kind, version, content))
    assert older == ledger


def test_statement_without_amplification_keeps_the_sensitivity(spent, oracle):
    document = json.loads(
        spent(m.fixed_size(1000, 10, 50.0)).statement(1e-5, format="json")
    )
    plain = document["epsilon_without_amplification"]
    assert plain >= oracle.gaussian.epsilon(25.0, 1e-5)
    assert plain == spent(m.gaussian_release(25.0)).epsilon(1e-5)


def test_infinity_is_standard_json(spent):
    text = spent(m.stream(0)).statement(format="json")

    def refuse(constant):
        raise AssertionError(constant)

    document = json.loads(text, parse_constant=refuse)
    assert document["epsilon"] == "infinity"
    assert float(document["epsilon"]) == math.inf
    assert "No differential privacy" in spent(m.stream(0)).statement()


def test_statement_of_nothing():
    assert "epsilon = 0" in Ledger().statement()
    assert json.loads(Ledger().statement(format="json"))["epsilon"] == 0


def test_statement_checks_its_format(ledger):
    with pytest.raises(ValueError, match="format='xml'"):
        ledger.statement(format="xml")
