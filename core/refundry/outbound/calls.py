"""One call to a provider: sign it in a thread, send it and read the answer.

The rule of this module: a call always ends in an outcome. An exception of a plugin means "not sent" if it was raised
while signing, and "unknown" if it was raised while reading.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from aiolimiter import AsyncLimiter

from refundry.config import Account
from refundry.journal.evidence import keep_answer
from refundry.outbound.signing import Signers, SigningHangs
from refundry.outbound.transport import NoAnswer, Transport
from refundry.plugin_host.containment import contained
from refundry.ports import Ports
from refundry.provider import (
    OUTCOMES,
    NotSent,
    Outcome,
    ProviderCall,
    Request,
    Unknown,
)

__all__ = ["Caller", "read_safely"]

_log = logging.getLogger("refundry")


class Caller:
    """Calls providers, and keeps to the rate of each account."""

    def __init__(self, accounts: Mapping[str, Account], transport: Transport, ports: Ports) -> None:
        self._transport = transport
        self._ports = ports
        self._signers = Signers()
        self._limits = {
            name: _limiter(account.terms.requests_per_second)
            for name, account in accounts.items()
            if account.terms.requests_per_second is not None
        }

    def close(self) -> None:
        """Stop the signing threads."""
        self._signers.close()

    async def pace(self, account: Account) -> None:
        """Wait for the account's turn: before anything is recorded, because what is recorded is sent at once."""
        limit = self._limits.get(account.name)
        if limit is not None:
            await limit.acquire()

    async def call(
        self, account: Account, call: ProviderCall, record: Callable[[], Awaitable[object]] | None = None
    ) -> tuple[Outcome | NotSent, bytes | None]:
        """Sign and send a call; return what the answer means, with the answer as evidence.

        `record` runs while the call is being signed. No byte is sent before it has returned, and none if it raises, nor
        if signing takes longer than the account's `timeout`.
        """
        request = await self._sign(account, call, record)
        if isinstance(request, NotSent):
            return request, None
        self._ports.step("request signed")
        reply = await self._transport.send(request, account.terms.timeout)
        self._ports.step("answer received")
        if isinstance(reply, NotSent):
            return reply, None
        if isinstance(reply, NoAnswer):
            return Unknown(reply.cause), None if reply.partial is None else keep_answer(reply.partial, complete=False)
        return read_safely(lambda: call.read(reply)), keep_answer(reply)

    async def _sign(
        self, account: Account, call: ProviderCall, record: Callable[[], Awaitable[object]] | None
    ) -> Request | NotSent:
        deadline = asyncio.get_running_loop().time() + account.terms.timeout
        try:
            signing = self._signers.submit(account.name, call)
        except SigningHangs:
            signing = None
        if record is not None:
            try:
                await record()
            except BaseException:
                if signing is not None:
                    signing.cancel()
                raise
        if signing is None:
            return NotSent("not signed: earlier signatures of the account hang")
        try:
            async with asyncio.timeout_at(deadline) as limit:
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


def _limiter(rate: float) -> AsyncLimiter:
    # A limiter lets one call through only if its capacity is at least one: a lower rate is one call per longer period.
    return AsyncLimiter(rate, 1) if rate >= 1 else AsyncLimiter(1, 1 / rate)


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
