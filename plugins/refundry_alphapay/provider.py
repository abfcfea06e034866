"""AlphaPay (Canada), version 2.0: a refund becomes a signed request, and a signed answer becomes an outcome.

The rule of this module: an answer is believed when it is signed by AlphaPay over its raw bytes, is about exactly this
refund, and does not contradict itself; every other answer is `Unknown`, whatever it says. Only refundStatus settles or
fails a refund: the reply to `refund` says that it was accepted, and no more. Sources: AlphaPay's pages of `refund`,
`inquiryRefund`, the notification and the signature, version 2.0, and its official SDK.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import Final, TypeVar

import attrs
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from refundry.money import Money, exponent_of
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
from refundry_alphapay import __version__, interpretation, signing
from refundry_alphapay.codes import INQUIRY_CODES, REFUND_CODES
from refundry_alphapay.messages import (
    Amount,
    InquiryRequest,
    InquiryResponse,
    NotifyAnswer,
    Refund,
    RefundNotification,
    RefundRequest,
    RefundResponse,
    Result,
)

_Message = TypeVar("_Message", bound=messages.Message)

_PATH: Final = "/api/v2.0/payments/"
_MERCHANT_CODE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
# Nothing that could shift the borders between time, nonce and body: a nonce has no point, and a body starts with {.
_TIME: Final = re.compile(r"[0-9A-Za-z:+.-]{1,40}", re.ASCII)
_NONCE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)

_MAX_ID: Final = 64  # assumed: AlphaPay gives no limit
_MAX_DIGITS: Final = 7
_MAX_DESCRIPTION: Final = 128
_MAX_NOTIFY_URL: Final = 1024  # assumed: AlphaPay gives no limit

ACKNOWLEDGEMENT: Final = Acknowledgement(
    200,
    (("content-type", "application/json"),),
    messages.encode(NotifyAnswer(result=Result(result_code="SUCCESS", result_status="S", result_message="success"))),
)
"""The answer to every notification that is kept; AlphaPay repeats none of a refund, whatever is answered."""

TERMS: Final = Terms(
    # Nobody promises that a repeated refundRequestId pays once: nothing is ever sent again by itself. A refund that
    # AlphaPay, asked four times, does not know is a person's.
    resend_after=frozenset(),
    replays_refusals=False,
    # refundId is required in the documents, and a caller that lost the answer does not have it: our own id, which the
    # official test sends as well, is enough to ask by.
    inquire_by=("refund_request_id", "provider_refund_id"),
    id_length=_MAX_ID,
    reason_length=_MAX_DESCRIPTION,
)


@attrs.frozen(slots=True, kw_only=True)
class AlphaPaySettings:
    """The keys of an account with `provider = "alphapay"`."""

    base_url: HttpUrl
    """The host that AlphaPay's documents give, without a path. No sandbox is documented."""
    merchant_code: str
    provider_public_key: PublicKeyPem = attrs.field(repr=False)
    """AlphaPay's public key: what answers and notifications are checked with."""
    private_key: Secret | None = None
    key_version: int = 1
    """The version of our key at AlphaPay."""
    provider_key_version: int | None = None
    """The only version of AlphaPay's key to accept; any version where it is not set (the key decides)."""
    notify_url: str | None = None
    """Where AlphaPay should post that a refund succeeded; it does not notify where this is not set."""


