"""The application: request, advance, inquire, hear, resolve, resume, and looking at what there is.

The rule of this module: write, then act; learn, write, then tell. Every method may be cancelled or its process killed
anywhere; what is due next can always be read from the log.
"""

import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from importlib.metadata import version
from typing import Final, Self
from uuid import UUID

import attrs

from refundry.audit.erasure import Erased, erase
from refundry.audit.replay.reinterpretation import Reading, read_again, states_of
from refundry.audit.signing.anchors import open_anchors
from refundry.audit.signing.checkpointer import Checkpointer
from refundry.audit.signing.settings import read_audit_settings
from refundry.audit.signing.signer import Signer, open_signer
from refundry.config import Account, Config, open_accounts, read_config
from refundry.errors import ConfigError, Conflict, Invalid, Stale, UnknownAccount, UnknownRefund
from refundry.gateway.observers import Observers
from refundry.gateway.queries import NOW, AsOf, Total, select_then, total_up
from refundry.gateway.request import RefundRequest, check_details, check_total, read_money
from refundry.inputs import Operator, check_name, check_text
from refundry.journal import AlreadyRequested, Journal, Recorded, Row, Selection, UnmatchedNotification, Write
from refundry.journal.codec import ERASED, ERASED_DETAILS
from refundry.journal.evidence import digest_of, keep_notification
from refundry.journal.sqlite.journal import SqliteJournal
from refundry.outbound.calls import Caller, understood
from refundry.outbound.transport import HttpTransport, Transport
from refundry.plugin_host import Plugins, load_plugins
from refundry.ports import Ports
from refundry.provider import Acknowledgement, Notification, NotificationHandler, NotSent, Outcome, ReviewReason, Scope
from refundry.refund import (
    FINAL,
    Channel,
    Event,
    Failed,
    RaisedReview,
    Refund,
    Requested,
    Settled,
    Status,
    Submitted,
    apply,
    fold,
    policy,
)

_log = logging.getLogger("refundry")
_BREAKER_LOOK: Final = timedelta(seconds=1)
_SAME: Final = ("payment", "amount", "reason", "payment_total", "retry_of", "request_details")


