"""Antom (Alipay global): a refund becomes a signed request, and a signed answer becomes an outcome.

The rule of this module: an answer is believed when it is signed by Antom over its raw bytes, is about exactly this
refund, and does not contradict itself; every other answer is `Unknown`, whatever it says. Sources: Antom's pages of
`refund`, `inquiryRefund` and `notifyRefund`, and its rules for signatures and idempotency.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import Final, TypeVar

import attrs
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from refundry.money import MAX_DIGITS, Money
from refundry.provider import (
    Acknowledgement,
    Answer,
    Forged,
    HttpUrl,
    Invalid,
    Notification,
    Outcome,
    ProviderCall,
    ProviderPlugin,
    PublicKeyPem,
    RefundInstruction,
    Request,
    Secret,
    Terms,
    Unknown,
    Unreadable,
    VerifiedNotification,
    messages,
    read_object,
    signatures,
    validation,
)
from refundry_antom import __version__, interpretation, request_fields, signing
from refundry_antom.codes import INQUIRY_CODES, REFUND_CODES
from refundry_antom.messages import (
    MULTIPLES,
    Amount,
    InquiryRequest,
    InquiryResponse,
    NotifyAnswer,
    RefundNotification,
    RefundRequest,
    RefundResponse,
    Result,
)
from refundry_antom.reports import SETTLEMENT_DETAILS

_Message = TypeVar("_Message", bound=messages.Message)

_PATH: Final = "/ams/api/v1/payments/"
_SANDBOX_PATH: Final = "/ams/sandbox/api/v1/payments/"
_NOTIFY_TYPE: Final = "REFUND_RESULT"

_CLIENT_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_TOKEN: Final = re.compile(r"[!-~]{1,128}", re.ASCII)
# Either documented format of a time, and nothing that could shift the border between the time and the signed body.
_TIME: Final = re.compile(r"[0-9A-Za-z:+.-]{1,40}", re.ASCII)

_MAX_ID: Final = 64
_MAX_REASON: Final = 256
_MAX_NOTIFY_URL: Final = 1024

ACKNOWLEDGEMENT: Final = Acknowledgement(
    200,
    (("content-type", "application/json"),),
    messages.encode(NotifyAnswer(result=Result(result_code="SUCCESS", result_status="S", result_message="success"))),
)
"""The answer to every notification that is kept; Antom asks for exactly this body, unsigned."""


@attrs.frozen(slots=True, kw_only=True)
class AntomSettings:
    """The keys of an account with `provider = "antom"`."""

    base_url: HttpUrl
    """The host that Antom's documents give, without a path."""
    client_id: str
    """`SANDBOX_...` leads to the sandbox on the same host."""
    provider_public_key: PublicKeyPem = attrs.field(repr=False)
    """Antom's public key for this client: what answers and notifications are checked with."""
    private_key: Secret | None = None
    key_version: int = 1
    """The version of our key at Antom."""
    provider_key_version: int | None = None
    """The only version of Antom's key to accept; any version where it is not set (the key decides)."""
    notify_url: str | None = None
    """Where Antom should post the result; the address set in its dashboard where this is not set."""
    agent_token: str | None = attrs.field(default=None, repr=False)
    """For calls in the name of another merchant."""


