"""AlphaPay (Canada), version 2.0: a refund becomes a signed request, and a signed answer becomes an outcome.

The rule of this module: an answer is believed when it is signed by AlphaPay over its raw bytes, is about exactly this
refund, and does not contradict itself; every other answer is `Unknown`, whatever it says. Only refundStatus settles or
fails a refund: the reply to `refund` says that it was accepted, and no more. Sources: AlphaPay's pages of `refund`,
`inquiryRefund`, the notification and the signature, version 2.0, and its official SDK.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Final

import attrs
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from refundry.money import Money, exponent_of
from refundry.provider import (
    Acknowledgement,
    Answer,
    Invalid,
    Outcome,
    OutcomeKind,
    ProviderCall,
    ProviderPlugin,
    RefundInstruction,
    Request,
    Terms,
    Unknown,
    messages,
    signatures,
    validation,
)
from refundry.provider.signed import VersionedKeySettings
from refundry.provider.signed_json import SignedJsonProvider, claimed
from refundry_alphapay import __version__, interpretation, signing
from refundry_alphapay.codes import INQUIRY_CODES, REFUND_CODES
from refundry_alphapay.messages import (
    Amount,
    InquiryRequest,
    InquiryResponse,
    Refund,
    RefundNotification,
    RefundRequest,
    RefundResponse,
    Result,
)

_PATH: Final = "/api/v2.0/payments/"
# Nothing that could shift the borders between time, nonce and body: a nonce has no point, and a body starts with {.
_NONCE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)

_MAX_DIGITS: Final = 7
_MAX_DESCRIPTION: Final = 128
_MAX_NOTIFY_URL: Final = 1024  # assumed: AlphaPay gives no limit
_DERIVED: Final = {
    "refundRequestId": "refund_request_id",
    "paymentId": "payment",
    "refundAmount": "amount",
    "description": "reason",
}

ACKNOWLEDGEMENT: Final = Acknowledgement(
    200,
    (("content-type", "application/json"),),
    b'{"result":{"resultCode":"SUCCESS","resultStatus":"S","resultMessage":"success"}}',
)
"""The answer to every notification that is kept; AlphaPay repeats none of a refund, whatever is answered."""

TERMS: Final = Terms(
    # AlphaPay does not promise that a repeated refundRequestId pays once: nothing is ever sent again automatically. A
    # refund of which AlphaPay has no record after four inquiries needs an operator.
    resend_after=frozenset(),
    replays_refusals=False,
    # refundId is required in the documents, and a caller that lost the answer does not have it: our own id, which the
    # official test sends as well, is enough to ask by.
    inquire_by=("refund_request_id", "provider_refund_id"),
    # Assumed: AlphaPay gives no limit of an id, and no rule for its characters.
    id_length=64,
    id_characters="!-~",
    reason_length=_MAX_DESCRIPTION,
)


@attrs.frozen(slots=True, kw_only=True)
class AlphaPaySettings(VersionedKeySettings):
    """The keys of an account with `provider = "alphapay"`; no sandbox is documented."""

    merchant_code: str


@attrs.frozen(slots=True)
class AlphaPayProvider(SignedJsonProvider[AlphaPaySettings]):
    """One account at AlphaPay: `Provider` and `NotificationHandler`."""

    name = "AlphaPay"
    client_header, signed_headers = "merchant-code", ("nonce",)
    acknowledgement = ACKNOWLEDGEMENT

    @property
    def client(self) -> str:
        """Return the merchant's code."""
        return self.settings.merchant_code

    # --- instructions -------------------------------------------------------------------------------------------------

    def exponent(self, currency: str) -> int:
        """Return the number of decimals of ISO 4217: "the minimum denomination unit of given currency"."""
        return exponent_of(currency)

    def check(self, instruction: RefundInstruction) -> None:
        """Raise `Invalid` for an instruction that AlphaPay's field rules refuse."""
        validation.check_payment_id(instruction.payment, "AlphaPay")
        _check_amount(instruction.amount, self.exponent(instruction.amount.currency))
        for name, value in (instruction.details or {}).items():
            validation.check_field(name, ("notifyUrl",), _DERIVED, "AlphaPay")
            if type(value) is not str:
                raise Invalid("details.notifyUrl", "must be a string")
            validation.check_address("details.notifyUrl", value, _MAX_NOTIFY_URL, "AlphaPay")

    def refund(self, instruction: RefundInstruction, at: datetime) -> ProviderCall:
        """Return the call that requests the refund; equal instructions give equal bytes."""
        read = partial(interpretation.read_refund, instruction)
        return self.call(f"{_PATH}refund", self.body(instruction), at, RefundResponse, read)

    def inquire(self, instruction: RefundInstruction, at: datetime) -> ProviderCall:
        """Return the call that inquires about the refund: by Refundry's id, and by AlphaPay's once it is known.

        Taken literally, the documents require AlphaPay's own id, so it is sent if it is known. Which of the two
        AlphaPay looks at does not matter, because the answer must name both.
        """
        request = InquiryRequest(
            refund_id=instruction.provider_refund_id, refund_request_id=instruction.refund_request_id
        )
        read = partial(interpretation.read_inquiry, instruction)
        return self.call(f"{_PATH}inquiryRefund", messages.encode(request), at, InquiryResponse, read)

    def refund_request(self, instruction: RefundInstruction) -> RefundRequest:
        """Return the message that requests the refund."""
        return RefundRequest(
            payment_id=instruction.payment,
            refund_request_id=instruction.refund_request_id,
            refund=Refund(
                # The page has the value alone. The SDK sends the currency too: AlphaPay can then refuse the same number
                # of another currency.
                refund_amount=Amount(value=str(instruction.amount.minor), currency=instruction.amount.currency),
                description=instruction.reason or None,
                notify_url=(instruction.details or {}).get("notifyUrl", self.settings.notify_url),
            ),
        )

    # --- signatures ---------------------------------------------------------------------------------------------------

    def signed(self, path: str, body: bytes, at: datetime) -> Request:
        """Return the signed request."""
        settings = self.settings
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
            ("Signature", signing.sign(self.private_key(), signed, settings.key_version)),
        )
        return Request("POST", settings.base_url + path, headers, body)

    def content(self, method: str, path: str, time: str, headers: Mapping[str, str], body: bytes) -> bytes:
        """Return what AlphaPay signs; raise `Forged` without a nonce, where its official SDK would verify nothing."""
        nonce = validation.required_header(headers, "nonce", _NONCE)
        return signing.content(method, path, self.client, time, nonce, body)

    def verify(self, key: RSAPublicKey, signature: str | None, content: bytes) -> None:
        """Raise `Forged` unless the signature header is AlphaPay's over the content."""
        signing.verify(key, signature, content, self.settings.provider_key_version)

    def distrusted(self, operation: str, answer: Answer, error: Exception) -> Unknown:
        """Return the outcome of an answer that AlphaPay did not sign."""
        result = claimed(Result, answer.body)
        return signatures.distrusted(
            error, self.name, claim=None if result is None else interpretation.describe(result)
        )

    def read_notification(self, body: bytes) -> tuple[str, Callable[[RefundInstruction], Outcome]]:
        """Return the id of the refund that succeeded, and the reader of the notification."""
        message = messages.decode(RefundNotification, body)
        return message.refund_request_id, partial(interpretation.read_notification, message)


