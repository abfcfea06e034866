"""What AlphaPay does not promise the gateway does not assume, and all of that comes out of the plugin's terms.

The simulator here pays again whenever a refundRequestId comes a second time: a resend pays twice, and the
ledger shows it.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from refundry.errors import Invalid
from refundry.gateway import Gateway
from refundry.gateway.request import RefundRequest
from refundry.inputs import Operator
from refundry.provider import Notification, Resend, ReviewReason
from refundry.refund import NextStep, Refund, Status
from refundry.refund.policy import ManualReview
from refundry.testing.simulator.faults import Plan
from refundry.testing.simulator.ledger import Payment, State
from refundry.testing.simulator.messages import Draft
from tests.plugins.alphapay.shop import Shop, open_shop


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path, repeat="pay_again") as opened:
        yield opened


@pytest.fixture
async def slow_shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """A provider that has every refund in process until a test ends it."""
    async with open_shop(tmp_path, repeat="pay_again", mode="async", async_delay=None) as opened:
        yield opened


def waits_for_an_operator(refund: Refund) -> bool:
    return refund.next_step == ManualReview.name and refund.next_at is None and not refund.final


def is_flagged(refund: Refund) -> bool:
    """Return whether an operator should look at the refund, while inquiries continue."""
    flagged = ReviewReason.INCONSISTENT_ANSWERS in [review.code for review in refund.review]
    return flagged and refund.next_step == NextStep.INQUIRE and not refund.final


async def events(shop: Shop, refund: Refund) -> list[str]:
    history = [item.event for item in await shop.gateway.history(refund.id)]
    return [f"{event.topic} {getattr(event, 'outcome', '')}".strip() for event in history]


async def test_the_reply_settles_nothing(shop: Shop) -> None:
    """A refund that AlphaPay has paid at once is pending until an inquiry says so, under both ids."""
    refund = await shop.request()
    assert (Status.PENDING, 1) == (refund.status, shop.paid)
    assert shop.alphapay.ledger.refunds["R1"].refund_id == refund.provider_refund_id

    refund = await shop.later(refund)

    assert (Status.SETTLED, 1, 1) == (refund.status, shop.paid, shop.came)
    assert ["requested", "submitted", "inquired pending", "settled"] == await events(shop, refund)


async def test_in_process_is_asked_about(slow_shop: Shop) -> None:
    """A refund in process is asked about, over and over, and never sent again; then it settles."""
    refund = await slow_shop.later(await slow_shop.request(), times=6)
    assert (Status.PENDING, 1, 0) == (refund.status, slow_shop.came, slow_shop.paid)

    slow_shop.alphapay.finish("R1", State.SUCCESS)
    refund = await slow_shop.later(refund)

    assert (Status.SETTLED, 1, 1) == (refund.status, slow_shop.came, slow_shop.paid)


async def test_failed_is_failed(slow_shop: Shop) -> None:
    """A refund of which the inquiry says FAILED has failed; nothing moved and nothing is sent."""
    refund = await slow_shop.request()
    slow_shop.alphapay.finish("R1", State.FAIL)
    refund = await slow_shop.later(refund, times=3)

    assert (Status.FAILED, 1, 0) == (refund.status, slow_shop.came, slow_shop.paid)
    assert refund.failure is not None
    assert "FAILED" == refund.failure.code


async def test_a_lost_answer(shop: Shop) -> None:
    """Paid, and the answer lost: it is asked about by our id alone, settles, and was sent once."""
    shop.alphapay.fault("drop_response", operation="refund")
    refund = await shop.request()
    assert (Status.UNKNOWN, None, 1) == (refund.status, refund.provider_refund_id, shop.paid)

    refund = await shop.later(refund)

    assert (Status.SETTLED, 1, 1) == (refund.status, shop.came, shop.paid)
    assert shop.alphapay.ledger.refunds["R1"].refund_id == refund.provider_refund_id


async def test_an_answer_that_comes_late(shop: Shop) -> None:
    """An answer after the timeout, with the refund still in process: inquiries continue, nothing is resent."""
    shop.alphapay.change({"mode": "async", "async_delay": "never"})
    shop.alphapay.fault("drop_response", operation="refund")
    refund = await shop.later(await shop.request(), times=4)
    assert (Status.PENDING, 1, 0) == (refund.status, shop.came, shop.paid)

    shop.alphapay.finish("R1", State.SUCCESS)
    refund = await shop.later(refund)

    assert (Status.SETTLED, 1, 1) == (refund.status, shop.came, shop.paid)


async def test_a_lost_request(shop: Shop) -> None:
    """Never arrived: F to the first inquiry flags it for review, as it proves nothing, and it is never resent."""
    shop.alphapay.fault("drop_request", operation="refund")
    refund = await shop.request()
    assert Status.UNKNOWN is refund.status

    refund = await shop.later(refund)
    assert [ReviewReason.UNDOCUMENTED_ANSWER] == [review.code for review in refund.review]
    refund = await shop.later(refund, times=3)

    assert (1, 0, 0) == (refund.attempts, shop.came, shop.paid)
    assert (Status.UNKNOWN, 0) == (refund.status, refund.not_found)


@pytest.mark.parametrize("code", ["SIM_REFUND_NOT_FOUND", "SIM_MERCHANT_UNKNOWN", "ORDER_PAID"])
async def test_no_code_confirms_that_it_failed(shop: Shop, code: str) -> None:
    """Paid with the answer lost, then F to every inquiry: an operator's mistake is not confirmed, and pays once."""
    shop.alphapay.fault("drop_response", operation="refund")
    refund = await shop.request()
    shop.alphapay.fault("answer", operation="inquiry", code=code, times=None)
    refund = await shop.later(refund, times=4)
    await shop.gateway.resolve(
        refund.id, Operator(by="ann", why="looked in the wrong place"), settled=False, version=refund.version
    )
    shop.clock.move(600)

    with pytest.raises(Invalid, match="retry_of: .* answers unknown, which does not confirm"):
        await shop.request("R2", retry_of=refund.id)
    assert (1, 1) == (shop.came, shop.paid)


