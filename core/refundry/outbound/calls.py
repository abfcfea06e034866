"""One call to a provider: sign it in a thread, send it and read the answer.

The rule of this module: a call always ends in an outcome. An exception of a plugin means "not sent" if it was raised
while signing, and "unknown" if it was raised while reading.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import cycle
from typing import Final

from aiolimiter import AsyncLimiter

from refundry.batching import Grouped
from refundry.config import Account
from refundry.journal.evidence import keep_answer
from refundry.outbound.transport import NoAnswer, Transport
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

_SIGNERS: Final = 4
_SIGNED_AT_ONCE: Final = 8
"""How many calls a thread signs before it returns the first of them: a few milliseconds."""
_log = logging.getLogger("refundry")


class Caller:
    """Calls providers, and keeps to the rate of each account."""

    def __init__(self, accounts: Mapping[str, Account], transport: Transport, ports: Ports) -> None:
        self._transport = transport
        self._ports = ports
        self._signers: list[Grouped[ProviderCall, Request]] = [
            Grouped("sign", _sign_all, lambda _: 1 / _SIGNED_AT_ONCE) for _ in range(_SIGNERS)
        ]
        self._in_turn = cycle(self._signers)
        self._limits = {
            name: _limiter(account.terms.requests_per_second)
            for name, account in accounts.items()
            if account.terms.requests_per_second is not None
        }

    async def close(self) -> None:
        """Stop the signing threads."""
        for signer in self._signers:
            await signer.close()

    async def pace(self, account: Account) -> None:
        """Wait for the account's turn: before anything is recorded, because what is recorded is sent at once."""
        limit = self._limits.get(account.name)
        if limit is not None:
            await limit.acquire()

    async def call(
        self, account: Account, call: ProviderCall, record: Callable[[], Awaitable[object]] | None = None
    ) -> tuple[Outcome | NotSent, bytes | None]:
        """Sign and send a call; return what the answer means, with the answer as evidence.

        `record` runs while the call is being signed. No byte is sent before it has returned, and none if it raises.
        """
        signing = next(self._in_turn).submit(call)
        if record is not None:
            try:
                await record()
            except BaseException:
                signing.cancel()
                raise
        try:
            request = await signing
        except Exception as error:
            _log.exception("signing failed")
            return NotSent(f"signing failed: {type(error).__name__}"), None
        self._ports.step("request signed")
        reply = await self._transport.send(request, account.terms.timeout)
        self._ports.step("answer received")
        if isinstance(reply, NotSent):
            return reply, None
        if isinstance(reply, NoAnswer):
            return Unknown(reply.cause), None if reply.partial is None else keep_answer(reply.partial, complete=False)
        return read_safely(lambda: call.read(reply)), keep_answer(reply)


def _limiter(rate: float) -> AsyncLimiter:
    # A limiter lets one call through only if its capacity is at least one: a lower rate is one call per longer period.
    return AsyncLimiter(rate, 1) if rate >= 1 else AsyncLimiter(1, 1 / rate)


def _sign_all(calls: Sequence[ProviderCall]) -> Sequence[Request | BaseException]:
    return [_sign(call) for call in calls]


def _sign(call: ProviderCall) -> Request | BaseException:
    try:
        return call.sign()
    except Exception as error:  # any exception of a plugin; the caller turns it into "not sent"
        return error


def read_safely(read: Callable[[], Outcome]) -> Outcome:
    """Return the outcome that `read` returns; `Unknown` if it raises or returns anything else."""
    try:
        outcome = read()
    except Exception as error:
        _log.exception("a plugin failed to read an answer")
        return Unknown(f"the plugin failed to read it: {type(error).__name__}")
    if not isinstance(outcome, OUTCOMES):
        return Unknown(f"the plugin read it as {type(outcome).__name__}, which is not an outcome")
    return outcome
