"""Antom (Alipay global): a refund becomes a signed request, and a signed answer becomes an outcome.

The rule of this module: an answer is believed when it is signed by Antom over its raw bytes, is about exactly this
refund, and does not contradict itself; every other answer is `Unknown`, whatever it says. Sources: Antom's pages of
`refund`, `inquiryRefund` and `notifyRefund`, and its rules for signatures and idempotency.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import Any, Final, TypeVar

import attrs
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from refundry.money import MAX_DIGITS, Money, exponent_of
from refundry.provider import (
    Acknowledgement,
    Answer,
    Code,
    CodeClass,
    DefinitiveFailure,
    Forged,
    HttpUrl,
    Invalid,
    Notification,
    Outcome,
    Pending,
    ProviderCall,
    ProviderPlugin,
    PublicKeyPem,
    Quote,
    RefundInstruction,
    Request,
    Resend,
    Secret,
    Succeeded,
    Terms,
    Unknown,
    Unreadable,
    VerifiedNotification,
    codes,
    matching,
    messages,
    read_object,
    signatures,
    validation,
)
from refundry_antom import __version__, request_fields, signing
from refundry_antom.codes import INQUIRY_CODES, REFUND_CODES, STATUS_FAIL
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
_About = RefundResponse | InquiryResponse | RefundNotification

_PATH: Final = "/ams/api/v1/payments/"
_SANDBOX_PATH: Final = "/ams/sandbox/api/v1/payments/"
_NOTIFY_TYPE: Final = "REFUND_RESULT"

_MINOR_UNITS: Final = {
    0: "CLP JPY KRW VND",
    2: "AUD BDT BRL CAD CNY EUR GBP HKD IDR MXN MYR NZD PEN PHP PKR PLN SGD THB TWD USD",
}
_EXPONENTS: Final[Mapping[str, int]] = MappingProxyType(
    {currency: places for places, currencies in _MINOR_UNITS.items() for currency in currencies.split()}
)
"""Antom's own minor units (docs.antom.com/ac/ref/cc); other currencies are taken from ISO 4217."""

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
        """Give Antom's number of decimals, or that of ISO 4217 where Antom does not list the currency."""
        places = _EXPONENTS.get(currency)
        return exponent_of(currency) if places is None else places

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
        return self._call("refund", body, at, RefundResponse, partial(_read_refund, self, instruction))

    def inquire(self, instruction: RefundInstruction, at: datetime) -> ProviderCall:
        """Ask Antom where the refund stands, by our id alone.

        Antom ignores our id when its own is sent too; a wrong one would then answer about somebody else's refund.
        """
        body = messages.encode(InquiryRequest(refund_request_id=instruction.refund_request_id))
        return self._call("inquiryRefund", body, at, InquiryResponse, partial(_read_inquiry, self, instruction))

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
            read=partial(_read_notification, self, message),
            acknowledgement=ACKNOWLEDGEMENT,
        )


# --- what is not signed -----------------------------------------------------------------------------------------------


def _distrusted(answer: Answer, error: Exception) -> Unknown:
    claimed = _claimed(answer.body)
    code = claimed.result_code if claimed is not None and claimed.result_code in REFUND_CODES else None
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


# --- what an answer means ---------------------------------------------------------------------------------------------


def _read_refund(provider: AntomProvider, instruction: RefundInstruction, answer: RefundResponse) -> Outcome:
    result = answer.result
    wrong = _wrong_echo(instruction, answer) or _wrong_result(result, REFUND_CODES)
    if wrong is not None:
        return wrong
    code = REFUND_CODES.get(result.result_code)
    if code is None:
        return _UNLISTED[result.result_status](result.result_code)
    if code.meaning is CodeClass.SUCCESS:
        return _settled(provider, instruction, answer)
    return codes.outcome_of(code, answer.refund_id)


def _read_inquiry(provider: AntomProvider, instruction: RefundInstruction, answer: InquiryResponse) -> Outcome:
    result = answer.result
    wrong = _wrong_echo(instruction, answer) or _wrong_result(result, INQUIRY_CODES)
    if wrong is not None:
        return wrong
    code = INQUIRY_CODES.get(result.result_code)
    if code is None:
        said = f"{result.result_status}/{validation.shown(result.result_code)}"
        text = f"the inquiry was answered with {said}, a code that Antom does not document"
        return codes.undocumented(text, validation.as_code(result.result_code), Resend.AFTER_NOT_FOUND)
    if code.meaning is CodeClass.SUCCESS:
        return _by_refund_status(provider, instruction, answer)
    if code.meaning is CodeClass.NOT_FOUND and (answer.refund_status is not None or answer.refund_id is not None):
        return codes.contradiction("the answer says that the refund does not exist, and describes it", code.code)
    return codes.outcome_of(code)


