"""What the pages of result codes state about sending again is what the policy does."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

import attrs
import pytest

from refundry.inputs import Operator
from refundry.provider import Code, CodeClass, NotFound, ProviderPlugin, Resend, SameId
from refundry.provider.codes import outcome_of
from refundry.refund import Channel, NextStep, Refund, Submitted, apply, policy
from refundry_alipay.provider import PLUGIN as ALIPAY
from refundry_alphapay.provider import PLUGIN as ALPHAPAY
from refundry_antom.provider import PLUGIN as ANTOM
from tests.core.strategies import NOON, OWN, new_refund, source

ADA: Final = Operator(by="ada", why="it is fixed")
_LONG: Final = timedelta(hours=1)


def rows() -> Iterator[tuple[ProviderPlugin, Code]]:
    """Yield every row of every table of answers to a refund that is not a success."""
    for plugin in (ANTOM, ALIPAY, ALPHAPAY):
        for row in plugin.codes["refund"].values():
            if row.meaning is not CodeClass.SUCCESS:
                yield plugin, row


def replied(plugin: ProviderPlugin, row: Code) -> Refund:
    """Return a refund whose first attempt was answered with the code."""
    attempt = Submitted(at=NOON, attempt=1, digest="d1", sender=OWN, plugin="p", next_at=NOON)
    return interpreted(plugin, apply(new_refund(), attempt), outcome_of(row), Channel.REPLY)


def interpreted(plugin: ProviderPlugin, refund: Refund, outcome: object, channel: Channel) -> Refund:
    """Return the refund after one more outcome, an hour after the last."""
    at = refund.updated_at + (_LONG if channel is Channel.INQUIRY else timedelta(seconds=1))
    event = policy.interpret(refund, outcome, source(at, channel, 1), plugin.terms)  # type: ignore[arg-type]  # any
    return refund if event is None else apply(refund, event)


def sent_again(plugin: ProviderPlugin, refund: Refund) -> SameId:
    """Return what has to happen until the same id is sent again."""
    if refund.next_step is NextStep.SUBMIT:
        return SameId.AFTER_BACKOFF
    if refund.blocked is not None:
        resumed = apply(refund, policy.resumed(refund, refund.updated_at, ADA, plugin.terms))
        return SameId.AFTER_FIX if resumed.next_step is NextStep.SUBMIT else SameId.NEVER
    for _ in range(plugin.terms.not_found_tries + 1):
        refund = interpreted(plugin, refund, NotFound("ORDER_NOT_EXIST"), Channel.INQUIRY)
    return SameId.AFTER_INQUIRY if refund.next_step is NextStep.SUBMIT else SameId.NEVER


def _id(item: ProviderPlugin | Code) -> str:
    return item.code if isinstance(item, Code) else item.name


@pytest.mark.parametrize(("plugin", "row"), list(rows()), ids=_id)
def test_the_same_id_is_sent_again_as_the_page_states(plugin: ProviderPlugin, row: Code) -> None:
    """`same id` of each code is what the policy does after an answer with it, with the provider's own terms."""
    assert row.same_id is sent_again(plugin, replied(plugin, row))


def test_a_wrong_row_is_found() -> None:
    """The check can fail: a code that may be sent again is not sent again if its row forbids it."""
    row = attrs.evolve(ANTOM.codes["refund"]["UNKNOWN_EXCEPTION"], same_id=SameId.AFTER_BACKOFF)

    assert Resend.SAME in ANTOM.terms.resend_after
    assert SameId.AFTER_INQUIRY is not sent_again(ANTOM, replied(ANTOM, row))
