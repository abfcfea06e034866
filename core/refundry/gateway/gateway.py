"""The gateway: commands that request, advance and inquire about refunds, and what receives notifications.

The rule of this module: every intent is recorded before the first byte is sent, and every outcome before anyone is
notified. A command may be canceled, or its process killed, anywhere: what is due next follows from the log.
"""

import logging
import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Self, assert_never

import attrs

from refundry.audit.signing.anchors import open_anchors
from refundry.audit.signing.checkpointer import Checkpointer
from refundry.audit.signing.settings import read_audit_settings
from refundry.audit.signing.signer import open_signer
from refundry.config import Account, Config, open_accounts, read_config
from refundry.errors import Invalid, Stale
from refundry.gateway.observers import Deliveries
from refundry.gateway.operators import OperatorCommands
from refundry.gateway.progress_log import log_call, log_saved
from refundry.gateway.request import Draft, RefundRequest, check_same, draft, possibly_sent
from refundry.journal import AlreadyRequested, Journal, NotifiedBefore, Recorded, UnmatchedNotification, Write
from refundry.journal.evidence import digest_of, keep_notification, read_notification
from refundry.journal.stores import open_journal
from refundry.logs import log
from refundry.outbound.calls import Caller, Deadline, read_safely
from refundry.outbound.pacing import Pacing
from refundry.outbound.transport import HttpTransport, Transport
from refundry.plugin_host import Observer, Plugins, load_plugins
from refundry.plugin_host.containment import contained
from refundry.ports import Ports
from refundry.provider import (
    Acknowledgement,
    Notification,
    NotificationHandler,
    NotSent,
    Outcome,
    RefundInstruction,
    Scope,
    Unknown,
)
from refundry.provider.signatures import naming_encoding
from refundry.refund import Channel, Event, Refund, Status, apply, fold, policy

__all__ = ["Gateway"]


