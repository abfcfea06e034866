"""AlphaPay on loopback: what its refund, inquiryRefund and notification say on the wire.

The rule of this module: it is written from AlphaPay's documents alone and shares nothing with the plugin's translator
but the signature, so that the two check each other. What no document says is marked `assumed`, and every result code
that begins with SIM_ is invented: AlphaPay's list is not published. docs/simulator.md lists both.
"""

import hashlib
import json
import re
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Final

import attrs

from refundry.errors import Forged, Invalid
from refundry.money import Money
from refundry.ports import Ports
from refundry.provider.signatures import load_private_key, load_public_key
from refundry.provider.strict_json import Unreadable, read_object
from refundry.testing.simulator.ledger import Ledger, ParsedRequest, Refund, State, Verdict
from refundry.testing.simulator.messages import Call, Draft, Headers, SignatureFlaw, identifier, string, with_flaw
from refundry.testing.simulator.server import Simulator
from refundry.testing.simulator.settings import (
    Check,
    Keys,
    Settings,
    SimulatorPlugin,
    account_text,
    choice,
    flag,
    make_keys,
    text,
    with_options,
)
from refundry_alphapay.signing import content, sign, verify

MERCHANT_CODE: Final = "SIM5Y7"
UNDECLARED_AMOUNT: Final = 9_999_999
"""The minor units of a payment that nobody declared: AlphaPay's orders have at most seven digits."""

_PATH: Final = re.compile(r"/api/v2\.0/payments/(refund|inquiryRefund)", re.ASCII)
_VALUE: Final = re.compile(r"[0-9]{1,7}", re.ASCII)
"""Documented of orders; assumed of refunds."""
_CURRENCY: Final = "CAD"
"""Assumed where a request names none, as the documents let it: the books of a payment are not open to the gate."""

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
    Verdict.FAILED: "SUCCESS",  # the reply to a refund says that it was accepted, whatever became of it
    Verdict.NOT_FOUND: "SIM_REFUND_NOT_FOUND",
    Verdict.UNKNOWN_PAYMENT: "SIM_PAYMENT_NOT_FOUND",
    Verdict.PAYMENT_STATUS: "SIM_PAYMENT_STATUS",
    Verdict.CURRENCY: "SIM_CURRENCY",
    Verdict.WINDOW: "SIM_WINDOW",
    Verdict.EXCEEDED: "SIM_AMOUNT_EXCEEDED",
    Verdict.BALANCE: "SIM_BALANCE",
    Verdict.INCONSISTENT: REPEATED,
}
_STATUSES: Final[Mapping[State, str]] = {
    State.PROCESSING: "REFUND_IN_PROCESS",
    State.SUCCESS: "SUCCESS",
    State.FAIL: "FAILED",
}


@attrs.frozen(kw_only=True)
class AlphaPaySettings(Settings):
    """How the simulated AlphaPay behaves."""

    keys: Keys
    merchant_code: str = MERCHANT_CODE
    key_version: str = "1"
    notify_sync: bool = True
    """The page of the notification: after every successful refund."""
    repeat: str = "refuse"
    """What a repeated refundRequestId is: no document says. `refuse`: an error; `same`: the refund that is there;
    `pay_again`: one more refund, which shows what a platform that sends again would have paid."""
    inquire_by_request_id: bool = True
    """An inquiry may name the merchant's id alone. By the letter of the page refundId is required."""

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
    """Books in which a repeated id is not promised to be the same refund."""

    repeat: str = "refuse"

    def request(self, parsed: ParsedRequest, now: datetime) -> tuple[Verdict | str, Refund | None]:
        """Take a refund request; a repeat of an id is refused, told again, or one more refund, as the setting says."""
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