async def test_resuming_makes_it_inquire(shop: Shop) -> None:
    """Resumed, it is inquired and not sent; only an operator can decide that it failed, and request a new one."""
    shop.alphapay.fault("drop_request", operation="refund")
    refund = await shop.later(await shop.request(), times=3)
    refund = await shop.gateway.resume(refund.id, Operator(by="ann", why="looked into the dashboard"))
    refund = await shop.later(refund, times=3)

    assert is_flagged(refund)
    assert (0, 0) == (shop.came, shop.paid)

    await shop.gateway.resolve(
        refund.id, Operator(by="ann", why="it is not in the dashboard"), settled=False, version=refund.version
    )
    again = await shop.later(await shop.request("R2"))
    assert (Status.SETTLED, 1, 1) == (again.status, shop.came, shop.paid)


async def test_only_a_request_that_never_left_is_sent_again(tmp_path: Path) -> None:
    """While nothing listens there, no byte leaves, and it is tried again; once it has left, it is sent no more."""
    async with open_shop(tmp_path, repeat="pay_again") as shop:
        port = int(shop.alphapay.url.rpartition(":")[2])
        await shop.alphapay.__aexit__()
        refund = await shop.request()
        assert (1, "submit") == (refund.attempts, refund.next_step)

        shop.alphapay.settings = attrs.evolve(shop.alphapay.settings, port=port)
        await shop.alphapay.__aenter__()
        refund = await shop.later(refund, seconds=60, times=2)

        assert (Status.SETTLED, 2, 1, 1) == (refund.status, refund.attempts, shop.came, shop.paid)


async def test_asking_needs_the_refund_id_by_the_letter(tmp_path: Path) -> None:
    """If no inquiry by our id alone is answered, a lost answer ends in review, paid once; a known one settles."""
    async with open_shop(tmp_path, repeat="pay_again", inquire_by_request_id=False) as shop:
        known = await shop.later(await shop.request("R1"))
        shop.alphapay.fault("drop_response", operation="refund")
        lost = await shop.later(await shop.request("R2"), times=8)

        assert Status.SETTLED is known.status
        assert is_flagged(lost)
        assert (2, 2) == (shop.came, shop.paid)


@pytest.mark.parametrize("work", ["skip", "do"])
@pytest.mark.parametrize("code", ["SIM_BALANCE", "SIM_SIGNATURE_INVALID", "NEVER_SEEN"])
async def test_a_refusal_needs_an_operator(shop: Shop, code: str, work: str) -> None:
    """F to a refund flags it at once, is confirmed by an inquiry if possible, and is never resent."""
    shop.alphapay.fault("answer", operation="refund", code=code, work=work)
    refund = await shop.request()
    assert [True] == [code in review.message for review in refund.review]
    assert Resend.NEVER is refund.resend

    refund = await shop.later(refund, times=8)

    paid = 1 if work == "do" else 0
    assert (1, paid) == (refund.attempts, shop.paid)
    remembered = code != "SIM_SIGNATURE_INVALID"
    if work == "do":
        assert Status.SETTLED is refund.status
    elif remembered:
        assert Status.FAILED is refund.status
    else:
        assert is_flagged(refund)


async def test_a_real_refusal(shop: Shop) -> None:
    """A refund of more than was paid is refused; asking confirms that it failed."""
    shop.alphapay.add_payment(Payment(id="P1", amount=(await shop.request("R0", payment="P0")).amount))
    refund = await shop.later(await shop.request("R1", amount="12.34"))

    assert Status.FAILED is refund.status
    assert "R1" not in shop.alphapay.ledger.moved()


@pytest.mark.parametrize("times", [2, 3, 10])
async def test_a_failing_inquiry_leads_to_a_review(slow_shop: Shop, times: int) -> None:
    """F to inquiries fails nothing and sends nothing; the refund is flagged after the terms' tries, and not before."""
    refund = await slow_shop.request()
    slow_shop.alphapay.fault("answer", operation="inquiry", code="ACCESS", times=times)
    refund = await slow_shop.later(refund, times=times)

    assert (times >= 3) == is_flagged(refund)
    assert (1, 0) == (slow_shop.came, slow_shop.paid)
    assert not refund.final
    if times == 2:
        slow_shop.alphapay.finish("R1", State.SUCCESS)
        assert Status.SETTLED is (await slow_shop.later(refund)).status


