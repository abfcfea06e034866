"""A provider on loopback: accepts refunds over HTTP, keeps a ledger, signs its messages, and injects faults.

The rule of this module: everything a request does to the ledger happens in one step of the event loop, so two requests
never see half of each other. The message about it may be lost, late or wrong; the ledger never is.
"""

import asyncio
import gzip
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from email.utils import format_datetime
from random import Random
from typing import Any, Final, Generic, Self, TypeVar

import attrs
from aiohttp import web

from refundry.errors import Invalid
from refundry.formatting import os_reason
from refundry.ports import Ports
from refundry.testing.simulator.control import control
from refundry.testing.simulator.faults import Faults, Plan, Rule, corrupted
from refundry.testing.simulator.ledger import Ledger, ParsedRequest, Payment, Refund, State, Verdict
from refundry.testing.simulator.messages import Call, Draft, Message, Wire
from refundry.testing.simulator.notifications import NotificationEvent, Notifier
from refundry.testing.simulator.settings import Keys, Running, Settings, SimulatorPlugin, make_keys, with_options

__all__ = ["Keys", "Running", "Settings", "Simulator", "SimulatorPlugin", "make_keys"]

REDIRECT_TARGET: Final = "/elsewhere"
"""Where the redirect fault points; a client that follows it is counted in the ledger."""
_SIGNERS: Final = 2
_log = logging.getLogger("refundry.simulator")

S = TypeVar("S", bound=Settings)
Action = Callable[[str, Mapping[str, Any]], None]
"""An action on a refund by a control call: its key, and the fields of the call."""


