"""What a provider may say, as hypothesis strategies and as a small alphabet for exhaustive walks."""

from datetime import UTC, datetime
from typing import Final

import attrs
from hypothesis import strategies as st

from refundry.money import Money
from refundry.provider import (
    Blocked,
    DefinitiveFailure,
    Informational,
    NotFound,
    NotSent,
    Outcome,
    Pending,
    Resend,
    ReviewReason,
    Scope,
    Succeeded,
    Terms,
    Unknown,
)
from refundry.refund import Channel, Refund, Requested, fold
from refundry.refund.policy import Source

NOON: Final = datetime(2026, 11, 22, 12, tzinfo=UTC)
ID: Final = "0190a0e6-0000-7000-8000-000000000080"
EUROS: Final = Money(1233, "EUR", 2)
OTHER_EUROS: Final = Money(1234, "EUR", 2)
OWN: Final = "client@host"
OTHER: Final = "other@host"
REQUESTED: Final = Requested(
    at=NOON, account="shop", provider="antom", payment="P1", amount=EUROS, refund_request_id="R1", by="tests"
)

ALPHABET: Final[dict[str, Outcome | NotSent]] = {
    "settled": Succeeded(EUROS, provider_refund_id="PR1"),
    "settled with another amount": Succeeded(OTHER_EUROS),
    "pending": Pending("REFUND_IN_PROCESS", "works on it", "PR1"),
    "failed": DefinitiveFailure("RISK_REJECT", "refused", "ask an operator"),
    "not found": NotFound("ORDER_NOT_EXIST", "not known"),
    "unknown": Unknown("lost"),
    "call again": Unknown("too much traffic", "REQUEST_TRAFFIC_EXCEED_LIMIT", Resend.SAME),
    "never again": Unknown("system error", "SYSTEM_ERROR", Resend.NEVER, ReviewReason.UNCONFIRMED_REFUSAL),
    "unusual": Unknown("not signed", review=ReviewReason.UNVERIFIED_ANSWER),
    "blocked": Blocked("PARAM_ILLEGAL", "a field is wrong", "fix it"),
    "account blocked": Blocked("CLIENT_INVALID", "who is this", "fix it", Scope.ACCOUNT),
    "not sent": NotSent("connection refused"),
}
"""One outcome of every kind that is treated differently."""

TERMS: Final[dict[str, Terms]] = {
    "defaults of Antom": Terms(inquire_by=("refund_request_id",), max_attempts=2),
    "never resent": Terms(resend_after=frozenset(), not_found_tries=0, max_attempts=2),
    "asked by the provider's id only": Terms(inquire_by=("provider_refund_id",), not_found_tries=1, max_attempts=2),
    "forgets ids": Terms(id_horizon=86_400.0, not_found_tries=0, max_attempts=2),
    "resent only when asked to": Terms(resend_after=frozenset({Resend.SAME}), not_found_tries=0, max_attempts=2),
}
"""Kinds of providers, with numbers small enough to walk through everything."""


def new_refund(id: str = ID) -> Refund:
    """Return a refund that was requested and nothing else."""
    return fold(id, [REQUESTED])


def source(
    at: datetime, channel: Channel, attempt: int | None = None, *, sender: str = OWN, fresh: bool = True
) -> Source:
    """Return the source of an outcome, as the gateway states it."""
    asked = channel is Channel.INQUIRY
    return Source(
        at=at,
        channel=channel,
        plugin="antom 0.1.0",
        sender=sender if asked else None,
        attempt=None if channel is Channel.NOTIFICATION else attempt,
        fresh=fresh,
    )


def any_outcome() -> st.SearchStrategy[Outcome | NotSent]:
    """Draw any outcome; the codes and texts vary, also to those that are not documented."""
    codes = st.one_of(st.none(), st.sampled_from(["A", "B", "UNLISTED; UNUSUAL"]))
    ids = st.sampled_from([None, "PR1", "PR2"])
    return st.one_of(
        st.sampled_from(list(ALPHABET.values())),
        st.builds(Succeeded, st.builds(Money, st.integers(1, 2000), st.sampled_from(["EUR", "USD"]), st.just(2)), ids),
        st.builds(Pending, codes, codes, ids),
        st.builds(DefinitiveFailure, st.sampled_from(["A", "B"]), st.just("cause"), st.just("advice")),
        st.builds(Unknown, st.just("cause"), codes, st.sampled_from(Resend), codes),
        st.builds(Informational, st.just("cause"), codes),
    )


def terms() -> st.SearchStrategy[Terms]:
    """Draw the terms of any provider, with short waits."""
    return st.builds(
        lambda known, **changes: attrs.evolve(known, **changes),
        st.sampled_from(list(TERMS.values())),
        not_found_tries=st.integers(0, 3),
        max_attempts=st.integers(1, 4),
        id_horizon=st.sampled_from([None, 600.0, 86_400.0]),
        replays_refusals=st.booleans(),
        resend_after=st.frozensets(st.sampled_from([Resend.SAME, Resend.AFTER_NOT_FOUND])),
        escalate_after=st.sampled_from([60.0, 3600.0]),
    )
