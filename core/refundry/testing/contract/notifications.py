"""Notifications: trusted only if they are the provider's, for this account, and about this refund.

The rule of this module: notifications are the simulator's, exactly as they were posted, and forgeries are made from
them. For any input `parse_notification` returns what the provider reported, or raises `Forged` or `Unreadable`.
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
from refundry.testing.contract.base import NotApplicable, Violation, check, fail, require
from refundry.testing.contract.declaration import handles_notifications
from refundry.testing.contract.delivery import notified
from refundry.testing.contract.environment import ACCOUNT, MINOR, Environment, Subject, now
from refundry.testing.contract.lifecycle import consistent, once_only, paid
from refundry.testing.contract.reading import (
    amount_texts,
    flipped,
    holds,
    holds_amount,
    neighbors,
    shown,
    with_other_headers,
)

_NONE: Final = "the provider sends no notifications"


def _needed(subject: Subject) -> None:
    if not handles_notifications(subject):
        raise NotApplicable(_NONE)


def parse_notification(env: Environment, notification: Notification, what: str) -> VerifiedNotification | None:
    """Return the parsed notification, or None if the provider refuses it; any other exception is a violation."""
    provider = env.provider
    assert isinstance(provider, NotificationHandler)
    try:
        verified = provider.parse_notification(notification)
    except (Forged, Unreadable):
        return None
    except Exception as error:
        raise Violation(f"parse_notification raised {type(error).__name__} on {what}") from error
    if not isinstance(verified, VerifiedNotification):
        fail(f"parse_notification returned a {type(verified).__name__} for {what}")
    return verified


def meaning(verified: VerifiedNotification, asked: RefundInstruction, what: str) -> Outcome:
    """Return the outcome of a notification; a reader that raises is a violation."""
    try:
        return verified.read(asked)
    except Exception as error:
        raise Violation(f"the reader raised {type(error).__name__} on {what}") from error


async def _settled_notification(env: Environment, number: int = 1) -> tuple[RefundInstruction, Notification]:
    """Return a refund that was paid and its notification."""
    asked = env.instruction(number)
    await env.send("refund", asked)
    return asked, await notified(env, number)


@check(
    "notification-verified", "A genuine notification names our id, agrees with the ledger, and states when it was sent."
)
async def verified(subject: Subject) -> None:
    """Parse the notification of a paid refund."""
    _needed(subject)
    async with subject.environment() as env:
        asked, notification = await _settled_notification(env)
        verified = parse_notification(env, notification, "a genuine notification")
        if verified is None:
            fail("a genuine notification was refused")
        require(verified.refund_request_id == asked.refund_request_id, f"it names {verified.refund_request_id!r}")
        outcome = meaning(verified, asked, "a genuine notification")
        require(isinstance(outcome, Succeeded) and outcome.amount == asked.amount, f"it was read as {shown(outcome)}")
        require(verified.at is None or verified.at.tzinfo is not None, "the time has no offset")
        require(
            verified.at is None or abs(verified.at - now()) < timedelta(minutes=5),
            f"it was sent just now, not at {verified.at}",
        )
        require(isinstance(verified.acknowledgement, Acknowledgement), "there is no acknowledgement")


@check(
    "notification-settles",
    "A notification settles a refund or triggers an inquiry, and the provider accepts the acknowledgement.",
)
async def settles(subject: Subject) -> None:
    """Complete a refund at the provider, which notifies the gateway as in production."""
    _needed(subject)
    terms = {"first_inquiry": 30.0, "inquiry_intervals": [30.0]}
    async with subject.environment(terms=terms, mode="async", async_delay="never") as env:
        env.receiver.gateway = env.gateway
        refund = await env.request()
        await env.control.call("POST", f"refunds/{refund.refund_request_id}", {"status": "SUCCESS"})
        received = await env.receiver.next()
        answer = await received.answered
        refund = await env.gateway.get(refund.id)
        if refund.status is not Status.SETTLED:
            refund = await env.gateway.inquire(refund.id)  # it may only trigger an inquiry
        require(refund.status is Status.SETTLED, f"after the notification it is {refund.status}")
        await _acknowledged(env, refund.refund_request_id, answer)


async def _acknowledged(env: Environment, request_id: str, answer: web.Response) -> None:
    for _ in range(100):
        verified = (await env.control.refund(request_id))["notifications"]
        if verified["acknowledged"]:
            return
        await env.gateway.ports.sleep(0.02)
    fail(f"the simulator does not accept the response (HTTP {answer.status}) as an acknowledgement")


@check("notification-twice", "A repeated notification changes nothing and gets the same acknowledgement.")
async def twice(subject: Subject) -> None:
    """Receive one notification five times, before and after the refund is settled."""
    _needed(subject)
    async with subject.environment() as env:
        refund = await env.request()
        notification = await notified(env)
        first = await env.gateway.receive_notification(ACCOUNT, notification)
        refund = await paid(env, refund, "a repeated notification")
        for _ in range(4):
            require(
                await env.gateway.receive_notification(ACCOUNT, notification) == first,
                "the acknowledgement changed",
            )
        after = await env.gateway.get(refund.id)
        require(after == refund, "a repeated notification changed the refund")


@check(
    "notification-before-reply",
    "A notification that arrives before the reply is accepted, and the refund is paid once.",
)
async def before_reply(subject: Subject) -> None:
    """Receive the notification before the reply."""
    _needed(subject)
    async with subject.environment(mode="async", async_delay="0.2") as env:
        env.receiver.gateway = env.gateway
        await env.control.fault("reorder", "refund", hold="2")
        refund = await paid(env, await env.request(), "the notification arrived before the reply")
        await once_only(env, refund)
        verified = (await env.control.refund(refund.refund_request_id))["notifications"]
        require(verified["acknowledged"] > 0, "a notification that arrived before the reply was not accepted")


@check("unmatched-notification-kept", "A genuine notification about an unknown refund is kept.")
async def unknown_kept_as_unmatched(subject: Subject) -> None:
    """Receive a notification about a refund that is not in the store."""
    _needed(subject)
    async with subject.environment() as env:
        elsewhere = subject.account(env.control.url, notify_url=env.receiver.url).provider
        asked = env.instruction()
        await env.send("refund", asked, elsewhere)
        await env.gateway.receive_notification(ACCOUNT, await notified(env))
        unmatched = await env.gateway.unmatched()
        require([asked.refund_request_id] == [one.refund_request_id for one in unmatched], "it was not kept")


@check("forged-notification-refused", "A notification that is unsigned or signed with another key is refused.")
async def forged(subject: Subject) -> None:
    """Receive notifications with bad signatures."""
    _needed(subject)
    async with subject.environment() as env:
        await env.send("refund", env.instruction())
        for how in ("unsigned", "wrong_key", "flipped_bit"):
            await env.control.fault("bad_signature", "notification", how=how)
            notification = await notified(env)
            verified = parse_notification(env, notification, f"a notification with {how}")
            require(verified is None, f"a notification with {how} was accepted")


@check(
    "altered-notification-refused",
    "A notification with an altered bit or header is refused or keeps its meaning.",
)
async def altered(subject: Subject) -> None:
    """Flip one bit in every byte of the body, and change every header."""
    _needed(subject)
    async with subject.environment() as env:
        asked, notification = await _settled_notification(env)
        genuine = parse_notification(env, notification, "a genuine notification")
        if genuine is None:
            fail("a genuine notification was refused")
        means = meaning(genuine, asked, "a genuine notification")
        for what, other in _alterations(notification):
            verified = parse_notification(env, other, what)
            if verified is not None:
                same = (
                    verified.refund_request_id == genuine.refund_request_id and meaning(verified, asked, what) == means
                )
                require(same, f"{what} was accepted with another meaning")
                require(verified.signed == genuine.signed, f"{what} was taken for another notification")


def _alterations(notification: Notification) -> Iterator[tuple[str, Notification]]:
    for position in range(len(notification.body)):
        yield f"a notification with byte {position} altered", flipped(notification, position)
    for other in with_other_headers(notification):
        yield "a notification with another header", other
    yield "a notification without headers", attrs.evolve(notification, headers=())


@check(
    "malformed-notification-refused",
    "Anything that is not a notification is refused, however long, deeply nested or malformed.",
)
async def malformed_notification(subject: Subject) -> None:
    """Receive pages, truncated and empty bodies, ten megabytes, brackets and arbitrary bytes."""
    _needed(subject)
    async with subject.environment() as env:
        _, notification = await _settled_notification(env)
        body = notification.body
        bodies = (
            b"", b"{}", b"[]", b"null", b"\xff\xfe\x00", b"<html></html>", b"[" * 10_000, b'{"a":' * 10_000,
            b"a=b&" * 10_000, body[: len(body) // 2], body + body, b"%" * 1000, b"x" * 10_000_000, b'{"a":1e999999}',
            b"=&=&;;&&",
        )  # fmt: skip
        for malformed_body in bodies:
            verified = parse_notification(
                env,
                attrs.evolve(notification, body=malformed_body),
                f"a notification of {malformed_body[:12]!r}...",
            )
            require(verified is None, f"a notification of {malformed_body[:12]!r}... was accepted")
        long = tuple((name, value + "x" * 100_000) for name, value in notification.headers)
        for changes in ({"headers": long}, {"path": "/?" + "x" * 100_000}, {"method": "\udcff"}, {"path": "\udcff"}):
            parse_notification(env, attrs.evolve(notification, **changes), "a malformed notification")


@check("other-accounts-notification-refused", "A notification for another client than the account's is refused.")
async def other_account(subject: Subject) -> None:
    """Parse it with accounts that differ in one setting that the notification contains."""
    _needed(subject)
    async with subject.environment() as env:
        asked, notification = await _settled_notification(env)
        examined = False
        for value, neighbor in neighbors(subject, env):
            if holds(notification, value) and neighbor.identity != env.provider.identity:
                examined = True
                assert isinstance(neighbor, NotificationHandler)
                try:
                    outcome = neighbor.parse_notification(notification).read(asked)
                except (Forged, Unreadable):
                    continue
                fail(f"the notification for another client was accepted as {shown(outcome)}")
        if not examined:
            raise NotApplicable("its notifications do not name the client")


@check(
    "other-notification-changes-nothing",
    "A notification about another refund, amount or currency changes nothing.",
)
async def other(subject: Subject) -> None:
    """Read notifications about something else for our instruction."""
    _needed(subject)
    async with subject.environment() as env:
        for number, like in enumerate((False, True)):
            neighbor, asked = (
                env.instruction(100 + number, MINOR if like else MINOR + 100),
                env.instruction(number),
            )
            for one in (neighbor, asked):
                await env.send("refund", attrs.evolve(one, payment=asked.payment))
            for fault, fields in _ELSEWHERE:
                await env.control.fault(fault, "notification", **fields)
                verified = parse_notification(env, await notified(env, number), fault)
                if verified is not None and verified.refund_request_id == asked.refund_request_id:
                    _ends_nothing(verified, asked, fault)


_ELSEWHERE: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("other_refund", {}),
    ("wrong_amount", {"more": 1}),
    ("wrong_amount", {"more": 99 * MINOR}),
    ("wrong_currency", {}),
)


def _ends_nothing(verified: VerifiedNotification, asked: RefundInstruction, what: str) -> None:
    outcome = meaning(verified, asked, what)
    settled = isinstance(outcome, Succeeded) and outcome.amount == asked.amount
    require(
        not settled and not isinstance(outcome, DefinitiveFailure),
        f"a notification with {what} was read as {shown(outcome)}",
    )


@check("notification-matched", "A notification is compared with the instruction.")
async def for_another_instruction(subject: Subject) -> None:
    """Read the notification of one refund for another."""
    _needed(subject)
    async with subject.environment() as env:
        _, notification = await _settled_notification(env)
        verified = parse_notification(env, notification, "a genuine notification")
        if verified is None:
            fail("a genuine notification was refused")
        others = [env.instruction(2)]
        if any(text in notification.body for text in amount_texts()) and holds_amount(notification):
            others.append(env.instruction(1, MINOR + 100))
        for another in others:
            outcome = meaning(verified, another, "the notification of another refund")
            settled = isinstance(outcome, Succeeded) and outcome.amount == another.amount
            require(
                not settled and not isinstance(outcome, DefinitiveFailure),
                f"it was read as {shown(outcome)} of another refund",
            )


@check(
    "late-failure-flagged",
    "A failure that is reported after settlement changes no state and flags the refund for review.",
)
async def late_failure(subject: Subject) -> None:
    """Receive a failure notification for a settled refund."""
    _needed(subject)
    async with subject.environment() as env:
        refund = await paid(env, await env.request(), "without any fault")
        notification = await notified(env, status="FAIL")
        verified = parse_notification(env, notification, "a genuine notification of a failure")
        require(verified is not None, "a genuine notification of a failure was refused")
        await env.gateway.receive_notification(ACCOUNT, notification)
        after = await env.gateway.get(refund.id)
        require(after.status is Status.SETTLED, f"a notification made a settled refund {after.status}")
        require(bool(after.review), "the refund is not flagged for review although the provider revoked its success")


@check(
    "failure-notified",
    "A refund that fails later ends as failed or is flagged for review, even if only a notification reports it.",
)
async def late_failure_notification(subject: Subject) -> None:
    """Fail a refund at the provider, which notifies the gateway."""
    _needed(subject)
    async with subject.environment(mode="async", async_delay="never") as env:
        refund = await env.request()
        await env.control.call("POST", f"refunds/{refund.refund_request_id}", {"status": "FAIL"})
        notification = await notified(env, status="FAIL")
        await env.gateway.receive_notification(ACCOUNT, notification)
        refund = await consistent(env, await env.gateway.get(refund.id), "a notified failure")
        require(refund.status is not Status.SETTLED, "it is settled although no money moved")
