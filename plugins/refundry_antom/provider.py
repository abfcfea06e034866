"""Antom (Alipay global): a refund becomes a signed request, and a signed answer becomes an outcome.

The rule of this module: an answer is believed when it is signed by Antom over its raw bytes, is about exactly this
refund, and does not contradict itself; every other answer is `Unknown`, whatever it says. Sources: Antom's pages of
`refund`, `inquiryRefund` and `notifyRefund`, and its rules for signatures and idempotency.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Final

import attrs
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from refundry.money import MAX_DIGITS, Money
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
    Unreadable,
    messages,
    signatures,
    validation,
)
from refundry.provider.signed import VersionedKeySettings
from refundry.provider.signed_json import SignedJsonProvider, claimed
from refundry_antom import __version__, interpretation, request_fields, signing
from refundry_antom.codes import INQUIRY_CODES, REFUND_CODES
from refundry_antom.messages import (
    MULTIPLES,
    Amount,
    InquiryRequest,
    InquiryResponse,
    RefundNotification,
    RefundRequest,
    RefundResponse,
    Result,
)
from refundry_antom.reports import SETTLEMENT_DETAILS

_PATH: Final = "/ams/api/v1/payments/"
_SANDBOX_PATH: Final = "/ams/sandbox/api/v1/payments/"
_NOTIFY_TYPE: Final = "REFUND_RESULT"

_TOKEN: Final = re.compile(r"[!-~]{1,128}", re.ASCII)


ACKNOWLEDGEMENT: Final = Acknowledgement(
    200,
    (("content-type", "application/json"),),
    b'{"result":{"resultCode":"SUCCESS","resultStatus":"S","resultMessage":"success"}}',
)
"""The answer to every notification that is kept; Antom asks for exactly this body, unsigned."""


@attrs.frozen(slots=True, kw_only=True)
class AntomSettings(VersionedKeySettings):
    """The keys of an account with `provider = "antom"`.

    Antom has a public key for each client. Without `notify_url`, Antom posts to the URL set in its dashboard.
    """

    client_id: str
    """`SANDBOX_...` leads to the sandbox on the same host."""
    agent_token: str | None = attrs.field(default=None, repr=False)
    """For calls in the name of another merchant."""
    inquire_by_refund_id: bool = False
    """Inquire by Antom's refundId once it is known, and not by the refundRequestId."""


