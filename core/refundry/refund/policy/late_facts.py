"""What a message adds to a refund besides its status: facts about the settlement, and about a failure.

The rule of this module: pure. A fact is recorded once, however often a message is repeated.
"""

from typing import Final

import attrs

from refundry.provider import DefinitiveFailure, NotSent, Outcome, OutcomeKind, Pending, Succeeded, validation
from refundry.refund import Inquired, Refund, SettlementFacts, Status

_NO_FACTS: Final = SettlementFacts()
LATE_FACTS: Final = "LATE_FACTS"
"""The code of an informational event about facts that came after the end without a code of the provider."""


def stated_facts(outcome: Outcome | NotSent) -> SettlementFacts:
    """Return what an outcome states about the settlement; a time that is not in ISO 8601 becomes a detail."""
    match outcome:
        case Succeeded():
            settled_at, details = validation.iso_8601(outcome.settled_at), outcome.details
            if settled_at is None and outcome.settled_at is not None:
                details = {**(details or {}), "settled_at": outcome.settled_at}
            return SettlementFacts(
                settled_at=settled_at,
                settlement_amount=outcome.settlement_amount,
                quote=outcome.quote,
                details=details,
            )
        case Pending() if outcome.details:
            return SettlementFacts(details=outcome.details)
        case _:
            return _NO_FACTS


def adds_facts(refund: Refund, outcome: Outcome | NotSent) -> bool:
    """Return whether a message states something about the end of a refund that no earlier one stated."""
    refund_id = getattr(outcome, "provider_refund_id", None)
    names_id = refund_id is not None and refund.provider_refund_id is None
    if isinstance(outcome, DefinitiveFailure):
        return refund.status is Status.FAILED and (names_id or _describes_failure(refund, outcome))
    if refund.status is Status.FAILED or not isinstance(outcome, Succeeded | Pending):
        return False
    known = refund.settlement if refund.status is Status.SETTLED else refund.reported or _NO_FACTS
    return names_id or stated_facts(outcome).adds_to((known, *refund.superseded))


def _describes_failure(refund: Refund, outcome: DefinitiveFailure) -> bool:
    known = [failure.details for failure in (refund.failure,) if failure is not None]
    return outcome.details is not None and outcome.details not in [*known, *(note.details for note in refund.notes)]


def late_facts(event: Inquired) -> Inquired:
    """Return the informational event of a message that came after the end and adds facts to it."""
    cause = "The provider reports more about the refund after its end."
    return attrs.evolve(
        event, outcome=OutcomeKind.INFORMATIONAL, code=event.code or LATE_FACTS, cause=cause, advice=None
    )