@attrs.frozen(slots=True)
class AlphaPayProvider:
    """One account at AlphaPay: `Provider` and `NotificationHandler`."""

    settings: AlphaPaySettings
    terms: Terms
    _private_key: RSAPrivateKey | None = attrs.field(repr=False, eq=False)
    _public_key: RSAPublicKey = attrs.field(repr=False, eq=False)

    @property
    def identity(self) -> str:
        """Name the merchant and the host: a refund is only known to the merchant that sent it."""
        return f"{self.settings.merchant_code} at {self.settings.base_url}"

    # --- orders -------------------------------------------------------------------------------------------------------

    def exponent(self, currency: str) -> int:
        """Give the number of decimals of ISO 4217: "the minimum denomination unit of given currency"."""
        return exponent_of(currency)

    def check(self, instruction: RefundInstruction) -> None:
        """Raise `Invalid` for an order that AlphaPay's field rules refuse."""
        validation.check_id("refund_request_id", instruction.refund_request_id, _MAX_ID, "AlphaPay")
        if instruction.payment.startswith("merchant:"):
            raise Invalid("payment", "must be AlphaPay's paymentId; it does not refund by the merchant's order number")
        validation.check_id("payment", instruction.payment, _MAX_ID, "AlphaPay")
        _check_amount(instruction.amount, self.exponent(instruction.amount.currency))
        validation.check_line("reason", instruction.reason or "", _MAX_DESCRIPTION, "AlphaPay")
        if instruction.details:
            raise Invalid("details", "AlphaPay's refund has no further fields")

    def refund(self, instruction: RefundInstruction, at: datetime) -> ProviderCall:
        """Ask AlphaPay to refund; equal orders give equal bytes."""
        body = instruction.sent if instruction.sent is not None else messages.encode(self._refund_request(instruction))
        return self._call("refund", body, at, RefundResponse, partial(interpretation.read_refund, instruction))

    def inquire(self, instruction: RefundInstruction, at: datetime) -> ProviderCall:
        """Ask AlphaPay where the refund stands: by our id, and by its own as well once it is known.

        By the letter its own id is required, so it is sent where we have it; which of the two it looks at does not
        matter, for the answer must name both.
        """
        request = InquiryRequest(
            refund_id=instruction.provider_refund_id, refund_request_id=instruction.refund_request_id
        )
        return self._call(
            "inquiryRefund",
            messages.encode(request),
            at,
            InquiryResponse,
            partial(interpretation.read_inquiry, instruction),
        )

    def _refund_request(self, instruction: RefundInstruction) -> RefundRequest:
        return RefundRequest(
            payment_id=instruction.payment,
            refund_request_id=instruction.refund_request_id,
            refund=Refund(
                # The page has the value alone. The SDK sends the currency too: AlphaPay can then refuse what would
                # else be the same number of another currency.
                refund_amount=Amount(value=str(instruction.amount.minor), currency=instruction.amount.currency),
                description=instruction.reason or None,
                notify_url=self.settings.notify_url,
            ),
        )

    # --- exchanges ----------------------------------------------------------------------------------------------------

    def _call(
        self, call: str, body: bytes, at: datetime, kind: type[_Message], read: Callable[[_Message], Outcome]
    ) -> ProviderCall:
        path, moment = _PATH + call, at.astimezone(UTC)
        return ProviderCall(
            body=body,
            sign=partial(self._sign, path, body, moment),
            read=partial(self._read, path, kind, read),
            key_version=str(self.settings.key_version),
        )

    def _sign(self, path: str, body: bytes, at: datetime) -> Request:
        key, settings = signatures.require_private_key(self._private_key), self.settings
        # In whole seconds, as the official SDK sends it; one language of the documents asks for milliseconds.
        time = at.isoformat(timespec="seconds")
        nonce = signing.nonce(settings.merchant_code, path, body, at)
        signed = signing.content("POST", path, settings.merchant_code, time, nonce, body)
        headers = (
            # In the documents' own spelling: "field name is case sensitive".
            ("Content-Type", "application/json; charset=UTF-8"),
            ("Accept", "application/json"),
            ("Merchant-Code", settings.merchant_code),
            ("Request-Time", time),
            ("Nonce", nonce),
            ("Signature", signing.sign(key, signed, settings.key_version)),
        )
        return Request("POST", settings.base_url + path, headers, body)

    def _read(self, path: str, kind: type[_Message], read: Callable[[_Message], Outcome], answer: Answer) -> Outcome:
        return signatures.read_verified(
            answer,
            "AlphaPay",
            partial(self._verified, path),
            lambda body: read(messages.decode(kind, body)),
            partial(_distrusted, answer),
        )

    def _verified(self, path: str, answer: Answer) -> bytes:
        self._verify("POST", path, answer, "response-time")
        return answer.body

    def _verify(self, method: str, path: str, message: Answer | Notification, time_header: str) -> None:
        """Raise `Forged` unless the raw message is signed by AlphaPay and for this merchant.

        The official SDK skips this where a header is missing; here a missing header is a message of nobody's.
        """
        merchant_code = self.settings.merchant_code
        found = validation.once(message.headers, ("merchant-code", "signature", "nonce", time_header))
        if found.get("merchant-code", merchant_code) != merchant_code:
            raise Forged("it names another merchant")
        time = validation.required_header(found, time_header, _TIME)
        nonce = validation.required_header(found, "nonce", _NONCE)
        signed = signing.content(method, path, merchant_code, time, nonce, message.body)
        signing.verify(self._public_key, found.get("signature"), signed, self.settings.provider_key_version)

    # --- notifications ------------------------------------------------------------------------------------------------

    def parse_notification(self, notification: Notification) -> VerifiedNotification:
        """Verify and read what AlphaPay posts when a refund succeeded; any other notification is `Unreadable`."""
        if notification.header("merchant-code") is None:
            raise Forged("no merchant-code header, or more than one")
        signatures.verify_either_path(  # assumed: no page states which path AlphaPay signs
            notification,
            self.settings.notify_url,
            lambda path: self._verify(notification.method, path, notification, "request-time"),
        )
        message = messages.decode(RefundNotification, notification.body)
        return VerifiedNotification(
            refund_request_id=message.refund_request_id,
            at=validation.moment(notification.header("request-time")),
            read=partial(interpretation.read_notification, message),
            acknowledgement=ACKNOWLEDGEMENT,
        )


