"""The faults that the demo injects, and which refund meets which.

The rule of this module: a fault is data for the control API of a simulator; the seed decides who meets it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any, Final

import attrs

from refundry.provider import Breaker, Code, CodeClass, ProviderPlugin

__all__ = ["LATEST", "RETRIED", "Planned", "plan_faults"]

LATEST: Final = 4.5
"""Seconds after which a simulator may still process a request whose client has given up."""
EACH: Final = 1
"""How many refunds of each account meet each fault."""
RETRIED: Final = "-R"
"""The suffix of the id under which the demo's operator requests a refund again."""

FAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "the request is dropped": {"fault": "drop_request", "operation": "refund"},
    "the response is dropped": {"fault": "drop_response", "operation": "refund"},
    "the response never comes": {"fault": "drop_response", "operation": "refund", "how": "hang"},
    "the response is delayed": {"fault": "delay", "operation": "refund", "seconds": "1"},
    "the refund is processed late": {"fault": "delay", "operation": "refund", "seconds": f"{LATEST}", "late": True},
    "the request arrives twice": {"fault": "duplicate", "operation": "refund"},
    "the notification overtakes the response": {"fault": "reorder", "operation": "refund", "hold": "0.5"},
    "an HTML page": {"fault": "corrupt", "operation": "refund", "kind": "html"},
    "truncated JSON": {"fault": "corrupt", "operation": "refund", "kind": "half_json"},
    "ten megabytes": {"fault": "corrupt", "operation": "refund", "kind": "huge"},
    "ten thousand brackets": {"fault": "corrupt", "operation": "refund", "kind": "brackets"},
    "duplicate keys": {"fault": "corrupt", "operation": "refund", "kind": "duplicate_keys"},
    "HTTP 500": {"fault": "corrupt", "operation": "refund", "kind": "http_500"},
    "a redirect": {"fault": "corrupt", "operation": "refund", "kind": "redirect"},
    "signed with another key": {"fault": "bad_signature", "operation": "refund"},
    "not signed": {"fault": "bad_signature", "operation": "refund", "how": "unsigned"},
    "a wrong amount": {"fault": "wrong_amount", "operation": "refund", "more": 100},
    "a wrong currency": {"fault": "wrong_currency", "operation": "refund"},
    "the response to another refund": {"fault": "other_refund", "operation": "refund"},
    "the response to the inquiry is dropped": {"fault": "drop_response", "operation": "inquiry"},
    "the notification comes twice": {"fault": "duplicate", "operation": "notification"},
    "the notification is wrongly signed": {"fault": "bad_signature", "operation": "notification"},
}
_REFUSED: Final = {"times": None}
"""A refusal is not an accident: it is the answer to every attempt."""
CODES: Final[Mapping[str, tuple[tuple[CodeClass, ...], Mapping[str, Any]]]] = {
    "a result code: unknown, and nothing was done": ((CodeClass.INDETERMINATE, CodeClass.RETRY), {}),
    "a result code: call again": ((CodeClass.RETRY,), {}),
    "a result code: an error, although it was done": (
        (CodeClass.FAILED_UNCONFIRMED, CodeClass.RETRY, CodeClass.INDETERMINATE),
        {"work": "do"},
    ),
    "a result code: refused, a new refund is required": ((CodeClass.FAILED_NEW_ID,), _REFUSED),
    "a result code: refused": ((CodeClass.FAILED,), _REFUSED),
}
"""The provider's own codes, chosen by their meaning: the first class of which the provider has a code."""
BLOCKS: Final = "a result code: the account is blocked until its configuration is fixed"


@attrs.frozen
class Planned:
    """What will go wrong: rules for each account's simulator, and which refund meets which fault."""

    rules: Mapping[str, Sequence[Mapping[str, Any]]]
    """By the name of the account."""
    met: Mapping[str, str]
    """The name of the fault that a refund meets, by its id."""

    @property
    def counts(self) -> Counter[str]:
        """Return how many refunds meet each fault."""
        return Counter(self.met.values())


def plan_faults(plugins: Mapping[str, ProviderPlugin], ids: Mapping[str, Sequence[str]], random: Random) -> Planned:
    """Return the faults that the refunds of each account meet; `ids` are in the order in which they are requested."""
    met: dict[str, str] = {}
    rules = {name: list(_plan_account(plugin, ids[name], random, met)) for name, plugin in plugins.items()}
    return Planned(rules, met)


def _plan_account(
    plugin: ProviderPlugin, ids: Sequence[str], random: Random, met: dict[str, str]
) -> Iterator[Mapping[str, Any]]:
    # The fault that blocks the account hits its last refund: everything before shows the account at work.
    *free, last = ids
    random.shuffle(free)
    for name, rule in {**FAULTS, **_code_faults(plugin)}.items():
        for id in [free.pop() for _ in range(EACH) if free]:
            met[id] = name
            yield dict(rule) | {"refund_request_id": id}
            if "times" in rule:
                yield dict(rule) | {"refund_request_id": f"{id}{RETRIED}"}
    blocking = _blocking_code(plugin)
    if blocking is not None:
        met[last] = BLOCKS
        yield _answer(blocking) | {"refund_request_id": last}


def _code_faults(plugin: ProviderPlugin) -> Mapping[str, Mapping[str, Any]]:
    first = {code.meaning: code for code in reversed(list(plugin.codes["refund"].values()))}
    chosen = {}
    for name, (classes, more) in CODES.items():
        code = next((first[meaning] for meaning in classes if meaning in first), None)
        if code is not None:
            chosen[name] = {**_answer(code), **more}
    return chosen


def _blocking_code(plugin: ProviderPlugin) -> Code | None:
    codes = plugin.codes["refund"].values()
    return next(
        (code for code in codes if code.meaning is CodeClass.MISCONFIGURED and code.breaker is Breaker.ACCOUNT), None
    )


def _answer(code: Code) -> dict[str, Any]:
    return {"fault": "answer", "operation": "refund", "code": code.code}
