"""Antom on loopback: what its refund, inquiryRefund and notifyRefund say on the wire.

The rule of this module: it is written from Antom's documents alone and shares nothing with the plugin's translator but
the signature, so that the two check each other. What no document says is marked `assumed`. docs/simulator.md lists it.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Final

import attrs
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from refundry.errors import Invalid
from refundry.money import Money
from refundry.provider.strict_json import Unreadable, read_object
from refundry.testing.simulator.ledger import ParsedRequest, Refund, State, Verdict
from refundry.testing.simulator.messages import Call, Draft, Headers, Refusal, identifier, string
from refundry.testing.simulator.notifications import INTERVALS
from refundry.testing.simulator.registration import simulator_plugin
from refundry.testing.simulator.server import Simulator
from refundry.testing.simulator.settings import Check, Settings, flag
from refundry.testing.simulator.wire import FieldReader, Signature, SignedJsonWire, json_bytes, required_header
from refundry_antom.signing import content, sign, verify

CLIENT_ID: Final = "SANDBOX_5Y000000000SIM"

_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)

_MESSAGES: Final[Mapping[str, tuple[str, str]]] = {
    "SUCCESS": ("S", "Success"),
    "ACCESS_DENIED": ("F", "Access is denied."),
    "API_INVALID": ("F", "The API name or API call format is used incorrectly."),
    "CLIENT_INVALID": ("F", "The client ID is invalid."),
    "CURRENCY_NOT_SUPPORT": ("F", "The currency is not supported."),
    "INVALID_CONTRACT": ("F", "The parameter values in the contract do not match those in the current transaction."),
    "INVALID_MERCHANT_STATUS": ("F", "The merchant status is abnormal because restrictions exist."),
    "INVALID_SIGNATURE": ("F", "The signature is not validated."),
    "KEY_NOT_FOUND": ("F", "The private key or public key of Alipay or the merchant is not found."),
    "MEDIA_TYPE_NOT_ACCEPTABLE": (
        "F",
        "The server does not implement the media type that is acceptable to the client.",
    ),
    "MERCHANT_BALANCE_NOT_ENOUGH": ("F", "The merchant balance is insufficient."),
    "MERCHANT_NOT_REGISTERED": ("F", "The merchant is not registered."),
    "METHOD_NOT_SUPPORTED": ("F", "The server does not implement the requested HTTP method."),
    "MULTIPLE_REFUNDS_NOT_SUPPORTED": ("F", "Multiple refunds are not supported."),
    "NO_INTERFACE_DEF": ("F", "API is not defined."),
    "ORDER_IS_CLOSED": ("F", "The transaction is closed."),
    "ORDER_NOT_EXIST": ("F", "The order does not exist."),
    "ORDER_STATUS_INVALID": ("F", "The order status is invalid."),
    "PARAM_ILLEGAL": ("F", "The required parameters are not passed, or illegal parameters exist."),
    "PROCESS_FAIL": ("F", "A general business failure occurred."),
    "REFUND_AMOUNT_EXCEED": ("F", "The total refund amount exceeds the payment amount."),
    "REFUND_WINDOW_EXCEED": ("F", "The refund date exceeds the refundable period."),
    "REPEAT_REQ_INCONSISTENT": ("F", "The amount or currency is different from the previous request."),
    "RISK_REJECT": ("F", "The request is rejected because of the risk control."),
    "SYSTEM_ERROR": ("F", "A system error occurred."),
    "REFUND_IN_PROCESS": ("U", "The refund is being processed."),
    "REQUEST_TRAFFIC_EXCEED_LIMIT": ("U", "The request traffic exceeds the limit."),
    "UNKNOWN_EXCEPTION": ("U", "An API call has failed, which is caused by unknown reasons."),
}
"""Result codes with their status and message, from the tables of refund and inquiryRefund. Any other code is an F."""

_GATE: Final = frozenset(
    {
        "ACCESS_DENIED", "API_INVALID", "CLIENT_INVALID", "INVALID_API", "INVALID_CONTRACT", "INVALID_MERCHANT_STATUS",
        "INVALID_SIGNATURE", "KEY_NOT_FOUND", "MEDIA_TYPE_NOT_ACCEPTABLE", "MERCHANT_NOT_REGISTERED",
        "METHOD_NOT_SUPPORTED", "NO_INTERFACE_DEF", "PARAM_ILLEGAL", "REPEAT_REQ_INCONSISTENT", "SYSTEM_ERROR",
    }
)  # fmt: skip
"""Refusals that are not remembered against a refundRequestId (assumed: they come before the refund is looked up)."""

_CODES: Final[Mapping[str, str]] = {
    Verdict.DONE: "SUCCESS",
    Verdict.IN_PROCESS: "REFUND_IN_PROCESS",
    Verdict.FAILED: "PROCESS_FAIL",  # assumed: which code a repeat of an asynchronous failure gets is not documented
    Verdict.NOT_FOUND: "ORDER_NOT_EXIST",
    Verdict.UNKNOWN_PAYMENT: "ORDER_NOT_EXIST",
    Verdict.PAYMENT_STATUS: "ORDER_STATUS_INVALID",
    Verdict.CURRENCY: "CURRENCY_NOT_SUPPORT",
    Verdict.WINDOW: "REFUND_WINDOW_EXCEED",
    Verdict.EXCEEDED: "REFUND_AMOUNT_EXCEED",
    Verdict.BALANCE: "MERCHANT_BALANCE_NOT_ENOUGH",
    Verdict.INCONSISTENT: "REPEAT_REQ_INCONSISTENT",
    Refusal.PATH: "NO_INTERFACE_DEF",
    Refusal.METHOD: "METHOD_NOT_SUPPORTED",
    Refusal.MEDIA_TYPE: "MEDIA_TYPE_NOT_ACCEPTABLE",
    Refusal.CLIENT: "CLIENT_INVALID",
    Refusal.SIGNATURE: "INVALID_SIGNATURE",
    Refusal.FIELDS: "PARAM_ILLEGAL",
}
_UNSIGNED: Final = frozenset({"INVALID_SIGNATURE", "SIGNATURE_INVALID"})
"""Answered without a signature: Antom, "Sign a request and verify the signature", comment in the sample code."""
_ACKNOWLEDGED: Final = {"result": {"resultCode": "SUCCESS", "resultStatus": "S", "resultMessage": "success"}}
"""The fixed answer to a notification: Antom, notifyRefund."""


@attrs.frozen(kw_only=True)
class AntomSettings(Settings):
    """How the simulated Antom behaves."""

    client_id: str = CLIENT_ID
    key_version: str = "1"
    balance_shows_processing: bool = False
    """An inquiry shows PROCESSING after MERCHANT_BALANCE_NOT_ENOUGH: Antom, Refund, "Explanation of refundStatus"."""
    missing_shows_nulls: bool = False
    """An inquiry about an unknown refund is answered `S` with every field null: Antom, inquiryRefund, "null when the
    refund record cannot be found"."""

    OPTIONS: ClassVar[Mapping[str, Check]] = {
        **Settings.OPTIONS,
        "balance_shows_processing": flag,
        "missing_shows_nulls": flag,
    }


