"""AlphaPay on loopback: what its refund, inquiryRefund and notification say on the wire.

The rule of this module: it is written from AlphaPay's documents alone and shares nothing with the plugin's translator
but the signature, so that the two check each other. What no document says is marked `assumed`, and every result code
that begins with SIM_ is invented: AlphaPay's list is not published. docs/simulator.md lists both.
"""

import re
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar, Final

import attrs
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from refundry.errors import Invalid
from refundry.money import Money
from refundry.testing.simulator.ledger import Ledger, ParsedRequest, Refund, State, Verdict
from refundry.testing.simulator.messages import Call, Draft, Headers, Refusal, string
from refundry.testing.simulator.registration import simulator_plugin
from refundry.testing.simulator.server import Simulator
from refundry.testing.simulator.settings import Check, Settings, choice, flag
from refundry.testing.simulator.wire import FieldReader, Signature, SignedJsonWire, json_bytes, required_header
from refundry_alphapay.signing import content, sign, verify

MERCHANT_CODE: Final = "SIM5Y7"
UNDECLARED_AMOUNT: Final = 9_999_999
"""The minor units of a payment that was not declared: AlphaPay's orders have at most seven digits."""

_VALUE: Final = re.compile(r"[0-9]{1,7}", re.ASCII)
"""Documented of orders; assumed of refunds."""
_CURRENCY: Final = "CAD"
"""Assumed if a request names none, which the documents allow: it is read before its payment is looked up."""

REPEATED: Final = "SIM_REPEATED"
MESSAGES: Final[Mapping[str, tuple[str, str]]] = {
    "SUCCESS": ("S", "success"),
    "PAYMENT_IN_PROCESS": ("U", "The payment is in process."),
    "ORDER_PAID": ("F", "The order is paid."),
    "SIM_API_UNKNOWN": ("F", "There is no such interface."),
    "SIM_METHOD_NOT_SUPPORTED": ("F", "The method is not supported."),
    "SIM_MERCHANT_UNKNOWN": ("F", "The merchant code is unknown."),
    "SIM_SIGNATURE_INVALID": ("F", "The signature is invalid."),
    "SIM_PARAM_INVALID": ("F", "A parameter is missing or invalid."),
    "SIM_REFUND_ID_MISSING": ("F", "refundId is required."),
    "SIM_REFUND_NOT_FOUND": ("F", "The refund does not exist."),
    "SIM_PAYMENT_NOT_FOUND": ("F", "The order does not exist."),
    "SIM_PAYMENT_STATUS": ("F", "The order cannot be refunded in its state."),
    "SIM_CURRENCY": ("F", "The currency is not that of the order."),
    "SIM_WINDOW": ("F", "The order can no longer be refunded."),
    "SIM_AMOUNT_EXCEEDED": ("F", "The amount exceeds what is left of the order."),
    "SIM_BALANCE": ("F", "The balance of the merchant is not enough."),
    REPEATED: ("F", "The refundRequestId is in use."),
    "SIM_UNKNOWN": ("U", "The result is unknown."),
}
"""Result codes with their status and message. The first three were seen; all others are invented."""

_GATE: Final = frozenset(
    {
        "SIM_API_UNKNOWN", "SIM_METHOD_NOT_SUPPORTED", "SIM_MERCHANT_UNKNOWN", "SIM_SIGNATURE_INVALID",
        "SIM_PARAM_INVALID", REPEATED,
    }
)  # fmt: skip
"""Refusals that are not remembered against a refundRequestId (assumed: they come before the refund is looked up)."""

_CODES: Final[Mapping[str, str]] = {
    Verdict.DONE: "SUCCESS",
    Verdict.IN_PROCESS: "SUCCESS",
    Verdict.FAILED: "SUCCESS",  # the reply to a refund states that it was accepted, whatever became of it
    Verdict.NOT_FOUND: "SIM_REFUND_NOT_FOUND",
    Verdict.UNKNOWN_PAYMENT: "SIM_PAYMENT_NOT_FOUND",
    Verdict.PAYMENT_STATUS: "SIM_PAYMENT_STATUS",
    Verdict.CURRENCY: "SIM_CURRENCY",
    Verdict.WINDOW: "SIM_WINDOW",
    Verdict.EXCEEDED: "SIM_AMOUNT_EXCEEDED",
    Verdict.BALANCE: "SIM_BALANCE",
    Verdict.INCONSISTENT: REPEATED,
    Refusal.PATH: "SIM_API_UNKNOWN",
    Refusal.METHOD: "SIM_METHOD_NOT_SUPPORTED",
    Refusal.CLIENT: "SIM_MERCHANT_UNKNOWN",
    Refusal.SIGNATURE: "SIM_SIGNATURE_INVALID",
    Refusal.FIELDS: "SIM_PARAM_INVALID",
}
_STATUSES: Final[Mapping[State, str]] = {
    State.PROCESSING: "REFUND_IN_PROCESS",
    State.SUCCESS: "SUCCESS",
    State.FAIL: "FAILED",
}