@attrs.frozen(slots=True)
class AntomProvider(SignedJsonProvider[AntomSettings]):
    """One account at Antom: `Provider` and `NotificationHandler`."""

    name = "Antom"
    client_header = "client-id"
    acknowledgement = ACKNOWLEDGEMENT

    @property
    def client(self) -> str:
        """Return the client id."""
        return self.settings.client_id

    # --- instructions -------------------------------------------------------------------------------------------------

    def exponent(self, currency: str) -> int:
        """Return Antom's number of decimals of a currency, or that of ISO 4217 if Antom does not list it."""
        return interpretation.exponent(currency)

    def check(self, instruction: RefundInstruction) -> None:
        """Raise `Invalid` for an instruction that Antom's field rules refuse."""
        validation.check_payment_id(instruction.payment, "Antom")
        _check_amount(instruction.amount, self.exponent(instruction.amount.currency))
        if instruction.details is not None:
            request_fields.check(instruction.details)

    def refund(self, instruction: RefundInstruction, at: datetime) -> ProviderCall:
        """Return the call that requests the refund; equal instructions give equal bytes."""
        read = partial(interpretation.read_refund, instruction)
        return self.call(self._path("refund"), self.body(instruction), at, RefundResponse, read)

    def inquire(self, instruction: RefundInstruction, at: datetime) -> ProviderCall:
        """Return the call that inquires about the refund: by Refundry's id, or by Antom's if the account asks for it.

        One of them alone: Antom ignores Refundry's id if its own is sent too. The answer must name Refundry's id.
        """
        refund_id = instruction.provider_refund_id if self.settings.inquire_by_refund_id else None
        request_id = instruction.refund_request_id if refund_id is None else None
        body = messages.encode(InquiryRequest(refund_request_id=request_id, refund_id=refund_id))
        read = partial(interpretation.read_inquiry, instruction)
        return self.call(self._path("inquiryRefund"), body, at, InquiryResponse, read)

    def refund_request(self, instruction: RefundInstruction) -> RefundRequest:
        """Return the message that requests the refund."""
        request = RefundRequest(
            refund_request_id=instruction.refund_request_id,
            payment_id=instruction.payment,
            refund_amount=_amount(instruction.amount),
            refund_reason=instruction.reason or None,
            refund_notify_url=(instruction.details or {}).get("refundNotifyUrl", self.settings.notify_url),
        )
        if not instruction.details:
            return request
        further = validation.sorted_fields(instruction.details)
        return messages.read(RefundRequest, further | messages.to_wire(request))

    def _path(self, operation: str) -> str:
        return (_SANDBOX_PATH if self.client.startswith("SANDBOX_") else _PATH) + operation

    # --- signatures ---------------------------------------------------------------------------------------------------

    def signed(self, path: str, body: bytes, at: datetime) -> Request:
        """Return the signed request."""
        settings, time = self.settings, at.isoformat(timespec="seconds")
        signed = signing.content("POST", path, settings.client_id, time, body)
        headers = [
            ("content-type", "application/json; charset=UTF-8"),
            ("client-id", settings.client_id),
            ("request-time", time),
            ("signature", signing.sign(self.private_key(), signed, settings.key_version)),
        ]
        if settings.agent_token is not None:
            headers.append(("agent-token", settings.agent_token))
        return Request("POST", settings.base_url + path, tuple(headers), body)

    def content(self, method: str, path: str, time: str, headers: Mapping[str, str], body: bytes) -> bytes:
        """Return what Antom signs."""
        return signing.content(method, path, self.client, time, body)

    def verify(self, key: RSAPublicKey, signature: str | None, content: bytes) -> None:
        """Raise `Forged` unless the signature header is Antom's over the content."""
        signing.verify(key, signature, content, self.settings.provider_key_version)

    def distrusted(self, operation: str, answer: Answer, error: Exception) -> Unknown:
        """Return the outcome of an answer that Antom did not sign, which it never does if our key is wrong."""
        result = claimed(Result, answer.body)
        code = result.result_code if result is not None and result.result_code in _QUOTED else None
        unsigned = all(name.lower() != "signature" for name, _ in answer.headers)
        rejected = unsigned and result is not None and result.result_status == "F" and code in _KEY_REFUSED
        keys = "private_key and key_version" if rejected else None
        return signatures.distrusted(error, self.name, claim=code, rejected_key=keys)

    def read_notification(self, body: bytes) -> tuple[str, Callable[[RefundInstruction], Outcome]]:
        """Return the id of the refund that a notifyRefund names, and the reader of the notification."""
        message = messages.decode(RefundNotification, body)
        if message.notify_type != _NOTIFY_TYPE:
            raise Unreadable(f"a notification of another kind than {_NOTIFY_TYPE}")
        return message.refund_request_id, partial(interpretation.read_notification, message)


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
    """Return the provider of an account; raise `Invalid` with the setting that is wrong."""
    _check_settings(settings)
    return AntomProvider(settings, terms, *signatures.load_keys(settings.private_key, settings.provider_public_key))


def _check_settings(settings: AntomSettings) -> None:
    settings.check(AntomProvider.name, "https://open-de-global.alipay.com", request_fields.MAX_NOTIFY_URL)
    validation.check_id("client_id", settings.client_id, 64)
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
    text_details=request_fields.TEXTS,
    notifications=True,
    names_refund=MappingProxyType(
        {
            "refund": frozenset({OutcomeKind.SUCCEEDED}),
            "inquire": frozenset({OutcomeKind.SUCCEEDED, OutcomeKind.PENDING, OutcomeKind.FAILED}),
        }
    ),
)
