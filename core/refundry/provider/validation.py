"""Checks and readers that plugins share: ids, reasons, amounts, addresses, headers, codes, times.

The rule of this module: what the platform or the configuration supplied raises `Invalid` with its field; what a
provider sent is quoted briefly and in ASCII, and is recorded as a code only if it has the shape of one.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from refundry.errors import Forged, Invalid
from refundry.money import Money

_ID: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_ADDRESS: Final = re.compile(r"https?://[!-~]+", re.ASCII)
_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_FIELD_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)
_NOT_TEXT: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_EPOCH_MS: Final = re.compile(r"[0-9]{12,14}", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ISO_8601: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:?[0-9]{2})", re.ASCII
)
MERCHANT: Final = "merchant:"
"""What begins a payment that is named by the merchant's order number."""
_MAX_SHOWN: Final = 80
_MAX_MESSAGE: Final = 256
_MAX_NAME: Final = 64


# --- what the platform requests ---------------------------------------------------------------------------------------


def check_payment_id(payment: str, provider: str) -> None:
    """Raise `Invalid` if the payment is named by the merchant's order number: not every provider refunds by that.

    The id of the refund, and how long each text may be, is checked before the plugin is asked: against its `Terms`.
    """
    if payment.startswith(MERCHANT):
        raise Invalid("payment", f"must be {provider}'s own id, not the merchant's order number")


def check_amount(amount: Money, exponent: int, provider: str) -> None:
    """Raise `Invalid` unless the amount is positive and has the provider's number of decimals."""
    if amount.exponent != exponent:
        raise Invalid("amount", f"has {amount.exponent} decimals; {provider}'s {amount.currency} has {exponent}")
    if amount.minor <= 0:
        raise Invalid("amount", "must be more than zero")


def check_field(name: object, known: Collection[str], derived: Mapping[str, str], provider: str) -> None:
    """Raise `Invalid` unless the name is one of the provider's further fields of a refund request.

    `derived` are the fields that the plugin writes from an instruction, each with the part that it is written from.
    """
    if name in known:
        return
    if isinstance(name, str) and name in derived:
        raise Invalid(f"details.{name}", f"is written from {derived[name]} and cannot be set twice")
    quoted = name if is_field_name(name) else ascii(name)[:_MAX_NAME]
    raise Invalid(f"details.{quoted}", f"is not a field of {provider}'s refund; known fields are {', '.join(known)}")


def is_text(text: str) -> bool:
    """Return whether the text has no control characters but line breaks and tabs, and no half of a character."""
    return _NOT_TEXT.search(text) is None


def is_field_name(name: object) -> bool:
    """Return whether the name is 1 to 64 letters, digits and _, with a letter first."""
    return isinstance(name, str) and _FIELD_NAME.fullmatch(name) is not None


def sorted_fields(details: Mapping[str, Any]) -> dict[str, Any]:
    """Return further fields with the keys of every object in order, so that equal fields are equal bytes."""
    return {name: _sorted(details[name]) for name in sorted(details)}


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return sorted_fields(value)
    return [_sorted(part) for part in value] if isinstance(value, list | tuple) else value


# --- what the configuration contains ----------------------------------------------------------------------------------


def check_id(field: str, text: str, longest: int) -> None:
    """Raise `Invalid` unless the text is 1 to `longest` letters, digits, _ and -."""
    if len(text) > longest or _ID.fullmatch(text) is None:
        raise Invalid(field, f"must be 1 to {longest} letters, digits, _ and -")


def check_address(field: str, url: str, longest: int, provider: str) -> None:
    """Raise `Invalid` unless the text is a complete http or https URL of at most `longest` characters."""
    if len(url) > longest:
        raise Invalid(field, f"has {len(url)} characters; {provider} accepts at most {longest}")
    if _ADDRESS.fullmatch(url) is None:
        raise Invalid(field, "must be a complete http or https URL in ASCII")


def check_host(field: str, url: str, example: str) -> None:
    """Raise `Invalid` unless the URL names a host only, without a path."""
    address = urlsplit(url)
    if not address.netloc or address.path or address.query or address.fragment:
        raise Invalid(field, f"must be a host without a path, such as {example}")


def check_version(field: str, version: int | None) -> None:
    """Raise `Invalid` for a key version that no header can name."""
    if version is not None and not 0 <= version < 10**9:
        raise Invalid(field, "must be an integer from 0 to 999999999")


# --- what a provider sent ---------------------------------------------------------------------------------------------


def once(headers: Sequence[tuple[str, str]], wanted: Collection[str]) -> dict[str, str]:
    """Return the wanted headers by their names in lower case; raise `Forged` if one of them appears twice."""
    found: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        if key in wanted:
            if key in found:
                raise Forged(f"more than one {key} header")
            found[key] = value
    return found


def required_header(headers: Mapping[str, str], name: str, shape: re.Pattern[str]) -> str:
    """Return the value of a header; raise `Forged` if it is missing or does not have the shape."""
    value = headers.get(name, "")
    if shape.fullmatch(value) is None:
        raise Forged(f"no readable {name} header")
    return value


def target_of(url: str) -> str:
    """Return the path and the query of a URL, as a request line contains them."""
    return urlsplit(url)._replace(scheme="", netloc="", fragment="").geturl() or "/"


def shown(text: str | None) -> str:
    """Return foreign text as a short quotation in ASCII, without control characters."""
    return ascii(text)[:_MAX_SHOWN]


def as_code(text: str | None) -> str | None:
    """Return the text if it has the shape of a code, or `None`: nothing else is recorded as a code."""
    return text if text is not None and _CODE.fullmatch(text) else None


def iso_8601(text: str | None) -> str | None:
    """Return the text if it is a time in ISO 8601 with its offset that exists, or `None`."""
    if text is None or _ISO_8601.fullmatch(text) is None:
        return None
    try:
        datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return text


def provider_message(*parts: object) -> str | None:
    """Return what a provider wrote as one line of at most 256 characters; `None` if it wrote nothing.

    The parts are joined with a colon; those that are not text, or empty, are left out.
    """
    written = ": ".join(" ".join(part.split()) for part in parts if isinstance(part, str) and part.strip())
    return written[:_MAX_MESSAGE] or None


def moment(text: str | None) -> datetime | None:
    """Return a time in ISO 8601 with its offset, or in milliseconds since 1970; `None` if the text is neither."""
    if text is None:
        return None
    try:
        if _EPOCH_MS.fullmatch(text):
            return _EPOCH + timedelta(milliseconds=int(text))
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
