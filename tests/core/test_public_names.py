"""The public names: all are documented, and what they mention is public too."""

import inspect
import types
from collections.abc import Iterator
from importlib import import_module
from typing import Any, Final, get_args, get_type_hints

import attrs
import click
import pytest

import refundry

PUBLIC: Final = ("refundry", "refundry.provider", "refundry.plugin_host", "refundry.web")
"""The packages whose names may be used from outside."""


def exported(module: str) -> dict[str, Any]:
    found = import_module(module)
    return {name: getattr(found, name) for name in found.__all__}


def members(thing: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties that a class defines itself."""
    for name, member in vars(thing).items():
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if not name.startswith("_") and inspect.isfunction(inspect.unwrap(function) if callable(function) else None):
            yield name, function


def undocumented(module: str) -> Iterator[str]:
    for name, thing in exported(module).items():
        if inspect.isclass(thing) or inspect.isfunction(thing):
            if not inspect.getdoc(thing) or (inspect.isclass(thing) and "__doc__" not in vars(thing)):
                yield f"{module}.{name}"
            for inner, function in members(thing) if inspect.isclass(thing) else ():
                if not function.__doc__:
                    yield f"{module}.{name}.{inner}"


def mentioned(annotation: Any) -> Iterator[type]:
    """Yield every class of Refundry in an annotation."""
    if isinstance(annotation, list):
        for item in annotation:
            yield from mentioned(item)
    for argument in get_args(annotation):
        yield from mentioned(argument)
    is_class = isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias)
    if is_class and annotation.__module__.split(".")[0] == "refundry":
        yield annotation


def hints(thing: Any) -> dict[str, Any]:
    """Resolve annotations, also those that are imported for type checkers only."""
    return get_type_hints(thing, localns=exported("refundry") | {"click": click})


def annotations(thing: Any) -> Iterator[tuple[str, Any]]:
    """Yield the annotations of a public function, or of the public fields and methods of a class."""
    if inspect.isfunction(thing):
        yield from hints(thing).items()
    elif inspect.isclass(thing):
        if attrs.has(thing):
            yield from ((field, kind) for field, kind in hints(thing).items() if not field.startswith("_"))
        for name, function in members(thing):
            yield from ((f"{name}.{part}", kind) for part, kind in hints(inspect.unwrap(function)).items())


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_documented(module: str) -> None:
    """Each class and function that a public package exports has a docstring, and so has each of its public members."""
    assert [] == list(undocumented(module))


def test_what_public_names_mention_is_public() -> None:
    """Each class in a signature or a field of a name that `refundry` exports is exported by a public package."""
    known = {id(thing) for module in PUBLIC for thing in exported(module).values()}
    hidden = {
        f"{name}.{part}: {kind.__module__}.{kind.__name__}"
        for name, thing in exported("refundry").items()
        for part, annotation in annotations(thing)
        for kind in mentioned(annotation)
        if id(kind) not in known
    }

    assert set() == hidden


def test_every_error_is_public() -> None:
    """Each error that Refundry raises on purpose can be caught by a name that `refundry` exports."""
    errors = exported("refundry.errors").values()

    assert [] == [error.__name__ for error in errors if error.__name__ not in refundry.__all__]
