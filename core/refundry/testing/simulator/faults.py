"""The faults of a simulated provider: what they are, when they happen, and what they do to a message.

The rule of this module: a fault is data until a message matches its rule; then it changes the message's `Plan`, and
the simulator executes the plan. Faults apply in the order in which they were added. No I/O.
"""

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from random import Random
from typing import Any, Final

import attrs

from refundry.errors import Invalid
from refundry.money import Money
from refundry.testing.simulator.ledger import Ledger, Refund, State
from refundry.testing.simulator.messages import Draft, SignatureFlaw

OPERATIONS: Final = ("refund", "inquiry", "notification")
Alteration = Callable[[Draft, Ledger], Draft]


@attrs.define
class Plan:
    """What happens to one message; without faults, nothing unusual."""

    drop_request: bool = False
    drop_response: str | None = None
    """`close`, or `hang`: never answered."""
    wait_before: float = 0.0
    """Seconds before the work is done."""
    wait_after: float = 0.0
    """Seconds between the work and the answer."""
    deliveries: int = 1
    reorder: float | None = None
    """A notification is held until the next one has gone, at most these seconds; a refund's leaves before the reply."""
    code: str | None = None
    status: str | None = None
    state: State | None = None
    work: bool = True
    alterations: list[Alteration] = attrs.field(factory=list)
    rewrites: list[tuple[bytes, bytes]] = attrs.field(factory=list)
    """Bytes to replace in the body before it is signed."""
    corruptions: list[str] = attrs.field(factory=list)
    signed: bool = True
    flaw: SignatureFlaw | None = None
    compress: bool = False
    """The body is compressed after it was signed, as something in front of the provider would do."""


# --- parameters -------------------------------------------------------------------------------------------------------

_DECIMAL: Final = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?", re.ASCII)
_PERCENT: Final = re.compile(r"([0-9]{1,3})%", re.ASCII)


def _seconds(field: str, value: Any) -> float:
    text = str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    if _DECIMAL.fullmatch(text) is None or float(text) > 86_400:
        raise Invalid(field, "must be a number of seconds from 0 to 86400, such as 0.5")
    return float(text)