@attrs.frozen(kw_only=True)
class AlphaPaySettings(Settings):
    """How the simulated AlphaPay behaves."""

    merchant_code: str = MERCHANT_CODE
    key_version: str = "1"
    notify_sync: bool = True
    """AlphaPay, notification: after every successful refund."""
    repeat: str = "refuse"
    """What a repeated refundRequestId means, which is not documented. `refuse`: an error; `same`: the existing refund;
    `pay_again`: one more refund, which shows what a platform that sends a request again would have paid."""
    inquire_by_request_id: bool = True
    """An inquiry may name the merchant's id alone. Taken literally, the page requires refundId."""

    OPTIONS: ClassVar[Mapping[str, Check]] = {
        **Settings.OPTIONS,
        "repeat": choice("refuse", "same", "pay_again"),
        "inquire_by_request_id": flag,
    }


@attrs.frozen(kw_only=True)
class RefundRequest(ParsedRequest):
    """A request for a refund, with what only AlphaPay echoes."""

    description: str | None = None


@attrs.define
class AlphaPayLedger(Ledger):
    """A ledger in which a repeated id need not be the same refund."""

    repeat: str = "refuse"

    def request(self, parsed: ParsedRequest, now: datetime) -> tuple[Verdict | str, Refund | None]:
        """Process a refund request; the setting decides whether a repeat is refused, the same refund or one more."""
        known = self.find(parsed)
        if known is not None and self.repeat != "same":
            known.count_request(parsed.digest)
            if self.repeat == "refuse":
                return REPEATED, None
            del self._by_request[self._request(parsed)]
        reason, refund = super().request(parsed, now)
        if refund is not None:
            refund.facts.setdefault("asked_at", now)
            refund.facts.setdefault("description", getattr(parsed, "description", None))
        return reason, refund


class AlphaPayWire(SignedJsonWire[AlphaPaySettings]):
    """AlphaPay's messages; the order in which it checks a request is assumed."""

    provider = "alphapay"
    notification_intervals = (0.0,)  # "one single attempt" for refunds
    client_header, client_setting = "merchant-code", "merchant_code"
    path = re.compile(r"/api/v2\.0/payments/(refund|inquiryRefund)", re.ASCII)
    codes = _CODES

    # --- requests -----------------------------------------------------------------------------------------------------

    @property
    def readers(self) -> Mapping[str, FieldReader]:
        """Return the readers of the two operations."""
        return {"refund": _refund_request, "inquiryRefund": _inquiry_request}

    def parse_request(self, call: Call) -> ParsedRequest | Draft:
        """Require refundId last, if the setting does."""
        parsed = super().parse_request(call)
        by_request_id = isinstance(parsed, ParsedRequest) and parsed.operation == "inquiry" and parsed.refund_id is None
        if by_request_id and not self.settings.inquire_by_request_id:
            return self.refused(call, "SIM_REFUND_ID_MISSING")
        return parsed

    def verify(self, call: Call) -> None:
        """Raise `Forged` unless the merchant signed the request."""
        time, nonce = required_header(call, "request-time"), required_header(call, "nonce")
        signed = content(call.method, call.path, self.client, time, nonce, call.body)
        verify(self.merchant_key, call.headers.get("signature"), signed)

    def remembers(self, code: str) -> bool:
        """Return whether the refund has failed afterwards: after an F, unless it was not looked up (assumed)."""
        return code not in _GATE and _result_of(code)[0] == "F"

    # --- responses and notifications ----------------------------------------------------------------------------------

    def body(self, draft: Draft, at: datetime) -> bytes:
        """Write a response or a notification, with the fields each is documented to have."""
        code = self.code_of(draft)
        status, message = _result_of(code)
        status = draft.status or status
        fields: dict[str, Any] = {}
        if draft.refund is not None and (status == "S" or draft.operation == "notification"):
            fields |= _WRITERS[draft.operation](draft, draft.refund)
        if draft.operation != "notification":
            fields["result"] = {"resultCode": code, "resultMessage": message, "resultStatus": status}
        return json_bytes(fields)

    def headers(self, draft: Draft) -> Headers:
        """Return the headers; only a notification names the merchant."""
        merchant = [("Merchant-Code", self.client_of(draft))] if draft.operation == "notification" else []
        return [("Content-Type", "application/json; charset=UTF-8"), *merchant]

    def signature(self, draft: Draft, body: bytes, at: datetime, key: RSAPrivateKey) -> Signature:
        """Sign a message, with the header names that the official SDK looks for."""
        time, nonce = at.isoformat(timespec="seconds"), secrets.token_hex(16)
        signed = content("POST", draft.path, self.client_of(draft), time, nonce, body)
        time_header = "Request-Time" if draft.operation == "notification" else "Response-Time"
        header = ("Signature", sign(key, signed, self.settings.key_version))
        return Signature(header, (time_header, time), [("Nonce", nonce)])

    def notifies(self, state: State) -> bool:
        """Return whether the refund succeeded."""
        return state is State.SUCCESS

    def is_acknowledgement(self, status: int, body: bytes) -> bool:
        """Return whether the status is 200 (assumed: the page breaks off before the body); nothing is ever repeated."""
        return status == 200


