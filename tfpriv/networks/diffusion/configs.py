"""The fields of diffusers' `config.json` that a network of ours is built from.

A field that would make another network than the one built here is refused by name, so
that no file is read into the wrong one.
"""

import math
from collections.abc import Mapping

_LARGEST = 1 << 16  # of sizes; Stable Diffusion's vocabulary has 49,408 words
_MOST = 100  # layers, levels
_PER_LEVEL = {"attention_head_dim"}  # one number, or one for each level


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
        ValueError: A field is unknown, of another kind than its default or out of all
            proportion, or has a value that is not built here.
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
    found = {name: config.get(name, value) for name, value in defaults.items()}
    for name, value in found.items():
        most = _MOST if "layers" in name else _LARGEST
        each = value if name in _PER_LEVEL and isinstance(value, list) else [value]
        if not each or not all(_is_like(v, defaults[name], most) for v in each):
            raise ValueError(
                f"{kind} needs a `{name}` like {defaults[name]!r}, with numbers up to "
                f"{most}. Received: {name}={str(value)[:100]}"
            )
    return found


def _is_like(value, default, most) -> bool:
    """Whether a value is of its default's kind.

    Sizes are whole numbers from 1, or from 0 where that is the default.
    """
    if isinstance(default, tuple):
        return (
            isinstance(value, list | tuple)
            and 0 < len(value) <= _MOST
            and all(_is_like(v, default[0], most) for v in value)
        )
    if isinstance(default, str | bool):
        return isinstance(value, type(default))
    if isinstance(default, int):
        return type(value) is int and min(default, 1) <= value <= most
    if isinstance(default, float):
        return type(value) in (int, float) and math.isfinite(value)
    return True


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