class AntomWire(SignedJsonWire[AntomSettings]):
    """Antom's messages."""

    provider = "antom"
    notification_intervals = INTERVALS
    client_header, client_setting = "client-id", "client_id"
    path = re.compile(r"/ams/(?:sandbox/)?api/v1/payments/(refund|inquiryRefund)(?:\?.*)?", re.ASCII | re.DOTALL)
    codes = _CODES
    unsigned = _UNSIGNED

    # --- requests -----------------------------------------------------------------------------------------------------

    @property
    def readers(self) -> Mapping[str, FieldReader]:
        """Return the readers of the two operations."""
        return {"refund": _refund_request, "inquiryRefund": _inquiry_request}

    def accepts_media_type(self, media_type: str | None) -> bool:
        """Return whether it is JSON; the header is optional in Antom's documents."""
        return media_type is None or media_type.split(";")[0].strip().lower() == "application/json"

    def verify(self, call: Call) -> None:
        """Raise `Forged` unless the client signed the request."""
        signed = content(call.method, call.path, self.client, required_header(call, "request-time"), call.body)
        verify(self.merchant_key, call.headers.get("signature"), signed)

    def refused(self, call: Call, code: str) -> Draft:
        """Return the answer to a refused request; an unknown client is answered under the id that it sent."""
        client = _header_safe(call.headers.get("client-id")) if code == Refusal.CLIENT else None
        return attrs.evolve(super().refused(call, code), client=client)

    def code_of_error(self, error: Unreadable | Invalid) -> str:
        """Return the code of an invalid request; a currency has its own."""
        unknown_currency = isinstance(error, Invalid) and error.field == "currency"
        return "CURRENCY_NOT_SUPPORT" if unknown_currency else Refusal.FIELDS

    def remembers(self, code: str) -> bool:
        """Return whether a repeat gets the same answer: after business failures, not after other refusals or a U."""
        return code not in _GATE and _MESSAGES.get(code, ("F", ""))[0] == "F"

    # --- responses and notifications ----------------------------------------------------------------------------------

    def body(self, draft: Draft, at: datetime) -> bytes:
        """Write a response or a notification, with the fields each is documented to have."""
        code = self.code_of(draft)
        if code == _CODES[Verdict.NOT_FOUND] and draft.operation == "inquiry" and self.settings.missing_shows_nulls:
            result = {"resultCode": "SUCCESS", "resultStatus": "S", "resultMessage": "success."}
            return json_bytes({"result": result, **dict.fromkeys(_NULLED)})
        status, message = _MESSAGES.get(code, ("F", "Failed."))
        status = draft.status or status
        fields: dict[str, Any] = {
            "result": {"resultCode": code, "resultStatus": status, "resultMessage": message},
        }
        if draft.refund is not None:
            fields |= _WRITERS.get(draft.operation, _nothing)(self, draft, draft.refund, status)
        return json_bytes(fields)

    def shown(self, draft: Draft, refund: Refund) -> State:
        """Return the refundStatus that an inquiry shows."""
        if self.settings.balance_shows_processing and refund.reason in (Verdict.BALANCE, _CODES[Verdict.BALANCE]):
            return State.PROCESSING
        return draft.state or refund.state

    def headers(self, draft: Draft) -> Headers:
        """Return the headers; those of responses are in lower case, as Antom's own SDK expects."""
        return [("content-type", "application/json; charset=UTF-8"), ("client-id", self.client_of(draft))]

    def signature(self, draft: Draft, body: bytes, at: datetime, key: RSAPrivateKey) -> Signature:
        """Sign a message over its path, client and time."""
        time = at.isoformat(timespec="seconds")
        header = sign(key, content("POST", draft.path, self.client_of(draft), time, body), self.settings.key_version)
        if draft.operation == "notification":
            return Signature(("Signature", header), ("Request-Time", time))
        return Signature(("signature", header), ("response-time", time))

    def notifies(self, state: State) -> bool:
        """Return True: Antom notifies of success and of failure."""
        return True

    def is_acknowledgement(self, status: int, body: bytes) -> bool:
        """Return whether it is the documented body with HTTP 200, in any order and spacing."""
        try:
            return status == 200 and read_object(body) == _ACKNOWLEDGED
        except Unreadable:
            return False