@attrs.frozen(slots=True)
class AntomProvider:
    """One account at Antom: `Provider` and `NotificationHandler`."""

    settings: AntomSettings
    terms: Terms
    _private_key: RSAPrivateKey | None = attrs.field(repr=False, eq=False)
    _public_key: RSAPublicKey = attrs.field(repr=False, eq=False)

    @property
    def identity(self) -> str:
        """Name the client and the host: a refund is only known to the client that sent it."""
        return f"{self.settings.client_id} at {self.settings.base_url}"

    # --- orders -------------------------------------------------------------------------------------------------------

    def exponent(self, currency: str) -> int:
        """Return Antom's number of decimals of a currency, or that of ISO 4217 if Antom does not list it."""
        return interpretation.exponent(currency)

    def check(self, instruction: RefundInstruction) -> None:
        """Raise `Invalid` for an order that Antom's field rules refuse."""
        validation.check_id("refund_request_id", instruction.refund_request_id, _MAX_ID, "Antom")
        if instruction.payment.startswith("merchant:"):
            raise Invalid("payment", "must be Antom's paymentId; Antom does not refund by the merchant's order number")
        validation.check_id("payment", instruction.payment, _MAX_ID, "Antom")
        _check_amount(instruction.amount, self.exponent(instruction.amount.currency))
        if instruction.reason:
            validation.check_line("reason", instruction.reason, _MAX_REASON, "Antom")
        if instruction.details is not None:
            request_fields.check(instruction.details)

    def refund(self, instruction: RefundInstruction, at: datetime) -> ProviderCall:
        """Ask Antom to refund; equal orders give equal bytes."""
        body = instruction.sent if instruction.sent is not None else messages.encode(self._refund_request(instruction))
        return self._call("refund", body, at, RefundResponse, partial(interpretation.read_refund, instruction))

    def inquire(self, instruction: RefundInstruction, at: datetime) -> ProviderCall:
        """Ask Antom where the refund stands, by our id alone.

        Antom ignores our id when its own is sent too; a wrong one would then answer about somebody else's refund.
        """
        body = messages.encode(InquiryRequest(refund_request_id=instruction.refund_request_id))
        return self._call("inquiryRefund", body, at, InquiryResponse, partial(interpretation.read_inquiry, instruction))

    def _refund_request(self, instruction: RefundInstruction) -> RefundRequest:
        request = RefundRequest(
            refund_request_id=instruction.refund_request_id,
            payment_id=instruction.payment,
            refund_amount=_amount(instruction.amount),
            refund_reason=instruction.reason or None,
            refund_notify_url=self.settings.notify_url,
        )
        if not instruction.details:
            return request
        further = validation.sorted_fields(instruction.details)
        return messages.read(RefundRequest, further | messages.to_wire(request))

    # --- exchanges ----------------------------------------------------------------------------------------------------

    def _call(
        self, call: str, body: bytes, at: datetime, kind: type[_Message], read: Callable[[_Message], Outcome]
    ) -> ProviderCall:
        sandbox = self.settings.client_id.startswith("SANDBOX_")
        path = (_SANDBOX_PATH if sandbox else _PATH) + call
        return ProviderCall(
            body=body,
            sign=partial(self._sign, path, body, at),
            read=partial(self._read, path, kind, read),
            key_version=str(self.settings.key_version),
        )

    def _sign(self, path: str, body: bytes, at: datetime) -> Request:
        key, settings = signatures.require_private_key(self._private_key), self.settings
        time = at.astimezone(UTC).isoformat(timespec="seconds")
        signed = signing.content("POST", path, settings.client_id, time, body)
        headers = [
            ("content-type", "application/json; charset=UTF-8"),
            ("client-id", settings.client_id),
            ("request-time", time),
            ("signature", signing.sign(key, signed, settings.key_version)),
        ]
        if settings.agent_token is not None:
            headers.append(("agent-token", settings.agent_token))
        return Request("POST", settings.base_url + path, tuple(headers), body)

    def _read(self, path: str, kind: type[_Message], read: Callable[[_Message], Outcome], answer: Answer) -> Outcome:
        return signatures.read_verified(
            answer,
            "Antom",
            partial(self._verified, path),
            lambda body: read(messages.decode(kind, body)),
            partial(_distrusted, answer),
        )

    def _verified(self, path: str, answer: Answer) -> bytes:
        self._verify("POST", path, answer, "response-time")
        return answer.body

    def _verify(self, method: str, path: str, message: Answer | Notification, time_header: str) -> None:
        """Raise `Forged` unless the raw message is signed by Antom and for this client."""
        client_id = self.settings.client_id
        found = validation.once(message.headers, ("client-id", "signature", time_header))
        if found.get("client-id", client_id) != client_id:
            raise Forged("it names another client")
        time = validation.required_header(found, time_header, _TIME)
        signed = signing.content(method, path, client_id, time, message.body)
        signing.verify(self._public_key, found.get("signature"), signed, self.settings.provider_key_version)

    # --- notifications ------------------------------------------------------------------------------------------------

    def parse_notification(self, notification: Notification) -> VerifiedNotification:
        """Verify and read a notifyRefund; any other notification is `Unreadable`."""
        if notification.header("client-id") is None:
            raise Forged("no client-id header, or more than one")
        signatures.verify_either_path(
            notification,
            self.settings.notify_url,
            lambda path: self._verify(notification.method, path, notification, "request-time"),
        )
        message = messages.decode(RefundNotification, notification.body)
        if message.notify_type != _NOTIFY_TYPE:
            raise Unreadable(f"a notification of another kind than {_NOTIFY_TYPE}")
        return VerifiedNotification(
            refund_request_id=message.refund_request_id,
            at=validation.moment(notification.header("request-time")),
            read=partial(interpretation.read_notification, message),
            acknowledgement=ACKNOWLEDGEMENT,
        )


