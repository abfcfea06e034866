"""Events to bytes and back.

The rule of this module: what it wrote, it can always read, and it reads nothing else. The text is JSON; attributes that
have their default value are left out; times are ISO 8601 in UTC, to the microsecond. An unknown topic, and a missing or
unknown field, is an error that names the position in the log: nothing is skipped and nothing is guessed.

Personal text is not in these bytes, so that it can be erased without changing them: it is kept separately, and the
bytes begin with its digest.

There is one format. A change of it adds, for each topic that changes, a function that turns the bytes of the format
before into those of the new one; `decode` applies these steps to what an older store holds, one format after the other,
and then reads as it does now. The golden logs of every released format stay in the tests.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from itertools import combinations
from operator import attrgetter
from types import NoneType
from typing import Any, Final, get_args, get_origin

import attrs
import msgspec
from cattrs.fns import identity
from cattrs.gen import make_dict_unstructure_fn, override
from cattrs.preconf.msgspec import MsgspecJsonConverter, make_converter
from eventsourcing.utils import register_topic

from refundry.errors import UnreadableEvent
from refundry.money import Money
from refundry.provider import Quote
from refundry.refund import EVENTS, Event, RaisedReview, SettlementFacts

_TRANSLATED: Final = (datetime, Money, Quote, SettlementFacts, tuple[RaisedReview, ...])
"""The types of attributes that msgspec does not encode directly."""

PRIVATE: Final[Mapping[str, tuple[str, ...]]] = {
    "requested": ("by", "reason", "details", "why"),
    "inquired": ("by", "why"),
    "settled": ("by", "why"),
    "failed": ("by", "why"),
}
"""The fields of each event that may contain personal text or name a human being: they can be erased."""
UNNAMED: Final = frozenset({None, "platform", "refundry"})
"""Values of `by` that are not personal: they are stored in the event itself."""
ERASED: Final = "(erased)"
"""What an erased text reads as."""
ERASED_DETAILS: Final[Mapping[str, Any]] = {"erased": True}
"""What erased `details` read as."""


def encode(event: Event) -> bytes:
    """Return the bytes of a whole event; its topic is stored next to them."""
    return _write(_UNSTRUCTURE[type(event)](event))


def encode_apart(event: Event, random: Callable[[int], bytes]) -> tuple[bytes, bytes | None]:
    """Return the bytes of an event and of its personal text, if it has any, which is to be stored under its SHA-256.

    The personal text is salted: otherwise short texts could be found from the digest by trying.
    """
    kind = type(event)
    if kind not in _PICK or (values := _PICK[kind](event)) in _NOTHING:
        return encode(event), None
    fields = PRIVATE[event.topic]
    given = zip(fields, values, strict=True)
    names = tuple(name for name, value in given if value is not None and not (name == "by" and value in UNNAMED))
    if not names:
        return encode(event), None
    raw = _UNSTRUCTURE[kind](event)
    blob = _write({"salt": random(16).hex()} | {name: raw.pop(name) for name in names})
    head = _HEAD + hashlib.sha256(blob).hexdigest().encode() + _list_of(names)
    return head + _write(raw)[1:], blob


def private_digest(state: bytes) -> bytes | None:
    """Return the SHA-256 of an event's personal text, from its stored bytes; None if it has none."""
    if not state.startswith(_HEAD) or _DIGEST.fullmatch(state, len(_HEAD), _DIGEST_END) is None:
        return None
    return bytes.fromhex(state[len(_HEAD) : _DIGEST_END].decode())


def decode(topic: str, state: bytes, position: int, private: bytes | None = None) -> Event:
    """Return the event of stored bytes; raise `UnreadableEvent` for any other bytes.

    `private` is what is stored under `private_digest(state)`; without it those fields read as erased.
    """
    try:
        if state[2:3] == _APART:
            return _decode_apart(topic, state, position, private)
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
        raise UnreadableEvent(position, f"has the unknown topic {topic!r}") from error
    except ValueError as error:
        raise UnreadableEvent(position, f"({topic}) cannot be read: {error}") from error


# --- personal text ----------------------------------------------------------------------------------------------------

_HEAD: Final = b'{"private":"'
_APART: Final = b"p"
"""What distinguishes such bytes from all others, which begin with another name; it is checked for every event."""
_DIGEST_END: Final = len(_HEAD) + 64
_DIGEST: Final = re.compile(rb"[0-9a-f]{64}")
_NAMES_FROM: Final = b'","apart":['
_NAMES_TO: Final = b"],"


@cache
def _list_of(names: tuple[str, ...]) -> bytes:
    return _NAMES_FROM + ",".join(f'"{name}"' for name in names).encode() + _NAMES_TO