class AlphaPayWire:
    """AlphaPay's messages."""

    provider = "alphapay"
    notification_intervals = (0.0,)  # "one single attempt" for refunds

    def __init__(self, settings: AlphaPaySettings) -> None:
        self._merchant_code = text("merchant_code", settings.merchant_code)
        self._key_version = settings.key_version
        self.inquire_by_request_id = settings.inquire_by_request_id
        self._merchant = load_public_key(settings.keys.merchant_public.read_bytes(), "merchant.pub.pem")
        self._key = load_private_key(settings.keys.provider.read_bytes(), "provider.pem")
        self._wrong_key = load_private_key(settings.keys.merchant.read_bytes(), "merchant.pem")

    # --- hearing ------------------------------------------------------------------------------------------------------

    def parse_request(self, call: Call) -> ParsedRequest | Draft:
        """Check the path, the method, the merchant, the signature and the fields, in this order (assumed)."""
        match = _PATH.fullmatch(call.path)
        if match is None:
            return _refused(call, "SIM_API_UNKNOWN")
        if call.method != "POST":
            return _refused(call, "SIM_METHOD_NOT_SUPPORTED")
        if call.headers.get("merchant-code") != self._merchant_code:
            return _refused(call, "SIM_MERCHANT_UNKNOWN")
        if not self._genuine(call):
            return _refused(call, "SIM_SIGNATURE_INVALID")
        try:
            data = read_object(call.body)
            parsed = _READERS[match[1]](call, data)
        except (Unreadable, Invalid):
            return _refused(call, "SIM_PARAM_INVALID")
        if parsed.operation == "inquiry" and parsed.refund_id is None and not self.inquire_by_request_id:
            return _refused(call, "SIM_REFUND_ID_MISSING")
        return parsed

    def _genuine(self, call: Call) -> bool:
        time, nonce = call.headers.get("request-time", ""), call.headers.get("nonce", "")
        signed = content(call.method, call.path, self._merchant_code, time, nonce, call.body)
        try:
            verify(self._merchant, call.headers.get("signature"), signed)
        except Forged:
            return False
        return time != "" and nonce != ""

    def remembers(self, code: str) -> bool:
        """Say whether the refund is known as failed afterwards: after an F, unless it came from the gate (assumed)."""
        return code not in _GATE and _result_of(code)[0] == "F"

    # --- saying -------------------------------------------------------------------------------------------------------

    def body(self, draft: Draft, at: datetime) -> bytes:
        """Write a response or a notification, with the fields each is documented to have."""
        code = _CODES.get(draft.code, draft.code)
        status, message = _result_of(code)
        status = draft.status or status
        fields: dict[str, Any] = {}
        if draft.refund is not None and (status == "S" or draft.operation == "notification"):
            fields |= _WRITERS[draft.operation](draft, draft.refund)
        if draft.operation != "notification":
            fields["result"] = {"resultCode": code, "resultMessage": message, "resultStatus": status}
        return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()

    def sign(self, draft: Draft, body: bytes, at: datetime, flaw: SignatureFlaw | None) -> tuple[Headers, bytes]:
        """Sign what is about to leave, with the header names that the official SDK looks for."""
        told = draft.operation == "notification"
        headers = [("Content-Type", "application/json; charset=UTF-8")]
        if told:
            headers.append(("Merchant-Code", draft.client or self._merchant_code))
        if flaw is SignatureFlaw.UNSIGNED:
            return headers, body
        merchant = draft.client or self._merchant_code
        time, nonce = at.isoformat(timespec="seconds"), secrets.token_hex(16)
        key = self._wrong_key if flaw is SignatureFlaw.WRONG_KEY else self._key
        signed = content("POST", draft.path, merchant, time, nonce, body)
        headers += [("Signature", with_flaw(sign(key, signed, self._key_version), flaw)), ("Nonce", nonce)]
        if flaw is not SignatureFlaw.NO_TIME:
            headers.append(("Request-Time" if told else "Response-Time", time))
        return headers, body

    def notifies(self, state: State) -> bool:
        """Tell of success alone."""
        return state is State.SUCCESS

    def is_acknowledgement(self, status: int, body: bytes) -> bool:
        """Take any answer with HTTP 200 (assumed: the page ends before the text); nothing is repeated either way."""
        return status == 200


