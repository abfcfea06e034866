"""Provider notifications, sent to `refundry serve` in a process of its own, for every provider there is.

The notifications are the simulators' own, taken as they were posted; what is forged is made from them.
"""

import asyncio
import itertools
import json
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qsl, quote_plus

import aiohttp
import attrs
import pytest
from aiohttp import web

from refundry.plugin_host import load_plugins
from refundry.provider import MAX_BYTES, Notification
from refundry.refund import Refund, Status
from refundry.testing.contract.delivery import notified
from refundry.testing.contract.environment import ACCOUNT, Environment, Subject
from tests.system.command import started

PROVIDERS = ("alipay", "alphapay", "antom")
PATH = f"/notifications/{ACCOUNT}"
FORGED = int(os.environ.get("REFUNDRY_FORGED", "100000"))
"""How many are forged in all."""
LATER = {"mode": "async", "async_delay": "never"}

pytestmark = pytest.mark.slow


@attrs.frozen
class Served:
    """A stage whose account also listens in a process of its own."""

    env: Environment
    url: str
    session: aiohttp.ClientSession

    async def post(self, verified: Notification, path: str = PATH) -> tuple[int, bytes]:
        """Post it as the provider would."""
        # Not what aiohttp writes itself.
        headers = [(name, value) for name, value in verified.headers if name.lower() not in ("host", "content-length")]
        async with self.session.post(self.url + path, data=verified.body, headers=headers) as answer:
            return answer.status, await answer.read()

    async def refund(self, number: int = 1) -> Refund:
        """Return a refund as the store has it."""
        return await self.env.gateway.get(self.env.instruction(number).refund_request_id)

    async def events(self, number: int = 1) -> list[str]:
        """Return the names of its events."""
        history = await self.env.gateway.history(self.env.instruction(number).refund_request_id)
        return [item.event.topic for item in history]

    async def finish(self, number: int, status: str = "SUCCESS") -> None:
        """Complete a refund at the provider."""
        await self.env.control.call(
            "POST", f"refunds/{self.env.instruction(number).refund_request_id}", {"status": status}
        )

    async def verified(self, number: int = 1) -> Notification:
        """Complete a refund at the provider, and return its notification."""
        await self.finish(number)
        received = await self.env.receiver.next()
        received.answered.set_result(web.Response(status=503))
        return received.notification


@pytest.fixture(scope="module", params=PROVIDERS)
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """One provider, with keys that are made once."""
    plugins = load_plugins()
    simulator = plugins.simulators()[request.param]
    keys: Path = tmp_path_factory.mktemp(f"keys-{request.param}")
    simulator.make_keys(keys)
    return Subject(plugins.provider(request.param), simulator, tmp_path_factory.mktemp("unused"), keys)


@pytest.fixture
async def served(subject: Subject, tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(attrs.evolve(subject, directory=tmp_path)) as there:
        yield there


@asynccontextmanager
async def serving(subject: Subject) -> AsyncIterator[Served]:
    # The test delivers the notifications, however long that takes.
    terms = {"notification_freshness": 3600, "first_inquiry": 600, "inquiry_intervals": [600]}
    async with (
        subject.environment(terms=terms, **LATER) as env,
        started(env.config.path, "serve", "--port", "0", "--json") as process,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64)) as session,
    ):
        assert process.stdout is not None
        url = json.loads(await process.stdout.readline())["url"]
        drain = [asyncio.create_task(_drain(stream)) for stream in (process.stdout, process.stderr) if stream]
        yield Served(env, url, session)
        for task in drain:
            task.cancel()


async def _drain(stream: asyncio.StreamReader) -> None:
    # What is refused is logged: a full pipe would stop the server.
    while await stream.read(65536):
        pass


async def test_it_is_recorded_and_then_acknowledged(served: Served) -> None:
    """A genuine one is durable when its acknowledgement comes, and the provider takes it as such."""
    await served.env.request()
    answer = await served.post(await served.verified())

    assert 200 == answer[0]
    assert Status.SETTLED is (await served.refund()).status


async def test_played_again_it_changes_nothing(served: Served) -> None:
    """Replayed and duplicated, at once and after the end: the same acknowledgement, no further event."""
    await served.env.request()
    verified = await served.verified()
    at_once = await asyncio.gather(*(served.post(verified) for _ in range(5)))
    after, events = await served.post(verified), await served.events()

    assert {after} == set(at_once)
    assert 200 == after[0]
    assert ["requested", "submitted", "inquired", "settled"] == events


async def test_all_are_accepted_in_any_order(served: Served) -> None:
    """Notifications of many refunds that come in another order than they were sent: each settles its own."""
    for number in range(8):
        await served.env.request(number)
    verified = [await served.verified(number) for number in range(8)]
    random.Random(8).shuffle(verified)
    answers = [await served.post(one) for one in verified]

    assert {200} == {status for status, _ in answers}
    assert {Status.SETTLED} == {(await served.refund(number)).status for number in range(8)}


async def test_one_that_comes_before_our_own_reply_is_stored_loses_nothing(served: Served) -> None:
    """The refund is settled by what overtook the reply; the reply that comes then takes nothing back."""
    env = served.env
    await env.control.fault("delay", "refund", seconds="1.5")
    asking = asyncio.create_task(env.request())
    async with asyncio.timeout(10):
        while await env.control.refund(env.instruction().refund_request_id) is None:  # noqa: ASYNC110  # asked over HTTP
            await asyncio.sleep(0.02)
    answer = await served.post(await served.verified())
    early = await served.refund()
    await asking

    assert 200 == answer[0]
    assert Status.SETTLED is early.status
    assert Status.SETTLED is (await served.refund()).status
    assert 1 == (await env.control.refund(env.instruction().refund_request_id))["moved"]


