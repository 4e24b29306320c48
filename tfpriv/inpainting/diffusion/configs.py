"""The fields of diffusers' `config.json` that a network of ours is built from.

A field that would make another network than the one built here is refused by name, so
that no file is read into the wrong one.
"""

import math
from collections.abc import Mapping

LARGEST = 1 << 20  # channels, layers, tokens: no network has more


def checked(
    kind: str, config: Mapping, defaults: Mapping, fixed: Mapping
) -> dict[str, object]:
    """The fields that a network needs, with their defaults.

    Args:
        kind: What the network is called in errors.
        config: A `config.json`. Names with an underscore in front are notes.
        defaults: The fields that are built, with diffusers' default values.
        fixed: Other fields, with the values under which nothing changes, in a tuple.

    Raises:
        ValueError: A field is unknown, or has a value that is not built here.
    """
    for name, value in config.items():
        if name.startswith("_") or name in defaults:
            continue
        allowed = fixed.get(name, (None, False))
        if value not in allowed:
            raise ValueError(
                f"{kind} is not built with `{name}` other than "
                f"{' or '.join(map(repr, allowed))}. Received: {name}={value!r}"
            )
    for name, default in defaults.items():
        if name in config and not _is_like(config[name], default):
            raise ValueError(
                f"{kind}: `{name}` must be like {default!r}. Received: "
                f"{name}={config[name]!r}"
            )
    return {name: config.get(name, value) for name, value in defaults.items()}


def _is_like(value, default):
    """Whether a value is of the default's kind, and of a size that can be."""
    if default is None:
        return True
    if isinstance(value, list | tuple) and not isinstance(default, bool | str | float):
        inner = default[0] if isinstance(default, tuple) else default
        return 0 < len(value) <= LARGEST and all(_is_like(v, inner) for v in value)
    if isinstance(default, float):
        return type(value) in (int, float) and 0 < value < math.inf
    if isinstance(default, int) and not isinstance(default, bool):
        return type(value) is int and min(default, 1) <= value <= LARGEST
    return type(value) is type(default)


def per_level(value, levels: int) -> list:
    """One value for each level: those of a list, or one for all.

    Raises:
        ValueError: The list has another length.
    """
    if not isinstance(value, list | tuple):
        return [value] * levels
    if len(value) != levels:
        raise ValueError(
            f"There must be one value for each of {levels} levels. Received: {value}"
        )
    return list(value)
