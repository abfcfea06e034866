"""What a provider tells by itself: believed only when it is the provider's, this account's, and about this refund.

The rule of this module: notifications are the simulator's own, taken as they were posted; what is forged is made from
them. Whatever comes, `parse_notification` gives what the provider said, or raises `Forged` or `Unreadable`.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

import attrs
from aiohttp import web

from refundry.errors import Forged
from refundry.provider import (
    Acknowledgement,
    DefinitiveFailure,
    Notification,
    NotificationHandler,
    Outcome,
    RefundInstruction,
    Succeeded,
    Unreadable,
    VerifiedNotification,
)
from refundry.refund import Status
from refundry.testing.contract.base import Broken, NotApplicable, broken, check, demand
from refundry.testing.contract.declaration import listens
from refundry.testing.contract.delivery import notified
from refundry.testing.contract.environment import ACCOUNT, MINOR, Stage, Subject, now
from refundry.testing.contract.lifecycle import honest, once_only, paid
from refundry.testing.contract.reading import (
    amount_texts,
    flipped,
    holds,
    holds_amount,
    neighbours,
    shown,
    with_other_headers,
)

_NONE: Final = "the provider sends no notifications"


def _needed(subject: Subject) -> None:
    if not listens(subject):
        raise NotApplicable(_NONE)


def parse_notification(stage: Stage, notification: Notification, what: str) -> VerifiedNotification | None:
    """Let the provider hear a notification; None if it refuses it; a breach if it raises anything else."""
    provider = stage.provider
    assert isinstance(provider, NotificationHandler)
    try:
        heard = provider.parse_notification(notification)
    except (Forged, Unreadable):
        return None
    except Exception as error:
        raise Broken(f"hear raised {type(error).__name__} on {what}") from error
    if not isinstance(heard, VerifiedNotification):
        broken(f"hear gave a {type(heard).__name__} for {what}")
    return heard


def meaning(heard: VerifiedNotification, asked: RefundInstruction, what: str) -> Outcome:
    """Read what was heard; a breach if the reader raises."""
    try:
        return heard.read(asked)
    except Exception as error:
        raise Broken(f"the reader raised {type(error).__name__} on {what}") from error


async def _settled_notice(stage: Stage, number: int = 1) -> tuple[RefundInstruction, Notification]:
    """Pay a refund and give the notification of it."""
    asked = stage.instruction(number)
    await stage.ask("refund", asked)
    return asked, await notified(stage, number)


@check("notification-heard", "A genuine notification names our id, says what the books say, and when it was sent.")
async def heard(subject: Subject) -> None:
    """Hear of a refund that was paid."""
    _needed(subject)
    async with subject.stage() as stage:
        asked, notification = await _settled_notice(stage)
        told = parse_notification(stage, notification, "a genuine notification")
        if told is None:
            broken("a genuine notification was refused")
        demand(told.refund_request_id == asked.refund_request_id, f"it names {told.refund_request_id!r}")
        outcome = meaning(told, asked, "a genuine notification")
        demand(isinstance(outcome, Succeeded) and outcome.amount == asked.amount, f"it was read as {shown(outcome)}")
        demand(told.at is None or told.at.tzinfo is not None, "the time has no offset")
        demand(
            told.at is None or abs(told.at - now()) < timedelta(minutes=5), f"it was sent just now, not at {told.at}"
        )
        demand(isinstance(told.acknowledgement, Acknowledgement), "there is no acknowledgement")


@check(
    "notification-settles",
    "A notification settles a refund, or makes us ask; the provider takes the answer to it.",
)
async def settles(subject: Subject) -> None:
    """Let the provider finish a refund and tell the gateway, as in production."""
    _needed(subject)
    terms = {"first_inquiry": 30.0, "inquiry_intervals": [30.0]}
    async with subject.stage(terms=terms, mode="async", async_delay="never") as stage:
        stage.box.gateway = stage.gateway
        refund = await stage.request()
        await stage.control.call("POST", f"refunds/{refund.refund_request_id}", {"status": "SUCCESS"})
        letter = await stage.box.next()
        answer = await letter.answered
        refund = await stage.gateway.get(refund.id)
        if refund.status is not Status.SETTLED:
            refund = await stage.gateway.inquire(refund.id)  # it may be no more than a reason to ask
        demand(refund.status is Status.SETTLED, f"after the notification it is {refund.status}")
        await _acknowledged(stage, refund.refund_request_id, answer)


async def _acknowledged(stage: Stage, request_id: str, answer: web.Response) -> None:
    for _ in range(100):
        told = (await stage.control.entry(request_id))["notifications"]
        if told["acknowledged"]:
            return
        await stage.gateway.ports.sleep(0.02)
    broken(f"the simulator does not take the answer (HTTP {answer.status}) for an acknowledgement")


@check("notification-twice", "The same notification again changes nothing, and is acknowledged alike.")
async def twice(subject: Subject) -> None:
    """Hear one notification five times, before and after the refund is settled."""
    _needed(subject)
    async with subject.stage() as stage:
        refund = await stage.request()
        notification = await notified(stage)
        first = await stage.gateway.receive_notification(ACCOUNT, notification)
        refund = await paid(stage, refund, "a notification that comes again")
        for _ in range(4):
            demand(
                await stage.gateway.receive_notification(ACCOUNT, notification) == first,
                "the acknowledgement is not always the same",
            )
        after = await stage.gateway.get(refund.id)
        demand(after == refund, "a notification that came again changed the refund")


@check(
    "notification-before-reply",
    "A notification that overtakes the reply is taken, and the refund is paid once.",
)
async def before_reply(subject: Subject) -> None:
    """Let the provider tell before it answers."""
    _needed(subject)
    async with subject.stage(mode="async", async_delay="0.2") as stage:
        stage.box.gateway = stage.gateway
        await stage.control.fault("reorder", "refund", hold="2")
        refund = await paid(stage, await stage.request(), "the notification came before the reply")
        await once_only(stage, refund)
        told = (await stage.control.entry(refund.refund_request_id))["notifications"]
        demand(told["acknowledged"] > 0, "a notification that came before the reply was not taken")


@check("notification-of-unknown-parked", "A genuine notification about a refund that is not known is kept.")
async def unknown_kept_as_unmatched(subject: Subject) -> None:
    """Hear of a refund that the store has never seen."""
    _needed(subject)
    async with subject.stage() as stage:
        elsewhere = subject.account(stage.control.url, notify_url=stage.box.url).provider
        asked = stage.instruction()
        await stage.ask("refund", asked, elsewhere)
        await stage.gateway.receive_notification(ACCOUNT, await notified(stage))
        unmatched = await stage.gateway.unmatched()
        demand([asked.refund_request_id] == [one.refund_request_id for one in unmatched], "it was not kept")


@check("forged-notification-refused", "An unsigned notification, and one that somebody else signed, is refused.")
async def forged(subject: Subject) -> None:
    """Let the simulator sign badly."""
    _needed(subject)
    async with subject.stage() as stage:
        await stage.ask("refund", stage.instruction())
        for how in ("unsigned", "wrong_key", "flipped_bit"):
            await stage.control.fault("bad_signature", "notification", how=how)
            notification = await notified(stage)
            told = parse_notification(stage, notification, f"a notification with {how}")
            demand(told is None, f"a notification with {how} was heard")


@check(
    "altered-notification-refused",
    "A notification with a bit or a header altered is refused or says the same.",
)
async def altered(subject: Subject) -> None:
    """Flip one bit in every byte of the body, and change every header."""
    _needed(subject)
    async with subject.stage() as stage:
        asked, notification = await _settled_notice(stage)
        genuine = parse_notification(stage, notification, "a genuine notification")
        if genuine is None:
            broken("a genuine notification was refused")
        means = meaning(genuine, asked, "a genuine notification")
        for what, other in _alterations(notification):
            told = parse_notification(stage, other, what)
            if told is not None:
                same = told.refund_request_id == genuine.refund_request_id and meaning(told, asked, what) == means
                demand(same, f"{what} was heard, and says something else")


def _alterations(notification: Notification) -> Iterator[tuple[str, Notification]]:
    for position in range(len(notification.body)):
        yield f"a notification with byte {position} altered", flipped(notification, position)
    for other in with_other_headers(notification):
        yield "a notification with another header", other
    yield "a notification without headers", attrs.evolve(notification, headers=())


@check("odd-notification-refused", "What is no notification at all is refused, however long, deep or odd it is.")
async def odd(subject: Subject) -> None:
    """Hear pages, halves, nothing, ten megabytes, brackets and bytes of all kinds."""
    _needed(subject)
    async with subject.stage() as stage:
        _, notification = await _settled_notice(stage)
        body = notification.body
        bodies = (
            b"", b"{}", b"[]", b"null", b"\xff\xfe\x00", b"<html></html>", b"[" * 10_000, b'{"a":' * 10_000,
            b"a=b&" * 10_000, body[: len(body) // 2], body + body, b"%" * 1000, b"x" * 10_000_000, b'{"a":1e999999}',
            b"=&=&;;&&",
        )  # fmt: skip
        for spoilt in bodies:
            told = parse_notification(
                stage, attrs.evolve(notification, body=spoilt), f"a notification of {spoilt[:12]!r}..."
            )
            demand(told is None, f"a notification of {spoilt[:12]!r}... was heard")
        long = tuple((name, value + "x" * 100_000) for name, value in notification.headers)
        for changes in ({"headers": long}, {"path": "/?" + "x" * 100_000}, {"method": "\udcff"}, {"path": "\udcff"}):
            parse_notification(stage, attrs.evolve(notification, **changes), "an odd notification")


@check("other-accounts-notification-refused", "A notification that names another client than the account's is refused.")
async def other_account(subject: Subject) -> None:
    """Hear it with accounts whose settings differ in one text that the notification holds."""
    _needed(subject)
    async with subject.stage() as stage:
        asked, notification = await _settled_notice(stage)
        looked = False
        for value, stranger in neighbours(subject, stage):
            if holds(notification, value) and stranger.identity != stage.provider.identity:
                looked = True
                assert isinstance(stranger, NotificationHandler)
                try:
                    outcome = stranger.parse_notification(notification).read(asked)
                except (Forged, Unreadable):
                    continue
                broken(f"the notification to another client was heard as {shown(outcome)}")
        if not looked:
            raise NotApplicable("its notifications do not name the client")


@check(
    "other-notification-ends-nothing",
    "A notification about another refund, amount or currency settles nothing.",
)
async def other(subject: Subject) -> None:
    """Let the simulator tell of something else, and read it for our order."""
    _needed(subject)
    async with subject.stage() as stage:
        for number, like in enumerate((False, True)):
            stranger, asked = stage.instruction(100 + number, MINOR if like else MINOR + 100), stage.instruction(number)
            for one in (stranger, asked):
                await stage.ask("refund", attrs.evolve(one, payment=asked.payment))
            for fault, fields in _ELSEWHERE:
                await stage.control.fault(fault, "notification", **fields)
                told = parse_notification(stage, await notified(stage, number), fault)
                if told is not None and told.refund_request_id == asked.refund_request_id:
                    _ends_nothing(told, asked, fault)


_ELSEWHERE: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("other_refund", {}),
    ("wrong_amount", {"more": 1}),
    ("wrong_amount", {"more": 99 * MINOR}),
    ("wrong_currency", {}),
)


def _ends_nothing(told: VerifiedNotification, asked: RefundInstruction, what: str) -> None:
    outcome = meaning(told, asked, what)
    settled = isinstance(outcome, Succeeded) and outcome.amount == asked.amount
    demand(
        not settled and not isinstance(outcome, DefinitiveFailure),
        f"a notification with {what} was read as {shown(outcome)}",
    )


@check("notification-for-another-order", "A notification is compared with the order, not taken at its word.")
async def for_another_instruction(subject: Subject) -> None:
    """Read the notification of one refund as that of another."""
    _needed(subject)
    async with subject.stage() as stage:
        _, notification = await _settled_notice(stage)
        told = parse_notification(stage, notification, "a genuine notification")
        if told is None:
            broken("a genuine notification was refused")
        others = [stage.instruction(2)]
        if any(text in notification.body for text in amount_texts()) and holds_amount(notification):
            others.append(stage.instruction(1, MINOR + 100))
        for another in others:
            outcome = meaning(told, another, "the notification of another refund")
            settled = isinstance(outcome, Succeeded) and outcome.amount == another.amount
            demand(
                not settled and not isinstance(outcome, DefinitiveFailure),
                f"it was read as {shown(outcome)} of another refund",
            )


@check("late-failure-noticed", "A failure that is told after the refund was settled moves nothing and calls a person.")
async def late_failure(subject: Subject) -> None:
    """Let the provider take back what it said."""
    _needed(subject)
    async with subject.stage() as stage:
        refund = await paid(stage, await stage.request(), "without any fault")
        notification = await notified(stage, status="FAIL")
        told = parse_notification(stage, notification, "a genuine notification of a failure")
        demand(told is not None, "a genuine notification of a failure was refused")
        await stage.gateway.receive_notification(ACCOUNT, notification)
        after = await stage.gateway.get(refund.id)
        demand(after.status is Status.SETTLED, f"a notification made a settled refund {after.status}")
        demand(after.review is not None, "nobody is called although the provider took back what it said")


@check("failure-told", "A refund that fails later ends as failed, or calls a person, also where that is only told.")
async def failure_told(subject: Subject) -> None:
    """Let the provider fail a refund and tell."""
    _needed(subject)
    async with subject.stage(mode="async", async_delay="never") as stage:
        refund = await stage.request()
        await stage.control.call("POST", f"refunds/{refund.refund_request_id}", {"status": "FAIL"})
        notification = await notified(stage, status="FAIL")
        await stage.gateway.receive_notification(ACCOUNT, notification)
        refund = await honest(stage, await stage.gateway.get(refund.id), "a failure that was told")
        demand(refund.status is not Status.SETTLED, "it is settled, and no money moved")