async def test_one_about_a_refund_that_is_not_here_is_kept(served: Served) -> None:
    """Genuine and unknown: acknowledged, kept with its bytes, and listed."""
    await served.env.send("refund", served.env.instruction(7))
    verified = await served.verified(7)
    answer = await served.post(verified)
    (unmatched,) = await served.env.gateway.unmatched()

    assert 200 == answer[0]
    assert served.env.instruction(7).refund_request_id == unmatched.refund_request_id
    assert (await served.env.gateway.evidence(unmatched.evidence)).endswith(verified.body)


async def test_one_that_is_too_long_is_refused(served: Served) -> None:
    """More than 64 KiB, also without a length given: 413, and the genuine one is accepted afterwards."""
    await served.env.request()
    verified = await served.verified()

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 4096

    long = attrs.evolve(verified, body=verified.body + b" " * MAX_BYTES)
    with_length = (await served.post(long))[0]
    async with served.session.post(served.url + PATH, data=pieces()) as answered:
        without = answered.status
    before = (await served.refund()).status
    genuine = (await served.post(verified))[0]

    assert (413, 413, 200) == (with_length, without, genuine)
    assert Status.SETTLED is not before
    assert Status.SETTLED is (await served.refund()).status


async def test_another_accounts_is_refused(served: Served) -> None:
    """Posted to an account that does not exist it is refused, and nothing is recorded."""
    await served.env.request()
    verified = await served.verified()
    before = await served.events()

    assert 404 == (await served.post(verified, "/notifications/unknown"))[0]
    assert before == await served.events()


# --- forged, by the thousand ------------------------------------------------------------------------------------------


def _flip(data: bytes, dice: random.Random) -> bytes:
    place = dice.randrange(len(data))
    return data[:place] + bytes([data[place] ^ (1 << dice.randrange(8))]) + data[place + 1 :]


def _means(body: bytes) -> object:
    """Return what a body says: the same text may be written in more than one way in a form (`%2B`, `%2b`)."""
    return sorted(parse_qsl(body.decode("latin-1"), keep_blank_values=True)) if b"%" in body else body


def _flipped(verified: Notification, others: Sequence[Notification], dice: random.Random) -> Notification:
    while True:
        body = _flip(verified.body, dice)
        if _means(body) != _means(verified.body):
            return attrs.evolve(verified, body=body)


def _mixed(verified: Notification, others: Sequence[Notification], dice: random.Random) -> Notification:
    """Return the words of one notification with the signature of another."""
    other = dice.choice([one for one in others if one.body != verified.body])
    if {name.lower() for name, _ in verified.headers} & {"signature"}:
        return attrs.evolve(verified, headers=other.headers)
    pair = dict(parse_qsl(other.body.decode("latin-1")))["sign"]
    mine = dict(parse_qsl(verified.body.decode("latin-1")))["sign"]
    return attrs.evolve(verified, body=verified.body.replace(quote_plus(mine).encode(), quote_plus(pair).encode()))


def _garbage(verified: Notification, others: Sequence[Notification], dice: random.Random) -> Notification:
    return attrs.evolve(verified, body=dice.randbytes(dice.randrange(1, 600)))


FORGERS: tuple[Callable[[Notification, Sequence[Notification], random.Random], Notification], ...] = (
    _flipped, _flipped, _flipped, _mixed, _garbage,
)  # fmt: skip


@pytest.mark.slow(seconds=25)
async def test_forged_ones_are_refused_while_genuine_ones_are_served(served: Served) -> None:
    """Flipped in one bit, signed as another, unsigned, by a third party, garbage: none is accepted, all the others are.

    The attack goes on until the last genuine one is served.
    """
    env, dice = served.env, random.Random(1122)
    count, genuine = -(-FORGED // len(PROVIDERS)), 24
    for number in range(genuine + 1):
        await env.request(number)
    verified = [await served.verified(number) for number in range(genuine)]
    forged = [await _badly_signed(env, genuine, how) for how in ("wrong_key", "unsigned", "flipped_bit")]
    statuses: Counter[int] = Counter()

    async def attack(number: int) -> None:
        made = dice.choice(FORGERS)(dice.choice(verified), verified, dice)
        one = forged[number % 10] if number % 10 < len(forged) else made
        statuses[(await served.post(one))[0]] += 1

    served_all = asyncio.Event()

    async def attackers() -> None:
        numbers = itertools.count()

        async def lane() -> None:
            for number in numbers:
                if number >= count and served_all.is_set():
                    return
                await attack(number)

        await asyncio.gather(*(lane() for _ in range(32)))

    attacking = asyncio.create_task(attackers())
    answers = []
    for one in verified:
        answers.append((await served.post(one))[0])
        await asyncio.sleep(0)
    served_all.set()
    await attacking
    health = await served.session.get(served.url + "/health")
    last = await served.refund(genuine)

    assert {200} == set(answers)
    assert statuses.keys() <= {400, 401}
    assert count <= statuses.total()
    assert {Status.SETTLED} == {(await served.refund(number)).status for number in range(genuine)}
    assert Status.SETTLED is not last.status
    assert not await env.gateway.unmatched()
    assert 200 == health.status


async def _badly_signed(env: Environment, number: int, how: str) -> Notification:
    await env.control.fault("bad_signature", "notification", how=how)
    if how == "wrong_key":
        await env.control.call("POST", f"refunds/{env.instruction(number).refund_request_id}", {"status": "SUCCESS"})
        received = await env.receiver.next()
        received.answered.set_result(web.Response(status=503))
        return received.notification
    return await notified(env, number)
