"""The gateway's commands for operators: resolve, resume, flag and erase refunds.

The rule of this module: a decision is recorded with the operator and the reason, on top of the state that it was made
for.
"""

import logging
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version as version_of

import attrs

from refundry.audit.erasure import Erased, erase
from refundry.audit.signing.signer import Signer
from refundry.config import Account
from refundry.errors import ConfigError, Invalid, Stale
from refundry.gateway.account_health import HealthMonitor
from refundry.gateway.queries import Reader
from refundry.inputs import Operator, check_text
from refundry.journal import Journal, Recorded, Write
from refundry.journal.evidence import digest_of, is_complete
from refundry.logs import log
from refundry.ports import Ports
from refundry.provider import NotSent, Outcome
from refundry.refund import FINAL, Event, RaisedReview, Refund, Status, apply, fold, policy

__all__ = ["OperatorCommands"]


class OperatorCommands(Reader):
    """The commands of a gateway with which operators act on a refund."""

    journal: Journal

    def __init__(self, accounts: Mapping[str, Account], journal: Journal, ports: Ports) -> None:
        super().__init__(accounts, journal, ports)
        self.journal = journal
        self.monitor: HealthMonitor = HealthMonitor(journal, ports.now)
        self._open_signer: Callable[[], Signer] | None = None

    @abstractmethod
    async def _inquire(self, account: Account, refund: Refund) -> tuple[Refund, Outcome | NotSent, bytes | None]:
        """Ask the provider and record the answer; return the refund afterwards, the outcome and the evidence."""

    @abstractmethod
    async def _save(self, write: Write, before: Refund | None) -> Sequence[Recorded]:
        """Make a write durable and notify those who follow the log."""

    async def resolve(
        self, refund_id: str, operator: Operator, *, settled: bool, version: int, offline: bool = False,
        against_evidence: bool = False,
    ) -> Refund:  # fmt: skip
        """Record an operator's decision about a refund, final or not, after asking the provider.

        `version` is the version of the refund that the operator saw. If the provider's answer ends the refund as the
        operator would, no decision is recorded. `offline` does not ask; it is recorded. A decision that contradicts
        what the provider reported needs `against_evidence`, and leaves the refund flagged for review.

        Raises `Stale` if the refund has another version, and `Invalid` if the provider did not answer (field `offline`)
        or reported otherwise (field `against_evidence`).
        """
        decision = policy.Decision(
            operator=operator, settled=settled, offline=offline, against_evidence=against_evidence
        )
        refund = await self.get(refund_id)
        if refund.version != version:
            raise Stale(
                f"refund {refund.refund_request_id!r} is at version {refund.version}, not {version}; show it again"
            )
        if not offline:
            await self._ask_first(refund)
        events = [recorded.event for recorded in await self.history(refund.id)]
        asked = fold(refund.id, events)
        if not refund.final and asked.status is (Status.SETTLED if settled else Status.FAILED):
            return asked
        return await self._decide(asked, policy.resolved(asked, events, decision, self.ports.now()))

    async def _ask_first(self, refund: Refund) -> None:
        """Inquire about a refund before an operator decides; raise `Invalid` if the provider does not answer."""
        if refund.account not in self.accounts:
            raise Invalid("offline", f"the configuration has no account {refund.account!r} to ask the provider with")
        _, outcome, evidence = await self._inquire(self.account(refund.account), refund)
        if not policy.is_answered(outcome, evidence is not None and is_complete(evidence)):
            text = f"the provider did not answer ({getattr(outcome, 'cause', outcome.kind)})"
            raise Invalid("offline", f"{text}; decide offline if you know what happened from another source")

    async def resume(self, refund_id: str, operator: Operator) -> Refund:
        """Record that the cause of a hold is fixed: the refund continues with the same id.

        On a final refund it records that an operator has reviewed it; if it needs no review, nothing changes.
        """
        refund = await self.get(refund_id)
        if refund.final and not refund.review:
            return refund
        terms = self.account(refund.account).terms
        event = policy.resumed(refund, self.ports.now(), operator, terms)
        self.monitor.forget(refund.account)
        return await self._decide(refund, event)

    async def pause_account(self, account: str, operator: Operator) -> None:
        """Send and inquire nothing for an account until it is unpaused; new refunds are recorded."""
        await self.monitor.pause(self.account(account).name, operator)

    async def unpause_account(self, account: str, operator: Operator) -> None:
        """Resume a paused account: its refunds continue."""
        await self.monitor.unpause(self.account(account).name, operator)

    async def resume_account(self, account: str, operator: Operator) -> Sequence[Refund]:
        """Resume every refund of an account that needs an operator to end, and with them the account; return these.

        They are on hold, or flagged for review while workers go on asking.
        """
        self.account(account)
        resumed: list[Refund] = []
        after = ""
        while rows := await self.list(account=account, review=True, after=after):
            after = rows[-1].id
            waiting = [row.id for row in rows if row.status not in FINAL]
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
            event = policy.flagged(refund, checked, self.ports.now(), operator, next(iter(kept), None))
            if event is None:
                return refund
            try:
                return await self._decide(refund, event, kept)
            except Stale:
                continue

    async def erase(self, refund_id: str, operator: Operator) -> Erased:
        """Erase the personal data and the evidence of a refund that is final and needs no review; no event changes.

        The operator is named in plain text in the signed notes that replace the evidence. What was erased before stays
        as it is. Raises `Invalid` if the refund may still need its evidence, `Stale` if something was recorded
        meanwhile.
        """
        refund = await self.get(refund_id)
        if self._open_signer is None:
            raise ConfigError("audit", "a gateway without a configuration has no key to sign with")
        erased = await erase(self.journal, self._open_signer, refund, operator, at=self.ports.now())
        name = refund.refund_request_id
        log(logging.INFO, "operator action", account=refund.account, refund=name, type="erased", by=operator.by)
        return erased

    async def _decide(self, refund: Refund, event: Event, kept: Mapping[str, bytes] | None = None) -> Refund:
        if event.plugin is None:
            account = self.accounts.get(refund.account)
            event = attrs.evolve(
                event, plugin=f"refundry {version_of('refundry')}" if account is None else account.plugin_id
            )
        after = apply(refund, event)
        await self._save(Write(after, [event], kept or {}), refund)
        return after