# --- what is not signed -----------------------------------------------------------------------------------------------


def _distrusted(answer: Answer, error: Exception) -> Unknown:
    claimed = _claimed(answer.body)
    return signatures.distrusted(error, "AlphaPay", claim=None if claimed is None else interpretation.describe(claimed))


def _claimed(body: bytes) -> Result | None:
    try:
        return messages.read(Result, read_object(body).get("result"))
    except Unreadable:
        return None


# --- settings ---------------------------------------------------------------------------------------------------------


def _check_amount(amount: Money, exponent: int) -> None:
    validation.check_amount(amount, exponent, "AlphaPay")
    # Documented of orders; a refund is never more than its order.
    if len(str(amount.minor)) > _MAX_DIGITS:
        raise Invalid("amount", f"more than {_MAX_DIGITS} digits in minor units: AlphaPay has no payment of that size")


def build(settings: AlphaPaySettings, terms: Terms) -> AlphaPayProvider:
    """Make the provider of an account; `Invalid` names the setting that is wrong."""
    validation.check_host("base_url", settings.base_url, "https://openapi.alphapay.ca")
    if _MERCHANT_CODE.fullmatch(settings.merchant_code) is None:
        raise Invalid("merchant_code", "must be 1 to 64 letters, digits, _ and -")
    validation.check_version("key_version", settings.key_version)
    validation.check_version("provider_key_version", settings.provider_key_version)
    if settings.notify_url is not None:
        validation.check_address("notify_url", settings.notify_url, _MAX_NOTIFY_URL, "AlphaPay")
    return AlphaPayProvider(settings, terms, *signatures.load_keys(settings.private_key, settings.provider_public_key))


PLUGIN: Final = ProviderPlugin(
    name="alphapay",
    version=__version__,
    settings=AlphaPaySettings,
    build=build,
    codes=MappingProxyType({"refund": REFUND_CODES, "inquire": INQUIRY_CODES}),
    terms=TERMS,
    notifications=True,
)
