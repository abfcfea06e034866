"""One call to a provider: sign in a thread, send, and understand what came back.

The rule of this module: it always ends in an outcome. Whatever a plugin raises while it signs means that nothing was
sent, and while it reads that nothing is known.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Final

from aiolimiter import AsyncLimiter

from refundry.batching import Grouped
from refundry.config import Account
from refundry.journal.evidence import keep_answer
from refundry.outbound.transport import NoAnswer, Transport
from refundry.ports import Ports
from refundry.provider import (
    Blocked,
    DefinitiveFailure,
    Informational,
    NotFound,
    NotSent,
    Outcome,
    Pending,
    ProviderCall,
    Request,
    Succeeded,
    Unknown,
)

_SIGNERS: Final = 4
_SIGNED_AT_ONCE: Final = 8
"""So many signatures are made before the first of them is handed over: a few milliseconds."""
_OUTCOMES: Final = (Succeeded, Pending, DefinitiveFailure, NotFound, Unknown, Blocked, Informational)
_log = logging.getLogger("refundry")


class Caller:
    """Calls providers, each account at its own pace."""

    def __init__(self, accounts: Mapping[str, Account], transport: Transport, ports: Ports) -> None:
        self._transport = transport
        self._ports = ports
        signers: list[Grouped[ProviderCall, Request]] = [
            Grouped("sign", _sign_all, lambda _: 1 / _SIGNED_AT_ONCE) for _ in range(_SIGNERS)
        ]
        self._signers = signers
        self._in_turn = cycle(signers)
        self._limits = {
            name: AsyncLimiter(account.terms.requests_per_second, 1)
            for name, account in accounts.items()
            if account.terms.requests_per_second is not None
        }

    async def close(self) -> None:
        """Let go of the threads."""
        for signer in self._signers:
            await signer.close()

    async def pace(self, account: Account) -> None:
        """Wait for the account's turn: before anything is recorded, for what is recorded is about to leave."""
        limit = self._limits.get(account.name)
        if limit is not None:
            await limit.acquire()

    def sign(self, call: ProviderCall) -> "asyncio.Future[Request]":
        """Begin to sign, off the loop and beside whatever else is to be done first."""
        return next(self._in_turn).submit(call)

    async def call(
        self, account: Account, call: ProviderCall, signing: "asyncio.Future[Request]"
    ) -> tuple[Outcome | NotSent, bytes | None]:
        """Send it and give what it means, with the provider's words to keep."""
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
        return understood(lambda: call.read(reply)), keep_answer(reply)


def _sign_all(calls: Sequence[ProviderCall]) -> Sequence[Request | BaseException]:
    return [_sign(call) for call in calls]


def _sign(call: ProviderCall) -> Request | BaseException:
    try:
        return call.sign()
    except Exception as error:  # a plugin's own; the caller makes it "not sent"
        return error


def understood(read: Callable[[], Outcome]) -> Outcome:
    """Let no reader do more than misunderstand."""
    try:
        outcome = read()
    except Exception as error:
        _log.exception("a plugin failed to read an answer")
        return Unknown(f"the plugin failed to read it: {type(error).__name__}")
    if not isinstance(outcome, _OUTCOMES):
        return Unknown(f"the plugin read it as {type(outcome).__name__}, which is no outcome")
    return outcome
