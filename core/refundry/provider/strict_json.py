"""Strict reading of JSON from outside, with nothing taken on trust.

The rule of this module: one text has one meaning or none. Duplicate keys, NaN, endless numbers, deep nesting, half
surrogate pairs and bytes that are not UTF-8 are refused, each as `Unreadable`; nothing else can be raised. A number
with a fraction is kept as the text that was sent: there are no floats here.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, Final, NoReturn

MAX_DEPTH: Final = 32
MAX_BYTES: Final = 64 * 1024
"""A provider's answer or notification about one refund is a few kilobytes; sixteen times that is more than enough."""
_MAX_NUMBER: Final = 32
_SPACE: Final = " \t\n\r"
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)


class Unreadable(ValueError):
    """The bytes are not one JSON object that can be read in one way only."""


def read_object(body: bytes) -> dict[str, Any]:
    """Read one JSON object from `body`; raise `Unreadable` with the reason for anything else."""
    if len(body) > MAX_BYTES:
        raise Unreadable(f"longer than {MAX_BYTES} bytes")
    _check_depth(body)
    try:
        text = body.decode("utf-8").strip(_SPACE)
        value, end = _DECODER.raw_decode(text)
        if end != len(text):
            raise Unreadable("something follows the object")
        if b"\\u" in body:
            # Half a surrogate pair is a text that can neither be stored nor shown: this raises.
            json.dumps(value, ensure_ascii=False).encode()
    except Unreadable:
        raise
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"not JSON: {type(error).__name__}") from error
    if not isinstance(value, dict):
        raise Unreadable("not a JSON object")
    return value


def _check_depth(body: bytes) -> None:
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for byte in _STRING.sub(b"", body):
        if byte in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise Unreadable(f"nested deeper than {MAX_DEPTH}")
        elif byte in b"]}":
            depth -= 1


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Unreadable("a key appears twice in one object")
    return found


def _number(text: str) -> int:
    if len(text) > _MAX_NUMBER:
        raise Unreadable("a number with too many digits")
    return int(text)


def _fraction(text: str) -> str:
    if len(text) > _MAX_NUMBER:
        raise Unreadable("a number with too many digits")
    return text


def _refuse(text: str) -> NoReturn:
    raise Unreadable(f"{text[:_MAX_NUMBER]} is not a number that money or a status can be")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_number, parse_float=_fraction, parse_constant=_refuse
)