async def test_an_unknown_answer(shop: Shop) -> None:
    """U to a refund is asked about, and never sent again."""
    shop.alphapay.fault("answer", operation="refund", code="SIM_UNKNOWN", work="do")
    refund = await shop.request()
    assert Status.UNKNOWN is refund.status

    refund = await shop.later(refund)

    assert (Status.SETTLED, 1, 1) == (refund.status, shop.came, shop.paid)


FAULTS: list[dict[str, Any]] = [
    {"name": "drop_response"},
    {"name": "drop_request"},
    {"name": "bad_signature", "how": "wrong_key"},
    {"name": "bad_signature", "how": "flipped_bit"},
    {"name": "bad_signature", "how": "unsigned"},
    {"name": "bad_signature", "how": "no_time"},
    {"name": "wrong_amount"},
    {"name": "wrong_currency"},
    {"name": "other_refund"},
    *({"name": "corrupt", "kind": kind} for kind in ("html", "half_json", "empty", "http_500", "redirect", "not_utf8")),
]


@pytest.mark.parametrize("operation", ["refund", "inquiry"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: "-".join(fault.values()))
async def test_no_fault_makes_it_pay_twice(shop: Shop, fault: dict[str, Any], operation: str) -> None:
    """Whatever goes wrong with an answer, once or always: one request was sent, and it ends correctly or in review."""
    shop.alphapay.fault(operation=operation, **fault)
    refund = await shop.later(await shop.request("R1"), times=12)
    shop.alphapay.fault(operation=operation, times=None, **fault)
    other = await shop.later(await shop.request("R2"), times=12)

    for asked in (refund, other):
        done = asked if asked.final else await shop.later(asked, seconds=8 * 86_400, times=2)
        assert 1 == done.attempts
        assert Status.FAILED is not done.status
        assert done.final or waits_for_an_operator(done)
        assert shop.alphapay.ledger.moved()[done.refund_request_id] <= 1


# --- notifications ----------------------------------------------------------------------------------------------------

NOTIFY = "/notifications/shop"


async def notice(shop: Shop, id: str, state: State = State.SUCCESS, **plan: Any) -> Notification:
    """Return the notification that the simulator would post now."""
    content = Draft(
        operation="notification", path=NOTIFY, code="SUCCESS", refund=shop.alphapay.ledger.refunds[id], state=state
    )
    message = await shop.alphapay._write(content, Plan(**plan))
    return Notification("POST", NOTIFY, tuple(message.headers), message.body)


async def test_a_notification_settles(slow_shop: Shop) -> None:
    """The one notification settles, whether the reply was seen or lost; played again, it changes nothing."""
    slow_shop.alphapay.fault("drop_response", operation="refund", skip=1)
    refunds = [await slow_shop.request("R1"), await slow_shop.request("R2")]
    for refund in refunds:
        slow_shop.alphapay.finish(refund.refund_request_id, State.SUCCESS)
        reply = await notice(slow_shop, refund.refund_request_id)
        answers = [await slow_shop.gateway.receive_notification("shop", reply) for _ in range(3)]
        settled = await slow_shop.gateway.get(refund.id)

        assert ({"S"}, Status.SETTLED) == (
            {json.loads(answer.body)["result"]["resultStatus"] for answer in answers},
            settled.status,
        )
        assert 1 == (await events(slow_shop, settled)).count("settled")


async def test_a_notification_of_a_failure_is_asked_about(slow_shop: Shop) -> None:
    """AlphaPay tells of successes only: anything else that is signed makes us ask, and decides nothing."""
    refund = await slow_shop.request()
    await slow_shop.gateway.receive_notification("shop", await notice(slow_shop, "R1", State.FAIL))
    refund = await slow_shop.gateway.get(refund.id)
    assert not refund.final

    slow_shop.alphapay.finish("R1", State.SUCCESS)
    assert Status.SETTLED is (await slow_shop.later(refund, times=2)).status


# --- two processes ----------------------------------------------------------------------------------------------------


async def test_who_died_after_sending_asks(tmp_path: Path) -> None:
    """A refund whose process ended before the answer was stored is asked about by the next one, and not sent again."""
    async with open_shop(tmp_path, repeat="pay_again") as shop:
        with pytest.raises(RuntimeError):
            async with Gateway.open(
                tmp_path / "refundry.toml", ports=attrs.evolve(shop.gateway.ports, step=_die)
            ) as dying:
                await dying.request(
                    RefundRequest(account="shop", payment="P1", amount="1.00", currency="CAD", refund_request_id="R1")
                )
        refund = await shop.later(await shop.gateway.get("R1"))

        assert (Status.SETTLED, 1, 1) == (refund.status, shop.came, shop.paid)


def _die(step: str) -> None:
    if step == "answer received":
        raise RuntimeError("killed")