def _result_of(code: str) -> tuple[str, str]:
    """Give the status and the message of a code; one that is a status itself stands for any code with it."""
    return MESSAGES.get(code, (code if code in ("S", "U") else "F", "any"))


def _refused(call: Call, code: str) -> Draft:
    return Draft(operation="", path=call.path, code=code)


# --- the fields of requests -------------------------------------------------------------------------------------------


def _refund_request(call: Call, data: Mapping[str, Any]) -> ParsedRequest:
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
        path=call.path,
        refund_request_id=identifier(data, "refundRequestId", 64, needed=True),  # optional there; these books go by it
        payment=identifier(data, "paymentId", 64, needed=True) or "",
        amount=Money.of_minor(value, currency or _CURRENCY, field="refund.refundAmount.value"),
        notify_url=string(refund, "notifyUrl", 1024),
        description=string(refund, "description", 128),
        digest=hashlib.sha256(call.body).hexdigest(),
    )


def _inquiry_request(call: Call, data: Mapping[str, Any]) -> ParsedRequest:
    request_id, refund_id = identifier(data, "refundRequestId", 64), string(data, "refundId", 64)
    if request_id is None and refund_id is None:
        raise Invalid("refundId", "is required")
    return ParsedRequest(operation="inquiry", path=call.path, refund_request_id=request_id, refund_id=refund_id)


_READERS: Final[Mapping[str, Callable[[Call, Mapping[str, Any]], ParsedRequest]]] = {
    "refund": _refund_request,
    "inquiryRefund": _inquiry_request,
}


# --- the fields of responses and notifications ------------------------------------------------------------------------


def _refund_fields(draft: Draft, refund: Refund) -> dict[str, Any]:
    """Say that it was accepted, and when; there is no refundStatus in this answer."""
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
    """Tell when it was asked for: the official SDK comments refundTime so, in either answer."""
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

    def __init__(self, settings: AlphaPaySettings, ports: Ports | None = None) -> None:
        self._alphapay = AlphaPayWire(settings)
        super().__init__(self._alphapay, settings, ports)

    def new_ledger(self) -> Ledger:
        """Open books in which a repeat is what the setting says."""
        return AlphaPayLedger(self.settings.payments == "any", UNDECLARED_AMOUNT, repeat=self.settings.repeat)

    def change(self, options: Mapping[str, Any]) -> None:
        """Change settings while it runs; `Invalid` names the option and the rule."""
        super().change(options)
        self._alphapay.inquire_by_request_id = self.settings.inquire_by_request_id
        assert isinstance(self.ledger, AlphaPayLedger)
        self.ledger.repeat = self.settings.repeat


def account_section(name: str, url: str, keys_dir: Path, notify_url: str | None = None) -> str:
    """Write the section of refundry.toml for an account at this simulator."""
    keys = Keys(keys_dir.resolve())
    settings: dict[str, str | int] = {
        "provider": "alphapay",
        "base_url": url,
        "merchant_code": MERCHANT_CODE,
        "private_key": str(keys.merchant),
        "provider_public_key": str(keys.provider_public),
        "key_version": 1,
    }
    return account_text(name, settings if notify_url is None else settings | {"notify_url": notify_url})


@asynccontextmanager
async def run(host: str, port: int, keys_dir: Path, options: Mapping[str, Any]) -> AsyncIterator[AlphaPaySimulator]:
    """Listen while the context is open; `Invalid` names what is wrong with the address, the keys or an option."""
    settings = AlphaPaySettings(host=host, port=port, keys=make_keys(keys_dir))
    async with AlphaPaySimulator(with_options(settings, options)) as simulator:
        yield simulator


PLUGIN: Final = SimulatorPlugin(name="alphapay", version="1.0.0", account_section=account_section, run=run)
