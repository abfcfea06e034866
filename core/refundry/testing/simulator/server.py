"""A provider on loopback: takes refunds over HTTP, keeps books, signs what it says, and fails when told to.

The rule of this module: everything a request does to the books happens in one step of the event loop, so two requests
never see half of each other; what is then said about it may be lost, late or wrong, the books never are.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any, Final, Generic, Self, TypeVar

import attrs
from aiohttp import web

from refundry.errors import Invalid
from refundry.ports import Ports
from refundry.testing.simulator.control import control
from refundry.testing.simulator.faults import Faults, Plan, Rule, corrupted
from refundry.testing.simulator.ledger import Ask, Ledger, Payment, Refund, State, Verdict
from refundry.testing.simulator.messages import Call, Message, Said, Wire
from refundry.testing.simulator.notifications import News, Notifier
from refundry.testing.simulator.settings import Keys, Running, Settings, SimulatorPlugin, make_keys, with_options

__all__ = ["Keys", "Running", "Settings", "Simulator", "SimulatorPlugin", "make_keys"]

ELSEWHERE: Final = "/elsewhere"
"""Where the redirect fault points; a client that goes there is counted in the books."""
_SIGNERS: Final = 2
_log = logging.getLogger("refundry.simulator")

S = TypeVar("S", bound=Settings)
Act = Callable[[str, Mapping[str, Any]], None]
"""Something that can be done to a refund by a control call: its key, and the fields of the call."""


class Simulator(Generic[S]):
    """One provider with one merchant. Use it as an async context manager; `url` is its address while it is open."""

    def __init__(self, wire: Wire, settings: S, ports: Ports | None = None) -> None:
        self.settings: S = settings
        self.ledger = self.new_ledger()
        self.faults = Faults(_dice(settings))
        self._wire = wire
        self._ports = ports or Ports()
        self._noise = _dice(settings)
        self._port = 0
        self._stopping = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._notifier = Notifier(wire, self._write, self._ports)

    # --- life ---------------------------------------------------------------------------------------------------------

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
            raise Invalid("port", f"{self.settings.port} cannot be listened on: {error.strerror}") from None
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
        """Give the address, without a slash at the end."""
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        return f"http://{host}:{self._port}"

    @property
    def provider(self) -> str:
        """Give the name of the provider that is simulated."""
        return self._wire.provider

    # --- control, the same as over HTTP -------------------------------------------------------------------------------

    def new_ledger(self) -> Ledger:
        """Open books; a provider that keeps them otherwise overrides this."""
        return Ledger(self.settings.payments == "any")

    @property
    def acts(self) -> Mapping[str, Act]:
        """Give what only this provider can do to a refund, by the names that a control call uses."""
        return {}

    def fault(self, name: str, **fields: Any) -> Rule:
        """Add a fault; `Invalid` names the field and the rule."""
        return self.faults.add({"fault": name, **fields})

    def clear_faults(self) -> None:
        """Forget every fault rule."""
        self.faults.rules.clear()

    def add_payment(self, payment: Payment) -> None:
        """Declare a payment; `Invalid` if its id is taken."""
        self.ledger.declare(payment)

    def finish(self, refund_request_id: str, state: State) -> Refund:
        """End an asynchronous refund and notify; `Invalid` if there is none in process under this id."""
        refund = self._known(refund_request_id)
        if not self._finish(refund, state):
            raise Invalid("status", f"the refund is {refund.state}; only one in process can become SUCCESS or FAIL")
        return refund

    def notify(self, refund_request_id: str, state: State | None = None) -> Refund:
        """Send a signed notification now, of the refund's own state or of another that it claims."""
        refund = self._known(refund_request_id)
        self._tell(News(refund, state or refund.state))
        return refund

    def change(self, options: Mapping[str, Any]) -> None:
        """Change settings while it runs; `Invalid` names the option and the rule."""
        self.settings = with_options(self.settings, options)
        self.ledger.take_any = self.settings.payments == "any"

    async def reset(self) -> None:
        """Forget everything: books, faults, and what was still to come."""
        await self._forget_tasks()
        self.ledger = self.new_ledger()
        self.faults = Faults(_dice(self.settings))

    def _known(self, key: str) -> Refund:
        refund = self.ledger.refunds.get(key)
        if refund is None:
            raise Invalid("refund_request_id", "is not in the books")
        return refund

    # --- requests -----------------------------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = _path(request)
        try:
            body = await request.read()
        except ConnectionError:  # the client left before it had sent everything: nothing was asked
            return _hang_up(request)
        if path.startswith("/control/"):
            return await control(self, request.method, path, body)
        if path == ELSEWHERE:
            self.ledger.fired["redirect followed"] += 1
        headers = {name.lower(): value for name, value in request.headers.items()}
        heard = self._wire.parse_notification(Call(request.method, path, headers, body))
        if isinstance(heard, Said):
            return _response(await self._write(heard, Plan()))
        return await self._call(request, heard)

    async def _call(self, request: web.BaseRequest, ask: Ask) -> web.StreamResponse:
        plan = self.faults.plan(ask.operation, self._request_id(ask), self.ledger)
        if plan.drop_request:
            return _hang_up(request)
        await self._wait(plan.wait_before)
        for _ in range(plan.deliveries):
            said = self._work(ask, plan)
        for tell in plan.telling:
            said = tell(said, self.ledger)
        if plan.reorder is not None:
            await self._notify_before_reply(ask, plan.reorder)
        await self._wait(plan.wait_after)
        if plan.drop_response == "hang":
            await self._hang(request)
        if plan.drop_response is not None:
            return _hang_up(request)
        return _response(await self._write(said, plan))

    def _request_id(self, ask: Ask) -> str | None:
        refund = self.ledger.find(ask)
        return ask.refund_request_id if refund is None else refund.refund_request_id

    def _work(self, ask: Ask, plan: Plan) -> Said:
        if plan.work:
            said = self._process(ask)
        elif ask.operation == "refund" and self._wire.recorded(plan.code or ""):
            refund = self.ledger.refuse(ask, plan.code or "", self._ports.now())
            said = self._said(ask, Verdict.FAILED, refund)
        else:
            said = attrs.evolve(self._said(ask, Verdict.FAILED, self.ledger.find(ask)), state=None)
        return attrs.evolve(said, code=plan.code or said.code, status=plan.status, state=plan.state or said.state)

    def _process(self, ask: Ask) -> Said:
        if ask.operation == "inquiry":
            return self._said(ask, *self.ledger.inquire(ask))
        known = self.ledger.find(ask)
        repeat = known is not None and known.state is State.PROCESSING
        reason, refund = self.ledger.request(ask, self._ports.now())
        if refund is None or reason != Verdict.IN_PROCESS:
            return self._said(ask, reason, refund)
        self._progress(refund, repeat)
        return attrs.evolve(self._said(ask, refund.reason, refund), moved=refund.state is State.SUCCESS)

    def _said(self, ask: Ask, code: str, refund: Refund | None) -> Said:
        said = Said(operation=ask.operation, path=ask.path, code=code, ask=ask, payment=self.ledger.payment_of(ask))
        if refund is None:
            return said
        payment = self.ledger.payments.get(refund.payment)
        refunded = self.ledger.refunded(refund)
        return attrs.evolve(said, refund=refund, state=refund.state, payment=payment, refunded=refunded)

    def _progress(self, refund: Refund, repeat: bool) -> None:
        """Take an accepted refund on: at once, after the delay, or (asked again) now, as a repeat does."""
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
            self._tell(News(refund, state))
        if done and state is State.SUCCESS:
            self.paid(refund)
        return done

    def paid(self, refund: Refund) -> None:
        """Do what else this provider does when the money of a refund has moved; it overrides this."""

    # --- notifications ------------------------------------------------------------------------------------------------

    def _tell(self, news: News) -> None:
        self._spawn(self._notifier.tell(news, self.settings, self.ledger, self.faults), _task_name(news.refund))

    async def _notify_before_reply(self, ask: Ask, seconds: float) -> None:
        refund = self.ledger.find(ask)
        if refund is None or (refund.state is State.FAIL and refund.reason != Verdict.FAILED):
            return
        self._finish(refund, State(self.settings.async_result))
        name = _task_name(refund)
        if not any(task.get_name() == name for task in self._tasks):
            self._tell(News(refund, refund.state))
        await asyncio.wait([task for task in self._tasks if task.get_name() == name], timeout=seconds)

    # --- leaving ------------------------------------------------------------------------------------------------------

    async def _write(self, said: Said, plan: Plan) -> Message:
        now = self._ports.now()
        status, kind, body = 200, "", self._wire.body(said, now)
        for found, replacement in plan.rewrites:
            body = body.replace(found, replacement)
        for corrupt in plan.corruptions:
            status, kind, body = corrupted(corrupt, body, self._noise)
        extra = [("location", ELSEWHERE)] if "redirect" in plan.corruptions else []
        if not plan.signed:
            return Message(status, [("content-type", kind or "application/json"), *extra], body)
        loop = asyncio.get_running_loop()
        headers, body = await loop.run_in_executor(self._pool, self._wire.sign_message, said, body, now, plan.flaw)
        return Message(status, [*_with_kind(headers, kind), *extra], body)

    async def _wait(self, seconds: float) -> None:
        if seconds:
            await self._ports.sleep(seconds)

    async def _hang(self, request: web.BaseRequest) -> None:
        while not (self._stopping or request.transport is None or request.transport.is_closing()):
            await asyncio.sleep(0.05)  # nothing tells a handler that its client has left

    # --- what is still to come ----------------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, None], name: str | None = None) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("the simulator has a defect", exc_info=error)

    async def _forget_tasks(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _dice(settings: Settings) -> Random:
    return Random(settings.seed)  # to be thrown again, not to keep a secret


def _path(request: web.BaseRequest) -> str:
    """Give the path and query as sent. Some clients send the whole address (RFC 9112, absolute-form)."""
    target = request.raw_path
    _, found, rest = target.partition("://")
    if target.startswith("/") or not found:
        return target
    slash = rest.find("/")
    return rest[slash:] if slash >= 0 else "/"


def _task_name(refund: Refund) -> str:
    return f"tell {refund.key}"


def _response(message: Message) -> web.Response:
    return web.Response(status=message.status, headers=list(message.headers), body=message.body)


def _with_kind(headers: Any, kind: str) -> list[tuple[str, str]]:
    return [(name, kind or value if name.lower() == "content-type" else value) for name, value in headers]


def _hang_up(request: web.BaseRequest) -> web.Response:
    if request.transport is not None:
        request.transport.close()
    return web.Response()