def _by_refund_status(provider: AntomProvider, instruction: RefundInstruction, answer: InquiryResponse) -> Outcome:
    status = answer.refund_status
    if status is None:
        return Unknown("Antom answered, and did not say where the refund stands")
    if answer.refund_request_id is None:
        return Unknown("Antom's answer does not name the refund", status)
    if status == "SUCCESS":
        return _settled(provider, instruction, answer)
    if status == "PROCESSING":
        return Pending(status, "Antom works on the refund.", answer.refund_id)
    if status == "FAIL":
        return codes.failure(STATUS_FAIL)
    return Unknown(f"the refund is in a state that Antom does not document: {validation.shown(status)}")


def _read_notification(provider: AntomProvider, message: RefundNotification, instruction: RefundInstruction) -> Outcome:
    result, status = message.result, message.refund_status
    wrong = _wrong_echo(instruction, message)
    if wrong is not None:
        return wrong
    if status == "SUCCESS" and (result.result_status, result.result_code) == ("S", "SUCCESS"):
        return _settled(provider, instruction, message)
    if status == "FAIL" and result.result_status == "F" and result.result_code != "SUCCESS":
        known = REFUND_CODES.get(result.result_code, STATUS_FAIL)
        return DefinitiveFailure(validation.as_code(result.result_code) or STATUS_FAIL.code, known.cause, known.advice)
    combined = f"{validation.shown(result.result_status)}/{validation.shown(result.result_code)}"
    said = f"{validation.shown(status)} with {combined}"
    return codes.contradiction(f"the notification contradicts itself: {said}", validation.as_code(result.result_code))


def _settled(provider: AntomProvider, instruction: RefundInstruction, answer: _About) -> Outcome:
    if answer.refund_request_id is None or answer.refund_amount is None:
        text = "Antom reports a success and does not say of which refund and amount"
        return Unknown(text, "SUCCESS", resend=Resend.NEVER)
    left = messages.to_wire(answer, without=_CONSUMED)
    return Succeeded(
        amount=instruction.amount,
        provider_refund_id=answer.refund_id,
        settled_at=answer.refund_time,
        settlement_amount=_settlement_amount(provider, answer, left),
        quote=_quote(answer, left),
        details=_details(answer, left),
    )


_CONSUMED: Final = frozenset(
    {"result", "refundAmount", "refundRequestId", "refundId", "paymentId", "refundTime", "refundStatus", "notifyType"}
)


def _details(answer: _About, left: dict[str, Any]) -> Mapping[str, Any] | None:
    for name, part in (("result", answer.result), ("refundAmount", answer.refund_amount)):
        if part is not None and part.extra:
            left[name] = dict(part.extra)
    return left or None


def _settlement_amount(provider: AntomProvider, answer: _About, left: dict[str, Any]) -> Money | None:
    """Read the settlement amount; one that is no money stays among the details: it must not hide the settlement."""
    gross = answer.gross_settlement_amount
    if gross is None:
        return None
    try:
        money = Money.of_minor(gross.value, gross.currency, provider.exponent(gross.currency))
    except Invalid:
        return None
    if not gross.extra:
        del left["grossSettlementAmount"]
    return money


def _quote(answer: _About, left: dict[str, Any]) -> Quote | None:
    quote = answer.settlement_quote
    if quote is None:
        return None
    if not quote.extra:
        del left["settlementQuote"]
    return Quote(
        pair=quote.quote_currency_pair,
        price=quote.quote_price,
        id=quote.quote_id,
        start=quote.quote_start_time,
        expiry=quote.quote_expiry_time,
        guaranteed=quote.guaranteed,
    )


def _unlisted_success(name: str) -> Outcome:
    return Unknown(
        "Antom reports a success with a code that it does not document", validation.as_code(name), resend=Resend.NEVER
    )


def _unlisted_failure(name: str) -> Outcome:
    text = f"Antom reports a failure that it does not document: {validation.shown(name)}"
    return codes.undocumented(text, validation.as_code(name))


def _unlisted_unknown(name: str) -> Outcome:
    return Unknown("Antom does not know, and gives a reason that it does not document", validation.as_code(name))


_UNLISTED: Final[Mapping[str, Callable[[str], Outcome]]] = MappingProxyType(
    {"S": _unlisted_success, "F": _unlisted_failure, "U": _unlisted_unknown}
)


def _wrong_result(result: Result, table: Mapping[str, Code]) -> Outcome | None:
    """Return what is wrong with a status that does not exist, or that is not documented with the code, or `None`."""
    if result.result_status not in _UNLISTED:
        return Unknown(f"a result status that Antom does not document: {validation.shown(result.result_status)}")
    row = table.get(result.result_code)
    return None if row is None else codes.status_conflict(row, result.result_status)


def _wrong_echo(instruction: RefundInstruction, answer: _About) -> Outcome | None:
    amount = answer.refund_amount
    return matching.mismatch(
        instruction,
        refund_request_id=answer.refund_request_id,
        payment=getattr(answer, "payment_id", None),
        provider_refund_id=answer.refund_id,
        amount=None if amount is None else (amount.value, amount.currency),
    )


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