# --- settings ---------------------------------------------------------------------------------------------------------


def _check_amount(amount: Money, exponent: int) -> None:
    validation.check_amount(amount, exponent, "AlphaPay")
    # Documented of orders; a refund is never more than its order.
    if len(str(amount.minor)) > _MAX_DIGITS:
        raise Invalid("amount", f"more than {_MAX_DIGITS} digits in minor units: AlphaPay has no payment of that size")


def build(settings: AlphaPaySettings, terms: Terms) -> AlphaPayProvider:
    """Return the provider of an account; raise `Invalid` with the setting that is wrong."""
    settings.check(AlphaPayProvider.name, "https://openapi.alphapay.ca", _MAX_NOTIFY_URL)
    validation.check_id("merchant_code", settings.merchant_code, 64)
    return AlphaPayProvider(settings, terms, *signatures.load_keys(settings.private_key, settings.provider_public_key))


PLUGIN: Final = ProviderPlugin(
    name="alphapay",
    version=__version__,
    settings=AlphaPaySettings,
    build=build,
    codes=MappingProxyType({"refund": REFUND_CODES, "inquire": INQUIRY_CODES}),
    terms=TERMS,
    text_details=frozenset({"notifyUrl"}),
    notifications=True,
    names_refund=MappingProxyType(
        {"inquire": frozenset({OutcomeKind.SUCCEEDED, OutcomeKind.PENDING, OutcomeKind.FAILED})}
    ),
)
