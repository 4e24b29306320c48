"""The privacy statement of a ledger, for people and for programs."""

import json
import math
import textwrap
from collections.abc import Sequence
from typing import Any

from tfpriv.accounting import epsilon as bounds
from tfpriv.accounting import events
from tfpriv.accounting.composition import Composition
from tfpriv.accounting.serialization import event_to_json

# The file of a statement in a SavedModel.
STATEMENT_NAME = "privacy_statement.json"
NOT_COVERED = (
    "training loss, metrics, gradient norms and their curves: exact functions of "
    "private batches",
    "validation data: must be public",
)
# No ledger can know of the others.
SCOPE = (
    "This statement is about the run recorded in this ledger only. Further runs on the "
    "same data (repeated trainings, hyper-parameter searches, several runs of which "
    "the best is kept) compose with it: their epsilons add up, and so do their deltas."
)
# Notes of what a claim assumes and covers: how the ones end, and one.
AS_PUBLIC, COVERED = "treated as public", "epsilon covers private_loss, too"
_FORMATS = ("text", "json")
# Of a membership attack whose true-positive rate is bounded.
FALSE_POSITIVE_RATES = (0.01, 0.001)


def number(value: float) -> float | str:
    """Returns a figure as standard JSON has it: infinity becomes a string."""
    return "infinity" if math.isinf(value) else value


def rounded_up(value: float) -> str:
    """Writes a figure with four significant digits, never below the truth.

    A last digit that only stems from the representation (1e-9 of the figure) does not
    push it up.
    """
    if math.isinf(value):
        return "infinity"
    if value == 0:
        return "0"
    unit = 10.0 ** (math.floor(math.log10(value)) - 3)
    return f"{math.ceil(value / unit * (1 - 1e-9)) * unit:.4g}"


