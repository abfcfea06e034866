"""A small provider that satisfies the contract, and its simulator: the base of the faulty providers.

Acme uses JSON over HTTP and signs with Ed25519 over the path, the client, the time and the raw body.
"""

import base64
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import attrs
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from refundry.errors import Forged, Invalid
from refundry.money import Money, exponent_of
from refundry.provider import (
    Acknowledgement,
    Answer,
    Blocked,
    Breaker,
    Code,
    CodeClass,
    DefinitiveFailure,
    HttpUrl,
    NewId,
    NotFound,
    Notification,
    Outcome,
    OutcomeKind,
    Pending,
    ProviderCall,
    ProviderPlugin,
    PublicKeyPem,
    RefundInstruction,
    Request,
    Resend,
    ReviewReason,
    SameId,
    Scope,
    Secret,
    Succeeded,
    Terms,
    Unknown,
    Unreadable,
    VerifiedNotification,
    read_object,
)
from refundry.testing.simulator.ledger import ParsedRequest, Refund, State, Verdict
from refundry.testing.simulator.messages import Call, Draft, Headers, SignatureFlaw
from refundry.testing.simulator.registration import simulator_plugin
from refundry.testing.simulator.server import Simulator
from refundry.testing.simulator.settings import Keys, Settings

CLIENT: Final = "acme-shop-0001"
Table = Mapping[str, Code]
Content = dict[str, Any]


# --- codes ------------------------------------------------------------------------------------------------------------


def _code(code: str, status: str, meaning: CodeClass, **rules: Any) -> Code:
    return Code(code=code, status=status, meaning=meaning, cause=f"Acme says {code}.", advice="Look it up.", **rules)


def _table(*rows: Code) -> Table:
    return {row.code: row for row in rows}


REFUND: Final = _table(
    _code("PAID", "ok", CodeClass.SUCCESS),
    _code("WORKING", "maybe", CodeClass.PENDING),
    _code("BUSY", "maybe", CodeClass.RETRY, same_id=SameId.AFTER_BACKOFF),
    _code("TROUBLE", "maybe", CodeClass.RETRY, same_id=SameId.AFTER_INQUIRY),
    _code("ID_IN_USE", "no", CodeClass.INDETERMINATE, breaker=Breaker.REQUEST, new_id=NewId.MANUAL),
    _code("REFUSED", "no", CodeClass.FAILED, new_id=NewId.MANUAL),
    _code("TOO_MUCH", "no", CodeClass.FAILED, new_id=NewId.MANUAL),
    _code("LOW_BALANCE", "no", CodeClass.FAILED_NEW_ID, new_id=NewId.REQUIRED),
    _code("BROKEN", "no", CodeClass.FAILED_UNCONFIRMED, new_id=NewId.MANUAL),
    _code(
        "WRONG_CLIENT",
        "no",
        CodeClass.MISCONFIGURED,
        same_id=SameId.AFTER_FIX,
        breaker=Breaker.ACCOUNT,
        new_id=NewId.MANUAL,
    ),
    _code("WRONG_REQUEST", "no", CodeClass.BAD_REQUEST, breaker=Breaker.REQUEST, new_id=NewId.MANUAL),
)
INQUIRY: Final = _table(
    _code("PAID", "ok", CodeClass.SUCCESS),
    _code("UNKNOWN_ID", "no", CodeClass.NOT_FOUND, same_id=SameId.AFTER_INQUIRY),
    _code("TROUBLE", "maybe", CodeClass.UNCHANGED),
    _code("WRONG_CLIENT", "no", CodeClass.MISCONFIGURED, breaker=Breaker.ACCOUNT, new_id=NewId.MANUAL),
)


# --- the provider -----------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class AcmeSettings:
    base_url: HttpUrl
    client: str
    provider_public_key: PublicKeyPem = attrs.field(repr=False)
    private_key: Secret | None = None
    notify_url: str | None = None


def signed(path: str, client: str, time: str, body: bytes) -> bytes:
    return f"{path}\n{client}\n{time}\n".encode("utf-8", "surrogatepass") + body