# --- what is not signed -----------------------------------------------------------------------------------------------


def _distrusted(answer: Answer, error: Exception) -> Unknown:
    claimed = _claimed(answer.body)
    code = claimed.result_code if claimed is not None and claimed.result_code in _QUOTED else None
    unsigned = all(name.lower() != "signature" for name, _ in answer.headers)
    rejected = unsigned and claimed is not None and claimed.result_status == "F" and code in _KEY_REFUSED
    return signatures.distrusted(
        error, "Antom", claim=code, rejected_key="private_key and key_version" if rejected else None
    )


def _claimed(body: bytes) -> Result | None:
    try:
        return messages.read(Result, read_object(body).get("result"))
    except Unreadable:
        return None


_KEY_REFUSED: Final = frozenset({"INVALID_SIGNATURE", "SIGNATURE_INVALID", "KEY_NOT_FOUND"})
"""The codes of a request whose signature Antom cannot verify. It does not sign its answer to a wrong signature ("Sign a
request and verify the signature", comment in the sample code); the same is assumed for a key that it does not have."""
_QUOTED: Final = _KEY_REFUSED | REFUND_CODES.keys()
"""The codes that are shown although the answer is not signed: any other text could be anything."""


# --- small things -----------------------------------------------------------------------------------------------------


def _amount(money: Money) -> Amount:
    return Amount(currency=money.currency, value=str(money.minor))


def _check_amount(amount: Money, exponent: int) -> None:
    validation.check_amount(amount, exponent, "Antom")
    if len(str(amount.minor)) > MAX_DIGITS:
        raise Invalid("amount", f"more than {MAX_DIGITS} digits in minor units")
    if amount.minor % MULTIPLES.get(amount.currency, 1):
        raise Invalid("amount", f"Antom takes {amount.currency} without decimals: nothing after the point but zeros")


# --- settings ---------------------------------------------------------------------------------------------------------


def build(settings: AntomSettings, terms: Terms) -> AntomProvider:
    """Make the provider of an account; `Invalid` names the setting that is wrong."""
    _check_settings(settings)
    return AntomProvider(settings, terms, *signatures.load_keys(settings.private_key, settings.provider_public_key))


def _check_settings(settings: AntomSettings) -> None:
    validation.check_host("base_url", settings.base_url, "https://open-de-global.alipay.com")
    if _CLIENT_ID.fullmatch(settings.client_id) is None:
        raise Invalid("client_id", "must be 1 to 64 letters, digits, _ and -")
    for field in ("key_version", "provider_key_version"):
        validation.check_version(field, getattr(settings, field))
    if settings.notify_url is not None:
        validation.check_address("notify_url", settings.notify_url, _MAX_NOTIFY_URL, "Antom")
    if settings.agent_token is not None and _TOKEN.fullmatch(settings.agent_token) is None:
        raise Invalid("agent_token", "must be 1 to 128 printable ASCII characters without spaces")


PLUGIN: Final = ProviderPlugin(
    name="antom",
    version=__version__,
    settings=AntomSettings,
    build=build,
    codes=MappingProxyType({"refund": REFUND_CODES, "inquire": INQUIRY_CODES}),
    terms=Terms(inquire_by=("refund_request_id",)),
    reports=(SETTLEMENT_DETAILS,),
    notifications=True,
)
