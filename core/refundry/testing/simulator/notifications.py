"""Notifications of a simulated provider: signed, repeated until they are acknowledged, to loopback only.

The rule of this module: a notification is sent at the documented intervals and ends with the first acknowledgement.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import aiohttp
import attrs
from yarl import URL

from refundry.config import is_loopback
from refundry.ports import Ports
from refundry.testing.simulator.faults import Faults, Plan
from refundry.testing.simulator.ledger import Ledger, Refund, State, Verdict
from refundry.testing.simulator.messages import Draft, Message, Wire
from refundry.testing.simulator.settings import Settings

INTERVALS: Final = (0, 120, 600, 600, 3_600, 7_200, 21_600, 54_000)
"""What Antom and Alipay document: "0s, 2min, 10min, 10min, 1h, 2h, 6h, 15h"."""
_MAX_ANSWER: Final = 64 * 1024
_TIMEOUT: Final = aiohttp.ClientTimeout(total=10)
_log = logging.getLogger("refundry.simulator")

Write = Callable[[Draft, Plan], Awaitable[Message]]


@attrs.frozen
class NotificationEvent:
    """What a notification reports: the final state of a refund, or another event by the provider's own name."""

    refund: Refund
    state: State
    event: str | None = None
    url: str | None = None
    """Where to send it, if not to the URL of the refund's notifications."""

    @property
    def code(self) -> str:
        """Return the verdict or the provider's own name of the event."""
        return self.event or (Verdict.DONE if self.state is State.SUCCESS else Verdict.FAILED)


class Notifier:
    """Delivers notifications to the merchant."""

    def __init__(self, wire: Wire, write: Write, ports: Ports) -> None:
        self._wire = wire
        self._write = write
        self._ports = ports
        self._held: list[asyncio.Future[None]] = []
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Open the client; redirects and the environment's proxies are never followed."""
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT, trust_env=False)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def deliver(self, event: NotificationEvent, settings: Settings, ledger: Ledger, faults: Faults) -> None:
        """Send a notification until it is acknowledged or the intervals are used up."""
        refund = event.refund
        url = _target(event.url or refund.notify_url or settings.notify_url, ledger)
        if url is None or not (event.event or self._wire.notifies(event.state)):
            return
        for wait in self._wire.notification_intervals:
            await self._ports.sleep(wait * settings.time_scale)
            plan = faults.plan("notification", refund.refund_request_id, ledger)
            if await self._attempt(url, event, plan, ledger):
                refund.notifications_acknowledged += 1
                return
        _log.warning("the notification of refund %s was never acknowledged", refund.refund_request_id)

    async def _attempt(self, url: URL, event: NotificationEvent, plan: Plan, ledger: Ledger) -> bool:
        if plan.drop_request:
            return False
        if plan.wait_before + plan.wait_after:
            await self._ports.sleep(plan.wait_before + plan.wait_after)
        if plan.reorder is not None:
            await self._hold(plan.reorder)
        draft = Draft(
            operation="notification",
            path=url.raw_path_qs,
            code=plan.code or event.code,
            status=plan.status,
            refund=event.refund,
            state=plan.state or event.state,
            refunded=ledger.refunded(event.refund),
            payment=ledger.payments.get(event.refund.payment),
        )
        for alter in plan.alterations:
            draft = alter(draft, ledger)
        acknowledged = [await self._post(url, draft, plan, event.refund) for _ in range(plan.deliveries)]
        self._release()
        return any(acknowledged) and plan.drop_response is None

    async def _post(self, url: URL, draft: Draft, plan: Plan, refund: Refund) -> bool:
        assert self._session is not None
        message = await self._write(draft, plan)
        refund.notifications_sent += 1
        try:
            async with self._session.post(
                url, data=message.body, headers=list(message.headers), allow_redirects=False
            ) as answer:
                return self._wire.is_acknowledgement(answer.status, await _read(answer))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            _log.info("a notification was not delivered: %s", type(error).__name__)
            return False

    async def _hold(self, seconds: float) -> None:
        gone = asyncio.get_running_loop().create_future()
        self._held.append(gone)
        await asyncio.wait({gone}, timeout=seconds)

    def _release(self) -> None:
        held, self._held = self._held, []
        for gone in held:
            if not gone.done():
                gone.set_result(None)


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > _MAX_ANSWER:
            return b""
    return bytes(body)


def _target(text: str | None, ledger: Ledger) -> URL | None:
    if text is None:
        return None
    try:
        url = URL(text, encoded=True)
        usable = url.scheme in ("http", "https") and is_loopback(url.host)
    except ValueError:
        usable = False
    if usable:
        return url
    ledger.fired["notification refused: not a loopback address"] += 1
    _log.warning("no notification is sent to %r: a simulator calls loopback addresses only", text[:200])
    return None
