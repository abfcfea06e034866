"""The environment in which a plugin is checked: its account, its simulator on loopback, a gateway on a real store.

The rule of this module: the plugin gets exactly what a platform would give it. The account comes from a refundry.toml
that the simulator wrote, and the simulator is controlled over HTTP.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
import attrs
from aiohttp import web

from refundry.config import Account, Config, open_accounts, read_config
from refundry.currencies import EXPONENTS
from refundry.errors import Forged, Invalid, RefundryError
from refundry.gateway import Gateway
from refundry.gateway.request import RefundRequest
from refundry.gateway.worker import process
from refundry.money import Money
from refundry.outbound.transport import HttpTransport, NoAnswer
from refundry.plugin_host import Plugins, hookimpl, load_plugins
from refundry.plugin_host.interfaces import SimulatorPlugin
from refundry.provider import (
    Answer,
    Notification,
    NotSent,
    Outcome,
    Provider,
    ProviderCall,
    ProviderPlugin,
    RefundInstruction,
    Request,
    Unknown,
    Unreadable,
)
from refundry.refund import Refund, policy

ACCOUNT: Final = "contract"
MINOR: Final = 739_100
"""The usual amount: digits that are easy to find in a message, in whole hundreds for currencies that require it."""
TERMS: Final = {
    "timeout": 2.0,
    "first_inquiry": 0.02,
    "inquiry_intervals": [0.05, 0.1, 0.2],
    "not_found_interval": 0.05,
    "not_found_tries": 2,
    "resend_delay": 0.05,
    "max_attempts": 6,
    "escalate_after": 5.0,
    "requests_per_second": 10_000,
}
PATIENCE: Final = 12.0
"""Seconds after which a refund that is neither final nor flagged for review counts as stuck."""
_TURNS_TO_CLOSE: Final = 8
"""How often the event loop runs after a check: to accept a connection, to read its end, and to close it."""
_CURRENCIES: Final = ("EUR", "USD", "CNY", "CAD", "GBP", "JPY", "KWD")


class Stuck(RefundryError):
    """Something that should have happened did not."""


@attrs.frozen
class Subject:
    """What a check examines: the plugin, its simulator, an empty directory and a directory with keys."""

    plugin: ProviderPlugin
    simulator: SimulatorPlugin
    directory: Path
    keys: Path

    @property
    def plugins(self) -> Plugins:
        """The plugin as the core finds it: through its hook, and no other plugin."""
        return load_plugins((), [_Hooks(self.plugin)])

    def configure(self, url: str, notify_url: str | None = None, **terms: Any) -> Config:
        """Write refundry.toml with the account that the simulator describes, and read it."""
        section = self.simulator.account_section(ACCOUNT, url, self.keys, notify_url)
        lines = "".join(f"{key} = {value}\n" for key, value in (TERMS | terms).items())
        path = self.directory / "refundry.toml"
        text = f'store = "sqlite:///refunds.db"\n\n{section}\n[accounts.{ACCOUNT}.terms]\n{lines}'
        path.write_text(text, "utf-8")
        return read_config(path)

    def account(self, url: str = "http://127.0.0.1:9", *, keys: bool = True, notify_url: str | None = None) -> Account:
        """Open the account without a simulator."""
        return open_accounts(self.configure(url, notify_url), self.plugins, keys=keys)[ACCOUNT]

    @asynccontextmanager
    async def environment(self, *, terms: dict[str, Any] | None = None, **options: Any) -> AsyncIterator["Environment"]:
        """Start the simulator and open a gateway with an account there; `options` are simulator options."""
        async with AsyncExitStack() as stack:
            receiver = await stack.enter_async_context(_notification_receiver())
            # A check requests the notifications it needs; unrequested ones would consume its faults first.
            settings = {"notify_url": receiver.url, "notify_sync": "false"} | options
            running = await stack.enter_async_context(self.simulator.run("127.0.0.1", 0, self.keys, settings))
            config = self.configure(running.url, receiver.url, **(terms or {}))
            session = await stack.enter_async_context(aiohttp.ClientSession())
            transport = await stack.enter_async_context(HttpTransport())
            gateway = await stack.enter_async_context(Gateway.open(config, plugins=self.plugins, create=True))
            yield Environment(self, gateway, transport, Control(running.url, session), receiver, config)
        # A connection that was accepted while its server closed notices only now that its client is gone.
        for _ in range(_TURNS_TO_CLOSE):
            await asyncio.sleep(0)


class _Hooks:
    """The plugin's hook, as its package would define it."""

    def __init__(self, plugin: ProviderPlugin) -> None:
        self.__name__ = plugin.name
        self._plugin = plugin

    @hookimpl
    def refundry_providers(self) -> list[ProviderPlugin]:
        return [self._plugin]


