"""Purity: a plugin is a translator; equal input gives equal output, without side effects.

The rule of this module: everything is composed and read again, in another order, by another instance and without the
key, and must give the same result.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import attrs

from refundry.config import open_accounts
from refundry.provider import Notification, NotificationHandler, Provider, RefundInstruction
from refundry.testing.contract.base import check, require
from refundry.testing.contract.delivery import notified
from refundry.testing.contract.environment import ACCOUNT, MINOR, Sample, Subject, instruction, now
from refundry.testing.contract.side_effects import watched


@check(
    "same-instruction-same-bytes", "Equal instructions give equal bytes at any time, in any order, from any instance."
)
async def same_instruction_same_bytes(subject: Subject) -> None:
    """Compose the same instructions twice, an hour apart and in reverse order."""
    account = subject.account()
    first, second = account.sender(), subject.account().sender()
    instructions = [instruction(account, number, minor) for number in (1, 2, 3) for minor in (MINOR, MINOR + 100)]
    at = now()
    once = {one: first.refund(one, at).body for one in instructions}
    later = at + timedelta(hours=1, microseconds=1234)
    again = {one: second.refund(attrs.evolve(one), later).body for one in reversed(instructions)}
    require(
        once == again, "the same instruction gave different bytes the second time: a resend would be another request"
    )
    require(len(set(once.values())) == len(instructions), "different instructions gave the same bytes")


@check("resent-as-it-was", "A resend has the bytes of the first attempt, and exactly these are signed and sent.")
async def resent_as_it_was(subject: Subject) -> None:
    """Pass bytes that the plugin would now write differently."""
    account = subject.account()
    earlier = account.sender().refund(instruction(account, reason="as first written"), now())
    again = account.sender().refund(instruction(account, reason=None, sent=earlier.body), now())
    require(again.body == earlier.body, "`RefundInstruction.sent` was not sent again unchanged")
    for call in (earlier, again, account.sender().inquire(instruction(account), now())):
        require(call.sign().body == call.body, "the signed request has another body than the call")


@check("pure", "Composing, signing and reading use no clock, randomness, file or network.")
async def pure(subject: Subject) -> None:
    """Watch everything that a plugin does for one refund, after a first run."""
    async with subject.environment() as env:
        samples = await env.refund_and_inquire()
        verified = await notified(env) if isinstance(env.provider, NotificationHandler) else None
        at = now()
        _everything(env.provider, samples, verified, at)
        with watched() as touched:
            _everything(env.provider, samples, verified, at)
    require(not touched, f"it used {', '.join(sorted(set(touched)))}")


def _everything(provider: Provider, samples: Sequence[Sample], verified: Notification | None, at: Any) -> None:
    for sample in samples:
        asked = sample.instruction
        provider.exponent(asked.amount.currency)
        provider.check(asked)
        for compose in (provider.refund, provider.inquire):
            compose(asked, at).sign()
        sample.read()
    if verified is not None and isinstance(provider, NotificationHandler):
        provider.parse_notification(verified).read(samples[0].instruction)


@check("reads-the-same-again", "An answer has the same meaning whenever it is read, and whatever was read in between.")
async def reads_the_same_again(subject: Subject) -> None:
    """Read the answers of several refunds forwards, backwards and with another instance."""
    async with subject.environment() as env:
        samples = [sample for number in (1, 2, 3) for sample in await env.refund_and_inquire(number)]
        first = [sample.read() for sample in samples]
        backwards = [sample.read() for sample in reversed(samples)][::-1]
        other = subject.account(env.control.url, notify_url=env.receiver.url).sender()
        elsewhere = [_again(other, sample).read(sample.answer) for sample in samples]
    require(first == backwards, "a second reading gave another outcome")
    require(first == elsewhere, "another instance of the provider read another outcome")


@check("reads-without-private-key", "Answers and notifications have the same meaning without a private key.")
async def reads_without_private_key(subject: Subject) -> None:
    """Read with an account that is opened without keys, as an audit opens it."""
    async with subject.environment() as env:
        samples = await env.refund_and_inquire()
        keyless = open_accounts(env.config, subject.plugins, keys=False)[ACCOUNT].provider
        for sample in samples:
            require(
                _again(keyless, sample).read(sample.answer) == sample.read(), "read differently without the private key"
            )
        if isinstance(keyless, NotificationHandler) and isinstance(env.provider, NotificationHandler):
            verified, asked = await notified(env), samples[0].instruction
            outcomes = [handler.parse_notification(verified).read(asked) for handler in (keyless, env.provider)]
            require(outcomes[0] == outcomes[1], "a notification was read differently without the private key")


def _again(provider: Provider, sample: Sample) -> Sample:
    """Return the sample as composed by another instance."""
    compose: Callable[[RefundInstruction, Any], Any] = (
        provider.refund if sample.operation == "refund" else provider.inquire
    )
    return attrs.evolve(sample, call=compose(sample.instruction, now()))
