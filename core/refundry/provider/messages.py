"""Messages in JSON as attrs classes: what a plugin may use to write down a provider's messages field by field.

The rule of this module: nothing is guessed and nothing is dropped. An attribute has the name of its field in
snake_case (`refundRequestId` is `refund_request_id`); a list of parts is a tuple; a field that the class does not
describe is kept in `extra`. A field that decides must have the described type, else the message is `Unreadable`; a
field that only informs and has another shape is kept in `extra` as it came, so that it cannot hide that money moved. A
null is an absent field.
"""

import json
from collections.abc import Callable, Collection, Mapping
from functools import partial
from operator import attrgetter
from types import MappingProxyType, NoneType
from typing import Any, ClassVar, Final, TypeVar, get_args, get_origin

import attrs

from refundry.provider.strict_json import Unreadable, read_object

_NOTHING_MORE: Final[Mapping[str, Any]] = MappingProxyType({})


def informs() -> Any:
    """Declare a field that may be absent and that nothing is decided by."""
    return attrs.field(default=None, metadata={"informs": True})


@attrs.frozen(slots=True, kw_only=True)
class Message:
    """What every message and every part of one has. A subclass is frozen, too, and describes its fields."""

    extra: Mapping[str, Any] = _NOTHING_MORE
    """The fields that are not described here, and those that only inform and have another shape than described."""

    camel_case: ClassVar[bool] = True
    """How the fields are named on the wire: `refundAmount`, or `refund_amount` where this is False."""


_Message = TypeVar("_Message", bound=Message)


@attrs.frozen(slots=True)
class Field:
    """How one attribute is written on the wire."""

    attribute: str
    wire: str
    read: Callable[[Any], Any]
    plain: type | None
    """The type whose values are taken as they are, without asking `read`."""
    required: bool
    informs: bool


def decode(kind: type[_Message], body: bytes) -> _Message:
    """Read a message of `kind` from the raw bytes; `Unreadable` if they are not one."""
    return read(kind, read_object(body))


def read(kind: type[_Message], value: Any) -> _Message:
    """Read a message, or a part of one, of `kind` from a JSON value."""
    if type(value) is not dict:
        raise Unreadable(f"not an object where {kind.__name__} should stand")
    shape = _SHAPES[kind]
    fields, texts = shape.fields, shape.texts
    known: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, item in value.items():
        if type(item) is str and name in texts:
            known[texts[name]] = item
            continue
        field = fields.get(name)
        if field is None:
            extra[name] = item
        elif item is not None:
            try:
                known[field.attribute] = field.read(item)
            except Unreadable as error:
                if not field.informs:
                    raise Unreadable(f"{field.wire}: {error}") from None
                extra[field.wire] = item
    if not shape.required <= known.keys():
        missing = [field.wire for field in fields.values() if field.required and field.attribute not in known]
        raise Unreadable(f"{', '.join(missing)} missing in {kind.__name__}")
    known["extra"] = extra
    return kind(**known)


_JSON: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def encode(message: Message) -> bytes:
    """Write a message as compact JSON in UTF-8. Equal messages give equal bytes."""
    return _JSON.encode(to_wire(message)).encode("utf-8")


def to_wire(message: Message, without: Collection[str] = ()) -> dict[str, Any]:
    """Return a message as a JSON object, absent fields left out, fields we do not know at its end."""
    written: dict[str, Any] = {}
    shape = _SHAPES[type(message)]
    for wire, item in zip(shape.fields, shape.values(message), strict=False):  # `extra` comes last
        if item is not None and wire not in without:
            written[wire] = item if type(item) is str else _written(item)
    written.update(message.extra)
    return written


def _written(item: Any) -> Any:
    if isinstance(item, tuple):
        return [_written(part) for part in item]
    return to_wire(item) if isinstance(item, Message) else item


@attrs.frozen(slots=True)
class _Shape:
    """What a kind of message looks like, in the form in which every answer needs it."""

    fields: Mapping[str, Field]
    """By their names on the wire, in the order in which they are written."""
    required: frozenset[str]
    texts: Mapping[str, str]
    """The attributes of the fields that are text, by their names on the wire."""
    values: Callable[[Message], tuple[Any, ...]]
    """Return the values of all fields of a message in the same order, and then `extra`."""


class _Shapes(dict[type[Message], _Shape]):
    """The shapes of messages: derived once, a class does not change."""

    def __missing__(self, kind: type[Message]) -> _Shape:
        described = [_describe(field, kind.camel_case) for field in attrs.fields(kind) if field.name != "extra"]
        self[kind] = made = _Shape(
            fields={field.wire: field for field in described},
            required=frozenset(field.attribute for field in described if field.required),
            texts={field.wire: field.attribute for field in described if field.plain is str},
            values=attrgetter(*(field.attribute for field in described), "extra"),
        )
        return made


_SHAPES: Final = _Shapes()


def described(kind: type[Message]) -> Mapping[str, Field]:
    """Return the fields of a kind of message by their names on the wire, in the order in which they are written."""
    return MappingProxyType(_SHAPES[kind].fields)


def _describe(field: "attrs.Attribute[Any]", camel_case: bool) -> Field:
    head, *rest = field.name.split("_")
    read = _reader(field.type)
    return Field(
        attribute=field.name,
        wire=head + "".join(word.capitalize() for word in rest) if camel_case else field.name,
        read=read,
        plain=str if read is _text else None,
        required=field.default is attrs.NOTHING,
        informs=bool(field.metadata.get("informs")),
    )


def _reader(kind: Any) -> Callable[[Any], Any]:
    if get_origin(kind) is tuple:
        return partial(_all, _reader(get_args(kind)[0]))
    within = [part for part in get_args(kind) if part is not NoneType]
    if within:
        return _reader(within[0])
    if kind is str:
        return _text
    return partial(read, kind) if isinstance(kind, type) and issubclass(kind, Message) else _as_it_came


def _all(read_one: Callable[[Any], Any], value: Any) -> tuple[Any, ...]:
    if type(value) is not list:
        raise Unreadable("not a list")
    return tuple(read_one(part) for part in value)


def _text(value: Any) -> str:
    if type(value) is not str:
        raise Unreadable("not a string")
    return value


def _as_it_came(value: Any) -> Any:
    return value
