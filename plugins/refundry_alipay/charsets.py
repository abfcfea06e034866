"""The charsets of Alipay's messages: which bytes are which text.

The rule of this module: what is signed is bytes, so no charset is needed to verify them. The charset that a message or
the account names is only the first to try, because a gateway in trouble answers in another one. Source: Alipay Open
Platform, common parameters (`charset`); GB18030 and the euro sign as 0x80 were seen in notifications.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from refundry.provider.strict_json import Unreadable

_WRITTEN: Final = MappingProxyType({"utf-8": "utf-8", "utf8": "utf-8", "gbk": "gbk", "gb2312": "gbk"})
_GB: Final = "gb18030"
"""What GB2312 and GBK grew into: it reads both."""
_READ: Final = MappingProxyType(
    {"utf-8": "utf-8", "utf8": "utf-8"} | dict.fromkeys(("gb2312", "gbk", "cp936", "gb18030"), _GB)
)
_NAMED: Final = re.compile(r"charset=\"?([A-Za-z0-9_-]{1,20})", re.ASCII | re.IGNORECASE)
# Four bytes, two, or one that begins no character.
_GB_CHARACTER: Final = re.compile(
    rb"[\x81-\xfe][0-9][\x81-\xfe][0-9]|[\x81-\xfe][\x40-\x7e\x80-\xfe]|[\x80-\xff]", re.DOTALL
)
_UTF_8_BYTE: Final = re.compile(rb"[\x80-\xff]")
_EURO: Final = "€".encode(_GB)


def codec_of(charset: str) -> str:
    """Return the codec that writes a request of this charset; raise `Unreadable` if Alipay does not take it."""
    codec = _WRITTEN.get(charset.lower())
    if codec is None:
        raise Unreadable("a charset that Alipay does not document")
    return codec


def named_in(content_type: str | None) -> str | None:
    """Return the charset that a Content-Type header names, or `None`."""
    found = _NAMED.search(content_type or "")
    return None if found is None else found[1]


def text_of(data: bytes, *named: str | None) -> tuple[str, str]:
    """Return the codec of bytes and their text: the first that can read them, of those that are named and all others.

    Raises `Unreadable` if no codec can. A name that no codec has is passed over. Bytes that two codecs can read have
    the same structure in both: no character takes in a quote, and a backslash that one takes in leaves a text that is
    not JSON.
    """
    known = [_READ[name.lower()] for name in named if name and name.lower() in _READ]
    for codec in dict.fromkeys([*known, "utf-8", _GB]):
        text = _text(data, codec)
        if text is not None:
            return codec, text
    raise Unreadable("in no charset of Alipay")


def decoded(values: Mapping[str, bytes], *named: str | None) -> dict[str, str]:
    """Return values as text, all by the first codec that can read them all; raise `Unreadable` if none can."""
    # No character has a line feed among its bytes, so that none can cross from one value to the next.
    codec, _ = text_of(b"\n".join(values.values()), *named)
    return {name: _text(value, codec) or "" for name, value in values.items()}


def _text(data: bytes, codec: str) -> str | None:
    if codec == _GB and b"\x80" in data:
        data = _GB_CHARACTER.sub(lambda found: _EURO if found[0] == b"\x80" else found[0], data)
    try:
        return data.decode(codec)
    except UnicodeDecodeError:
        return None


def masked(data: bytes, codec: str) -> str:
    """Return text with a character for each byte, in which only characters of ASCII are themselves.

    It has the structure of the decoded text, at the places of the bytes.
    """
    character = _GB_CHARACTER if codec == _GB else _UTF_8_BYTE
    return character.sub(lambda found: b"\x7f" * len(found[0]), data).decode("ascii")