class Gateway(OperatorCommands):
    """Moves refunds through their providers and records what happens to each: a `Reader` with commands.

    Open it with `Gateway.open(...)`. It is safe for any number of concurrent tasks, and any number of processes may
    have a gateway on the same store.
    """

    def __init__(
        self, accounts: Mapping[str, Account], journal: Journal, transport: Transport, plugins: Plugins, ports: Ports
    ) -> None:
        super().__init__(accounts, journal, ports)
        self.plugins = plugins
        self.pacing = Pacing(accounts)
        """How many calls each account may begin."""
        self._caller = Caller(self.pacing, transport, ports)
        self.clock_skews = self._caller.skews.of
        """How far the clock of each account's provider is ahead, by its newest answer to this process, to a second."""
        self._deliveries = Deliveries(journal, ports)
        self.checkpointer: Checkpointer | None = None
        """Signs checkpoints of the log; None unless the gateway was made by `open`."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        config: str | os.PathLike[str] | Config = "refundry.toml",
        *,
        plugins: Plugins | None = None,
        ports: Ports | None = None,
        transport: Transport | None = None,
        observers: Iterable[Observer] = (),
        create: bool = False,
    ) -> AsyncIterator[Self]:
        """Open the store and the accounts of a configuration, and close them at the end.

        Until then every event is delivered to `observers` and to those of plugins. With `create`, a store that is
        missing is created: an empty store does not know what was sent before, so a service should not create one.

        Raises `ConfigError` if the configuration is wrong, or the store is missing or must not be used, `PluginError`
        if a provider cannot be loaded and `StoreError` if the database fails.
        """
        settings = config if isinstance(config, Config) else read_config(config)
        found = plugins if plugins is not None else load_plugins(allow=settings.plugins)
        outside = ports or Ports()
        accounts = open_accounts(settings, found, tolerant=True)
        for account in accounts.values():
            if account.error is not None:
                log(logging.ERROR, "account out of use", account=account.name, reason=str(account.error))
        async with AsyncExitStack() as stack:
            journal = await open_journal(settings.store_path, outside, create=create)
            stack.push_async_callback(journal.close)
            sender = transport if transport is not None else await stack.enter_async_context(HttpTransport())
            gateway = cls(accounts, journal, sender, found, outside)
            gateway.monitor.alert_after = settings.outage_alert_after
            audit = read_audit_settings(settings)
            # Plugins are asked for anchors only if the configuration names one.
            anchors = open_anchors(audit, found.anchors() if audit.anchors else (), outside)
            gateway._open_signer = partial(open_signer, audit, hooked=found.signing_keys, random=outside.random)
            gateway.checkpointer = Checkpointer(journal, gateway._open_signer, anchors, outside)
            stack.push_async_callback(gateway._close)
            await gateway._deliveries.start([*found.observers(), *observers])
            for broken in found.errors:
                log(logging.ERROR, "plugin cannot be used", reason=broken.error)
            yield gateway

    async def _close(self) -> None:
        await self._deliveries.close()
        self._caller.close()
        if self.checkpointer is not None:
            await self.checkpointer.close()

    # --- requests -----------------------------------------------------------------------------------------------------

    async def request(self, request: RefundRequest, *, submit: bool = True) -> Refund:
        """Record a refund and make the first attempt; with `submit=False` leave the attempt to the workers.

        A repeated request (same id, same data) returns the existing refund in its current state. Raises `Invalid` if
        the request breaks a rule, `Conflict` if the id is in use with other data, and `StoreError`; then nothing is
        stored.
        """
        account = self.account(request.account)
        new = await self._draft(account, request)
        try:
            return await self._record(account, new, submit=submit)
        except AlreadyRequested as existing:
            return await self.same_or_conflict(existing.refund_id, new.refund)

    async def _record(self, account: Account, new: Draft, *, submit: bool) -> Refund:
        """Record a new refund, with its first attempt unless it may have been sent before."""
        write = Write(new.refund, [new.requested], replaced_version=new.replaced_version)
        while True:
            try:
                if submit and not write.refund.in_flight and await self.monitor.may_call(account):
                    return await self._submit(account, new.refund, new)
                await self._save(write, None)
            except NotifiedBefore as notified:
                write = await self._notified_before(account, new, notified.digests)
                continue
            self.ports.step("refund recorded")
            return write.refund

    async def _notified_before(self, account: Account, new: Draft, digests: Sequence[str]) -> Write:
        """Return what records a refund about which the provider sent notifications before: it may have been sent."""
        requested = possibly_sent(new.requested, account)
        events: list[Event] = [requested]
        refund = fold(new.refund.id, events)
        for digest in digests:
            kept = await self.journal.evidence(digest)
            source = policy.Source(
                at=requested.at, channel=Channel.NOTIFICATION, plugin=account.plugin_id, evidence=digest, fresh=False
            )
            outcome = read_safely(partial(_read_unmatched, account, refund, kept))
            event = policy.interpret(refund, outcome, source, account.terms)
            if event is not None:
                events.append(event)
                refund = apply(refund, event)
        return Write(refund, events, replaced_version=new.replaced_version, unmatched=digests)

    async def check(self, request: RefundRequest) -> Refund:
        """Return the refund that `request` would record, and store nothing; raise `Invalid` if it would refuse."""
        return (await self._draft(self.account(request.account), request)).refund

    async def _draft(self, account: Account, request: RefundRequest) -> Draft:
        new = draft(request, account, self.ports.new_id(), self.ports.now())
        if request.retry_of is None:
            return new
        return new.replacing(await self._replaced(account, new.refund, request.retry_of))

    async def same_or_conflict(self, refund_id: str, new: Refund) -> Refund:
        """Return the existing refund if it was requested with the same data as `new`; raise `Conflict` if not."""
        existing = await self.get(refund_id)
        check_same(existing, new)
        return existing

    async def _replaced(self, account: Account, new: Refund, retry_of: str) -> Refund:
        """Return the failed refund that a new one replaces; the provider has to confirm the failure."""
        failed = await self.get(retry_of, account=account.name)
        if failed.refund_request_id == new.refund_request_id:
            raise Invalid("retry_of", "a new refund needs a new id")
        if await self.journal.find(account.name, new.refund_request_id) is not None:
            return failed
        if failed.account != account.name or failed.payment != new.payment:
            raise Invalid("retry_of", "is a refund of another account or payment")
        if failed.status is not Status.FAILED or failed.review:
            raise Invalid("retry_of", f"is {failed.status}; only a failed refund that needs no review can be replaced")
        if failed.sent_at is not None:
            inquired_at = self.ports.now()
            failed, outcome, _ = await self._inquire(account, failed)
            if not policy.confirms_failure(failed, outcome, account.provider.identity, account.terms, inquired_at):
                answer = f"the provider, asked as {account.provider.identity}, answers {outcome.kind}"
                hint = "" if failed.failed_by else "; an operator can decide with resolve --failed, then try again"
                raise Invalid("retry_of", f"{answer}, which does not confirm that it failed{hint}")
        return failed

    # --- progress ----------------------------------------------------------------------------------------------------

    async def advance(self, refund_id: str) -> Refund:
        """Take the next step of a refund if it is due; return the refund as it is afterwards."""
        refund = await self.get(refund_id)
        account = self.account(refund.account)
        now = self.ports.now()
        step = await self._plan(refund, account, now)
        try:
            match step:
                case policy.Done():
                    return refund
                case policy.ManualReview():
                    due = refund.next_at is not None and refund.next_at <= now
                    return await self._decide(refund, policy.escalated(refund, step, now)) if due else refund
                case policy.Submit() | policy.Inquire() if not policy.is_due(step.at, now, account.terms):
                    return refund
                case policy.Submit() | policy.Inquire() if not await self.monitor.may_call(account):
                    return refund
                case policy.Submit() | policy.Inquire() if wrong := policy.other_provider(refund, account.plugin.name):
                    return await self._decide(refund, policy.refusal_of_provider(refund, wrong, now))
                case policy.Inquire():
                    return (await self._inquire(account, refund, planned=True))[0]
                case policy.Submit():
                    return await self._submit(account, refund)
                case _:
                    assert_never(step)
        except Stale:
            return await self.get(refund_id)

    async def inquire(self, refund_id: str) -> Refund:
        """Ask the provider about a refund now, whatever is planned, and record the answer."""
        refund = await self.get(refund_id)
        return (await self._inquire(self.account(refund.account), refund))[0]

    async def _submit(self, account: Account, refund: Refund, new: Draft | None = None) -> Refund:
        """Make the next attempt; `new` is the request if it has to be recorded together with its first attempt."""
        provider = await self._caller.sender(account)
        await self._caller.pace(account)
        deadline = Deadline(self.ports, account.terms.timeout)
        at = deadline.began
        instruction = new.instruction if new is not None else await self._again(refund)
        call = contained(partial(provider.refund, instruction, at))
        digest = digest_of(call.body)
        refusal = policy.refusal_to_send(refund, digest, account.provider.identity, at, account.plugin_id)
        if refusal is not None:
            return await self._decide(refund, refusal)
        self.ports.step("refund composed")
        sender, plugin = account.provider.identity, account.plugin_id
        submitted = policy.attempt(refund, digest, at, sender, plugin, call.key_version, account.terms)
        after = apply(refund, submitted)
        write = Write(after, [submitted], {digest: call.body})
        if new is not None:
            write = Write(after, [new.requested, submitted], {digest: call.body}, new.replaced_version)

        async def record() -> None:
            await self._save(write, None if new is not None else refund)
            self.ports.step("attempt recorded")

        async def is_current() -> bool:
            return await self.journal.version(refund.id) == after.version

        outcome, evidence = await self._caller.call(
            account, "refund", call, deadline, record=record, is_current=is_current
        )
        answered = await self._interpret(account, after, outcome, evidence, Channel.REPLY)
        await self._called(account, after, "refund", outcome, deadline)
        return answered

    async def _again(self, refund: Refund) -> RefundInstruction:
        """Return what the provider is asked, with the body of the first attempt: a resend has the same bytes."""
        body = None if refund.digest is None else await self.journal.evidence(refund.digest)
        return policy.instruction_for(refund, body)

    async def _inquire(
        self, account: Account, refund: Refund, *, planned: bool = False
    ) -> tuple[Refund, Outcome | NotSent, bytes | None]:
        """Ask the provider and record the answer; return the refund afterwards, the outcome and the evidence.

        If the inquiry was planned, an answer that repeats the newest one is only counted.
        """
        if wrong := policy.other_provider(refund, account.plugin.name):
            raise Invalid("account", wrong)
        provider = await self._caller.sender(account)
        await self._caller.pace(account)
        deadline = Deadline(self.ports, account.terms.timeout)
        call = contained(partial(provider.inquire, policy.instruction_for(refund), deadline.began))
        outcome, evidence = await self._caller.call(account, "inquire", call, deadline)
        refund = await self._interpret(
            account, refund, outcome, evidence, Channel.INQUIRY, asked_at=deadline.began, planned=planned
        )
        await self._called(account, refund, "inquire", outcome, deadline)
        return refund, outcome, evidence

    async def _called(
        self, account: Account, refund: Refund, operation: str, outcome: Outcome | NotSent, deadline: Deadline
    ) -> None:
        log_call(account.name, refund, operation, outcome, deadline.spent)
        await self.monitor.called(account.name, outcome)

    async def _interpret(
        self, account: Account, refund: Refund, outcome: Outcome | NotSent, evidence: bytes | None, channel: Channel,
        *, asked_at: datetime | None = None, fresh: bool = True, planned: bool = False,
    ) -> Refund:  # fmt: skip
        """Record an outcome; if another process recorded something first, interpret it again on top of that."""
        kept = {} if evidence is None else {digest_of(evidence): evidence}
        postponed = await self.journal.postponed(refund.id) if channel is Channel.INQUIRY else None
        source = policy.Source(
            at=self.ports.now(),
            channel=channel,
            plugin=account.plugin_id,
            sender=account.provider.identity if channel is Channel.INQUIRY else None,
            evidence=next(iter(kept), None),
            attempt=None if channel is Channel.NOTIFICATION else refund.attempts,
            asked_at=asked_at,
            fresh=fresh,
            repeats=0 if postponed is None else postponed.repeats,
        )
        self.ports.step("answer read")
        while (event := policy.interpret(refund, outcome, source, account.terms)) is not None:
            try:
                if planned and policy.is_repeat(refund, event):
                    return await self._put_off(refund, policy.after_repeat(refund, source.at, account.terms))
                after = apply(refund, event)
                await self._save(Write(after, [event], kept), refund)
            except Stale:
                refund, source = await self.get(refund.id), attrs.evolve(source, repeats=0)
                continue
            self.ports.step("outcome recorded")
            if after.blocked == Scope.ACCOUNT:
                self.monitor.block(account.name)
            return after
        return refund

    async def _put_off(self, refund: Refund, until: datetime) -> Refund:
        if not await self.journal.postpone(refund.id, refund.version, until=until):
            raise Stale(f"refund {refund.refund_request_id!r} has changed meanwhile")
        return refund

    async def _save(self, write: Write, before: Refund | None) -> Sequence[Recorded]:
        recorded = await self.journal.save(write)
        log_saved(before, write)
        self._deliveries.notify()
        if self.checkpointer is not None:
            self.checkpointer.notify(len(recorded))
        return recorded

    def catch_up(self) -> None:
        """Start to sign what other processes left; a worker does so when it starts."""
        if self.checkpointer is not None:
            self.checkpointer.notify(0)

    # --- notifications------------------------------------------------------------------------------------------------

    async def receive_notification(self, account: str, notification: Notification) -> Acknowledgement:
        """Verify a notification and record it; return the exact response that the provider expects.

        Raises `Forged` if the provider did not sign it, `Unreadable` if it cannot be read, and `Invalid` if there is no
        such account or its provider sends no notifications. A notification that matches no refund is kept.
        """
        receiver = self.account(account)
        if not isinstance(receiver.provider, NotificationHandler):
            raise Invalid("account", f"the provider of {account} sends no notifications")
        with naming_encoding(notification):
            verified = contained(partial(receiver.provider.parse_notification, notification))
        self.ports.step("notification verified")
        await self.monitor.notified(account)
        if verified.refund_request_id is None:
            return verified.acknowledgement
        now = self.ports.now()
        kept = keep_notification(notification)
        unmatched = UnmatchedNotification(now, account, verified.refund_request_id, digest_of(kept))
        refund_id = await self.journal.find(account, verified.refund_request_id)
        refund = None if refund_id is None else await self.get(refund_id)
        foreign = refund is not None and policy.other_provider(refund, receiver.plugin.name) is not None
        if refund is None or foreign:
            # Unless the refund was recorded in this moment.
            refund_id = await self.journal.keep_unmatched(unmatched, kept, verified.signed, known=foreign)
            refund = None if refund_id is None else await self.get(refund_id)
        if refund is None:
            log(logging.WARNING, "unmatched notification", account=account, refund=verified.refund_request_id)
        else:
            fresh = policy.is_fresh(verified.at, now, receiver.terms)
            outcome = read_safely(lambda: verified.read(policy.instruction_for(refund)))
            await self._interpret(receiver, refund, outcome, kept, Channel.NOTIFICATION, fresh=fresh)
        self.ports.step("notification recorded")
        return verified.acknowledgement


def _read_unmatched(account: Account, refund: Refund, kept: bytes | None) -> Outcome:
    """Return what a notification means that was kept before its refund was recorded."""
    if kept is None or not isinstance(account.provider, NotificationHandler):
        return Unknown("a notification that came before the refund was recorded cannot be read any more")
    return account.provider.parse_notification(read_notification(kept)).read(policy.instruction_for(refund))
