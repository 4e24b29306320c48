"""A ledger in plain words: whose, how strongly, against whom, and what not."""

import math
from collections.abc import Sequence
from typing import Any

from tfpriv.accounting.ledger import Ledger
from tfpriv.accounting.statement import (
    NOT_COVERED,
    describe,
    in_plain_words,
    rounded_up,
    what_was_done,
)
from tfpriv.support.report import Code, Facts, Group, Text
from tfpriv.support.report.unprotected import TITLE

ACCOUNTANTS = {
    "rdp": "rdp: Renyi divergences. The figure is an upper bound.",
    "pld": "pld: privacy loss distributions. The figure is an upper bound, and tight.",
}
WHO_SEES_WEIGHTS = (
    "Whoever sees the weights and whatever is computed from them, knows every other "
    "{unit}, the code and this page, and computes for as long as they like. Not "
    "against somebody who watches the machine while it trains."
)
WEIGHTS_LEAVE = (
    "what many have in common, which is what training is for",
    "a {unit} that is in the data twice: it counts as two",
    "what is shown to the network once it is trained",
    "vocabulary, normalisation and settings that were chosen by looking at private "
    "data, unless the ledger names them",
    "the last bits of the weights as floating-point numbers (Mironov, 2012)",
    *NOT_COVERED,
)


def protection(
    ledger: Ledger,
    delta: float,
    *,
    against: str,
    leaves: Sequence[str],
    accountant: str = "rdp",
    title: str = TITLE,
) -> Group:
    """The section on protection.

    Args:
        ledger: What was spent.
        delta: Of the claim, in [0, 1).
        against: Whom it protects from, in whole sentences; `{unit}` is filled in.
        leaves: What it does not protect, a few words each; likewise.
        accountant: "rdp" or "pld".
        title: Of the section.

    Raises:
        ValueError: An argument is out of range.
    """
    said = describe(ledger, delta, accountant)
    unit = said["unit"] or "unit"
    claims = said["steps"] > 0 and float(said["epsilon"]) < math.inf
    warnings = [f"Not for release: {why}." for why in said["not_for_release"]]
    if said["steps"] and not claims:
        warnings.append(f"No differential privacy for any {unit}.")
    facts = {
        "Protected is": f"each {unit}" if claims else "nothing",
        "Compared are": _relation(said),
        "How strongly": _strength(said, claims),
        "Against whom": against.format(unit=unit) if claims else "nobody",
        "By what": what_was_done(said) or ["nothing private was used"],
        "Accountant": ACCOUNTANTS[said["accountant"]],
        "Not protected is": _left(said, unit, leaves),
    }
    statement = ledger.statement(delta, accountant=accountant).rstrip("\n")
    return Group(
        title,
        [
            *(Text(text, warning=True) for text in warnings),
            Facts(facts),
            Group("The ledger's own statement", [Code(statement)], folded=True),
        ],
    )


def of_weights(
    ledger: Ledger, delta: float, *, leaves: Sequence[str] = (), accountant: str = "rdp"
) -> Group:
    """The section on the weights of a trained network.

    Args:
        ledger: As for `protection`, and so are the others.
        delta: Of the claim.
        leaves: What it does not protect besides what no training does.
        accountant: "rdp" or "pld".
    """
    return protection(
        ledger,
        delta,
        against=WHO_SEES_WEIGHTS,
        leaves=(*leaves, *WEIGHTS_LEAVE),
        accountant=accountant,
    )


def _relation(said: dict[str, Any]) -> str:
    if said["relation"] is None:
        return "no data sets: nothing private is recorded"
    return f"{said['relation_in_words']} ({said['relation']})"


def _strength(said: dict[str, Any], claims: bool) -> list[str]:
    epsilon = float(said["epsilon"])
    claim = f"epsilon = {rounded_up(epsilon)} at delta = {said['delta']:g}."
    if not claims:
        return [claim]
    return [
        f"{claim} Delta aside, nothing that comes out is more than {_times(epsilon)} "
        "times as likely on the one data set as on the other.",
        *in_plain_words(said),
        said["scope"],
        *(f"Mind: {warned}" for warned in said["warnings"]),
    ]


def _left(said: dict[str, Any], unit: str, leaves: Sequence[str]) -> list[str]:
    given = [line.format(unit=unit) for line in leaves]
    return given + [f"assumed: {note}" for note in said["notes"]]


def _times(epsilon: float) -> str:
    return (
        rounded_up(math.exp(epsilon)) if epsilon < 100 else f"e^{rounded_up(epsilon)}"
    )