class Acme:
    """Acme's refunds, with every step in a method of its own."""

    codes: Mapping[str, Table] = {"refund": REFUND, "inquire": INQUIRY}
    acknowledged = b"ok"

    def __init__(self, settings: AcmeSettings, terms: Terms) -> None:
        self.settings = settings
        self.terms = terms
        self._public = self.public_key(bytes(settings.provider_public_key))
        self._private = None if settings.private_key is None else self.private_key(settings.private_key.reveal())

    @property
    def identity(self) -> str:
        return f"{self.settings.client} at {self.settings.base_url}"

    # keys

    def public_key(self, pem: bytes) -> Ed25519PublicKey:
        try:
            key = serialization.load_pem_public_key(pem)
        except Exception:
            raise Invalid("provider_public_key", "is not a PEM public key") from None
        if not isinstance(key, Ed25519PublicKey):
            raise Invalid("provider_public_key", "is not an Ed25519 key")
        return key

    def private_key(self, pem: bytes) -> Ed25519PrivateKey:
        try:
            key = serialization.load_pem_private_key(pem, None)
        except Exception:
            raise Invalid("private_key", "is not a PEM private key") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise Invalid("private_key", "is not an Ed25519 key")
        return key

    # composing

    def exponent(self, currency: str) -> int:
        return exponent_of(currency)

    def check(self, instruction: RefundInstruction) -> None:
        for field in ("refund_request_id", "payment"):
            text = getattr(instruction, field)
            if not (text.isascii() and 0 < len(text) <= 64 and text.replace("-", "").replace("_", "").isalnum()):
                raise Invalid(field, "must be 1 to 64 letters, digits, - and _")
        if instruction.amount.minor == 0 or instruction.amount.exponent != self.exponent(instruction.amount.currency):
            raise Invalid("amount", "is zero, or in another unit than Acme's")
        if instruction.reason is not None and not (len(instruction.reason) <= 256 and instruction.reason.isprintable()):
            raise Invalid("reason", "must be at most 256 printable characters")

    def value(self, amount: Money) -> str:
        return str(amount.minor)

    def fields(self, instruction: RefundInstruction) -> dict[str, Any]:
        return {
            "id": instruction.refund_request_id,
            "payment": instruction.payment,
            "amount": self.value(instruction.amount),
            "currency": instruction.amount.currency,
            "reason": instruction.reason,
            "notify_url": self.settings.notify_url,
        }

    def body(self, instruction: RefundInstruction, at: datetime) -> bytes:
        return instruction.sent or json.dumps(self.fields(instruction)).encode()

    def refund(self, instruction: RefundInstruction, at: datetime) -> ProviderCall:
        return self.call("/v1/refund", self.body(instruction, at), at, partial(self.replied, instruction))

    def inquire(self, instruction: RefundInstruction, at: datetime) -> ProviderCall:
        body = json.dumps({"id": instruction.refund_request_id}).encode()
        return self.call("/v1/inquiry", body, at, partial(self.answered, instruction))

    def call(self, path: str, body: bytes, at: datetime, interpret: Callable[[Content], Outcome]) -> ProviderCall:
        time = at.astimezone(UTC).isoformat(timespec="seconds")
        return ProviderCall(body, partial(self.sign, path, time, body), partial(self.read, path, interpret), "1")

    def sign(self, path: str, time: str, body: bytes) -> Request:
        if self._private is None:
            raise Invalid("private_key", "is needed to send")
        signature = self._private.sign(signed(path, self.settings.client, time, body))
        headers = (
            ("content-type", "application/json"),
            ("acme-client", self.settings.client),
            ("acme-time", time),
            ("acme-signature", base64.b64encode(signature).decode()),
        )
        return Request("POST", self.settings.base_url + path, headers, body)

    # reading

    def read(self, path: str, interpret: Callable[[Content], Outcome], answer: Answer) -> Outcome:
        unexpected = self.unexpected_status(answer)
        if unexpected is not None:
            return unexpected
        try:
            self.verify(path, answer)
            return interpret(self.parse(answer.body))
        except (Forged, Unreadable) as error:
            return Unknown(f"not trusted: {error}")

    def unexpected_status(self, answer: Answer) -> Outcome | None:
        return None if answer.status == 200 else Unknown(f"HTTP {answer.status}")

    def verify(self, path: str, message: Answer | Notification) -> None:
        client, time = message.header("acme-client"), message.header("acme-time")
        if not self.ours(client) or client is None or time is None:
            raise Forged("another client, or no time")
        self.check_signature(message.header("acme-signature"), path, client, time, message.body)

    def ours(self, client: str | None) -> bool:
        return client == self.settings.client

    def check_signature(self, signature: str | None, path: str, client: str, time: str, body: bytes) -> None:
        try:
            raw = base64.b64decode(signature or "", validate=True)
            if base64.b64encode(raw).decode() != signature:
                raise Forged("the signature is not base64")
            self._public.verify(raw, self.content(path, client, time, body))
        except (ValueError, InvalidSignature):
            raise Forged("the signature is wrong") from None

    def content(self, path: str, client: str, time: str, body: bytes) -> bytes:
        return signed(path, client, time, body)

    def parse(self, body: bytes) -> Content:
        return read_object(body)

    # interpreting

    def replied(self, instruction: RefundInstruction, content: Content) -> Outcome:
        return self.other_refund(instruction, content) or self.by_code(instruction, content, self.codes["refund"])

    def answered(self, instruction: RefundInstruction, content: Content) -> Outcome:
        return self.other_refund(instruction, content) or self.by_code(instruction, content, self.codes["inquire"])

    def other_refund(self, instruction: RefundInstruction, content: Content) -> Outcome | None:
        if not self.same_id(instruction, content):
            return Unknown("about another refund")
        if "state" in content and not (
            self.same_amount(instruction, content) and self.same_currency(instruction, content)
        ):
            return Unknown("about another amount", resend=Resend.NEVER)
        return None

    def same_id(self, instruction: RefundInstruction, content: Content) -> bool:
        return content.get("id") == instruction.refund_request_id

    def same_amount(self, instruction: RefundInstruction, content: Content) -> bool:
        return bool(content.get("amount") == self.value(instruction.amount))

    def same_currency(self, instruction: RefundInstruction, content: Content) -> bool:
        return bool(content.get("currency") == instruction.amount.currency)

    def by_code(self, instruction: RefundInstruction, content: Content, table: Table) -> Outcome:
        row = table.get(str(content.get("code")))
        if row is None:
            return self.unlisted(instruction, content)
        if not self.agrees(row, content):
            return Unknown("the code has another status", row.code, resend=Resend.NEVER)
        return self.by_state(instruction, content) if row.meaning is CodeClass.SUCCESS else self.by_class(row)

    def agrees(self, row: Code, content: Content) -> bool:
        return bool(row.status == content.get("status"))

    def unlisted(self, instruction: RefundInstruction, content: Content) -> Outcome:
        code, text = str(content.get("code"))[:64], "a code that Acme does not document"
        return Unknown(text, code, resend=Resend.NEVER, review=ReviewReason.UNDOCUMENTED_ANSWER)

    def by_state(self, instruction: RefundInstruction, content: Content) -> Outcome:
        state = content.get("state")
        if state == "done":
            return Succeeded(self.amount_of(instruction, content), content.get("refund"))
        if state == "working":
            return self.working()
        return DefinitiveFailure("FAILED", "It failed.", "Ask again.") if state == "failed" else Unknown("no state")

    def amount_of(self, instruction: RefundInstruction, content: Content) -> Money:
        return Money.of_minor(content["amount"], content["currency"], self.exponent(content["currency"]))

    def working(self) -> Outcome:
        return Pending("WORKING")

    def by_class(self, row: Code) -> Outcome:
        if row.meaning in (CodeClass.FAILED, CodeClass.FAILED_NEW_ID):
            return DefinitiveFailure(row.code, row.cause, row.advice)
        if row.meaning is CodeClass.PENDING:
            return Pending(row.code)
        if row.meaning is CodeClass.NOT_FOUND:
            return self.not_found(row)
        if row.meaning in (CodeClass.MISCONFIGURED, CodeClass.BAD_REQUEST):
            return Blocked(row.code, row.cause, row.advice, Scope(row.breaker))
        if row.meaning is CodeClass.UNCHANGED:
            return Unknown(row.cause, row.code)
        return self.not_known(row)

    def not_found(self, row: Code) -> Outcome:
        return NotFound(row.code)

    def not_known(self, row: Code) -> Outcome:
        resend = {SameId.AFTER_BACKOFF: Resend.SAME, SameId.AFTER_INQUIRY: Resend.AFTER_NOT_FOUND}.get(
            row.same_id, Resend.NEVER
        )
        review = ReviewReason.UNCONFIRMED_REFUSAL if resend is Resend.NEVER else None
        return Unknown(row.cause, row.code, resend=resend, review=review)

    # notifications

    def parse_notification(self, notification: Notification) -> VerifiedNotification:
        self.verify_notification(notification)
        content = self.parse(notification.body)
        if not isinstance(content.get("id"), str):
            raise Unreadable("names no refund")
        at = datetime.fromisoformat(notification.header("acme-time") or "")
        client, time = (notification.header(name) or "" for name in ("acme-client", "acme-time"))
        return VerifiedNotification(
            content["id"],
            at,
            partial(self.read_notification, content),
            Acknowledgement(200, (), self.acknowledged),
            self.content(notification.path, client, time, notification.body),
        )

    def verify_notification(self, notification: Notification) -> None:
        self.verify(notification.path, notification)

    def read_notification(self, content: Content, instruction: RefundInstruction) -> Outcome:
        return self.other_refund(instruction, content) or self.by_state(instruction, content)