def _count(field: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 1_000_000_000:
        raise Invalid(field, "must be an integer from 0 to 1000000000")
    return value


def _positive(field: str, value: Any) -> int:
    if _count(field, value) == 0:
        raise Invalid(field, "must be more than zero")
    return _count(field, value)


def _flag(field: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise Invalid(field, "must be true or false")
    return value


def _text(field: str, value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 64:
        raise Invalid(field, "must be a string of 1 to 64 characters")
    return value


def _replacement(field: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > 1024:
        raise Invalid(field, "must be a string of at most 1024 characters")
    return value


def _one_of(*choices: str) -> Callable[[str, Any], str]:
    def check(field: str, value: Any) -> str:
        if not isinstance(value, str) or value not in choices:
            raise Invalid(field, f"must be one of {', '.join(choices)}")
        return value

    return check


def _probability(field: str, value: Any) -> Fraction:
    """Read 25 or "25%" (percent), or "0.25"."""
    text = f"{value}%" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    percent = _PERCENT.fullmatch(text)
    if percent is None and _DECIMAL.fullmatch(text) is None:
        raise Invalid(field, 'must be an integer percentage, such as 25, or a string such as "0.25"')
    chance = Fraction(int(percent[1]), 100) if percent else Fraction(text)
    if chance > 1:
        raise Invalid(field, "must be at most 100 percent")
    return chance


# --- what each fault does ---------------------------------------------------------------------------------------------

CORRUPTIONS: Final = (
    "html", "half_json", "empty", "huge", "brackets", "duplicate_keys", "not_utf8", "random",
    "http_500", "http_502_html", "redirect",
)  # fmt: skip
_PAGES: Final = frozenset({"html", "http_500", "http_502_html", "redirect"})
"""What a proxy in front of the provider would send: without a signature unless the rule requires one."""
HUGE: Final = 10 * 1024 * 1024
BRACKETS: Final = 10_000

Params = Mapping[str, Any]


def _drop_request(plan: Plan, params: Params) -> None:
    plan.drop_request = True


def _drop_response(plan: Plan, params: Params) -> None:
    plan.drop_response = params["how"]


def _delay(plan: Plan, params: Params) -> None:
    if params["late"]:
        plan.wait_before += params["seconds"]
    else:
        plan.wait_after += params["seconds"]


def _duplicate(plan: Plan, params: Params) -> None:
    plan.deliveries += 1


def _reorder(plan: Plan, params: Params) -> None:
    plan.reorder = params["hold"]


def _answer(plan: Plan, params: Params) -> None:
    plan.code, plan.status = params["code"], params["status"]
    plan.state = None if params["state"] is None else State(params["state"])
    plan.work = params["work"] == "do"


def _rewrite(plan: Plan, params: Params) -> None:
    found, replacement = (params[name].encode("utf-8", "surrogatepass") for name in ("find", "replace"))
    plan.rewrites.append((found, replacement))


def _corrupt(plan: Plan, params: Params) -> None:
    kind, signed = params["kind"], params["signed"]
    plan.corruptions.append(kind)
    plan.signed = plan.signed and (kind not in _PAGES if signed is None else signed)


def _bad_signature(plan: Plan, params: Params) -> None:
    plan.flaw = SignatureFlaw(params["how"])


def _compress(plan: Plan, params: Params) -> None:
    plan.compress = True


def _wrong_amount(plan: Plan, params: Params) -> None:
    def alter(draft: Draft, ledger: Ledger) -> Draft:
        amount = draft.amount or (draft.refund.amount if draft.refund else None)
        if amount is None:
            return draft
        return attrs.evolve(draft, amount=attrs.evolve(amount, minor=amount.minor + params["more"]))

    plan.alterations.append(alter)


def _wrong_currency(plan: Plan, params: Params) -> None:
    def alter(draft: Draft, ledger: Ledger) -> Draft:
        amount = draft.amount or (draft.refund.amount if draft.refund else None)
        if amount is None:
            return draft
        currency = params["currency"] or ("EUR" if amount.currency == "USD" else "USD")
        return attrs.evolve(draft, amount=Money(amount.minor, currency, amount.exponent))

    plan.alterations.append(alter)


def _other_refund(plan: Plan, params: Params) -> None:
    def alter(draft: Draft, ledger: Ledger) -> Draft:
        other = _another(draft.refund, ledger)
        if other is None:
            return draft
        payment, refunded = ledger.payments.get(other.payment), ledger.refunded(other)
        return attrs.evolve(draft, refund=other, payment=payment, refunded=refunded, amount=None)

    plan.alterations.append(alter)


def _another(refund: Refund | None, ledger: Ledger) -> Refund | None:
    if refund is None:
        return None
    for other in reversed(ledger.refunds.values()):
        if other.state is State.SUCCESS and other is not refund:
            return other
    request_id = f"OTHER{refund.refund_request_id}"[:64]
    return attrs.evolve(refund, refund_request_id=request_id, refund_id=f"9{refund.refund_id[1:]}")


@attrs.frozen
class _Fault:
    act: Callable[[Plan, Params], None]
    params: Mapping[str, tuple[Callable[[str, Any], Any], Any]] = attrs.field(factory=dict)
    """Each parameter with its check and its default; the default `...` means that it must be given."""
    operations: tuple[str, ...] = OPERATIONS


FAULTS: Final[Mapping[str, _Fault]] = {
    "drop_request": _Fault(_drop_request),
    "drop_response": _Fault(_drop_response, {"how": (_one_of("close", "hang"), "close")}),
    "delay": _Fault(_delay, {"seconds": (_seconds, ...), "late": (_flag, False)}),
    "duplicate": _Fault(_duplicate),
    "reorder": _Fault(_reorder, {"hold": (_seconds, 5.0)}, ("refund", "notification")),
    "answer": _Fault(
        _answer,
        {
            "code": (_text, ...),
            "status": (_text, None),
            "state": (_one_of(*State), None),
            "work": (_one_of("skip", "do"), "skip"),
        },
    ),
    "corrupt": _Fault(_corrupt, {"kind": (_one_of(*CORRUPTIONS), ...), "signed": (_flag, None)}),
    "rewrite": _Fault(_rewrite, {"find": (_text, ...), "replace": (_replacement, ...)}),
    "bad_signature": _Fault(_bad_signature, {"how": (_one_of(*SignatureFlaw), SignatureFlaw.WRONG_KEY.value)}),
    "compress": _Fault(_compress),
    "wrong_amount": _Fault(_wrong_amount, {"more": (_positive, 1)}),
    "wrong_currency": _Fault(_wrong_currency, {"currency": (_text, None)}),
    "other_refund": _Fault(_other_refund),
}


# --- rules ------------------------------------------------------------------------------------------------------------

_MATCHING: Final = ("fault", "operation", "times", "probability", "refund_request_id", "skip")


@attrs.define
class Rule:
    """When a fault happens, and how often it still may."""

    fault: str
    params: Params
    operation: str
    times: int | None
    """How often it still happens; `None` is unlimited."""
    probability: Fraction
    refund_request_id: str | None
    skip: int
    """How many matching messages still pass first."""
    fired: int = 0

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> "Rule":
        """Read a rule; `Invalid` names the field and the rule it breaks."""
        name = data.get("fault")
        fault = FAULTS.get(name) if isinstance(name, str) else None
        if fault is None or not isinstance(name, str):
            raise Invalid("fault", f"must be one of {', '.join(FAULTS)}")
        for field in data:
            if field not in _MATCHING and field not in fault.params:
                raise Invalid(
                    field, f"is not a field of the fault {name}; it has {', '.join((*_MATCHING, *fault.params))}"
                )
        operation = _one_of("any", *fault.operations)("operation", data.get("operation", "any"))
        times, request_id = data.get("times", 1), data.get("refund_request_id")
        return cls(
            fault=name,
            params={field: _param(field, data, *spec) for field, spec in fault.params.items()},
            operation=operation,
            times=None if times is None else _count("times", times),
            probability=_probability("probability", data.get("probability", 100)),
            refund_request_id=None if request_id is None else _text("refund_request_id", request_id),
            skip=_count("skip", data.get("skip", 0)),
        )

    def matches(self, operation: str, refund_request_id: str | None) -> bool:
        """Return whether the rule applies to this message."""
        return (
            self.operation in ("any", operation)
            and operation in FAULTS[self.fault].operations
            and self.refund_request_id in (None, refund_request_id)
        )

    def as_json(self) -> dict[str, Any]:
        """Return the rule as JSON values."""
        return {
            "fault": self.fault,
            "operation": self.operation,
            "times": self.times,
            "probability": str(float(self.probability)),
            "refund_request_id": self.refund_request_id,
            "skip": self.skip,
            "fired": self.fired,
            **{field: str(value) if isinstance(value, float) else value for field, value in self.params.items()},
        }


def _param(field: str, data: Mapping[str, Any], check: Callable[[str, Any], Any], default: Any) -> Any:
    value = data.get(field)
    if value is not None:
        return check(field, value)
    if default is ...:
        raise Invalid(field, f"is required for the fault {data['fault']}")
    return default


@attrs.define
class Faults:
    """The rules in force, in the order in which they were added, and the generator."""

    generator: Random
    rules: list[Rule] = attrs.field(factory=list)

    def add(self, data: Mapping[str, Any]) -> Rule:
        """Add a rule; `Invalid` names what is wrong with it."""
        rule = Rule.parse(data)
        self.rules.append(rule)
        return rule

    def plan(self, operation: str, refund_request_id: str | None, ledger: Ledger) -> Plan:
        """Return the plan for a message after every matching rule acted on it; each is counted in the ledger."""
        plan = Plan()
        for rule in self.rules:
            if rule.times == 0 or not rule.matches(operation, refund_request_id):
                continue
            if rule.skip:
                rule.skip -= 1
            elif rule.probability == 1 or self.generator.random() < rule.probability:
                rule.times = None if rule.times is None else rule.times - 1
                rule.fired += 1
                ledger.fired[rule.fault] += 1
                FAULTS[rule.fault].act(plan, rule.params)
        return plan


# --- corrupted messages -----------------------------------------------------------------------------------------------


def corrupted(kind: str, body: bytes, generator: Random) -> tuple[int, str, bytes]:
    """Return a corrupted body: the HTTP status, the content type and the bytes."""
    html = b"<!doctype html><html><head><title>Gateway</title></head><body><h1>Please try later</h1></body></html>"
    inside = body[1:-1]
    corrupted_bodies: dict[str, Callable[[], tuple[int, str, bytes]]] = {
        "html": lambda: (200, "text/html", html),
        "half_json": lambda: (200, "application/json", body[: len(body) // 2]),
        "empty": lambda: (200, "application/json", b""),
        "huge": lambda: (200, "application/json", b'{"padding":"' + b"x" * HUGE + b'",' + inside + b"}"),
        "brackets": lambda: (200, "application/json", b"[" * BRACKETS),
        "duplicate_keys": lambda: (200, "application/json", b"{" + inside + b"," + inside + b"}"),
        "not_utf8": lambda: (200, "application/json", body.replace(b'":"', b'":"\xff\xfe', 1)),
        "random": lambda: (200, "application/json", generator.randbytes(512)),
        "http_500": lambda: (500, "application/json", b'{"error":"internal"}'),
        "http_502_html": lambda: (502, "text/html", html),
        "redirect": lambda: (307, "text/html", html),
    }
    return corrupted_bodies[kind]()


__all__ = ["FAULTS", "CORRUPTIONS", "OPERATIONS", "Faults", "Plan", "Rule", "corrupted"]
