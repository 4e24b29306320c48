"""Every parameter of the public API is annotated."""

import inspect

import pytest

import tfpriv.dp as dp


def public_functions():
    for name in dp.__all__:
        thing = getattr(dp, name)
        if inspect.isfunction(thing):
            yield name, thing
        elif inspect.isclass(thing):
            for member, function in inspect.getmembers(thing, inspect.isroutine):
                ours = str(getattr(function, "__module__", "")).startswith("tfpriv")
                if ours and (member == "__init__" or not member.startswith("_")):
                    yield f"{name}.{member}", function


@pytest.mark.parametrize(
    "function", [pytest.param(f, id=name) for name, f in public_functions()]
)
def test_parameters_are_annotated(function):
    kinds = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    bare = [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.annotation is inspect.Parameter.empty
        and parameter.name not in ("self", "cls")
        and parameter.kind not in kinds
    ]
    assert bare == []
