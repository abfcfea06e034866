"""Where a plugin is put to the test: its account, its simulator on loopback, a gateway on a real store.

The rule of this module: nothing is handed to the plugin but what a platform would give it. The account comes out of a
refundry.toml that the simulator wrote; the simulator is told what to do over HTTP.
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
"""The usual amount: digits that are easy to find in a message, in whole hundreds for currencies that want that."""
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
"""Seconds after which a refund that has neither ended nor called a person counts as stuck."""
_CURRENCIES: Final = ("EUR", "USD", "CNY", "CAD", "GBP", "JPY", "KWD")


class Stuck(RefundryError):
    """Something that had to happen did not."""


@attrs.frozen
class Subject:
    """What a check looks at: the plugin, its simulator, an empty directory and one with keys."""

    plugin: ProviderPlugin
    simulator: SimulatorPlugin
    directory: Path
    keys: Path

    @property
    def plugins(self) -> Plugins:
        """Give the plugin as the core finds it: by its hook, beside no other."""
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
        """Open the account alone, for what needs no simulator."""
        return open_accounts(self.configure(url, notify_url), self.plugins, keys=keys)[ACCOUNT]

    @asynccontextmanager
    async def stage(self, *, terms: dict[str, Any] | None = None, **options: Any) -> AsyncIterator["Stage"]:
        """Start the simulator and open a gateway with an account there; `options` are the simulator's."""
        async with AsyncExitStack() as stack:
            box = await stack.enter_async_context(_letterbox())
            # A check that wants a notification asks for it: others would meet its faults first.
            given = {"notify_url": box.url, "notify_sync": "false"} | options
            running = await stack.enter_async_context(self.simulator.run("127.0.0.1", 0, self.keys, given))
            config = self.configure(running.url, box.url, **(terms or {}))
            session = await stack.enter_async_context(aiohttp.ClientSession())
            transport = await stack.enter_async_context(HttpTransport())
            gateway = await stack.enter_async_context(Gateway.open(config, plugins=self.plugins))
            yield Stage(self, gateway, transport, Control(running.url, session), box, config)


class _Hooks:
    """The plugin's hook, as its package would have it."""

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
        """Make one call; give its JSON, or None where there is nothing of that name."""
        async with self._session.request(method, f"{self.url}/control/{path}", json=data) as answer:
            said = await answer.json(content_type=None)
            if answer.status == 404:
                return None
            if answer.status != 200:
                raise Stuck(f"the simulator refuses {method} /control/{path}: {said}")
            return said

    async def fault(self, name: str, operation: str = "any", **fields: Any) -> None:
        """Add a fault."""
        await self.call("POST", "faults", {"fault": name, "operation": operation, **fields})

    async def well(self) -> None:
        """Forget every fault."""
        await self.call("DELETE", "faults")

    async def entry(self, refund_request_id: str) -> Any:
        """Give what the books say of a refund; None if it is not in them."""
        return await self.call("GET", f"refunds/{refund_request_id}")


@attrs.frozen
class Letter:
    """A notification as it came, and what it was answered with."""

    notification: Notification
    answered: asyncio.Future[web.Response]


class Letterbox:
    """Takes what the simulator posts; a check says how each is answered."""

    def __init__(self) -> None:
        self.url = ""
        self.letters: asyncio.Queue[Letter] = asyncio.Queue()
        self.gateway: Gateway | None = None
        """Set: every notification goes to it at once, as in production, and its acknowledgement is the answer."""

    async def take(self, request: web.BaseRequest) -> web.Response:
        """Take one notification."""
        body = await request.read()
        headers = tuple((name, value) for name, value in request.headers.items())
        notification = Notification(request.method, request.raw_path, headers, body)
        letter = Letter(notification, asyncio.get_running_loop().create_future())
        self.letters.put_nowait(letter)
        if self.gateway is not None:
            letter.answered.set_result(await _answer(self.gateway, notification))
        return await letter.answered

    async def next(self, patience: float = PATIENCE) -> Letter:
        """Wait for the next notification; `Stuck` if none comes."""
        try:
            async with asyncio.timeout(patience):
                return await self.letters.get()
        except TimeoutError:
            raise Stuck("the simulator sent no notification") from None


async def _answer(gateway: Gateway, notification: Notification) -> web.Response:
    """Let the gateway hear a notification, and answer as a web server would."""
    try:
        done = await gateway.receive_notification(ACCOUNT, notification)
    except (Forged, Unreadable, Invalid) as error:
        return web.Response(status=401, text=type(error).__name__)
    except Exception as error:  # a plugin's own: whoever posted it is told that it was not taken
        return web.Response(status=500, text=type(error).__name__)
    return web.Response(status=done.status, headers=list(done.headers), body=done.body)


