"""One call to a provider: sign it in a thread, send it and read the answer.

The rule of this module: a call always ends in an outcome, and within its time. An exception of a plugin means "not
sent" if it was raised while signing, and "unknown" if it was raised while reading.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, Literal

from refundry.config import Account
from refundry.errors import ConfigError
from refundry.journal.evidence import keep_answer
from refundry.logs import log
from refundry.outbound.pacing import Pacing
from refundry.outbound.signing import Signers, SigningHangs
from refundry.outbound.skew import Skews
from refundry.outbound.transport import Delivery, NoAnswer, Transport
from refundry.plugin_host.containment import contained
from refundry.ports import Ports
from refundry.provider import (
    OUTCOMES,
    NotSent,
    Outcome,
    Provider,
    ProviderCall,
    Request,
    Unknown,
)

__all__ = ["Caller", "Deadline", "read_safely"]

Operation = Literal["refund", "inquire"]
_log = logging.getLogger("refundry")


class Deadline:
    """The end of a call that begins now: so many seconds from here, by the clock that runs faster.

    The wall clock misses the time that it was set back, and the monotonic clock the time that the machine slept.
    """

    def __init__(self, ports: Ports, seconds: float) -> None:
        self.began = ports.now()
        self._ports = ports
        self._ticks = ports.monotonic()
        self._seconds = seconds

    @property
    def spent(self) -> float:
        """The seconds since the call began, by the monotonic clock."""
        return self._ports.monotonic() - self._ticks

    @property
    def left(self) -> float:
        """The seconds that are left; zero or less once it has passed."""
        by_the_wall = (self._ports.now() - self.began) / timedelta(seconds=1)
        return self._seconds - max(by_the_wall, self.spent)


async def _always() -> bool:
    return True


async def _nothing() -> None:
    pass


class Caller:
    """Calls providers, and keeps to the rate of each account."""

    def __init__(self, pacing: Pacing, transport: Transport, ports: Ports) -> None:
        self._pacing = pacing
        self._transport = transport
        self._ports = ports
        self._signers = Signers()
        self.skews = Skews()
        """How far the providers' clocks are ahead."""

    def close(self) -> None:
        """Stop the signing threads."""
        self._signers.close()

    async def sender(self, account: Account) -> Provider:
        """Return the account's provider with its private key; raise `ConfigError` if that cannot be used."""
        if not account.needs_parsing:
            return account.sender()
        try:
            return await asyncio.to_thread(account.sender)
        except ConfigError as error:
            log(logging.ERROR, "account out of use", account=account.name, reason=str(error))
            raise

    async def pace(self, account: Account) -> None:
        """Wait for the account's turn: before anything is recorded, because what is recorded is sent at once."""
        await self._pacing.wait(account.name)

    async def call(
        self,
        account: Account,
        operation: Operation,
        call: ProviderCall,
        deadline: Deadline,
        *,
        record: Callable[[], Awaitable[object]] = _nothing,
        is_current: Callable[[], Awaitable[bool]] = _always,
    ) -> tuple[Outcome | NotSent, bytes | None]:
        """Sign and send a call; return what the answer means, with the answer as evidence.

        `record` runs while the call is being signed. No byte is sent before it has returned, and none if it raises, if
        `is_current` is false just before the first byte, or if the deadline has passed by then.
        """
        request = await self._sign(account, call, deadline, record)
        if isinstance(request, NotSent):
            return request, None
        self._ports.step("request signed")

        async def last_check() -> str | None:
            if not await is_current():
                return "something else was recorded about the refund before the first byte"
            # Last of all: the process may have been stopped anywhere before.
            return None if deadline.left > 0 else _TOO_OLD

        left = deadline.left
        if left <= 0:
            return NotSent(_TOO_OLD, withheld=True), None
        shared = account.plugin.shares_connections(operation)
        delivery = Delivery(shared=shared, proxy=account.proxy, last_check=last_check)
        sent_at = self._ports.now()
        reply = await self._transport.send(request, left, delivery)
        self._ports.step("answer received")
        if isinstance(reply, NotSent):
            return reply, None
        if isinstance(reply, NoAnswer):
            return Unknown(reply.cause, answered=False), None if reply.partial is None else keep_answer(
                reply.partial, complete=False
            )
        self.skews.note(account.name, reply, sent_at, self._ports.now())
        return read_safely(lambda: call.read(reply)), keep_answer(reply)

    async def _sign(
        self, account: Account, call: ProviderCall, deadline: Deadline, record: Callable[[], Awaitable[object]]
    ) -> Request | NotSent:
        try:
            signing = self._signers.submit(account.name, call)
        except SigningHangs:
            signing = None
        try:
            await record()
        except BaseException:
            if signing is not None:
                signing.cancel()
            raise
        if signing is None:
            return NotSent("not signed: earlier signatures of the account hang")
        if deadline.left <= 0:
            # The attempt is too old already, by a clock or a stop of the process: no signature took too long.
            signing.cancel()
            return NotSent(_TOO_OLD, withheld=True)
        try:
            async with asyncio.timeout(deadline.left) as limit:
                return await signing
        except TimeoutError as error:
            if not limit.expired():
                return _not_signed(account, error)
            _log.error("account %s: signing took longer than %g seconds", account.name, account.terms.timeout)
            return NotSent(f"signing took longer than {account.terms.timeout:g} seconds")
        except Exception as error:
            return _not_signed(account, error)


def _not_signed(account: Account, error: Exception) -> NotSent:
    _log.error("account %s: signing failed", account.name, exc_info=error)
    return NotSent(f"signing failed: {type(error).__name__}")


_TOO_OLD: Final = "the attempt is older than the timeout of a call"


def read_safely(read: Callable[[], Outcome]) -> Outcome:
    """Return the outcome that `read` returns; `Unknown` if it raises or returns anything else."""
    try:
        outcome = contained(read)
    except Exception as error:
        _log.exception("a plugin failed to read an answer")
        return Unknown(f"the plugin failed to read it: {type(error).__name__}")
    if not isinstance(outcome, OUTCOMES):
        return Unknown(f"the plugin read it as {type(outcome).__name__}, which is not an outcome")
    return outcome
