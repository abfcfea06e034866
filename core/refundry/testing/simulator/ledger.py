"""The ledger of a simulated provider: payments, refunds, and every movement of money.

The rule of this module: money moves in one place (`Ledger.finish`), only from PROCESSING to SUCCESS, so a refund moves
money at most once; each movement is appended to a list from which nothing is removed. No I/O, no clock.
"""

from collections import Counter
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from itertools import chain, count
from typing import Any, Final

import attrs

from refundry.errors import Invalid
from refundry.money import Money, exponent_of

UNDECLARED_AMOUNT: Final = 9_000_000_000_000_000
"""The minor units of a payment that was not declared."""


class State(StrEnum):
    """The state of a refund at the simulated provider."""

    PROCESSING = "PROCESSING"
    SUCCESS = "SUCCESS"
    FAIL = "FAIL"


class Verdict(StrEnum):
    """The ledger's answer to a request; each provider has its own code for each."""

    DONE = "done"
    IN_PROCESS = "in process"
    FAILED = "failed"
    NOT_FOUND = "not found"
    UNKNOWN_PAYMENT = "unknown payment"
    PAYMENT_STATUS = "payment status"
    CURRENCY = "currency"
    WINDOW = "window"
    EXCEEDED = "exceeded"
    BALANCE = "balance"
    INCONSISTENT = "inconsistent"
    NOT_TOTAL = "not total"


@attrs.frozen
class Settlement:
    """The merchant is paid in another currency, at a price fixed with the payment (units per unit paid)."""

    currency: str
    price: str

    def of(self, amount: Money) -> Money:
        """Return the converted amount, rounded half up to the minor unit (assumed: no source states the rounding)."""
        places = exponent_of(self.currency)
        minor = Decimal(amount.minor) * Decimal(self.price) * Decimal(10) ** (places - amount.exponent)
        return Money(int(minor.quantize(Decimal(1), ROUND_HALF_UP)), self.currency, places)


@attrs.define(kw_only=True)
class Payment:
    """A payment that can be refunded. Amounts in `balance` and `reserved` are minor units."""

    id: str
    amount: Money
    merchant_id: str | None = None
    """The merchant's own order number, where the provider takes it in place of its id."""
    status: str = "SUCCESS"
    refundable_until: datetime | None = None
    balance: int | None = None
    """What the merchant still has to be settled; None is ample."""
    settlement: Settlement | None = None
    reserved: int = 0
    """The sum of its refunds that are in process or done."""

    @property
    def refundable(self) -> int:
        """Return what is left to refund."""
        return self.amount.minor - self.reserved

    def refusal(self, amount: Money, now: datetime) -> Verdict | None:
        """Return why this amount cannot be refunded now, or `None`."""
        if self.status != "SUCCESS":
            return Verdict.PAYMENT_STATUS
        if not amount.same_unit(self.amount):
            return Verdict.CURRENCY
        if self.refundable_until is not None and now > self.refundable_until:
            return Verdict.WINDOW
        if amount.minor > self.refundable:
            return Verdict.EXCEEDED
        if self.balance is not None and amount.minor > self.balance:
            return Verdict.BALANCE
        return None

    def reserve(self, minor: int) -> None:
        """Add to the reserved amount; a negative amount releases it."""
        self.reserved += minor
        if self.balance is not None:
            self.balance -= minor


@attrs.frozen(kw_only=True)
class ParsedRequest:
    """A genuine, well-formed request, in terms that no provider owns."""

    operation: str
    """`refund` or `inquiry`."""
    path: str = ""
    """The path of the request, with which its answer is signed."""
    refund_request_id: str | None = None
    refund_id: str | None = None
    payment: str = ""
    merchant_payment: str | None = None
    """The payment by the merchant's order number, where `payment` is empty."""
    amount: Money | None = None
    """Set for every `refund`."""
    notify_url: str | None = None
    digest: str = ""
    """SHA-256 of the body, in hex."""


