"""Events, mechanisms and sealed documents as JSON.

Only the event classes of `_FIELDS` are written or read, by name and field; nothing
from a file is imported, unpickled or evaluated.
"""

import hashlib
import json
from typing import Any

import dp_accounting as dpa

from tfpriv.accounting.errors import LedgerError
from tfpriv.accounting.events import ApproximateDpEvent, Relation
from tfpriv.accounting.mechanisms import Mechanism

_FIELDS: dict[type, dict[str, type]] = {
    dpa.NonPrivateDpEvent: {},
    dpa.GaussianDpEvent: {"noise_multiplier": float},
    dpa.RandomizedResponseDpEvent: {"noise_parameter": float, "num_buckets": int},
    ApproximateDpEvent: {"epsilon": float, "delta": float},
    dpa.PoissonSampledDpEvent: {
        "sampling_probability": float,
        "event": dpa.DpEvent,
    },
    dpa.SampledWithoutReplacementDpEvent: {
        "source_dataset_size": int,
        "sample_size": int,
        "event": dpa.DpEvent,
    },
}
_CLASSES = {kind.__name__: kind for kind in _FIELDS}


def event_to_json(event: dpa.DpEvent) -> dict[str, Any]:
    """Returns an event as JSON: its class's name and its fields.

    Raises:
        ValueError: if its class is not one that a ledger holds.
    """
    kind = type(event)
    if kind not in _FIELDS:
        raise ValueError(f"A ledger does not hold such events. Received: {event!r}")
    document: dict[str, Any] = {"type": kind.__name__}
    for name, type_ in _FIELDS[kind].items():
        value = getattr(event, name)
        nested = type_ is dpa.DpEvent
        document[name] = event_to_json(value) if nested else type_(value)
    return document


def event_from_json(document: Any) -> dpa.DpEvent:
    """Returns the event that `event_to_json` wrote.

    Raises:
        LedgerError: if it is not one.
    """
    if not isinstance(document, dict) or document.get("type") not in _CLASSES:
        raise LedgerError(f"The ledger holds an unknown event. Received: {document!r}")
    kind = _CLASSES[document["type"]]
    fields = _FIELDS[kind]
    if set(document) != {"type", *fields}:
        raise LedgerError(
            f"The fields of an event are wrong. Expected {sorted(fields)}. "
            f"Received: {document!r}"
        )
    values = {}
    for name, type_ in fields.items():
        value = document[name]
        if type_ is dpa.DpEvent:
            value = event_from_json(value)
        elif type(value) is not type_:
            raise LedgerError(
                f"`{name}` of an event is of the wrong type. Expected "
                f"{type_.__name__}. Received: {name}={value!r}"
            )
        values[name] = value
    return kind(**values)


def mechanism_to_json(mechanism: Mechanism) -> dict[str, Any]:
    """Returns a mechanism as JSON."""
    return {
        "event": event_to_json(mechanism.event),
        "relation": mechanism.relation.name,
        "sampler": mechanism.sampler,
        "population": mechanism.population,
        "notes": list(mechanism.notes),
    }


def mechanism_from_json(document: Any) -> Mechanism:
    """Returns the mechanism that `mechanism_to_json` wrote.

    Raises:
        LedgerError: if it is not one, or not one that may be.
    """
    try:
        return Mechanism(
            event_from_json(document["event"]),
            Relation[document["relation"]],
            document["sampler"],
            document["population"],
            tuple(document["notes"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise LedgerError(f"An entry of the ledger is damaged: {error}") from error


def canonical(document: Any) -> str:
    """Returns the one way in which a document is written on one line."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _digest(kind: str, version: int, content: Any) -> str:
    return hashlib.sha256(canonical([kind, version, content]).encode()).hexdigest()


def seal(kind: str, version: int, content: Any) -> bytes:
    """Writes a document with the checksum of all that it says.

    Args:
        kind: what it is, e.g. "tfpriv-ledger".
        version: of its layout.
        content: the JSON document.

    Returns:
        UTF-8 JSON, indented, with a final newline.
    """
    document = {
        "format": kind,
        "version": version,
        "sha256": _digest(kind, version, content),
        "content": content,
    }
    return (
        json.dumps(document, sort_keys=True, indent=1, allow_nan=False) + "\n"
    ).encode()


def unseal(data: bytes, kind: str, versions: tuple[int, ...]) -> tuple[int, Any]:
    """Reads what `seal` wrote, and nothing else.

    The checksum detects accidents. It keeps nobody from writing another document with
    its own checksum.

    Args:
        data: the bytes.
        kind: what is expected.
        versions: the layouts that are read.

    Returns:
        The version and the content.

    Raises:
        LedgerError: if the bytes are truncated, edited, of another kind or version.
    """
    try:
        document = json.loads(bytes(data).decode())
    except (ValueError, RecursionError) as error:
        raise LedgerError(
            f"The {kind} is truncated or damaged: it is not JSON ({error})."
        ) from error
    if not isinstance(document, dict) or document.get("format") != kind:
        raise LedgerError(f'This is no {kind}: `"format": "{kind}"` is missing.')
    version = document.get("version")
    if type(version) is not int or version not in versions:
        raise LedgerError(
            f"The {kind} was written in a layout that this version of tfpriv does "
            f"not read. Expected version {' or '.join(map(str, versions))}. "
            f"Received: version={version!r}"
        )
    # Writing it again and comparing bytes finds every edit, blanks included.
    try:
        same = seal(kind, version, document.get("content")) == bytes(data)
    except (ValueError, RecursionError):
        same = False
    if not same:
        raise LedgerError(
            f"The {kind} was edited or damaged: its checksum does not match its "
            "content. Restore it from a copy."
        )
    return version, document["content"]