# --- the simulator ----------------------------------------------------------------------------------------------------


@attrs.frozen
class Control:
    """The control calls of a simulator."""

    url: str
    _session: aiohttp.ClientSession

    async def call(self, method: str, path: str, data: Any = None) -> Any:
        """Make one call; return its JSON, or None for HTTP 404."""
        async with self._session.request(method, f"{self.url}/control/{path}", json=data) as answer:
            content = await answer.json(content_type=None)
            if answer.status == 404:
                return None
            if answer.status != 200:
                raise Stuck(f"the simulator rejected {method} /control/{path}: {content}")
            return content

    async def fault(self, name: str, operation: str = "any", **fields: Any) -> None:
        """Add a fault."""
        await self.call("POST", "faults", {"fault": name, "operation": operation, **fields})

    async def clear_faults(self) -> None:
        """Clear every fault."""
        await self.call("DELETE", "faults")

    async def refund(self, refund_request_id: str) -> Any:
        """Return the simulator's ledger entry of a refund; None if it has none."""
        return await self.call("GET", f"refunds/{refund_request_id}")


@attrs.frozen
class ReceivedNotification:
    """A notification as it was received, and the response to it."""

    notification: Notification
    answered: asyncio.Future[web.Response]


class NotificationReceiver:
    """An HTTP server for the simulator's notifications; each check decides how they are answered."""

    def __init__(self) -> None:
        self.url = ""
        self.received: asyncio.Queue[ReceivedNotification] = asyncio.Queue()
        self.gateway: Gateway | None = None
        """If set, it receives every notification immediately, as in production, and its acknowledgement is the
        response."""

    async def take(self, request: web.BaseRequest) -> web.Response:
        """Receive one notification."""
        body = await request.read()
        headers = tuple((name, value) for name, value in request.headers.items())
        notification = Notification(request.method, request.raw_path, headers, body)
        received = ReceivedNotification(notification, asyncio.get_running_loop().create_future())
        self.received.put_nowait(received)
        if self.gateway is not None:
            received.answered.set_result(await _answer(self.gateway, notification))
        return await received.answered

    async def next(self, patience: float = PATIENCE) -> ReceivedNotification:
        """Wait for the next notification; raise `Stuck` if none arrives."""
        try:
            async with asyncio.timeout(patience):
                return await self.received.get()
        except TimeoutError:
            raise Stuck("the simulator sent no notification") from None


async def _answer(gateway: Gateway, notification: Notification) -> web.Response:
    """Return the response of a web server that passes the notification to the gateway."""
    try:
        done = await gateway.receive_notification(ACCOUNT, notification)
    except (Forged, Unreadable, Invalid) as error:
        return web.Response(status=401, text=type(error).__name__)
    except Exception as error:  # raised by the plugin: the sender must learn that it was not accepted
        return web.Response(status=500, text=type(error).__name__)
    return web.Response(status=done.status, headers=list(done.headers), body=done.body)


