"""AlphaPay (Canada), version 2.0: a refund becomes a signed request, and a signed answer becomes an outcome.

The rule of this module: an answer is believed when it is signed by AlphaPay over its raw bytes, is about exactly this
refund, and does not contradict itself; every other answer is `Unknown`, whatever it says. Only refundStatus settles or
fails a refund: the reply to `refund` says that it was accepted, and no more. Sources: AlphaPay's pages of `refund`,
`inquiryRefund`, the notification and the signature, version 2.0, and its official SDK.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import Any, Final, TypeVar

import attrs
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from refundry.money import Money, exponent_of
from refundry.provider import (
    Acknowledgement,
    Answer,
    Code,
    Forged,
    HttpUrl,
    Invalid,
    NotFound,
    Notification,
    Outcome,
    Pending,
    ProviderCall,
    ProviderPlugin,
    PublicKeyPem,
    RefundInstruction,
    Request,
    Resend,
    ReviewReason,
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
from refundry_alphapay import __version__, signing
from refundry_alphapay.codes import INQUIRY_CODES, REFUND_CODES, REFUND_STATUS
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
_About = RefundResponse | InquiryResponse | RefundNotification

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
        return self._call("refund", body, at, RefundResponse, partial(_read_refund, instruction))

    def inquire(self, instruction: RefundInstruction, at: datetime) -> ProviderCall:
        """Ask AlphaPay where the refund stands: by our id, and by its own as well once it is known.

        By the letter its own id is required, so it is sent where we have it; which of the two it looks at does not
        matter, for the answer must name both.
        """
        request = InquiryRequest(
            refund_id=instruction.provider_refund_id, refund_request_id=instruction.refund_request_id
        )
        return self._call(
            "inquiryRefund", messages.encode(request), at, InquiryResponse, partial(_read_inquiry, instruction)
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
            read=partial(_read_notification, message),
            acknowledgement=ACKNOWLEDGEMENT,
        )


# --- what is not signed -----------------------------------------------------------------------------------------------


def _distrusted(answer: Answer, error: Exception) -> Unknown:
    claimed = _claimed(answer.body)
    return signatures.distrusted(error, "AlphaPay", claim=None if claimed is None else _said(claimed))


def _claimed(body: bytes) -> Result | None:
    try:
        return messages.read(Result, read_object(body).get("result"))
    except Unreadable:
        return None


def _said(result: Result) -> str:
    """Give a result in one line; only its message says more than that it is not a success."""
    text = f"{validation.shown(result.result_status)}/{validation.shown(result.result_code)}"
    return text if result.result_message is None else f"{text}: {validation.shown(result.result_message)}"


# --- what an answer means ---------------------------------------------------------------------------------------------


def _read_refund(instruction: RefundInstruction, answer: RefundResponse) -> Outcome:
    wrong = _wrong_echo(instruction, answer) or _wrong_result(answer.result, REFUND_CODES)
    if wrong is not None:
        return wrong
    row, code = REFUND_CODES[answer.result.result_status], validation.as_code(answer.result.result_code)
    if row.status == "F":
        text = f"AlphaPay refuses the refund ({_said(answer.result)})"
        return Unknown(text, code, resend=Resend.NEVER, review=ReviewReason.UNCONFIRMED_REFUSAL, advice=row.advice)
    refund_id = answer.refund_id if answer.refund_request_id is not None else None
    # Who does not know yet, and has given the refund an id, has taken it.
    if row.status == "U" and refund_id is None:
        return Unknown(row.cause, code, resend=Resend.NEVER)
    return Pending(code, row.cause, refund_id)


def _read_inquiry(instruction: RefundInstruction, answer: InquiryResponse) -> Outcome:
    wrong = _wrong_echo(instruction, answer) or _wrong_result(answer.result, INQUIRY_CODES)
    if wrong is not None:
        return wrong
    row, code = INQUIRY_CODES[answer.result.result_status], validation.as_code(answer.result.result_code)
    if row.status == "S":
        return _by_refund_status(instruction, answer)
    if row.status == "U":
        return Unknown(f"{row.cause} ({_said(answer.result)})", code)
    if answer.refund_status is not None or answer.refund_id is not None:
        return codes.contradiction("the answer says that the inquiry failed, but describes the refund", code)
    return NotFound(code or row.code, f"{row.cause} ({_said(answer.result)})")


def _by_refund_status(instruction: RefundInstruction, answer: InquiryResponse) -> Outcome:
    status = answer.refund_status
    if status is None:
        return Unknown("AlphaPay answered, and did not say where the refund stands")
    if answer.refund_request_id is None:
        return Unknown("AlphaPay's answer does not name the refund", validation.as_code(status))
    row = REFUND_STATUS.get(status)
    if row is None:
        return Unknown(f"the refund is in a state that AlphaPay does not document: {validation.shown(status)}")
    return _BY_STATUS[row.code](row, instruction, answer)


def _in_process(row: Code, instruction: RefundInstruction, answer: _About) -> Outcome:
    return Pending(row.code, row.cause, answer.refund_id)


def _failed(row: Code, instruction: RefundInstruction, answer: _About) -> Outcome:
    return codes.failure(row)


def _settled(row: Code, instruction: RefundInstruction, answer: _About) -> Outcome:
    # Whether a refundRequestId is unique among all payments, or within its own, no page says.
    if answer.refund is None or answer.refund.refund_amount is None or answer.payment_id is None:
        text = "AlphaPay reports a success and does not say of which amount and payment"
        return Unknown(text, row.code, resend=Resend.NEVER)
    return Succeeded(
        amount=instruction.amount,
        provider_refund_id=answer.refund_id,
        details=_details(answer) or None,
    )


_BY_STATUS: Final[Mapping[str, Callable[[Code, RefundInstruction, _About], Outcome]]] = MappingProxyType(
    {"REFUND_IN_PROCESS": _in_process, "SUCCESS": _settled, "FAILED": _failed}
)


def _details(answer: _About) -> dict[str, Any]:
    """Give what was said beyond the described fields, each where it stood, and refundTime.

    That is no time of settlement: the official SDK comments it as the time of initiation, in either answer.
    """
    left = dict(answer.extra)
    if answer.refund_time is not None:
        left["refundTime"] = answer.refund_time
    result = getattr(answer, "result", None)
    if result is not None and result.extra:
        left["result"] = dict(result.extra)
    refund = answer.refund
    if refund is not None:
        amount = refund.refund_amount
        inside = dict(refund.extra)
        if amount is not None and amount.extra:
            inside["refundAmount"] = dict(amount.extra)
        if inside:
            left["refund"] = inside
    return left


def _read_notification(message: RefundNotification, instruction: RefundInstruction) -> Outcome:
    wrong = _wrong_echo(instruction, message)
    if wrong is not None:
        return wrong
    if message.refund_status != "SUCCESS":
        text = f"AlphaPay notifies of successes, and this notification says {validation.shown(message.refund_status)}"
        return codes.contradiction(text, validation.as_code(message.refund_status))
    return _settled(REFUND_STATUS["SUCCESS"], instruction, message)


def _wrong_result(result: Result, table: Mapping[str, Code]) -> Outcome | None:
    """Return what is wrong with a status that does not exist, or that a listed code does not come with, or `None`."""
    if result.result_status not in ("S", "F", "U"):
        return Unknown(f"a result status that AlphaPay does not document: {validation.shown(result.result_status)}")
    row = table.get(result.result_code or "")
    return None if row is None else codes.status_conflict(row, result.result_status)


def _wrong_echo(instruction: RefundInstruction, answer: _About) -> Outcome | None:
    """Compare the currency where it is said: the page has the value alone, in the currency of the payment."""
    amount = None if answer.refund is None else answer.refund.refund_amount
    return matching.mismatch(
        instruction,
        refund_request_id=answer.refund_request_id,
        payment=answer.payment_id,
        provider_refund_id=answer.refund_id,
        amount=None if amount is None else (amount.value, amount.currency),
    )


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
