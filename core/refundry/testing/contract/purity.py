"""A plugin is a translator: equal input gives equal output, and nothing else happens.

The rule of this module: what is composed and read once is composed and read again, in another order, by another
instance, without the key, and must come out the same.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import attrs

from refundry.config import open_accounts
from refundry.provider import Notification, NotificationHandler, Provider, RefundInstruction
from refundry.testing.contract.base import check, demand
from refundry.testing.contract.delivery import notified
from refundry.testing.contract.environment import ACCOUNT, MINOR, Sample, Subject, instruction, now
from refundry.testing.contract.side_effects import watched


@check("same-order-same-bytes", "Equal orders give equal bytes: at any time, in any order, from any instance.")
async def same_instruction_same_bytes(subject: Subject) -> None:
    """Compose the same orders twice, an hour apart and the other way round."""
    first, second = subject.account(), subject.account()
    instructions = [instruction(first, number, minor) for number in (1, 2, 3) for minor in (MINOR, MINOR + 100)]
    at = now()
    once = {one: first.provider.refund(one, at).body for one in instructions}
    later = at + timedelta(hours=1, microseconds=1234)
    again = {one: second.provider.refund(attrs.evolve(one), later).body for one in reversed(instructions)}
    demand(
        once == again, "the same order was written with other bytes the second time: a resend would be another request"
    )
    demand(len(set(once.values())) == len(instructions), "different orders were written with the same bytes")


@check("resent-as-it-was", "A resend is the bytes of the first attempt, and what is signed and sent is exactly these.")
async def resent_as_it_was(subject: Subject) -> None:
    """Hand over bytes that the plugin would write otherwise today."""
    account = subject.account()
    earlier = account.provider.refund(instruction(account, reason="as it was written then"), now())
    again = account.provider.refund(instruction(account, reason=None, sent=earlier.body), now())
    demand(again.body == earlier.body, "`Order.sent` was not sent again as it was")
    for call in (earlier, again, account.provider.inquire(instruction(account), now())):
        demand(call.sign().body == call.body, "the signed request has another body than the exchange")


@check("pure", "Composing, signing and reading touch no clock, no randomness, no file and no network.")
async def pure(subject: Subject) -> None:
    """Watch everything that a plugin does for one refund, once it is warm."""
    async with subject.stage() as stage:
        samples = await stage.both()
        heard = await notified(stage) if isinstance(stage.provider, NotificationHandler) else None
        at = now()
        _everything(stage.provider, samples, heard, at)
        with watched() as touched:
            _everything(stage.provider, samples, heard, at)
    demand(not touched, f"it touched {', '.join(sorted(set(touched)))}")


def _everything(provider: Provider, samples: Sequence[Sample], heard: Notification | None, at: Any) -> None:
    for sample in samples:
        asked = sample.instruction
        provider.exponent(asked.amount.currency)
        provider.check(asked)
        for compose in (provider.refund, provider.inquire):
            compose(asked, at).sign()
        sample.read()
    if heard is not None and isinstance(provider, NotificationHandler):
        provider.parse_notification(heard).read(samples[0].instruction)


@check("reads-the-same-again", "An answer means the same whenever it is read, and whatever was read between.")
async def reads_the_same_again(subject: Subject) -> None:
    """Read answers of several refunds forwards, backwards and by another instance."""
    async with subject.stage() as stage:
        samples = [sample for number in (1, 2, 3) for sample in await stage.both(number)]
        first = [sample.read() for sample in samples]
        backwards = [sample.read() for sample in reversed(samples)][::-1]
        other = subject.account(stage.control.url, notify_url=stage.box.url).provider
        elsewhere = [_again(other, sample).read(sample.answer) for sample in samples]
    demand(first == backwards, "reading an answer again gave another outcome")
    demand(first == elsewhere, "another instance of the provider read another outcome")


@check("reads-without-private-key", "Answers and notifications are read the same where no private key is there.")
async def reads_without_private_key(subject: Subject) -> None:
    """Read with an account that was opened as an audit opens it."""
    async with subject.stage() as stage:
        samples = await stage.both()
        keyless = open_accounts(stage.config, subject.plugins, keys=False)[ACCOUNT].provider
        for sample in samples:
            demand(
                _again(keyless, sample).read(sample.answer) == sample.read(), "read otherwise without the private key"
            )
        if isinstance(keyless, NotificationHandler) and isinstance(stage.provider, NotificationHandler):
            heard, asked = await notified(stage), samples[0].instruction
            outcomes = [handler.parse_notification(heard).read(asked) for handler in (keyless, stage.provider)]
            demand(outcomes[0] == outcomes[1], "a notification was read otherwise without the private key")


def _again(provider: Provider, sample: Sample) -> Sample:
    """Give the sample as another instance would have it."""
    compose: Callable[[RefundInstruction, Any], Any] = (
        provider.refund if sample.operation == "refund" else provider.inquire
    )
    return attrs.evolve(sample, call=compose(sample.instruction, now()))