_NULLED: Final = ("refundId", "refundRequestId", "refundAmount", "refundStatus")


def _header_safe(value: str | None) -> str | None:
    return value if value and value.isascii() and value.isprintable() else None


# --- the fields of requests -------------------------------------------------------------------------------------------


def _refund_request(data: Mapping[str, Any]) -> ParsedRequest:
    _check_scalars(data)
    amount = data.get("refundAmount")
    if not isinstance(amount, dict):
        raise Invalid("refundAmount", "must be an Amount object")
    value, currency = string(amount, "value", 16, needed=True) or "", amount.get("currency")
    if not isinstance(currency, str) or _CURRENCY.fullmatch(currency) is None:
        raise Invalid("refundAmount.currency", "must be three capital letters")
    money = Money.of_minor(value, currency, field="refundAmount.value")
    if currency == "IDR" and money.minor % 100:
        raise Invalid("refundAmount.value", "must be a multiple of 100 for IDR")
    string(data, "referenceRefundId", 64)
    string(data, "captureId", 64)
    string(data, "refundReason", 256)
    return ParsedRequest(
        operation="refund",
        refund_request_id=identifier(data, "refundRequestId", 64, needed=True),
        payment=string(data, "paymentId", 64, needed=True) or "",
        amount=money,
        notify_url=string(data, "refundNotifyUrl", 1024),
    )