def describe(
    ledger: Composition, delta: float, accountant: str, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """Returns the statement as a JSON document; docs/accounting.md lists its keys.

    Args:
        ledger: what to speak about.
        delta: the delta of the claim, in [0, 1).
        accountant: "rdp" or "pld".
        notes: what to note besides the ledger's assumptions.
    """
    bound = bounds.epsilon(ledger.steps(), delta, accountant)
    plain_steps = [
        (events.without_amplification(event), count) for event, count in ledger.steps()
    ]
    plain = bounds.epsilon(plain_steps, delta, accountant)
    relation = ledger.relation
    words = events.RELATION_WORDS[relation] if relation else None
    assumed = [note for entry in ledger.entries for note in entry.mechanism.notes]
    return {
        "format": "tfpriv-privacy-statement",
        "version": 1,
        "unit": ledger.unit,
        "relation": relation.name if relation else None,
        "relation_in_words": words.format(unit=ledger.unit) if words else None,
        "epsilon": number(bound.value),
        "epsilon_without_amplification": number(plain.value),
        "delta": float(delta),
        "accountant": bound.accountant,
        "true_positive_rates": _true_positive_rates(ledger, bound),
        "steps": len(ledger),
        "mechanisms": [
            {
                "purpose": entry.purpose,
                "unit": entry.unit,
                "sampler": entry.mechanism.sampler,
                "event": event_to_json(entry.mechanism.event),
                "steps": entry.count,
                "population": entry.mechanism.population,
                "first": entry.first,
                "last": entry.last,
            }
            for entry in ledger.entries
        ],
        "notes": list(dict.fromkeys([*assumed, *notes])),
        "warnings": [*ledger.recorded_warnings, *ledger.warnings(delta, bound)],
        "releasable": ledger.releasable,
        "not_for_release": list(ledger.not_for_release),
        "not_covered": list(NOT_COVERED),
        "scope": SCOPE,
        "weights_digest": ledger.weights_digest,
    }


def _true_positive_rates(ledger: Composition, bound: bounds.Bound) -> dict[str, float]:
    """Bounds on a membership attack, by its false-positive rate."""
    if not len(ledger) or math.isinf(bound.value):
        return {}
    rates = FALSE_POSITIVE_RATES
    found = bounds.true_positive_rates(ledger.steps(), rates, bound.accountant)
    return {f"{f:g}": rate for f, rate in zip(rates, found, strict=True)}


def write(
    ledger: Composition,
    delta: float,
    format: str,
    accountant: str,
    notes: Sequence[str] = (),
) -> str:
    """Returns the statement as text or as a JSON string.

    Args:
        ledger: what to speak about.
        delta: the delta of the claim, in [0, 1).
        format: "text" or "json".
        accountant: "rdp" or "pld".
        notes: what to note besides the ledger's assumptions.

    Raises:
        ValueError: if an argument is out of range.
    """
    if format not in _FORMATS:
        raise ValueError(
            f"Unknown format. Expected one of {_FORMATS}. Received: format={format!r}"
        )
    document = describe(ledger, delta, accountant, notes)
    if format == "json":
        return json.dumps(document, indent=1, allow_nan=False)
    return _text(document)


def _text(document: dict[str, Any]) -> str:
    if not document["steps"]:
        nothing = "Nothing private was recorded so far: epsilon = 0."
        return f"{nothing}\n{_wrapped(document['scope'])}\n"
    lines = [_headline(document)]
    if document["unit"] == "example":
        lines.append("An example is one item of the data, such as one row of an array.")
    if document["relation_in_words"]:
        lines.append(f"Compared are {document['relation_in_words']}.")
    lines += in_plain_words(document)
    lines.append(document["scope"])
    lines += [f"WARNING: {warning}" for warning in document["warnings"]]
    lines += [f"NOT FOR RELEASE: {why}." for why in document["not_for_release"]]
    lines += [f"Not covered by epsilon: {what}." for what in document["not_covered"]]
    lines += [f"Note: {note}." for note in _notes(document)]
    lines += ["", f"Accountant: {document['accountant']}. Counted are"]
    lines += [f"- {line}" for line in what_was_done(document)]
    return "\n".join(_wrapped(line) for line in lines) + "\n"


def _notes(document: dict[str, Any]) -> list[str]:
    """Without what belongs to a claim where nothing is claimed."""
    notes: list[str] = document["notes"]
    if math.isfinite(float(document["epsilon"])):
        return notes
    return [n for n in notes if n != COVERED and not n.endswith(AS_PUBLIC)]


def in_plain_words(document: dict[str, Any]) -> list[str]:
    """What the epsilon of a statement means; nothing if it is infinite.

    Args:
        document: what `describe` returned.
    """
    epsilon, delta = float(document["epsilon"]), document["delta"]
    if math.isinf(epsilon):
        return []
    lines = [
        "In the worst case, somebody who knows everything else and guesses, at even "
        "odds, which of the two was used is right with a chance of at most "
        f"{_percent(_best_guess(epsilon, delta))} %."
    ]
    if rates := document["true_positive_rates"]:
        found = " and ".join(
            f"{_percent(rate)} % of the members at a false-positive rate of "
            f"{100 * float(f):g} %"
            for f, rate in rates.items()
        )
        lines.append(f"A membership attack finds at most {found}.")
    plain = float(document["epsilon_without_amplification"])
    if plain > epsilon:
        lines.append(
            "This rests on the batches being secret: to somebody who knows in which "
            f"of them one {document['unit']} would be, epsilon is at most "
            f"{rounded_up(plain)}."
        )
    return lines


def _best_guess(epsilon: float, delta: float) -> float:
    """The largest chance of a right guess between two neighbours, at even odds.

    Kairouz, Oh and Viswanath, "The Composition Theorem for Differential Privacy",
    ICML 2015: the sum of both errors is at least 2 (1 - delta) / (1 + e^epsilon).
    """
    return 1 - (1 - delta) / (1 + math.exp(min(epsilon, 700.0)))


def _percent(share: float) -> str:
    """One digit after the point, never below the truth."""
    return f"{min(math.ceil(1000 * share) / 10, 100):g}"


def _headline(document: dict[str, Any]) -> str:
    value = float(document["epsilon"])
    unit = document["unit"]
    if math.isinf(value):
        return f"No differential privacy for any {unit}: epsilon = infinity."
    return (
        f"Differential privacy for each {unit}: epsilon = {rounded_up(value)} at "
        f"delta = {document['delta']:g}."
    )


def what_was_done(document: dict[str, Any]) -> list[str]:
    """A line for each mechanism: what it was for, how often, which noise and batches.

    Args:
        document: what `describe` returned.
    """
    return [
        f"{m['purpose']}: {m['steps']} x {_noise(m['event'])}; {m['sampler']}"
        for m in document["mechanisms"]
    ]


def _noise(event: dict[str, Any]) -> str:
    """What was done to the data, in a few words."""
    inner = event.get("event", event)
    match inner["type"]:
        case "GaussianDpEvent":
            return f"Gaussian noise, {inner['noise_multiplier']:.6g} of the sensitivity"
        case "RandomizedResponseDpEvent":
            return "a release with pure epsilon"
        case "ApproximateDpEvent":
            return "a release with stated epsilon and delta"
    return "no privacy"


def _wrapped(line: str) -> str:
    return textwrap.fill(line, 88, subsequent_indent="  ", break_on_hyphens=False)
