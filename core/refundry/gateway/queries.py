"""Queries: refunds, histories, lists, totals and evidence, as they are or as they were at a moment.

The rule of this module: nothing in it writes, calls a provider or needs a private key.
"""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Final, Self, assert_never
from uuid import UUID

from refundry.config import Account, Config, open_accounts, read_config
from refundry.errors import Invalid, UnknownAccount, UnknownRefund, UnreadableEvent
from refundry.gateway.account_health import AccountHealth, HealthView
from refundry.gateway.as_of import NOW, AsOf, select_as_of
from refundry.gateway.observers import observed_events
from refundry.gateway.totals import Total, add_up
from refundry.journal import ObservedEvent, Recorded, Row, Selection, StoreReader, UnmatchedNotification, WorkerRecord
from refundry.journal.stores import open_reader
from refundry.plugin_host import Plugins, load_plugins
from refundry.ports import Ports
from refundry.provider import ReviewReason
from refundry.refund import IllegalEvent, Refund, Status, fold, policy

if TYPE_CHECKING:
    from refundry.audit.replay.reinterpretation import Reading

__all__ = ["NOW", "AsOf", "Reader", "Total", "folded"]

_PAGE: Final = 500
_FOLLOW_SECONDS: Final = 1.0


class Reader:
    """Reads a store: every query of the gateway, without its commands.

    Open it with `Reader.open(...)`. It needs no private keys, writes nothing and connects to no provider.
    """

    def __init__(self, accounts: Mapping[str, Account], journal: StoreReader, ports: Ports) -> None:
        self.accounts = accounts
        self.journal = journal
        self.ports = ports
        self.monitor = HealthView(journal, ports.now)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        config: str | os.PathLike[str] | Config = "refundry.toml",
        *,
        plugins: Plugins | None = None,
        ports: Ports | None = None,
    ) -> AsyncIterator[Self]:
        """Open the store of a configuration for reading, and close it at the end.

        Raises `ConfigError` if the configuration is wrong or there is no store yet, `PluginError` if a provider cannot
        be loaded and `StoreError` if the database fails.
        """
        settings = config if isinstance(config, Config) else read_config(config)
        found = plugins if plugins is not None else load_plugins(allow=settings.plugins)
        accounts = open_accounts(settings, found, keys=False, tolerant=True)
        async with AsyncExitStack() as stack:
            journal = await open_reader(settings.store_path)
            stack.push_async_callback(journal.close)
            reader = cls(accounts, journal, ports or Ports())
            reader.monitor.alert_after = settings.outage_alert_after
            yield reader

    def account(self, name: str) -> Account:
        """Return an account by its name; raise `UnknownAccount` if the configuration has none of this name."""
        try:
            return self.accounts[name]
        except KeyError:
            known = ", ".join(sorted(self.accounts)) or "none"
            raise UnknownAccount(name, f"there is no account {name!r}; there are: {known}") from None

    async def check_account(self, name: str | None) -> None:
        """Raise `UnknownAccount` for a name that neither the configuration nor any refund has: it is misspelled."""
        if name is None or name in self.accounts:
            return
        rows = await self.journal.select(Selection(account=name), limit=1)
        if not rows and name not in {unmatched.account for unmatched in await self.journal.unmatched(name, 1)}:
            self.account(name)

    async def get(self, id: str, *, account: str | None = None, as_of: AsOf = NOW) -> Refund:
        """Return a refund by Refundry's id or its `refund_request_id`, as it is or as it was known at a moment.

        Raises `UnknownRefund` if there is no such refund, or it did not exist at that moment, and `Invalid` if several
        accounts have a refund with this id and `account` does not name one of them.
        """
        recorded = await self.history(id, account=account, as_of=as_of)
        return folded(recorded)

    async def history(self, id: str, *, account: str | None = None, as_of: AsOf = NOW) -> Sequence[Recorded]:
        """Return the events of a refund up to a moment, oldest first; raise what `get` raises."""
        recorded = as_of.history(await self._history(id, account))
        if not recorded:
            raise UnknownRefund(f"there is no refund {id!r} as of {as_of}")
        return recorded

    async def events(self, after: int = 0, *, follow: bool = False) -> AsyncIterator[ObservedEvent]:
        """Yield the events of the whole log in order, starting after a position.

        With `follow` it waits for more at the end of the log. The caller keeps the position of what it has processed;
        an observer has that kept for it. Raises `UnreadableEvent` for an event that this version cannot read.
        """
        while True:
            async for event in observed_events(self.journal, after):
                after = event.position
                yield event
            if not follow:
                return
            await self.ports.sleep(_FOLLOW_SECONDS)

    async def _history(self, id: str, account: str | None) -> Sequence[Recorded]:
        if account is None and _is_uuid(id) and (recorded := await self.journal.load(id)):
            return recorded
        rows = await self.journal.select(Selection(account=account, refund_request_id=id), limit=2)
        if len(rows) > 1:
            raise Invalid("account", f"{id!r} is in use in several accounts; name one of them")
        recorded = await self.journal.load(rows[0].id if rows else id)
        if not recorded or (not rows and account not in (None, folded(recorded).account)):
            raise UnknownRefund(f"there is no refund {id!r}" + (f" in account {account}" if account else ""))
        return recorded

    async def entries(self, id: str, *, account: str | None = None) -> Sequence[Recorded | UnreadableEvent]:
        """Return what `history` returns, with an error in the place of each event that cannot be read."""
        try:
            return await self._history(id, account)
        except UnreadableEvent:
            rows = await self.journal.select(Selection(account=account, refund_request_id=id), limit=1)
            return await self.journal.load_entries(rows[0].id if rows else id)

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
        """Return a page of refunds, oldest first, starting after the id `after`; `review=True` selects needs review.

        Raises `UnknownAccount` if no account and no refund has this name.
        """
        await self.check_account(account)
        selection = Selection(status=status, account=account, payment=payment, review=review)
        return await select_as_of(self.journal, selection, as_of, after=after, limit=limit)

    async def totals(
        self, *, account: str | None = None, by_payment: bool = False, as_of: AsOf = NOW
    ) -> Sequence[Total]:
        """Return what was requested, settled, failed and is open, for each account and currency.

        Raises `UnknownAccount` if no account and no refund has this name.
        """

        async def pages() -> AsyncIterator[Sequence[Row]]:
            after = ""
            while rows := await self.list(account=account, as_of=as_of, after=after, limit=_PAGE):
                yield rows
                after = rows[-1].id

        return await add_up(pages(), by_payment=by_payment)

    async def next_step(self, refund: Refund) -> policy.Step:
        """Return what is done next for a refund, and when; a manual review while its account is blocked."""
        account = self.account(refund.account)
        step = await self._plan(refund, account, self.ports.now())
        match step:
            case policy.Submit() | policy.Inquire():
                if not await self.monitor.is_blocked(account.name):
                    return step
                text = f"the account {account.name} is blocked by another refund"
                return policy.ManualReview(ReviewReason.BLOCKED_ACCOUNT, text)
            case policy.ManualReview() | policy.Done():
                return step
            case _:
                assert_never(step)

    async def _plan(self, refund: Refund, account: Account, now: datetime) -> policy.Step:
        """Return the next step of a refund; an inquiry may have been put off by answers that were only counted."""
        step = policy.next_step(refund, account.terms, now)
        if not isinstance(step, policy.Inquire) or not refund.inquiries:
            return step
        postponed = await self.journal.postponed(refund.id)
        return step if postponed is None else policy.Inquire(max(step.at, postponed.until))

    async def readings(self, history: Sequence[Recorded]) -> "Sequence[Reading]":
        """Read the stored answers of a refund again; return where today's plugin reads them differently."""
        # Imported here, because it brings the HTTP client with it and only this query needs it.
        from refundry.audit.replay.reinterpretation import read_again, states_of

        states = states_of(history)
        account = self.accounts.get(states[0].account)
        if account is None or account.error is not None:
            return ()
        digests = {
            digest
            for item in history
            for name in ("digest", "evidence")
            if (digest := getattr(item.event, name, None)) is not None
        }
        found = {digest: await self.journal.evidence(digest) for digest in digests}
        kept = {digest: content for digest, content in found.items() if content is not None}
        return [reading for _, readings in read_again(account, history, states, kept) for reading in readings]

    async def evidence(self, digest: str) -> bytes:
        """Return the provider's message that an event names; raise `UnknownRefund` if nothing has this digest."""
        content = await self.journal.evidence(digest)
        if content is None:
            raise UnknownRefund(f"there is no evidence with the digest {digest!r}")
        return content

    async def health(self) -> Sequence[AccountHealth]:
        """Return the health of every account of the configuration, in the order of their names."""
        return await self.monitor.all(sorted(self.accounts))

    async def workers(self) -> Sequence[WorkerRecord]:
        """Return the workers that run, or were killed within a day, oldest first."""
        return await self.journal.workers()

    async def unmatched(self) -> Sequence[UnmatchedNotification]:
        """Return verified notifications that match no refund, oldest first."""
        return await self.journal.unmatched()


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def folded(history: Sequence[Recorded]) -> Refund:
    """Return the refund that a history leads to; raise `UnreadableEvent` if its events do not follow each other."""
    try:
        return fold(history[0].refund_id, [item.event for item in history])
    except IllegalEvent as error:
        raise UnreadableEvent(history[-1].position, f"does not follow from those before it: {error}") from error