def _inquiry_request(data: Mapping[str, Any]) -> ParsedRequest:
    _check_scalars(data)
    request_id, refund_id = identifier(data, "refundRequestId", 64), string(data, "refundId", 64)
    if request_id is None and refund_id is None:
        raise Invalid("refundRequestId", "refundRequestId and refundId cannot both be null")
    return ParsedRequest(operation="inquiry", refund_request_id=request_id, refund_id=refund_id)


def _check_scalars(value: Any) -> None:
    """Refuse numbers and booleans anywhere: "Set the data type of each field (except array) as String"."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            _check_scalars(part)
    elif value is not None and not isinstance(value, str):
        raise Invalid("body", "every field must be a String")


# --- the fields of responses and notifications ------------------------------------------------------------------------


def _amount(money: Money) -> dict[str, str]:
    return {"currency": money.currency, "value": str(money.minor)}


def _time(refund: Refund) -> dict[str, str]:
    return {} if refund.finished_at is None else {"refundTime": refund.finished_at.isoformat(timespec="seconds")}


def _call(refund: Refund) -> dict[str, Any]:
    fixed = refund.settlement
    if fixed is None:
        return {}
    return {
        "grossSettlementAmount": _amount(fixed.of(refund.amount)),
        "settlementQuote": {
            "quoteId": f"Q{refund.refund_id}",
            "quoteCurrencyPair": f"{refund.amount.currency}/{fixed.currency}",
            "quotePrice": fixed.price,
        },
    }


def _ids(draft: Draft, refund: Refund) -> dict[str, Any]:
    return {
        "refundRequestId": refund.refund_request_id,
        "refundId": refund.refund_id,
        "refundAmount": _amount(draft.amount or refund.amount),
    }


def _nothing(wire: AntomWire, draft: Draft, refund: Refund, status: str) -> dict[str, Any]:
    return {}


def _refund_fields(wire: AntomWire, draft: Draft, refund: Refund, status: str) -> dict[str, Any]:
    if status != "S":
        return {}
    return {**_ids(draft, refund), "paymentId": refund.payment, **_time(refund), **_call(refund)}


def _inquiry_fields(wire: AntomWire, draft: Draft, refund: Refund, status: str) -> dict[str, Any]:
    if status != "S":
        return {}
    shown = wire.shown(draft, refund)
    done = {**_time(refund), **_call(refund)} if shown is State.SUCCESS else {}
    return {**_ids(draft, refund), "refundStatus": shown.value, **done}


def _notification_fields(wire: AntomWire, draft: Draft, refund: Refund, status: str) -> dict[str, Any]:
    state = draft.state or refund.state
    done = {**_time(refund), **_call(refund)} if state is State.SUCCESS else {}
    return {"notifyType": "REFUND_RESULT", **_ids(draft, refund), "refundStatus": state.value, **done}


_WRITERS: Final = {"refund": _refund_fields, "inquiry": _inquiry_fields, "notification": _notification_fields}


# --- the simulator ----------------------------------------------------------------------------------------------------


class AntomSimulator(Simulator[AntomSettings]):
    """Antom on loopback, with one merchant: `async with AntomSimulator(settings) as antom: antom.url`."""

    def new_wire(self) -> AntomWire:
        """Return Antom's messages."""
        return AntomWire(self.settings)


PLUGIN: Final = simulator_plugin(
    AntomSimulator,
    AntomSettings,
    name="antom",
    version="1.0.0",
    account={"client_id": CLIENT_ID, "key_version": 1},
)