def _result_of(code: str) -> tuple[str, str]:
    """Return the status and the message of a code; a status in place of a code means any code with that status."""
    return MESSAGES.get(code, (code if code in ("S", "U") else "F", "any"))


# --- the fields of requests -------------------------------------------------------------------------------------------


def _refund_request(data: Mapping[str, Any]) -> ParsedRequest:
    refund = data.get("refund")
    amount = refund.get("refundAmount") if isinstance(refund, dict) else None
    if not isinstance(refund, dict) or not isinstance(amount, dict):
        raise Invalid("refund", "must be an object with a refundAmount")
    value = amount.get("value")
    if not isinstance(value, str) or _VALUE.fullmatch(value) is None:
        raise Invalid("refund.refundAmount.value", "must be a String of 1 to 7 digits")
    currency = string(amount, "currency", 3)
    return RefundRequest(
        operation="refund",
        refund_request_id=string(data, "refundRequestId", 64, needed=True),  # AlphaPay: optional
        payment=string(data, "paymentId", 64, needed=True) or "",
        amount=Money.of_minor(value, currency or _CURRENCY, field="refund.refundAmount.value"),
        notify_url=string(refund, "notifyUrl", 1024),
        description=string(refund, "description", 128),
    )


def _inquiry_request(data: Mapping[str, Any]) -> ParsedRequest:
    request_id, refund_id = string(data, "refundRequestId", 64), string(data, "refundId", 64)
    if request_id is None and refund_id is None:
        raise Invalid("refundId", "is required")
    return ParsedRequest(operation="inquiry", refund_request_id=request_id, refund_id=refund_id)


# --- the fields of responses and notifications ------------------------------------------------------------------------


def _refund_fields(draft: Draft, refund: Refund) -> dict[str, Any]:
    """Return the fields of an accepted refund; this answer has no refundStatus."""
    ids = {"refundId": refund.refund_id, "paymentId": refund.payment, "refundRequestId": refund.refund_request_id}
    return {**ids, **_time(refund.facts.get("asked_at")), "refund": _details(draft, refund)}


def _inquiry_fields(draft: Draft, refund: Refund) -> dict[str, Any]:
    return {
        "paymentId": refund.payment,
        "refundRequestId": refund.refund_request_id,
        "refundId": refund.refund_id,
        **_time(refund.facts.get("asked_at")),
        "refundStatus": _STATUSES[draft.state or refund.state],
        "refund": _details(draft, refund),
    }


_WRITERS: Final[Mapping[str, Callable[[Draft, Refund], dict[str, Any]]]] = {
    "refund": _refund_fields,
    "inquiry": _inquiry_fields,
    "notification": _inquiry_fields,
}


def _time(moment: datetime | None) -> dict[str, str]:
    """Return the time of the request, which is what the official SDK's comments call refundTime in either answer."""
    return {} if moment is None else {"refundTime": moment.isoformat(timespec="seconds")}


def _details(draft: Draft, refund: Refund) -> dict[str, Any]:
    amount = draft.amount or refund.amount
    given = {"description": refund.facts.get("description"), "notifyUrl": refund.notify_url}
    return {
        "refundAmount": {"value": str(amount.minor), "currency": amount.currency},
        **{name: value for name, value in given.items() if value is not None},
    }


# --- the simulator ----------------------------------------------------------------------------------------------------


class AlphaPaySimulator(Simulator[AlphaPaySettings]):
    """AlphaPay on loopback, with one merchant: `async with AlphaPaySimulator(settings) as alphapay: alphapay.url`."""

    def new_wire(self) -> AlphaPayWire:
        """Return AlphaPay's messages."""
        return AlphaPayWire(self.settings)

    def new_ledger(self) -> Ledger:
        """Return a ledger in which a repeat is what the setting names."""
        return AlphaPayLedger(self.settings.payments == "any", UNDECLARED_AMOUNT, repeat=self.settings.repeat)

    def change(self, options: Mapping[str, Any]) -> None:
        """Change settings while it runs; `Invalid` names the option and the rule."""
        super().change(options)
        assert isinstance(self.ledger, AlphaPayLedger)
        self.ledger.repeat = self.settings.repeat


PLUGIN: Final = simulator_plugin(
    AlphaPaySimulator,
    AlphaPaySettings,
    name="alphapay",
    version="1.0.0",
    account={"merchant_code": MERCHANT_CODE, "key_version": 1},
)
