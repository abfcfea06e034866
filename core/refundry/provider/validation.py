"""What plugins check and read by the same rules: headers, ids, reasons, addresses, codes, times.

The rule of this module: what we were given raises `Invalid` with its field; what a provider sent is quoted short, in
ASCII, and gets into the log as a code only if it is shaped like one.
"""

import re
import unicodedata
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from refundry.errors import Forged, Invalid

_ID: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_ADDRESS: Final = re.compile(r"https?://[!-~]+", re.ASCII)
_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_EPOCH_MS: Final = re.compile(r"[0-9]{12,14}", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_SHOWN: Final = 80


# --- what we were given -----------------------------------------------------------------------------------------------


def check_id(field: str, text: str, longest: int, provider: str) -> None:
    """Raise `Invalid` unless it is 1 to `longest` letters, digits, _ and -."""
    if not text:
        raise Invalid(field, "must not be empty")
    if len(text) > longest:
        raise Invalid(field, f"has {len(text)} characters; {provider} takes at most {longest}")
    if _ID.fullmatch(text) is None:
        raise Invalid(field, f"may hold letters, digits, _ and - only; {provider} takes no special characters")


def check_line(field: str, text: str, longest: int, provider: str) -> None:
    """Raise `Invalid` unless it is one line of at most `longest` characters, in any script."""
    if len(text) > longest:
        raise Invalid(field, f"has {len(text)} characters; {provider} takes at most {longest}")
    if any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in text):
        raise Invalid(field, "must not hold control characters or line breaks")


def check_address(field: str, url: str, longest: int, provider: str) -> None:
    """Raise `Invalid` unless it is a whole http or https address of at most `longest` characters."""
    if len(url) > longest:
        raise Invalid(field, f"has {len(url)} characters; {provider} takes at most {longest}")
    if _ADDRESS.fullmatch(url) is None:
        raise Invalid(field, "must be a whole http or https address in ASCII")


def check_host(field: str, url: str, example: str) -> None:
    """Raise `Invalid` unless it is the address of a host, without a path."""
    address = urlsplit(url)
    if not address.netloc or address.path or address.query or address.fragment:
        raise Invalid(field, f"must be the host alone, such as {example}")


def check_version(field: str, version: int | None) -> None:
    """Raise `Invalid` for a version of a key that no header can name."""
    if version is not None and not 0 <= version < 10**9:
        raise Invalid(field, "must be a whole number from 0 to 999999999")


# --- what a provider sent ---------------------------------------------------------------------------------------------


def once(headers: Sequence[tuple[str, str]], wanted: Collection[str]) -> dict[str, str]:
    """Give the wanted headers by their names in lower case; `Forged` if one of them stands twice."""
    found: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        if key in wanted:
            if key in found:
                raise Forged(f"more than one {key} header")
            found[key] = value
    return found


def target_of(url: str) -> str:
    """Give the path and the query of an address, as a request to it names them."""
    return urlsplit(url)._replace(scheme="", netloc="", fragment="").geturl() or "/"


def shown(text: str | None) -> str:
    """Quote somebody else's words, short and without control characters."""
    return ascii(text)[:_MAX_SHOWN]


def as_code(text: str | None) -> str | None:
    """Give a code that is shaped like one; nothing else gets into the log as a code."""
    return text if text is not None and _CODE.fullmatch(text) else None


def moment(text: str | None) -> datetime | None:
    """Read a time in ISO 8601 with its offset, or in milliseconds since 1970; None for one that names no moment."""
    if text is None:
        return None
    try:
        if _EPOCH_MS.fullmatch(text):
            return _EPOCH + timedelta(milliseconds=int(text))
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
