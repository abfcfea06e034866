"""The control API of a simulated provider: JSON over HTTP under /control/, the same as its Python methods.

The rule of this module: an invalid call changes nothing and is answered with the field and the rule that it breaks.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Final, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from aiohttp import web

from refundry.errors import Invalid
from refundry.money import Money
from refundry.provider.strict_json import Unreadable, read_object
from refundry.testing.simulator.faults import Faults
from refundry.testing.simulator.ledger import Ledger, Payment, Refund, Settlement, State
from refundry.testing.simulator.ledger_views import as_json, as_text, refund_as_json
from refundry.testing.simulator.settings import Settings

Json = dict[str, Any]


class Controllable(Protocol):
    """What the control API needs of a simulator."""

    @property
    def provider(self) -> str:
        """The name of the simulated provider."""

    @property
    def settings(self) -> Settings:
        """The present settings."""

    @property
    def ledger(self) -> Ledger:
        """The payments and refunds."""

    @property
    def faults(self) -> Faults:
        """The rules of injected faults."""

    @property
    def actions(self) -> Mapping[str, Callable[[str, Mapping[str, Any]], None]]:
        """The actions that only this provider has, by their names."""

    def clear_faults(self) -> None:
        """Remove every fault rule."""

    def add_payment(self, payment: Payment) -> None:
        """Declare a payment."""

    def finish(self, refund_request_id: str, state: State) -> Refund:
        """Set the final state of a refund in process."""

    def notify(self, refund_request_id: str, state: State | None = None) -> Refund:
        """Send a signed notification now."""

    def change(self, options: Mapping[str, Any]) -> None:
        """Change settings."""

    async def reset(self) -> None:
        """Reset everything."""


Action = Callable[[Controllable, Json], Awaitable[Any]]


async def control(simulator: Controllable, method: str, target: str, body: bytes) -> web.Response:
    """Execute one control call."""
    split = urlsplit(target)
    try:
        if split.path.startswith("/control/refunds/"):
            return _refund(simulator, method, split.path, body)
        if split.path.startswith("/control/payments/"):
            return _change_payment(simulator, method, split.path, body)
        actions = _ROUTES.get(split.path)
        if actions is None:
            return _json({"error": {"field": "path", "rule": f"must be one of {', '.join(_ROUTES)}"}}, 404)
        if method not in actions:
            return _json({"error": {"field": "method", "rule": f"must be one of {', '.join(actions)}"}}, 405)
        if split.path == "/control/ledger" and "text" in parse_qs(split.query).get("format", ()) and method == "GET":
            return web.Response(text=as_text(simulator.ledger))
        return _json(await actions[method](simulator, read_object(body) if body.strip() else {}))
    except Invalid as error:
        return _json({"error": {"field": error.field, "rule": error.rule}}, 400)
    except Unreadable as error:
        return _json({"error": {"field": "body", "rule": f"must be one JSON object: {error}"}}, 400)


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, text=json.dumps(value) + "\n", content_type="application/json")


def _refund(simulator: Controllable, method: str, path: str, body: bytes) -> web.Response:
    parts = [unquote(part) for part in path.split("/")[3:]]
    if parts[0] not in simulator.ledger.refunds or parts[1:] not in (
        [],
        ["notify"],
        *([act] for act in simulator.actions),
    ):
        return _json({"error": {"field": "refund_request_id", "rule": "is not in the ledger"}}, 404)
    refund = simulator.ledger.refunds[parts[0]]
    if method == "POST":
        data = read_object(body) if body.strip() else {}
        _only(data, ("status",))
        if parts[1:] and parts[1] in simulator.actions:
            simulator.actions[parts[1]](parts[0], data)
        elif parts[1:]:
            simulator.notify(parts[0], _state(data) if data else None)
        else:
            simulator.finish(parts[0], _state(data))
    elif method != "GET" or parts[1:]:
        return _json({"error": {"field": "method", "rule": "must be GET or POST"}}, 405)
    return _json(refund_as_json(refund, simulator.ledger.moved()[parts[0]]))


def _state(data: Json) -> State:
    if data.get("status") not in (State.SUCCESS, State.FAIL):
        raise Invalid("status", "must be SUCCESS or FAIL")
    return State(data["status"])


def _only(data: Json, fields: tuple[str, ...]) -> None:
    for field in data:
        if field not in fields:
            raise Invalid(field, f"is not a field of this call; it has {', '.join(fields) or 'none'}")


async def _health(simulator: Controllable, data: Json) -> Json:
    return {"status": "ok", "provider": simulator.provider, "refunds": len(simulator.ledger.refunds)}


async def _ledger(simulator: Controllable, data: Json) -> Json:
    return as_json(simulator.ledger)


async def _faults(simulator: Controllable, data: Json) -> Json:
    return {"faults": [rule.as_json() for rule in simulator.faults.rules]}


async def _add_fault(simulator: Controllable, data: Json) -> Json:
    return simulator.faults.add(data).as_json()


async def _clear_faults(simulator: Controllable, data: Json) -> Json:
    simulator.clear_faults()
    return {"faults": []}


async def _change(simulator: Controllable, data: Json) -> Json:
    simulator.change(data)
    return {name: getattr(simulator.settings, name) for name in simulator.settings.OPTIONS}


async def _reset(simulator: Controllable, data: Json) -> Json:
    await simulator.reset()
    return await _health(simulator, {})


async def _add_payment(simulator: Controllable, data: Json) -> Json:
    payment = payment_from(data)
    simulator.add_payment(payment)
    return {"id": payment.id, "amount": {"value": str(payment.amount), "currency": payment.amount.currency}}


# --- payments ---------------------------------------------------------------------------------------------------------

_PAYMENT: Final = (
    "id", "merchant_id", "amount", "currency", "status", "refundable_until", "balance", "settlement_currency",
    "settlement_price",
)  # fmt: skip
_STATUSES: Final = ("SUCCESS", "PROCESSING", "FAIL", "CANCELLED")


def payment_from(data: Json) -> Payment:
    """Read a payment; amounts are decimals such as "100.00". `Invalid` names the field and the rule."""
    _only(data, _PAYMENT)
    currency = _required(data, "currency")
    amount = Money.parse(_required(data, "amount"), currency)
    return Payment(
        id=_required(data, "id"),
        merchant_id=_required(data, "merchant_id") if "merchant_id" in data else None,
        amount=amount,
        status=_status(data.get("status", "SUCCESS")),
        refundable_until=_time(data.get("refundable_until")),
        balance=_balance(data.get("balance"), currency),
        settlement=_settlement(data),
    )


def _change_payment(simulator: Controllable, method: str, path: str, body: bytes) -> web.Response:
    """Change what may prevent a refund of the payment, such as its balance."""
    payment = simulator.ledger.payments.get(unquote(path.split("/")[3]))
    if payment is None:
        return _json({"error": {"field": "id", "rule": "is not in the ledger"}}, 404)
    if method != "POST":
        return _json({"error": {"field": "method", "rule": "must be POST"}}, 405)
    data = read_object(body)
    _only(data, ("status", "refundable_until", "balance"))
    status = _status(data.get("status", payment.status))
    until = _time(data["refundable_until"]) if "refundable_until" in data else payment.refundable_until
    balance = _balance(data["balance"], payment.amount.currency) if "balance" in data else payment.balance
    payment.status, payment.refundable_until, payment.balance = status, until, balance
    return _json({"id": payment.id})


def _status(value: Any) -> str:
    if value not in _STATUSES:
        raise Invalid("status", f"must be one of {', '.join(_STATUSES)}")
    return str(value)


def _required(data: Json, field: str) -> str:
    value = data.get(field)
    if not isinstance(value, str) or not 1 <= len(value) <= 64:
        raise Invalid(field, "must be given, a text of 1 to 64 characters")
    return value


def _balance(value: Any, currency: str) -> int | None:
    if value is None:
        return None
    return 0 if value in ("0", "0.00") else Money.parse(value, currency, field="balance").minor


def _time(value: Any) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except (ValueError, TypeError):
        raise Invalid("refundable_until", "is not a time such as 2026-11-22T12:00:00+00:00") from None
    if moment.tzinfo is None:
        raise Invalid("refundable_until", "has no offset from UTC")
    return moment


def _settlement(data: Json) -> Settlement | None:
    if "settlement_currency" not in data and "settlement_price" not in data:
        return None
    currency, price = _required(data, "settlement_currency"), _required(data, "settlement_price")
    Money.parse(price, currency, 8, field="settlement_price")
    Money.parse("1", currency, field="settlement_currency")
    return Settlement(currency, price)


_ROUTES: Final[dict[str, dict[str, Action]]] = {
    "/control/health": {"GET": _health},
    "/control/ledger": {"GET": _ledger},
    "/control/faults": {"GET": _faults, "POST": _add_fault, "DELETE": _clear_faults},
    "/control/payments": {"POST": _add_payment},
    "/control/settings": {"POST": _change},
    "/control/reset": {"POST": _reset},
}