def plugin(provider: type[Acme] = Acme, **changes: Any) -> ProviderPlugin:
    """Return the plugin of Acme or of a faulty subclass."""
    made = ProviderPlugin(
        name="acme",
        version="1.0",
        settings=AcmeSettings,
        build=provider,
        codes=provider.codes,
        notifications=True,
        # Every answer of Acme's has the id of its refund.
        names_refund={"refund": frozenset(OutcomeKind), "inquire": frozenset(OutcomeKind)},
    )
    return attrs.evolve(made, **changes)


# --- the simulator ----------------------------------------------------------------------------------------------------

_CODES: Final[Mapping[str, str]] = {
    Verdict.DONE: "PAID",
    Verdict.IN_PROCESS: "WORKING",
    Verdict.FAILED: "REFUSED",
    Verdict.NOT_FOUND: "UNKNOWN_ID",
    Verdict.EXCEEDED: "TOO_MUCH",
    Verdict.BALANCE: "LOW_BALANCE",
    Verdict.INCONSISTENT: "ID_IN_USE",
}
_STATES: Final = {State.SUCCESS: "done", State.PROCESSING: "working", State.FAIL: "failed"}


class AcmeWire:
    provider = "acme"
    notification_intervals = (0.0, 60.0)

    def __init__(self, settings: Settings) -> None:
        keys = settings.keys
        self.settings = settings
        self._merchant = serialization.load_pem_public_key(keys.merchant_public.read_bytes())
        self._key = serialization.load_pem_private_key(keys.provider.read_bytes(), None)
        self._wrong_key = Ed25519PrivateKey.from_private_bytes(b"1" * 32)

    def parse_request(self, call: Call) -> ParsedRequest | Draft:
        operation = {"/v1/refund": "refund", "/v1/inquiry": "inquiry"}.get(call.path, "")
        asked = ParsedRequest(operation=operation, path=call.path, digest=sha256(call.body).hexdigest())
        try:
            content = signed(call.path, CLIENT, call.headers["acme-time"], call.body)
            assert isinstance(self._merchant, Ed25519PublicKey)
            self._merchant.verify(base64.b64decode(call.headers["acme-signature"]), content)
            data = read_object(call.body)
            asked = attrs.evolve(asked, refund_request_id=data["id"])
            if operation == "inquiry":
                return asked
            amount = Money.of_minor(data["amount"], data["currency"])
        except (InvalidSignature, ValueError, KeyError, Invalid):
            return Draft(operation="", path=call.path, code="WRONG_REQUEST")
        return attrs.evolve(asked, payment=data["payment"], amount=amount, notify_url=data.get("notify_url"))

    def remembers(self, code: str) -> bool:
        return code in ("REFUSED", "TOO_MUCH", "LOW_BALANCE", "BROKEN")

    def body(self, draft: Draft, at: datetime) -> bytes:
        code = _CODES.get(draft.code, draft.code)
        code = "REFUSED" if code in list(Verdict) else code
        row = {**INQUIRY, **REFUND}.get(code)
        asked_for = draft.request.refund_request_id if draft.request is not None else None
        fields = {"code": code, "status": draft.status or (row.status if row else "no"), "id": asked_for}
        if draft.refund is not None:
            fields |= self._about(draft, draft.refund)
        return json.dumps(fields, separators=(",", ":")).encode()

    def _about(self, draft: Draft, refund: Refund) -> dict[str, str]:
        amount = draft.amount or refund.amount
        state = _STATES[draft.state or refund.state]
        fields = {"id": refund.refund_request_id, "refund": refund.refund_id, "state": state}
        return fields | {"amount": str(amount.minor), "currency": amount.currency}

    def sign(self, draft: Draft, body: bytes, at: datetime, flaw: SignatureFlaw | None) -> tuple[Headers, bytes]:
        time = at.isoformat(timespec="seconds")
        headers = [("content-type", "application/json"), ("acme-client", CLIENT), ("acme-time", time)]
        key = self._wrong_key if flaw is SignatureFlaw.WRONG_KEY else self._key
        assert isinstance(key, Ed25519PrivateKey)
        signature = bytearray(key.sign(signed(draft.path, CLIENT, time, body)))
        signature[7] ^= flaw is SignatureFlaw.FLIPPED_BIT
        if flaw is not SignatureFlaw.UNSIGNED:
            headers.append(("acme-signature", base64.b64encode(signature).decode()))
        return headers, body

    def notifies(self, state: State) -> bool:
        return True

    def is_acknowledgement(self, status: int, body: bytes) -> bool:
        return (status, body) == (200, b"ok")


def make_keys(directory: Path) -> Keys:
    """Create the missing key files: Ed25519 keys are fast to generate."""
    keys = Keys(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for private, public in ((keys.merchant, keys.merchant_public), (keys.provider, keys.provider_public)):
        if not private.exists():
            key = Ed25519PrivateKey.generate()
            private.write_bytes(
                key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
            )
            public.write_bytes(
                key.public_key().public_bytes(
                    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
                )
            )
    return keys


class AcmeSimulator(Simulator[Settings]):
    def new_wire(self) -> AcmeWire:
        return AcmeWire(self.settings)


SIMULATOR: Final = simulator_plugin(
    AcmeSimulator, Settings, name="acme", version="1.0", account={"client": CLIENT}, make_keys=make_keys
)
