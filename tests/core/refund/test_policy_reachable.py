"""Every state that a refund can reach under the real policy, and the laws that hold in each of them."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import attrs
import pytest

from refundry.provider import Resend, Terms, outcomes
from refundry.refund import Event, Refund, policy
from tests.core.refund.planting import plant
from tests.core.refund.walk import EVERYTHING, FIXING, SENDING, Broken, explore, start_possibly_sent
from tests.core.strategies import TERMS

_interpret = policy.interpret
_next_step = policy.next_step
_QUICK = attrs.evolve(TERMS["defaults of Antom"], not_found_tries=1)


@pytest.mark.slow
@pytest.mark.parametrize("rules", [_QUICK, *TERMS.values()], ids=["quick", *TERMS])
def test_the_laws_hold_wherever_sending_leads(rules: Terms) -> None:
    """No sequence of attempts, losses, inquiries and notifications leads to a state in which a law is broken."""
    assert len(explore(rules, SENDING)) > 100


@pytest.mark.slow(seconds=4)
@pytest.mark.parametrize("rules", [_QUICK, *list(TERMS.values())[1:]], ids=["quick", *list(TERMS)[1:]])
def test_the_laws_hold_for_a_refund_that_may_have_been_sent(rules: Terms) -> None:
    """It is sent only after as many "not found" as a resend needs, and never where the terms allow no resend."""
    assert len(explore(rules, SENDING, first=start_possibly_sent(rules))) > 30


@pytest.mark.slow
@pytest.mark.parametrize("rules", [_QUICK, TERMS["never resent"]], ids=["quick", "never resent"])
def test_the_laws_hold_wherever_fixing_leads(rules: Terms) -> None:
    """Neither does any sequence in which something blocks and an operator resumes the refund."""
    assert len(explore(rules, FIXING)) > 100


@pytest.mark.slow(seconds=15)
@pytest.mark.parametrize("rules", TERMS.values(), ids=TERMS)
def test_the_laws_hold_in_every_reachable_state(rules: Terms) -> None:
    """Neither does any sequence at all of answers and notifications, early, late or old."""
    assert len(explore(rules, EVERYTHING)) > 1000


# --- planted bugs -----------------------------------------------------------------------------------------------------


def _interpreted_as(outcome_of: Callable[[Any], Any]) -> Callable[..., Event | None]:
    def interpret(refund: Refund, outcome: Any, source: policy.Source, rules: Terms) -> Event | None:
        return _interpret(refund, outcome_of(outcome), source, rules)

    return interpret


def _timeout_is_failure(outcome: Any) -> Any:
    return outcomes.DefinitiveFailure("TIMEOUT", "c", "a") if isinstance(outcome, outcomes.Unknown) else outcome


def _pending_is_unknown(outcome: Any) -> Any:
    """Forget that it must not be sent again."""
    return (
        outcomes.Unknown("is processing it", resend=Resend.SAME) if isinstance(outcome, outcomes.Pending) else outcome
    )


def _fewer_tries(refund: Refund, rules: Terms, now: datetime) -> policy.Step:
    return _next_step(refund, attrs.evolve(rules, not_found_tries=0), now)


def _resend_after_anything(refund: Refund, rules: Terms, now: datetime) -> policy.Step:
    return _next_step(attrs.evolve(refund, resend=Resend.AFTER_NOT_FOUND), rules, now)


def _by_the_clock(refund: Refund, rules: Terms, now: datetime) -> policy.Step:
    step = _next_step(refund, rules, now)
    waited = isinstance(step, policy.Inquire) and (now - refund.updated_at).days > 30
    return policy.Submit(now) if waited else step


def _old_notifications_count(refund: Refund, outcome: Any, source: policy.Source, rules: Terms) -> Event | None:
    return _interpret(refund, outcome, attrs.evolve(source, fresh=True), rules)


def _older_answers_count(refund: Refund, outcome: Any, source: policy.Source, rules: Terms) -> Event | None:
    return _interpret(refund, outcome, attrs.evolve(source, attempt=refund.attempts), rules)


@pytest.mark.parametrize(
    ("name", "bug"),
    [
        ("interpret", _interpreted_as(_timeout_is_failure)),
        ("interpret", _interpreted_as(_pending_is_unknown)),
        ("interpret", _old_notifications_count),
        ("interpret", _older_answers_count),
        ("next_step", _fewer_tries),
        ("next_step", _resend_after_anything),
        ("next_step", _by_the_clock),
        ("_is_too_early", lambda *_: False),
        ("_limited", lambda refund, outcome, source: outcome),
        ("_is_first_answer", lambda refund, source: source.channel == "reply"),
        ("refusal_to_send", lambda *_: None),
    ],
)
def test_the_laws_find_planted_bugs(name: str, bug: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy with a known bug reaches a state in which a law is broken."""
    plant(monkeypatch, name, bug)

    with pytest.raises(Broken):
        explore(_QUICK, SENDING)
