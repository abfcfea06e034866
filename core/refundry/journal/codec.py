"""Events to bytes and back.

The rule of this module: what it wrote, it reads for ever, and it reads nothing else. The text is JSON; attributes that
have their default value are left out; times are ISO 8601 in UTC, to the microsecond. An unknown topic, a missing or an
unknown field is an error that names the place in the log: nothing is skipped and nothing is guessed.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import NoneType
from typing import Any, Final, get_args

import attrs
import msgspec
from cattrs.fns import identity
from cattrs.gen import make_dict_unstructure_fn, override
from cattrs.preconf.msgspec import MsgspecJsonConverter, make_converter
from eventsourcing.utils import register_topic

from refundry.errors import StoreError
from refundry.money import Money
from refundry.provider import Quote
from refundry.refund import EVENTS, Event

_TRANSLATED: Final = (datetime, Money, Quote)
"""The types of attributes that are not handed to msgspec as they are."""


def encode(event: Event) -> bytes:
    """Write one event; its topic is kept beside it."""
    raw = _UNSTRUCTURE[type(event)](event)
    try:
        return _to_json(raw)
    except UnicodeEncodeError:
        # A provider may have sent half of a surrogate pair: that is no UTF-8, but it is what it said.
        return _escaped(raw)


def decode(topic: str, state: bytes, position: int) -> Event:
    """Read one event; `StoreError`, naming the position in the log, for anything that `encode` did not write."""
    try:
        parse, build = _READ[topic]
        try:
            event = build(parse(state))
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            event = _read_escaped(topic, state)
        if event.at.tzinfo is not UTC:
            raise ValueError("`at` is not in UTC")
        return event
    except KeyError as error:
        raise StoreError(f"store: the event at position {position} has the unknown topic {topic!r}") from error
    except ValueError as error:
        raise StoreError(f"store: the event at position {position} ({topic}) cannot be read: {error}") from error


def _escaped(raw: Mapping[str, Any]) -> bytes:
    return json.dumps(msgspec.to_builtins(raw), separators=(",", ":")).encode()


def _read_escaped(topic: str, state: bytes) -> Event:
    event = msgspec.convert(json.loads(state), _KINDS[topic])
    if _escaped(_UNSTRUCTURE[type(event)](event)) != state:
        raise ValueError("it is not in the form that was written")
    return event


def _utc(at: datetime) -> datetime:
    if at.tzinfo is UTC:
        return at
    if at.tzinfo is None:
        raise ValueError("a time without a zone cannot be recorded")
    return at.astimezone(UTC)


def _plain_type(kind: Any) -> Any:
    """Give `T` for `T | None`, and any other type as it is."""
    options = [option for option in get_args(kind) if option is not NoneType]
    return options[0] if len(options) == 1 else kind


def _reader(kind: type) -> tuple[type[msgspec.Struct], Callable[[Any], Any]]:
    """Give a struct with the fields of an attrs class, and the function that makes the one of the other.

    Two steps, because msgspec lets only structs refuse names they do not have. The function is generated, as attrs
    generates its own, for it runs for every event that is read: it fills the slots without calling the frozen class.
    """
    attrs.resolve_types(kind)
    names: dict[str, Any] = {"kind": kind, "new": object.__new__}
    fields: list[Any] = []
    lines = ["def build(struct):", " made = new(kind)"]
    for a in attrs.fields(kind):
        inner, wanted, value = _plain_type(a.type), a.type, f"struct.{a.name}"
        if attrs.has(inner):
            struct, names[f"build_{a.name}"] = _reader(inner)
            wanted = struct if inner is a.type else struct | None
            value = f"None if {value} is None else build_{a.name}({value})"
        fields.append((a.name, wanted) if a.default is attrs.NOTHING else (a.name, wanted, a.default))
        names[f"set_{a.name}"] = getattr(kind, a.name).__set__
        lines.append(f" set_{a.name}(made, {value})")
    exec("\n".join([*lines, " return made"]), names)  # noqa: S102  # made of our own field names only
    shape = msgspec.defstruct(kind.__name__, fields, forbid_unknown_fields=True, kw_only=True, gc=False)
    return shape, names["build"]


def _unstructure(converter: MsgspecJsonConverter, kind: type) -> Callable[[Any], dict[str, Any]]:
    attrs.resolve_types(kind)
    plain: dict[str, Any] = {
        a.name: override(unstruct_hook=identity) for a in attrs.fields(kind) if _plain_type(a.type) not in _TRANSLATED
    }
    return make_dict_unstructure_fn(kind, converter, _cattrs_omit_if_default=True, **plain)


def _make_converter() -> MsgspecJsonConverter:
    converter = make_converter(omit_if_default=True, forbid_extra_keys=True, detailed_validation=False)
    converter.register_unstructure_hook(datetime, _utc)
    # The order matters: the function for an event takes in the hooks that are there when it is made.
    for kind in (Money, Quote, *EVENTS):
        converter.register_unstructure_hook(kind, _unstructure(converter, kind))
    for kind in EVENTS:
        register_topic(kind.topic, kind)
    return converter


CONVERTER: Final = _make_converter()
"""Turns events into plain values, for everything that shows or exports them."""
_KINDS: Final[Mapping[str, type[Event]]] = {kind.topic: kind for kind in EVENTS}
_UNSTRUCTURE: Final = {kind: CONVERTER.get_unstructure_hook(kind) for kind in EVENTS}
_SHAPES: Final = {topic: _reader(kind) for topic, kind in _KINDS.items()}
_READ: Final[Mapping[str, tuple[Callable[[bytes], Any], Callable[[Any], Event]]]] = {
    topic: (msgspec.json.Decoder(shape).decode, build) for topic, (shape, build) in _SHAPES.items()
}
_to_json: Final = CONVERTER.encoder.encode
