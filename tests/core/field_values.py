"""Values for the fields of events, derived from the types of the fields.

A field whose type has no values here fails every test that uses this module, so that no field is left out.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from enum import EnumType
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

import attrs
from hypothesis import strategies as st

from refundry.money import Money

# Half surrogates too: a provider can send them, and they must not stop a refund.
TEXTS: Final = st.text(st.characters(exclude_categories=[]), max_size=20)
_JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**31), 10**31) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
_SIMPLE: Final[Mapping[Any, tuple[st.SearchStrategy[Any], tuple[Any, Any]]]] = {
    str: (TEXTS, ("one", "two")),
    int: (st.integers(1, 10**6), (1, 2)),
    bool: (st.booleans(), (False, True)),
    datetime: (
        st.datetimes(timezones=st.just(UTC)),
        (datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC)),
    ),
    Money: (
        st.builds(Money, st.integers(1, 10**16 - 1), TEXTS, st.integers(0, 4)),
        (Money(1233, "EUR", 2), Money(1234, "EUR", 2)),
    ),
    Mapping[str, Any]: (st.dictionaries(TEXTS, _JSON, max_size=3), ({"a": 1}, {"a": 2})),
}
"""What a field of this type may hold, and two different values."""


def any_value(kind: Any) -> st.SearchStrategy[Any]:
    """Draw any value of a field's type."""
    if kind is NoneType:
        return st.none()
    if get_origin(kind) in (Union, UnionType):
        return st.one_of(*map(any_value, get_args(kind)))
    if get_origin(kind) is tuple:
        return st.lists(any_value(get_args(kind)[0]), max_size=3).map(tuple)
    if isinstance(kind, EnumType):
        return st.sampled_from(list[Any](kind))
    if kind not in _SIMPLE and attrs.has(kind):
        return any_instance(kind)
    return _SIMPLE[kind][0]


def any_instance(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Draw instances of an attrs class with every field set to anything it may hold; optional ones may be absent."""
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for field, type_ in typed_fields(kind):
        values = any_value(type_)
        fields[field.name] = values if field.default is attrs.NOTHING else st.just(field.default) | values
    return st.builds(kind, **fields)


def examples(kind: Any) -> tuple[Any, ...]:
    """Return different values of a field's type, all members of an enumeration; none of them is None or empty."""
    if get_origin(kind) in (Union, UnionType):
        return examples(next(option for option in get_args(kind) if option is not NoneType))
    if get_origin(kind) is tuple:
        return tuple((item,) for item in examples(get_args(kind)[0]))
    if isinstance(kind, EnumType):
        return tuple(kind)
    if kind not in _SIMPLE and attrs.has(kind):
        return tuple(kind(**{field.name: examples(type_)[n] for field, type_ in typed_fields(kind)}) for n in (0, 1))
    return _SIMPLE[kind][1]


def typed_fields(kind: type[Any]) -> Iterator[tuple["attrs.Attribute[Any]", Any]]:
    """Yield each field of an attrs class with its resolved type."""
    hints = get_type_hints(kind)
    for field in attrs.fields(kind):
        yield field, hints[field.name]