def _decode_apart(topic: str, state: bytes, position: int, private: bytes | None) -> Event:
    """Return an event with its personal text or, if that was erased, with a mark in its place."""
    readers = _READERS_APART[topic]
    end = state.find(_NAMES_TO, _DIGEST_END)
    names = readers.get(state[_DIGEST_END : end + len(_NAMES_TO)])
    if not state.startswith(_HEAD) or names is None or _DIGEST.fullmatch(state, len(_HEAD), _DIGEST_END) is None:
        raise ValueError("the list of its personal fields is not as it was written")
    marks = b",".join(_MARKS[name] for name in names)
    event = decode(topic, b"{" + marks + b"," + state[end + len(_NAMES_TO) :], position)
    if private is None:
        return event
    if hashlib.sha256(private).hexdigest().encode() != state[len(_HEAD) : _DIGEST_END]:
        raise ValueError("its personal text has been changed")
    written = _parse_plain(private)
    if written.keys() != {"salt", *names}:
        raise ValueError("its personal text has other fields than it lists")
    for name in names:
        _SET_APART[topic][name](event, written[name])
    return event


def _write(raw: Mapping[str, Any]) -> bytes:
    try:
        return _to_json(raw)
    except UnicodeEncodeError:
        # A provider may have sent half of a surrogate pair: not valid UTF-8, but recorded as it was sent.
        return _escaped(raw)


def _escaped(raw: Mapping[str, Any]) -> bytes:
    return json.dumps(msgspec.to_builtins(raw), separators=(",", ":")).encode()


def _read_escaped(topic: str, state: bytes) -> Event:
    parsed = json.loads(state)
    event = msgspec.convert(parsed, _KINDS[topic])
    written = _escaped(_UNSTRUCTURE[type(event)](event))
    # Equal except for the order: the marks of personal fields come first.
    if len(written) != len(state) or json.loads(written) != parsed:
        raise ValueError("it is not in the form that was written")
    return event


def _parse_plain(text: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        return dict(json.loads(text))


def _utc(at: datetime) -> datetime:
    if at.tzinfo is UTC:
        return at
    if at.tzinfo is None:
        raise ValueError("a time without a zone cannot be recorded")
    return at.astimezone(UTC)


def _plain_type(kind: Any) -> Any:
    """Return `T` for `T | None`, and any other type unchanged."""
    options = [option for option in get_args(kind) if option is not NoneType]
    return options[0] if len(options) == 1 else kind


def _item_type(kind: Any) -> type | None:
    """Return the attrs class `T` of `tuple[T, ...]`; None for any other type."""
    items = get_args(kind) if get_origin(kind) is tuple else ()
    return items[0] if items and attrs.has(items[0]) else None


def _reader(kind: type) -> tuple[type[msgspec.Struct], Callable[[Any], Any]]:
    """Return a struct with the fields of an attrs class, and the function that builds the class from the struct.

    Two steps, because in msgspec only structs can reject unknown names. The function is generated, as attrs generates
    its own, because it runs for every event that is read: it fills the slots without calling the frozen class.
    """
    attrs.resolve_types(kind)
    names: dict[str, Any] = {"kind": kind, "new": object.__new__}
    fields: list[Any] = []
    lines = ["def build(struct):", " made = new(kind)"]
    for a in attrs.fields(kind):
        inner, wanted, value = _plain_type(a.type), a.type, f"struct.{a.name}"
        item = _item_type(inner)
        if item is not None:
            struct, names[f"build_{a.name}"] = _reader(item)
            wanted = tuple[struct, ...]  # type: ignore[valid-type]  # made at run time
            value = f"tuple([build_{a.name}(item) for item in {value}]) if {value} else ()"
        elif attrs.has(inner):
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
    for kind in (Money, Quote, SettlementFacts, RaisedReview, *EVENTS):
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
_PICK: Final = {_KINDS[topic]: attrgetter(*fields) for topic, fields in PRIVATE.items()}
_NOTHING: Final = ((None, None), ("refundry", None), ("platform", None, None, None))
"""What `_PICK` returns for most events, which have no personal text."""
_MARKS: Final = {
    name: f'"{name}":'.encode() + (_to_json(ERASED_DETAILS) if name == "details" else _to_json(ERASED))
    for fields in PRIVATE.values()
    for name in fields
}
_READERS_APART: Final = {
    topic: {_list_of(names): names for count in range(1, len(fields) + 1) for names in combinations(fields, count)}
    for topic, fields in PRIVATE.items()
}
_SET_APART: Final = {
    topic: {name: getattr(_KINDS[topic], name).__set__ for name in fields} for topic, fields in PRIVATE.items()
}