@asynccontextmanager
async def _notification_receiver() -> AsyncIterator[NotificationReceiver]:
    receiver = NotificationReceiver()
    runner = web.ServerRunner(web.Server(receiver.take), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/notifications/{ACCOUNT}"
    try:
        yield receiver
    finally:
        await runner.cleanup()


# --- the stage --------------------------------------------------------------------------------------------------------


@attrs.frozen
class Sample:
    """One call to the provider with its answer, from which an outcome is read."""

    operation: str
    """`refund` or `inquiry`."""
    instruction: RefundInstruction
    call: ProviderCall
    request: Request
    answer: Answer | None
    """None: no complete answer arrived."""

    def read(self, answer: Answer | None = None) -> Outcome:
        """Read the answer, or another one instead of it."""
        found = answer or self.answer
        return Unknown("no complete answer arrived") if found is None else self.call.read(found)


@attrs.frozen
class Environment:
    """A gateway with one account at a running simulator, both freshly started."""

    subject: Subject
    gateway: Gateway
    transport: HttpTransport
    control: Control
    receiver: NotificationReceiver
    config: Config

    @property
    def account(self) -> Account:
        """The account."""
        return self.gateway.accounts[ACCOUNT]

    @property
    def provider(self) -> Provider:
        """The account's provider, with its private key."""
        return self.account.sender()

    def instruction(self, number: int = 1, minor: int = MINOR, **changes: Any) -> RefundInstruction:
        """Return an instruction that the provider accepts; equal arguments return equal instructions."""
        return instruction(self.account, number, minor, **changes)

    # --- through the provider alone -----------------------------------------------------------------------------------

    def compose(self, operation: str, asked: RefundInstruction, provider: Provider | None = None) -> ProviderCall:
        """Return the call that the provider composes."""
        asker = provider or self.provider
        return (asker.refund if operation == "refund" else asker.inquire)(asked, now())

    async def send(self, operation: str, asked: RefundInstruction, provider: Provider | None = None) -> Sample:
        """Send the call that the provider composes to the simulator, and keep the answer."""
        call = self.compose(operation, asked, provider)
        request = call.sign()
        reply = await self.transport.send(request, 10.0)
        if isinstance(reply, NotSent):
            raise Stuck(f"nothing listens at {request.url}: {reply.cause}")
        return Sample(operation, asked, call, request, None if isinstance(reply, NoAnswer) else reply)

    async def refund_and_inquire(self, number: int = 1, **changes: Any) -> Sequence[Sample]:
        """Send a refund and then an inquiry about it; return the two samples."""
        asked = self.instruction(number, **changes)
        return [await self.send("refund", asked), await self.send("inquiry", asked)]

    # --- through the gateway ------------------------------------------------------------------------------------------

    async def request(self, number: int = 1, **changes: Any) -> Refund:
        """Request a refund from the gateway."""
        asked = self.instruction(number, **changes)
        return await self.gateway.request(
            RefundRequest(
                account=ACCOUNT,
                payment=asked.payment,
                amount=str(asked.amount),
                currency=asked.amount.currency,
                refund_request_id=asked.refund_request_id,
                reason=asked.reason,
            )
        )

    async def finish(self, refund: Refund, patience: float = PATIENCE) -> Refund:
        """Process a refund until it is final or needs an operator; raise `Stuck` if it does neither."""
        refund = await process(self.gateway, refund, patience)
        refund = await self.gateway.advance(refund.id)
        if not refund.final and not await self.waits(refund):
            raise Stuck(f"the refund is {refund.status} after {patience:g} seconds and is not flagged for review")
        return refund

    async def waits(self, refund: Refund) -> bool:
        """Return whether a refund needs an operator."""
        return isinstance(await self.gateway.next_step(refund), policy.ManualReview)


def now() -> datetime:
    """Return the time in UTC, as the gateway passes it in."""
    return datetime.now(UTC)


def instruction(account: Account, number: int = 1, minor: int = MINOR, **changes: Any) -> RefundInstruction:
    """Return an instruction within the account's terms; equal arguments return equal instructions."""
    amount = changes.pop("amount", None) or _amount(account.provider, minor)
    fields: dict[str, Any] = {
        "refund_request_id": request_id(account, number),
        "payment": f"20261122{number:012d}"[: account.terms.payment_length],
        "amount": amount,
        "reason": "damaged",
    }
    return RefundInstruction(**fields | changes)


def request_id(account: Account, number: int) -> str:
    """Return an id of characters that the provider accepts."""
    prefix = next((text for text in ("CONTRACT-", "CONTRACT", "contract", "") if _fits(account, f"{text}0")), "")
    return f"{prefix}{number:06d}"[-account.terms.id_length :]


def _fits(account: Account, text: str) -> bool:
    return re.fullmatch(f"[{account.terms.id_characters}]+", text, re.ASCII) is not None


def _amount(provider: Provider, minor: int) -> Money:
    for currency in (*_CURRENCIES, *EXPONENTS):
        amount = money(provider, minor, currency)
        if amount is not None:
            return amount
    raise Stuck("the provider accepts no currency")


def money(provider: Provider, minor: int, currency: str) -> Money | None:
    """Return an amount in minor units of a currency, or None if the provider does not accept it."""
    try:
        amount = Money(minor, currency, provider.exponent(currency))
    except Invalid:
        return None
    try:
        provider.check(RefundInstruction("0" * 8, "20261122000000000001", amount))
    except Invalid as error:
        if error.field in ("currency", "amount"):
            return None
    return amount
