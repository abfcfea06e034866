"""Alipay's signature (RSA2): what is signed in a request, in an answer and in a notification.

The rule of this module: what is verified is the text that was transmitted, never one rebuilt from what was read in it.
Sources: Alipay Open Platform, "Sign" and "Verify asynchronously returned results", and its official SDKs, which agree.
"""

import json
import re
from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

import attrs
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from refundry.errors import Forged
from refundry.provider import signatures
from refundry.provider.strict_json import MAX_BYTES, Unreadable, read_object
from refundry_alipay.charsets import codec_of, masked, text_of

SIGN_TYPE: Final = "RSA2"
"""The only algorithm that is accepted (SHA-256), whatever a message names."""
ERROR_NODE: Final = "error_response"
MAX_FIELDS: Final = 200

_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_JSON: Final = json.JSONDecoder()


# --- what is signed ---------------------------------------------------------------------------------------------------


def request_content(params: Mapping[str, str], charset: str) -> bytes:
    """Return the bytes that are signed in a request: all that has a value but `sign`, raw, ordered by code point."""
    kept = sorted(name for name, value in params.items() if name != "sign" and value)
    return "&".join(f"{name}={params[name]}" for name in kept).encode(codec_of(charset))


def notification_content(
    params: Mapping[str, bytes], *, keep_empty: bool = True, with_sign_type: bool = False
) -> bytes:
    """Return the bytes that are signed in a notification: the values as they were sent, whatever their charset.

    `sign_type` is not documented to be signed, and sometimes is. Alipay's SDKs keep parameters without a value; other
    code that works leaves them out.
    """
    unsigned = ("sign",) if with_sign_type else ("sign", "sign_type")
    kept = sorted(name for name, value in params.items() if name not in unsigned and (value or keep_empty))
    return b"&".join(name.encode() + b"=" + params[name] for name in kept)


def sign(key: RSAPrivateKey, content: bytes) -> str:
    """Sign `content`; give the signature in base64."""
    return signatures.sign(key, content)


def verify(key: RSAPublicKey, signature: str | None, content: bytes) -> None:
    """Raise `Forged` unless `signature` is that of `content` by the owner of `key`."""
    if not signature:
        raise Forged("it has no signature")
    signatures.verify(key, signature, content)


# --- answers ----------------------------------------------------------------------------------------------------------


@attrs.frozen(slots=True)
class Envelope:
    """An answer as it came: the node that is signed, as raw bytes, and what is next to it."""

    name: str
    node: bytes
    sign: str | None
    cert_sn: str | None


def node_name(method: str) -> str:
    """Return the name of the node that answers a method: `alipay_trade_refund_response`."""
    return f"{method.replace('.', '_')}_response"


def read_answer(body: bytes, method: str, charset: str = "utf-8") -> Envelope:
    """Find the one node that answers `method`, or reports an error; raise `Unreadable` unless there is exactly one.

    The body is first read as a whole, so that a name that appears twice is refused wherever it is, however escaped.
    `charset` is that of the account; a gateway in trouble answers in another one.
    """
    if len(body) > MAX_BYTES:
        raise Unreadable(f"longer than {MAX_BYTES} bytes")
    codec, text = text_of(body, charset)
    root = read_object(text.encode())
    found = [name for name in (node_name(method), ERROR_NODE) if name in root]
    if len(found) != 1 or type(root[found[0]]) is not dict:
        raise Unreadable(f"not one {node_name(method)}")
    start, end = _members(masked(body, codec))[found[0]]
    return Envelope(found[0], body[start:end], _text(root, "sign"), _text(root, "alipay_cert_sn"))


def response_node(body: bytes, method: str, charset: str = "utf-8") -> tuple[str, bytes]:
    """Return the name and the raw bytes of the signed node of an answer; `Unreadable` as `read_answer`."""
    answer = read_answer(body, method, charset)
    return answer.name, answer.node


def read_node(node: bytes, charset: str = "utf-8", strings: Collection[str] = ()) -> dict[str, object]:
    """Read the JSON object of a node; `Unreadable` if it has more than one meaning.

    The fields that `strings` names must be strings: a number with a fraction, which is read as its text, is not one.
    """
    codec, text = text_of(node, charset)
    read = read_object(text.encode())
    raw = masked(node, codec)
    members = _members(raw)
    for name in strings:
        if isinstance(read.get(name), str) and raw[members[name][0]] != '"':
            raise Unreadable(f"{name}: not a string")
    return read


def _members(text: str) -> dict[str, tuple[int, int]]:
    """Return where every value of a JSON object that was found to be one begins and ends."""
    found: dict[str, tuple[int, int]] = {}
    at = _skip(text, _skip(text, 0) + 1)
    while text[at] != "}":
        if text[at] == ",":
            at = _skip(text, at + 1)
        name, at = _JSON.raw_decode(text, at)
        start = _skip(text, _skip(text, at) + 1)
        _, end = _JSON.raw_decode(text, start)
        found[name] = (start, end)
        at = _skip(text, end)
    return found


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return at if space is None else space.end()


def _text(root: Mapping[str, object], name: str) -> str | None:
    value = root.get(name)
    if value is not None and type(value) is not str:
        raise Unreadable(f"{name} is not a string")
    return value


# --- forms ------------------------------------------------------------------------------------------------------------


def read_form(body: bytes, charset: str) -> dict[str, str]:
    """Read a form in one charset; `Unreadable` if it is in another, or as `form_fields`."""
    try:
        return {name: value.decode(codec_of(charset)) for name, value in form_fields(body).items()}
    except UnicodeDecodeError:
        raise Unreadable(f"not {charset}") from None


def form_fields(body: bytes) -> dict[str, bytes]:
    """Return the raw values of a form; `Unreadable` if it is long, escapes badly or says something twice."""
    if len(body) > MAX_BYTES:
        raise Unreadable(f"longer than {MAX_BYTES} bytes")
    if not body.isascii():
        raise Unreadable("not percent-encoded")
    parts = [part for part in body.decode("ascii").split("&") if part]
    if len(parts) > MAX_FIELDS:
        raise Unreadable(f"more than {MAX_FIELDS} fields")
    pairs = [part.partition("=") for part in parts]
    found = {_decoded(name).decode("latin-1"): _decoded(value) for name, _, value in pairs}
    if len(found) != len(pairs):
        raise Unreadable("a field appears twice")
    if not all(name.isascii() for name in found):
        raise Unreadable("a field whose name is not ASCII")
    return found


def _decoded(text: str) -> bytes:
    if _ESCAPE.search(text):
        raise Unreadable("a percent sign that escapes nothing")
    return unquote_to_bytes(text.replace("+", " "))