@asynccontextmanager
async def _letterbox() -> AsyncIterator[Letterbox]:
    box = Letterbox()
    runner = web.ServerRunner(web.Server(box.take), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    box.url = f"http://127.0.0.1:{runner.addresses[0][1]}/notifications/{ACCOUNT}"
    try:
        yield box
    finally:
        await runner.cleanup()


# --- the stage --------------------------------------------------------------------------------------------------------


@attrs.frozen
class Sample:
    """One call to the provider with its answer: what an outcome is read from."""

    operation: str
    """`refund` or `inquiry`."""
    instruction: RefundInstruction
    call: ProviderCall
    request: Request
    answer: Answer | None
    """None: no whole answer came."""

    def read(self, answer: Answer | None = None) -> Outcome:
        """Read the answer, or another in its place."""
        found = answer or self.answer
        return Unknown("no whole answer came") if found is None else self.call.read(found)


@attrs.frozen
class Stage:
    """A gateway with an account at a simulator that listens, both freshly opened."""

    subject: Subject
    gateway: Gateway
    transport: HttpTransport
    control: Control
    box: Letterbox
    config: Config

    @property
    def account(self) -> Account:
        """Give the account."""
        return self.gateway.accounts[ACCOUNT]

    @property
    def provider(self) -> Provider:
        """Give the account's provider."""
        return self.account.provider

    def instruction(self, number: int = 1, minor: int = MINOR, **changes: Any) -> RefundInstruction:
        """Give an order that the provider takes; equal arguments give equal orders."""
        return instruction(self.account, number, minor, **changes)

    # --- through the provider alone -----------------------------------------------------------------------------------

    async def ask(self, operation: str, asked: RefundInstruction, provider: Provider | None = None) -> Sample:
        """Call the simulator with what the provider composes, and keep the answer."""
        asker = provider or self.provider
        compose = asker.refund if operation == "refund" else asker.inquire
        call = compose(asked, now())
        request = call.sign()
        reply = await self.transport.send(request, 10.0)
        if isinstance(reply, NotSent):
            raise Stuck(f"nothing answers at {request.url}: {reply.cause}")
        return Sample(operation, asked, call, request, None if isinstance(reply, NoAnswer) else reply)

    async def both(self, number: int = 1, **changes: Any) -> Sequence[Sample]:
        """Ask for a refund and then about it; give the two samples."""
        asked = self.instruction(number, **changes)
        return [await self.ask("refund", asked), await self.ask("inquiry", asked)]

    # --- through the gateway ------------------------------------------------------------------------------------------

    async def request(self, number: int = 1, **changes: Any) -> Refund:
        """Ask the gateway for a refund."""
        asked = self.instruction(number, **changes)
        return await self.gateway.request(
            account=ACCOUNT,
            payment=asked.payment,
            amount=str(asked.amount),
            currency=asked.amount.currency,
            refund_request_id=asked.refund_request_id,
            reason=asked.reason,
        )

    async def finish(self, refund: Refund, patience: float = PATIENCE) -> Refund:
        """Drive a refund until it has ended or a person is called; `Stuck` if neither comes."""
        refund = await process(self.gateway, refund, patience)
        refund = await self.gateway.advance(refund.id)
        if not refund.final and not await self.waits(refund):
            raise Stuck(f"the refund is {refund.status} after {patience:g} seconds, and no person is called")
        return refund

    async def waits(self, refund: Refund) -> bool:
        """Say whether a refund waits for a person."""
        return isinstance(await self.gateway.next_step(refund), policy.ManualReview)


def now() -> datetime:
    """Give the time in UTC, as the gateway passes it in."""
    return datetime.now(UTC)


def instruction(account: Account, number: int = 1, minor: int = MINOR, **changes: Any) -> RefundInstruction:
    """Give an order that fits the account's terms; equal arguments give equal orders."""
    amount = changes.pop("amount", None) or _amount(account.provider, minor)
    fields: dict[str, Any] = {
        "refund_request_id": request_id(account, number),
        "payment": f"20261122{number:012d}"[: account.terms.payment_length],
        "amount": amount,
        "reason": "damaged",
    }
    return RefundInstruction(**fields | changes)


def request_id(account: Account, number: int) -> str:
    """Give an id of the characters that the provider takes."""
    prefix = next((text for text in ("CONTRACT-", "CONTRACT", "contract", "") if _fits(account, f"{text}0")), "")
    return f"{prefix}{number:06d}"[-account.terms.id_length :]


def _fits(account: Account, text: str) -> bool:
    return re.fullmatch(f"[{account.terms.id_characters}]+", text, re.ASCII) is not None


def _amount(provider: Provider, minor: int) -> Money:
    for currency in (*_CURRENCIES, *EXPONENTS):
        amount = money(provider, minor, currency)
        if amount is not None:
            return amount
    raise Stuck("there is no currency that the provider takes")


def money(provider: Provider, minor: int, currency: str) -> Money | None:
    """Give so many of a currency's minor units, or None where the provider does not take that."""
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