class Gateway:
    """Moves refunds through their providers and remembers what happened to each.

    Make one with `Gateway.open(...)`; it is safe for any number of concurrent tasks, and any number of processes may
    have one on the same store.
    """

    def __init__(
        self, accounts: Mapping[str, Account], journal: Journal, transport: Transport, plugins: Plugins, ports: Ports
    ) -> None:
        self.accounts = accounts
        self.journal = journal
        self.ports = ports
        self.plugins = plugins
        self._caller = Caller(accounts, transport, ports)
        self._observers = Observers(plugins, journal, ports)
        self._breakers: dict[str, tuple[datetime, bool]] = {}
        self.checkpointer: Checkpointer | None = None
        """Signs the log; None in a gateway that was not made by `open`."""
        self._open_signer: Callable[[], Signer] | None = None

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        config: str | os.PathLike[str] | Config = "refundry.toml",
        *,
        plugins: Plugins | None = None,
        transport: Transport | None = None,
        ports: Ports | None = None,
    ) -> AsyncIterator[Self]:
        """Open the store and the accounts that a configuration names, and close them at the end.

        Raises `ConfigError` for a configuration that is wrong or a store that must not be used, `PluginError` for a
        provider that cannot be loaded and `StoreError` for a database that fails.
        """
        settings = config if isinstance(config, Config) else read_config(config)
        found = plugins if plugins is not None else load_plugins(allow=settings.plugins)
        outside = ports or Ports()
        accounts = open_accounts(settings, found)
        async with AsyncExitStack() as stack:
            journal = await SqliteJournal.open(settings.store_path, ports=outside)
            stack.push_async_callback(journal.close)
            channel = transport if transport is not None else await stack.enter_async_context(HttpTransport())
            gateway = cls(accounts, journal, channel, found, outside)
            audit = read_audit_settings(settings)
            # Without anchors, no plugin is asked for any.
            anchors = open_anchors(audit, found.anchors() if audit.anchors else (), outside)
            gateway._open_signer = partial(open_signer, audit, hooked=found.signing_keys, random=outside.random)
            gateway.checkpointer = Checkpointer(journal, gateway._open_signer, anchors, outside)
            stack.push_async_callback(gateway._close)
            await gateway._observers.register()
            yield gateway

    async def _close(self) -> None:
        await self._observers.close()
        await self._caller.close()
        if self.checkpointer is not None:
            await self.checkpointer.close()

    # --- asking for a refund ------------------------------------------------------------------------------------------

    async def request(self, request: RefundRequest, *, submit: bool = True) -> Refund:
        """Record a refund and make the first attempt; with `submit=False` leave the attempt to the workers.

        A repeated request (same id, same data) returns the existing refund in its current state. Raises `Invalid` if
        the request breaks a rule, `Conflict` if the id is in use with other data, and `StoreError`; then nothing is
        stored.
        """
        account = self.account(request.account)
        refund, requested = await self._compose(account, request)
        try:
            if submit and not await self._is_blocked(account):
                return await self._submit(account, refund, first=requested)
            await self._save(Write(refund, [requested]))
        except AlreadyRequested as existing:
            return await self.same_or_conflict(existing.refund_id, refund)
        self.ports.step("refund recorded")
        return refund

    async def check(self, request: RefundRequest) -> Refund:
        """Return the refund that `request` would record, and store nothing; raise `Invalid` if it would refuse."""
        return (await self._compose(self.account(request.account), request))[0]

    async def _compose(self, account: Account, request: RefundRequest) -> tuple[Refund, Requested]:
        amount = read_money(account, request.amount, request.currency, "amount")
        total = request.payment_total
        event = Requested(
            at=self.ports.now(),
            account=account.name,
            provider=account.plugin.name,
            payment=check_name("payment", request.payment),
            amount=amount,
            refund_request_id=check_name("refund_request_id", request.refund_request_id),
            by=check_name("by", request.by),
            reason=None if request.reason is None else check_text("reason", request.reason),
            payment_total=None
            if total is None
            else check_total(amount, read_money(account, total, amount.currency, "payment_total")),
            retry_of=None if request.retry_of is None else await self._may_retry(account, request, request.retry_of),
            details=check_details(request.details),
            plugin=account.plugin_id,
        )
        refund = fold(self.ports.new_id(), [event])
        instruction = policy.instruction_for(refund)
        policy.check_limits(instruction, account.terms)
        account.provider.check(instruction)
        return refund, event

    async def same_or_conflict(self, refund_id: str, asked: Refund) -> Refund:
        """Give the refund that has the id already, if it is the one that is asked for; `Conflict` if it is another."""
        there = await self.get(refund_id)
        for field in _SAME:
            known, wanted = getattr(there, field), getattr(asked, field)
            if known != wanted and known not in (ERASED, ERASED_DETAILS):
                raise Conflict(f"{field}: {there.refund_request_id!r} was requested with {known}, not with {wanted}")
        return there

    async def _may_retry(self, account: Account, request: RefundRequest, retry_of: str) -> str:
        """A new id needs a definitive failure and an inquiry that confirms it; each failure has one replacement."""
        first = await self.get(retry_of, account=account.name)
        if first.refund_request_id == request.refund_request_id:
            raise Invalid("retry_of", "a new refund needs a new id")
        if await self.journal.find(account.name, request.refund_request_id) is not None:
            return first.id
        if first.account != account.name or first.payment != request.payment:
            raise Invalid("retry_of", "is a refund of another account or payment")
        if first.status is not Status.FAILED or first.review:
            raise Invalid("retry_of", f"is {first.status}; only a refund that failed, with no doubt left, is replaced")
        if first.attempts:
            asked_at = self.ports.now()
            first, outcome = await self._ask(account, first)
            if not policy.confirms_failure(first, outcome, account.provider.identity, account.terms, asked_at):
                heard = f"the provider, asked again as {account.provider.identity}, says {outcome.kind}"
                raise Invalid("retry_of", f"{heard}; a person may decide with resolve --failed, then ask again later")
        return first.id

    # --- going on -----------------------------------------------------------------------------------------------------

    async def advance(self, refund_id: str) -> Refund:
        """Do what is due for a refund, if anything is; give it as it is afterwards."""
        refund = await self.get(refund_id)
        account = self.account(refund.account)
        now = self.ports.now()
        step = policy.next_step(refund, account.terms, now)
        try:
            if isinstance(step, policy.ManualReview) and refund.next_at is not None and refund.next_at <= now:
                return await self._decide(refund, policy.escalated(refund, step, now))
            if not isinstance(step, policy.Submit | policy.Inquire) or step.at > now or await self._is_blocked(account):
                return refund
            if isinstance(step, policy.Inquire):
                return (await self._ask(account, refund))[0]
            return await self._submit(account, refund)
        except Stale:
            return await self.get(refund_id)

    async def next_step(self, refund: Refund) -> policy.Step:
        """Say what is next for a refund, and when; while its account is blocked, that a person comes first."""
        account = self.account(refund.account)
        step = policy.next_step(refund, account.terms, self.ports.now())
        if isinstance(step, policy.Submit | policy.Inquire) and await self._is_blocked(account):
            return policy.ManualReview(
                ReviewReason.BLOCKED_ACCOUNT, f"the account {account.name} is blocked by another refund"
            )
        return step

    async def inquire(self, refund_id: str) -> Refund:
        """Ask the provider now, whatever is planned, and record what it says."""
        refund = await self.get(refund_id)
        return (await self._ask(self.account(refund.account), refund))[0]

    async def _submit(self, account: Account, refund: Refund, first: Requested | None = None) -> Refund:
        await self._caller.pace(account)
        at = self.ports.now()
        sent = None if refund.digest is None else await self.journal.evidence(refund.digest)
        call = account.provider.refund(policy.instruction_for(refund, sent), at)
        digest = digest_of(call.body)
        refused = policy.refused(refund, digest, account.provider.identity, at, account.plugin_id)
        if refused is not None:
            return await self._decide(refund, refused)
        self.ports.step("refund composed")
        submitted = Submitted(
            at=at,
            attempt=refund.attempts + 1,
            digest=digest,
            sender=account.provider.identity,
            plugin=account.plugin_id,
            key_version=call.key_version,
            next_at=at + timedelta(seconds=account.terms.timeout + account.terms.first_inquiry),
        )
        after = apply(refund, submitted)
        signing = self._caller.sign(call)
        try:
            await self._save(Write(after, [submitted] if first is None else [first, submitted], {digest: call.body}))
        except BaseException:
            signing.cancel()
            raise
        self.ports.step("attempt recorded")
        outcome, evidence = await self._caller.call(account, call, signing)
        return await self._interpret(account, after, outcome, evidence, Channel.REPLY)

    async def _ask(self, account: Account, refund: Refund) -> tuple[Refund, Outcome | NotSent]:
        await self._caller.pace(account)
        call = account.provider.inquire(policy.instruction_for(refund), self.ports.now())
        signing = self._caller.sign(call)
        outcome, evidence = await self._caller.call(account, call, signing)
        return await self._interpret(account, refund, outcome, evidence, Channel.INQUIRY), outcome

    async def _interpret(
        self, account: Account, refund: Refund, outcome: Outcome | NotSent, evidence: bytes | None, channel: Channel,
        *, fresh: bool = True,
    ) -> Refund:  # fmt: skip
        """Record what was heard; where somebody else recorded something first, think again on top of that."""
        kept = {} if evidence is None else {digest_of(evidence): evidence}
        source = policy.Source(
            at=self.ports.now(),
            channel=channel,
            plugin=account.plugin_id,
            sender=account.provider.identity if channel is Channel.INQUIRY else None,
            evidence=next(iter(kept), None),
            attempt=None if channel is Channel.NOTIFICATION else refund.attempts,
            fresh=fresh,
        )
        self.ports.step("answer read")
        while (event := _event(refund, outcome, source, account)) is not None:
            after = apply(refund, event)
            try:
                await self._save(Write(after, [event], kept))
            except Stale:
                refund = await self.get(refund.id)
                continue
            self.ports.step("outcome recorded")
            if after.blocked == Scope.ACCOUNT:
                self._breakers[account.name] = (self.ports.now(), True)
            return after
        return refund

    async def _save(self, write: Write) -> Sequence[Recorded]:
        recorded = await self.journal.save(write)
        self._observers.tell()
        if self.checkpointer is not None:
            self.checkpointer.notify(len(recorded))
        return recorded

    def catch_up(self) -> None:
        """Begin to tell observers, and to sign, what other processes left; a worker does so when it starts."""
        self._observers.tell()
        if self.checkpointer is not None:
            self.checkpointer.notify(0)

    async def _is_blocked(self, account: Account) -> bool:
        # Looked up at most once a second: what is sent meanwhile is refused by the provider, and no harm is done.
        now = self.ports.now()
        looked, blocked = self._breakers.get(account.name, (None, False))
        if looked is None or not timedelta(0) <= now - looked < _BREAKER_LOOK:
            blocked = bool(await self.journal.blocked(account.name))
            self._breakers[account.name] = (now, blocked)
        return blocked

    # --- being told ---------------------------------------------------------------------------------------------------

    async def receive_notification(self, account: str, notification: Notification) -> Acknowledgement:
        """Take a provider's notification: verify it, make it durable, and give the exact bytes to answer with.

        Raises `Forged` if it is not the provider's, `Unreadable` if it cannot be read, `Invalid` if there is no such
        account or its provider sends none. A notification about a refund that is not known is kept.
        """
        taken = self.account(account)
        if not isinstance(taken.provider, NotificationHandler):
            raise Invalid("account", f"the provider of {account} sends no notifications")
        told = taken.provider.parse_notification(notification)
        self.ports.step("notification verified")
        if told.refund_request_id is None:
            return told.acknowledgement
        now = self.ports.now()
        kept = keep_notification(notification)
        refund_id = await self.journal.find(account, told.refund_request_id)
        if refund_id is None:
            unmatched = UnmatchedNotification(now, account, told.refund_request_id, digest_of(kept))
            await self.journal.keep_unmatched(unmatched, kept)
            _log.warning("account %s was notified of the unknown refund %r", account, told.refund_request_id)
        else:
            refund = await self.get(refund_id)
            freshness = timedelta(seconds=taken.terms.notification_freshness)
            fresh = told.at is not None and abs(now - told.at) <= freshness
            outcome = understood(lambda: told.read(policy.instruction_for(refund)))
            await self._interpret(taken, refund, outcome, kept, Channel.NOTIFICATION, fresh=fresh)
        self.ports.step("notification recorded")
        return told.acknowledgement

    # --- persons ------------------------------------------------------------------------------------------------------

    async def resolve(self, refund_id: str, operator: Operator, *, settled: bool) -> Refund:
        """Record a person's decision about a refund, final or not; `Stale` if it changed while they decided."""
        refund = await self.get(refund_id)
        by, why, at = operator.by, operator.why, self.ports.now()
        event: Settled | Failed
        if settled:
            event = Settled(at=at, channel=Channel.OPERATOR, amount=refund.amount, by=by, why=why)
        else:
            cause, advice = "A person decided that it will not pay.", "Ask for a new refund if one is still wanted."
            event = Failed(at=at, channel=Channel.OPERATOR, code="OPERATOR", cause=cause, advice=advice, by=by, why=why)
        return await self._decide(refund, event)

    async def resume(self, refund_id: str, operator: Operator) -> Refund:
        """Record that what stood in the way is mended: the refund goes on, with the same id.

        On a final refund it says that a person has looked at the contradiction; where there is none, nothing changes.
        """
        refund = await self.get(refund_id)
        if refund.final and not refund.review:
            return refund
        terms = self.account(refund.account).terms
        event = policy.resumed(refund, self.ports.now(), operator.by, operator.why, terms)
        self._breakers.pop(refund.account, None)
        return await self._decide(refund, event)

    async def resume_account(self, account: str, operator: Operator) -> Sequence[Refund]:
        """Resume every refund of an account that waits for a person, and with them the account."""
        self.account(account)
        resumed: list[Refund] = []
        after = ""
        while rows := await self.list(account=account, review=True, after=after):
            after = rows[-1].id
            waiting = [row.id for row in rows if row.due_at is None and row.status not in FINAL]
            resumed += [await self.resume(refund_id, operator) for refund_id in waiting]
        return resumed

    async def flag_for_review(
        self,
        refund_id: str,
        reasons: Sequence[RaisedReview],
        operator: Operator,
        *,
        evidence: bytes | None = None,
    ) -> Refund:
        """Flag a refund for review because of something outside the log; its status does not change.

        A reason that is open already is not recorded again. `evidence` is kept with the event.
        """
        checked = [RaisedReview(reason.code, check_text("message", reason.message)) for reason in reasons]
        kept = {} if evidence is None else {digest_of(evidence): evidence}
        while True:
            refund = await self.get(refund_id)
            event = policy.flagged(refund, checked, self.ports.now(), operator.by, operator.why, next(iter(kept), None))
            if event is None:
                return refund
            try:
                return await self._decide(refund, event, kept)
            except Stale:
                continue

    async def erase(self, refund_id: str, operator: Operator) -> Erased:
        """Erase what persons wrote and the evidence of a refund that is final and waits for nobody; no event changes.

        `by` and `why` are kept in clear in the signed notes that say so. What was erased before stays as it is. Raises
        `Invalid` if the refund may still need its bytes, `Stale` if something was recorded meanwhile.
        """
        refund = await self.get(refund_id)
        if self._open_signer is None:
            raise ConfigError("audit", "a gateway that was made without a configuration has no key to sign with")
        return await erase(
            self.journal, self._open_signer, refund, at=self.ports.now(), by=operator.by, why=operator.why
        )

    async def _decide(self, refund: Refund, event: Event, kept: Mapping[str, bytes] | None = None) -> Refund:
        if event.plugin is None:
            account = self.accounts.get(refund.account)
            event = attrs.evolve(
                event, plugin=f"refundry {version('refundry')}" if account is None else account.plugin_id
            )
        after = apply(refund, event)
        await self._save(Write(after, [event], kept or {}))
        return after

    # --- looking ------------------------------------------------------------------------------------------------------

    async def get(
        self,
        id: str,
        *,
        account: str | None = None,
        as_of: AsOf = NOW,
    ) -> Refund:
        """Give a refund by its id or its refund_request_id, as it is or as we knew it at a time or place in the log.

        Raises `UnknownRefund` if there is none (or was none then), `Invalid` if several accounts have such an id.
        """
        recorded = await self.history(id, account=account, as_of=as_of)
        return fold(recorded[0].refund_id, _events(recorded))

    async def history(
        self,
        id: str,
        *,
        account: str | None = None,
        as_of: AsOf = NOW,
    ) -> Sequence[Recorded]:
        """Give every event of a refund, or those that were there then, oldest first; raises what `get` does."""
        recorded = as_of.history(await self._history(id, account))
        if not recorded:
            raise UnknownRefund(f"there is no refund {id!r} as of {as_of}")
        return recorded

    async def _history(self, id: str, account: str | None) -> Sequence[Recorded]:
        if account is None and _is_uuid(id) and (recorded := await self.journal.load(id)):
            return recorded
        rows = await self.journal.select(Selection(account=account, refund_request_id=id), limit=2)
        if len(rows) > 1:
            raise Invalid("account", f"{id!r} is in use in several accounts; say which")
        recorded = await self.journal.load(rows[0].id if rows else id)
        if not recorded or (not rows and account not in (None, fold(recorded[0].refund_id, _events(recorded)).account)):
            raise UnknownRefund(f"there is no refund {id!r}" + (f" in account {account}" if account else ""))
        return recorded

    async def list(
        self,
        *,
        status: Status | None = None,
        account: str | None = None,
        payment: str | None = None,
        review: bool = False,
        as_of: AsOf = NOW,
        after: str = "",
        limit: int = 1000,
    ) -> Sequence[Row]:
        """Give refunds as they are or as we knew them then, oldest first, from the one after the id `after`."""
        selection = Selection(status=status, account=account, payment=payment, review=review)
        return await select_then(self.journal, selection, as_of, after=after, limit=limit)

    async def totals(
        self,
        *,
        account: str | None = None,
        by_payment: bool = False,
        as_of: AsOf = NOW,
    ) -> Sequence[Total]:
        """Add up what was requested, settled, failed and is open, now or then, for each account and currency."""
        return await total_up(self.journal, as_of, account=account, by_payment=by_payment)

    async def readings(self, history: Sequence[Recorded]) -> Sequence[Reading]:
        """Read the kept answers of a refund again: give where today's plugin comes to something else than then."""
        states = states_of(history)
        account = self.accounts.get(states[0].account)
        if account is None:
            return ()
        digests = {
            digest
            for item in history
            for name in ("digest", "evidence")
            if (digest := getattr(item.event, name, None)) is not None
        }
        found = {digest: await self.journal.evidence(digest) for digest in digests}
        kept = {digest: words for digest, words in found.items() if words is not None}
        return [reading for _, readings in read_again(account, history, states, kept) for reading in readings]

    async def evidence(self, digest: str) -> bytes:
        """Give the provider's kept words that an event names; `UnknownRefund` if nothing is kept under this digest."""
        kept = await self.journal.evidence(digest)
        if kept is None:
            raise UnknownRefund(f"nothing is kept under {digest!r}")
        return kept

    async def unmatched(self) -> Sequence[UnmatchedNotification]:
        """Give genuine notifications about refunds that are not known here, oldest first."""
        return await self.journal.unmatched()

    def account(self, name: str) -> Account:
        """Give an account by its name; `Invalid` if the configuration has none of this name."""
        try:
            return self.accounts[name]
        except KeyError:
            known = ", ".join(sorted(self.accounts)) or "none"
            raise UnknownAccount(name, f"there is no account {name!r}; there are: {known}") from None


def _event(refund: Refund, outcome: Outcome | NotSent, source: policy.Source, account: Account) -> Event | None:
    event = policy.interpret(refund, outcome, source, account.terms)
    # Whoever asks about a refund that has ended is shown the answer, and so is whoever looks later.
    asked_after_the_end = event is None and refund.final and source.channel is Channel.INQUIRY
    return policy.late_answer(outcome, source) if asked_after_the_end else event


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _events(recorded: Sequence[Recorded]) -> list[Event]:
    return [item.event for item in recorded]