class Simulator(ABC, Generic[S]):
    """One provider with one merchant. Use it as an async context manager; `url` is its address while it is open."""

    def __init__(self, settings: S, ports: Ports | None = None) -> None:
        self.settings: S = settings
        self.ledger = self.new_ledger()
        self.faults = Faults(_generator(settings))
        self._wire = self.new_wire()
        self._ports = ports or Ports()
        self._noise = _generator(settings)
        self._port = 0
        self._stopping = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._notifier = Notifier(self._wire, self._write, self._ports)

    # --- lifecycle ----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._stopping = False
        self._pool = ThreadPoolExecutor(_SIGNERS, thread_name_prefix="sign")
        await self._notifier.open()
        self._runner = web.ServerRunner(web.Server(self._handle), access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self.settings.host, self.settings.port, backlog=1024).start()
        except OSError as error:
            await self._close()
            raise Invalid("port", f"cannot listen on {self.settings.port}: {os_reason(error)}") from None
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._close()

    async def _close(self) -> None:
        self._stopping = True
        await self._forget_tasks()
        await self._runner.cleanup()
        await self._notifier.close()
        self._pool.shutdown()

    @property
    def url(self) -> str:
        """Return the base URL, without a trailing slash."""
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        return f"http://{host}:{self._port}"

    @property
    def provider(self) -> str:
        """Return the name of the simulated provider."""
        return self._wire.provider

    # --- control, the same as over HTTP -------------------------------------------------------------------------------

    @abstractmethod
    def new_wire(self) -> Wire:
        """Return the provider's messages with the present settings."""

    def new_ledger(self) -> Ledger:
        """Return an empty ledger; a provider with other rules overrides this."""
        return Ledger(self.settings.payments == "any")

    @property
    def actions(self) -> Mapping[str, Action]:
        """Return the actions that only this provider has, by their names in control calls."""
        return {}

    def fault(self, name: str, **fields: Any) -> Rule:
        """Add a fault; `Invalid` names the field and the rule."""
        return self.faults.add({"fault": name, **fields})

    def clear_faults(self) -> None:
        """Remove every fault rule."""
        self.faults.rules.clear()

    def add_payment(self, payment: Payment) -> None:
        """Declare a payment; `Invalid` if its id is taken."""
        self.ledger.declare(payment)

    def finish(self, refund_request_id: str, state: State) -> Refund:
        """Set the final state of an asynchronous refund and notify; `Invalid` if none is in process with this id."""
        refund = self._known(refund_request_id)
        if not self._finish(refund, state):
            raise Invalid("status", f"the refund is {refund.state}; only one in process can become SUCCESS or FAIL")
        return refund

    def notify(self, refund_request_id: str, state: State | None = None) -> Refund:
        """Send a signed notification now, of the refund's own state or of another one."""
        refund = self._known(refund_request_id)
        self._notify(NotificationEvent(refund, state or refund.state))
        return refund

    def change(self, options: Mapping[str, Any]) -> None:
        """Change settings while it runs; `Invalid` names the option and the rule."""
        self.settings = self._wire.settings = with_options(self.settings, options)
        self.ledger.accept_undeclared = self.settings.payments == "any"

    async def reset(self) -> None:
        """Reset everything: the ledger, the faults, and what was scheduled."""
        await self._forget_tasks()
        self.ledger = self.new_ledger()
        self.faults = Faults(_generator(self.settings))

    def _known(self, key: str) -> Refund:
        refund = self.ledger.refunds.get(key)
        if refund is None:
            raise Invalid("refund_request_id", "is not in the ledger")
        return refund

    # --- requests -----------------------------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = _path(request)
        try:
            body = await request.read()
        except ConnectionError:  # the client disconnected before the request was complete
            return _hang_up(request)
        if path.startswith("/control/"):
            return await control(self, request.method, path, body)
        if path == REDIRECT_TARGET:
            self.ledger.fired["redirect followed"] += 1
        headers = {name.lower(): value for name, value in request.headers.items()}
        parsed = self._wire.parse_request(Call(request.method, path, headers, body))
        if isinstance(parsed, Draft):
            return _response(await self._write(parsed, Plan()), self._ports.now())
        return await self._call(request, parsed)

    async def _call(self, request: web.BaseRequest, parsed: ParsedRequest) -> web.StreamResponse:
        plan = self.faults.plan(parsed.operation, self._request_id(parsed), self.ledger)
        if plan.drop_request:
            return _hang_up(request)
        await self._wait(plan.wait_before)
        for _ in range(plan.deliveries):
            draft = self._work(parsed, plan)
        for alter in plan.alterations:
            draft = alter(draft, self.ledger)
        if plan.reorder is not None:
            await self._notify_before_reply(parsed, plan.reorder)
        await self._wait(plan.wait_after)
        if plan.drop_response == "hang":
            await self._hang(request)
        if plan.drop_response is not None:
            return _hang_up(request)
        return _response(await self._write(draft, plan), self._ports.now())

    def _request_id(self, parsed: ParsedRequest) -> str | None:
        refund = self.ledger.find(parsed)
        return parsed.refund_request_id if refund is None else refund.refund_request_id

    def _work(self, parsed: ParsedRequest, plan: Plan) -> Draft:
        if plan.work:
            draft = self._process(parsed)
        elif parsed.operation == "refund" and self._wire.remembers(plan.code or ""):
            refund = self.ledger.refuse(parsed, plan.code or "", self._ports.now())
            draft = self._draft(parsed, Verdict.FAILED, refund)
        else:
            draft = attrs.evolve(self._draft(parsed, Verdict.FAILED, self.ledger.find(parsed)), state=None)
        return attrs.evolve(draft, code=plan.code or draft.code, status=plan.status, state=plan.state or draft.state)

    def _process(self, parsed: ParsedRequest) -> Draft:
        if parsed.operation == "inquiry":
            return self._draft(parsed, *self.ledger.inquire(parsed))
        known = self.ledger.find(parsed)
        repeat = known is not None and known.state is State.PROCESSING
        reason, refund = self.ledger.request(parsed, self._ports.now())
        if refund is None or reason != Verdict.IN_PROCESS:
            return self._draft(parsed, reason, refund)
        self._progress(refund, repeat)
        return attrs.evolve(self._draft(parsed, refund.reason, refund), moved=refund.state is State.SUCCESS)

    def _draft(self, parsed: ParsedRequest, code: str, refund: Refund | None) -> Draft:
        draft = Draft(
            operation=parsed.operation,
            path=parsed.path,
            code=code,
            request=parsed,
            payment=self.ledger.payment_of(parsed),
        )
        if refund is None:
            return draft
        payment = self.ledger.payments.get(refund.payment)
        refunded = self.ledger.refunded(refund)
        return attrs.evolve(draft, refund=refund, state=refund.state, payment=payment, refunded=refunded)

    def _progress(self, refund: Refund, repeat: bool) -> None:
        """Advance an accepted refund: at once, after the delay, or at once if this is a repeated request."""
        if self.settings.mode == "sync":
            self._finish(refund, State.SUCCESS, notify=self.settings.notify_sync)
        elif self.settings.async_delay is not None:
            if repeat:
                self._finish(refund, State(self.settings.async_result))
            else:
                self._spawn(self._finish_later(refund, self.settings.async_delay))

    async def _finish_later(self, refund: Refund, delay: float) -> None:
        await self._ports.sleep(delay)
        self._finish(refund, State(self.settings.async_result))

    def _finish(self, refund: Refund, state: State, *, notify: bool = True) -> bool:
        done = self.ledger.finish(refund, state, self._ports.now())
        if done and notify:
            self._notify(NotificationEvent(refund, state))
        if done and state is State.SUCCESS:
            self.on_paid(refund)
        return done

    def on_paid(self, refund: Refund) -> None:
        """Process a refund whose money has moved; a provider may override this."""

    # --- notifications ------------------------------------------------------------------------------------------------

    def _notify(self, event: NotificationEvent) -> None:
        self._spawn(self._notifier.deliver(event, self.settings, self.ledger, self.faults), _task_name(event.refund))

    async def _notify_before_reply(self, parsed: ParsedRequest, seconds: float) -> None:
        refund = self.ledger.find(parsed)
        if refund is None or (refund.state is State.FAIL and refund.reason != Verdict.FAILED):
            return
        self._finish(refund, State(self.settings.async_result))
        name = _task_name(refund)
        if not any(task.get_name() == name for task in self._tasks):
            self._notify(NotificationEvent(refund, refund.state))
        await asyncio.wait([task for task in self._tasks if task.get_name() == name], timeout=seconds)

    # --- responses ----------------------------------------------------------------------------------------------------

    async def _write(self, draft: Draft, plan: Plan) -> Message:
        message = await self._write_plain(draft, plan)
        if not plan.compress:
            return message
        headers = [*message.headers, ("content-encoding", "gzip")]
        return attrs.evolve(message, headers=headers, body=gzip.compress(message.body, mtime=0))

    async def _write_plain(self, draft: Draft, plan: Plan) -> Message:
        now = self._ports.now()
        status, kind, body = 200, "", self._wire.body(draft, now)
        for found, replacement in plan.rewrites:
            body = body.replace(found, replacement)
        for corrupt in plan.corruptions:
            status, kind, body = corrupted(corrupt, body, self._noise)
        extra = [("location", REDIRECT_TARGET)] if "redirect" in plan.corruptions else []
        if not plan.signed:
            return Message(status, [("content-type", kind or "application/json"), *extra], body)
        loop = asyncio.get_running_loop()
        headers, body = await loop.run_in_executor(self._pool, self._wire.sign, draft, body, now, plan.flaw)
        return Message(status, [*_with_kind(headers, kind), *extra], body)

    async def _wait(self, seconds: float) -> None:
        if seconds:
            await self._ports.sleep(seconds)

    async def _hang(self, request: web.BaseRequest) -> None:
        while not (self._stopping or request.transport is None or request.transport.is_closing()):
            await asyncio.sleep(0.05)  # nothing tells a handler that its client has left

    # --- background tasks ---------------------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, None], name: str | None = None) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("the simulator has a bug", exc_info=error)

    async def _forget_tasks(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _generator(settings: Settings) -> Random:
    return Random(settings.seed)  # to be thrown again, not to keep a secret


def _path(request: web.BaseRequest) -> str:
    """Return the path and query as sent. Some clients send the complete URL (RFC 9112, absolute-form)."""
    target = request.raw_path
    _, found, rest = target.partition("://")
    if target.startswith("/") or not found:
        return target
    slash = rest.find("/")
    return rest[slash:] if slash >= 0 else "/"


def _task_name(refund: Refund) -> str:
    return f"notify {refund.key}"


def _response(message: Message, now: datetime) -> web.Response:
    # Dated by the simulator's clock, as everything else that it says.
    headers = [("Date", format_datetime(now, usegmt=True)), *message.headers]
    return web.Response(status=message.status, headers=headers, body=message.body)


def _with_kind(headers: Any, kind: str) -> list[tuple[str, str]]:
    return [(name, kind or value if name.lower() == "content-type" else value) for name, value in headers]


def _hang_up(request: web.BaseRequest) -> web.Response:
    if request.transport is not None:
        request.transport.close()
    return web.Response()