@attrs.define(kw_only=True)
class Refund:
    """A refund under its one request id."""

    key: str
    """Its name in the ledger: its request id, with the payment's before it if another refund has that id."""
    refund_request_id: str
    refund_id: str
    payment: str
    amount: Money
    state: State
    reason: str
    """The `Verdict`, or a provider's code that a fault set: the answer to a repeated request."""
    notify_url: str | None = None
    finished_at: datetime | None = None
    requested: int = 0
    bodies: dict[str, int] = attrs.field(factory=dict)
    """How often each body arrived, by its SHA-256: more than one key means that a resend had different bytes."""
    settlement: Settlement | None = None
    notifications_sent: int = 0
    notifications_acknowledged: int = 0
    facts: dict[str, Any] = attrs.field(factory=dict)
    """Facts about the refund that only some providers have."""

    def count_request(self, digest: str) -> None:
        """Count one more request for it."""
        self.requested += 1
        self.bodies[digest] = self.bodies.get(digest, 0) + 1


@attrs.frozen
class Movement:
    """Money that left: once per line."""

    key: str
    refund_request_id: str
    payment: str
    amount: Money
    at: datetime


@attrs.define
class Ledger:
    """Everything that the simulated provider knows."""

    accept_undeclared: bool = True
    """A payment that was not declared exists, is paid, and has `undeclared_amount`."""
    undeclared_amount: int = UNDECLARED_AMOUNT
    """The minor units of a payment that was not declared."""
    ids_per_payment: bool = False
    """A request id is unique within its payment only."""
    retries_failed: bool = False
    """A refund that was refused or failed may be requested again with its id, and may pay then."""
    payments: dict[str, Payment] = attrs.field(factory=dict)
    refunds: dict[str, Refund] = attrs.field(factory=dict)
    movements: list[Movement] = attrs.field(factory=list)
    fired: Counter[str] = attrs.field(factory=Counter)
    """How often each fault happened, and what clients did wrong (`redirect followed`)."""
    _by_refund_id: dict[str, str] = attrs.field(factory=dict)
    _by_request: dict[tuple[str, str], str] = attrs.field(factory=dict)
    _by_merchant_id: dict[str, str] = attrs.field(factory=dict)
    _refunded: Counter[str] = attrs.field(factory=Counter)

    def declare(self, payment: Payment) -> None:
        """Add a payment; `Invalid` if its id is taken."""
        if payment.id in self.payments:
            raise Invalid("id", f"payment {payment.id} is already in the ledger")
        if payment.merchant_id is not None:
            if payment.merchant_id in self._by_merchant_id:
                raise Invalid("merchant_id", f"{payment.merchant_id} is already in the ledger")
            self._by_merchant_id[payment.merchant_id] = payment.id
        self.payments[payment.id] = payment

    def find(self, parsed: ParsedRequest) -> Refund | None:
        """Find by the provider's id, which takes precedence, or by the merchant's."""
        if parsed.refund_id is not None:
            key = self._by_refund_id.get(parsed.refund_id)
        else:
            key = self._by_request.get(self._request(self._named(parsed)))
        return self.refunds.get(key) if key is not None else None

    def payment_of(self, parsed: ParsedRequest) -> Payment | None:
        """Return the payment that a request names, if it is in the ledger."""
        return self.payments.get(self._payment_id(parsed))

    def inquire(self, parsed: ParsedRequest) -> tuple[Verdict, Refund | None]:
        """Look a refund up."""
        found = self.find(parsed)
        if found is not None:
            return Verdict.DONE, found
        named = bool(parsed.payment or parsed.merchant_payment)
        unknown = named and not self.accept_undeclared and self.payment_of(parsed) is None
        return Verdict.UNKNOWN_PAYMENT if unknown else Verdict.NOT_FOUND, None

    def request(self, parsed: ParsedRequest, now: datetime) -> tuple[Verdict | str, Refund | None]:
        """Process a request: a new refund is accepted (PROCESSING) or refused (FAIL); a known one is answered as it is.

        A request without an id is for the whole payment, and has the payment's id.
        """
        assert parsed.amount is not None
        payment = self._payment(parsed)
        partly = (
            parsed.refund_request_id is None and payment is not None and parsed.amount.minor != payment.amount.minor
        )
        parsed = self._named(parsed)
        assert parsed.amount is not None
        known = self.find(parsed)
        if known is not None:
            known.count_request(parsed.digest)
            if not (self.retries_failed and known.state is State.FAIL):
                same = (known.amount, known.payment) == (parsed.amount, parsed.payment)
                return (known.reason, known) if same else (Verdict.INCONSISTENT, None)
        refused = Verdict.UNKNOWN_PAYMENT if payment is None else payment.refusal(parsed.amount, now)
        reason = refused or (Verdict.NOT_TOTAL if partly else Verdict.IN_PROCESS)
        refund = self._record(parsed, reason, now) if known is None else _again(known, parsed.amount, reason, now)
        if payment is not None and reason == Verdict.IN_PROCESS:
            payment.reserve(parsed.amount.minor)
            refund.settlement = payment.settlement
        return refund.reason, refund

    def refuse(self, parsed: ParsedRequest, code: str, now: datetime) -> Refund:
        """Record a refusal with the provider's own code against a new id; a known id stays as it is."""
        known = self.find(parsed)
        if known is None:
            return self._record(self._named(parsed), code, now)
        known.count_request(parsed.digest)
        return known

    def finish(self, refund: Refund, state: State, now: datetime) -> bool:
        """Set the final state of a refund that is in process; return False and change nothing if it already has one."""
        if refund.state is not State.PROCESSING or state is State.PROCESSING:
            return False
        refund.state, refund.finished_at = state, now
        if state is State.SUCCESS:
            refund.reason = Verdict.DONE
            self._refunded[refund.payment] += refund.amount.minor
            self.movements.append(Movement(refund.key, refund.refund_request_id, refund.payment, refund.amount, now))
        else:
            refund.reason = Verdict.FAILED
            self.payments[refund.payment].reserve(-refund.amount.minor)
        return True

    def refunded(self, refund: Refund) -> Money:
        """Return how much of a refund's payment has been refunded so far."""
        return attrs.evolve(refund.amount, minor=self._refunded[refund.payment])

    def moved(self) -> Counter[str]:
        """Count the movements of money for each refund, by its key."""
        return Counter(movement.key for movement in self.movements)

    def _named(self, parsed: ParsedRequest) -> ParsedRequest:
        """Return a request with the ids of its payment and its refund."""
        payment = self.payment_of(parsed)
        if payment is None:
            return attrs.evolve(
                parsed, refund_request_id=parsed.refund_request_id or parsed.merchant_payment or parsed.payment
            )
        name = parsed.refund_request_id or payment.merchant_id or payment.id
        return attrs.evolve(parsed, payment=payment.id, refund_request_id=name)

    def _request(self, parsed: ParsedRequest) -> tuple[str, str]:
        return (self._payment_id(parsed) if self.ids_per_payment else "", parsed.refund_request_id or "")

    def _payment_id(self, parsed: ParsedRequest) -> str:
        if parsed.payment or parsed.merchant_payment is None:
            return parsed.payment
        return self._by_merchant_id.get(parsed.merchant_payment, f"OF-{parsed.merchant_payment}")

    def _payment(self, parsed: ParsedRequest) -> Payment | None:
        assert parsed.amount is not None
        id = self._payment_id(parsed)
        if id not in self.payments and self.accept_undeclared:
            merchant_id = None if parsed.payment else parsed.merchant_payment
            self.declare(
                Payment(
                    id=id, merchant_id=merchant_id, amount=attrs.evolve(parsed.amount, minor=self.undeclared_amount)
                )
            )
        return self.payments.get(id)

    def _free_key(self, id: str, payment: str) -> str:
        names = chain((id, f"{payment}/{id}"), (f"{payment}/{id}/{number}" for number in count(2)))
        return next(name for name in names if name not in self.refunds)

    def _record(self, parsed: ParsedRequest, reason: str, now: datetime) -> Refund:
        assert parsed.refund_request_id is not None
        assert parsed.amount is not None
        id, accepted = parsed.refund_request_id, reason == Verdict.IN_PROCESS
        refund = Refund(
            key=self._free_key(id, parsed.payment),
            refund_request_id=id,
            refund_id=f"{now:%Y%m%d}194010800100188{len(self.refunds) + 1:09d}",
            payment=parsed.payment,
            amount=parsed.amount,
            state=State.PROCESSING if accepted else State.FAIL,
            reason=reason,
            notify_url=parsed.notify_url,
            finished_at=None if accepted else now,
        )
        refund.count_request(parsed.digest)
        self.refunds[refund.key] = refund
        self._by_refund_id[refund.refund_id] = refund.key
        self._by_request[self._request(parsed)] = refund.key
        return refund


def _again(refund: Refund, amount: Money, reason: str, now: datetime) -> Refund:
    """Return a refund that was refused or failed, with its state reset."""
    accepted = reason == Verdict.IN_PROCESS
    refund.amount, refund.reason = amount, reason
    refund.state = State.PROCESSING if accepted else State.FAIL
    refund.finished_at = None if accepted else now
    return refund
