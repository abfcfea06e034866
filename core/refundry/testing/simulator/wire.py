"""The base of simulated providers: keys, the checks that come before processing, and signatures with their flaws.

The rule of this module: it states in which order a request is checked and what a fault breaks. What is signed, how
it is written, and every code remain the provider's own.
"""

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar

import attrs
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from refundry.errors import Forged, Invalid
from refundry.provider.signatures import load_public_key
from refundry.provider.strict_json import Unreadable, read_object
from refundry.testing.simulator.ledger import ParsedRequest
from refundry.testing.simulator.messages import Call, Draft, Headers, Refusal, SignatureFlaw, with_flaw
from refundry.testing.simulator.settings import Settings, load_private_key, text

S = TypeVar("S", bound=Settings)
FieldReader = Callable[[Mapping[str, Any]], ParsedRequest]
"""Reads the fields of a request; raises `Invalid` for one that breaks a documented rule."""


class RsaWire(Generic[S]):
    """Messages that are signed with RSA keys: the base of a `Wire`."""

    codes: ClassVar[Mapping[str, str]]
    """The provider's code for each `Verdict` and each `Refusal` that it answers with."""

    def __init__(self, settings: S) -> None:
        keys = settings.keys
        self.settings = settings
        self.merchant_key = load_public_key(keys.merchant_public.read_bytes(), keys.merchant_public.name)
        self._key = load_private_key(keys.provider)
        self._wrong_key = load_private_key(keys.merchant)

    def signing_key(self, flaw: SignatureFlaw | None) -> RSAPrivateKey:
        """Return the provider's private key, or another one if a fault requires it."""
        return self._wrong_key if flaw is SignatureFlaw.WRONG_KEY else self._key

    def code_of(self, draft: Draft) -> str:
        """Return the provider's code of a message."""
        return self.codes.get(draft.code, draft.code)


@attrs.frozen
class Signature:
    """The headers that make a message a signed one."""

    header: tuple[str, str]
    """The header with the signature itself."""
    time: tuple[str, str]
    further: Headers = ()


class SignedJsonWire(RsaWire[S], ABC):
    """Messages in JSON that are posted to one path per operation and signed in headers."""

    path: ClassVar[re.Pattern[str]]
    """The paths of the provider's operations; the first group is the operation's name."""
    client_header: ClassVar[str]
    client_setting: ClassVar[str]
    """The setting with the id of the one client that the simulated provider knows."""
    unsigned: ClassVar[Collection[str]] = ()
    """The codes of answers that carry no signature."""

    def __init__(self, settings: S) -> None:
        super().__init__(settings)
        self.client = text(self.client_setting, getattr(settings, self.client_setting))

    # --- requests -----------------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def readers(self) -> Mapping[str, FieldReader]:
        """Return the reader of each operation, by the operation's name in its path."""

    def parse_request(self, call: Call) -> ParsedRequest | Draft:
        """Check the path, the method, the media type, the client, the signature and the fields, in this order."""
        operation = self.path.fullmatch(call.path)
        if operation is None:
            return self.refused(call, Refusal.PATH)
        refusal = self._refusal(call)
        if refusal is not None:
            return self.refused(call, refusal)
        try:
            parsed = self.readers[operation[1]](read_object(call.body))
        except (Unreadable, Invalid) as error:
            return self.refused(call, self.code_of_error(error))
        return attrs.evolve(parsed, path=call.path, digest=hashlib.sha256(call.body).hexdigest())

    def _refusal(self, call: Call) -> Refusal | None:
        if call.method != "POST":
            return Refusal.METHOD
        if not self.accepts_media_type(call.headers.get("content-type")):
            return Refusal.MEDIA_TYPE
        if call.headers.get(self.client_header) != self.client:
            return Refusal.CLIENT
        try:
            self.verify(call)
        except Forged:
            return Refusal.SIGNATURE
        return None

    def accepts_media_type(self, media_type: str | None) -> bool:
        """Return whether a request may have this content type; any, unless the provider's documents restrict it."""
        return True

    @abstractmethod
    def verify(self, call: Call) -> None:
        """Raise `Forged` unless the merchant signed the request."""

    def refused(self, call: Call, code: str) -> Draft:
        """Return the answer to a request that is refused before it is processed."""
        return Draft(operation="", path=call.path, code=code)

    def code_of_error(self, error: Unreadable | Invalid) -> str:
        """Return the code of a request whose body or fields break a rule."""
        return Refusal.FIELDS

    # --- responses and notifications ----------------------------------------------------------------------------------

    def sign(self, draft: Draft, body: bytes, at: datetime, flaw: SignatureFlaw | None) -> tuple[Headers, bytes]:
        """Return the headers and the body of a message, signed unless its code or a fault leaves it unsigned."""
        headers = [*self.headers(draft)]
        notification = draft.operation == "notification"
        if flaw is SignatureFlaw.UNSIGNED or (not notification and self.code_of(draft) in self.unsigned):
            return headers, body
        signature = self.signature(draft, body, at, self.signing_key(flaw))
        name, value = signature.header
        headers += [(name, with_flaw(value, flaw)), *signature.further]
        if flaw is not SignatureFlaw.NO_TIME:
            headers.append(signature.time)
        return headers, body

    @abstractmethod
    def headers(self, draft: Draft) -> Headers:
        """Return the headers of a message without those of its signature."""

    @abstractmethod
    def signature(self, draft: Draft, body: bytes, at: datetime, key: RSAPrivateKey) -> Signature:
        """Return the headers of a message's signature."""

    def client_of(self, draft: Draft) -> str:
        """Return the client that a message is signed for."""
        return draft.client or self.client


def json_bytes(fields: Mapping[str, Any]) -> bytes:
    """Return an object as compact JSON in UTF-8."""
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


def required_header(call: Call, name: str) -> str:
    """Return a header of a request; raise `Forged` if it is missing or empty."""
    value = call.headers.get(name, "")
    if not value:
        raise Forged(f"no {name} header")
    return value
