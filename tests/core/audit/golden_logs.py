"""Golden logs: what was written by some version, kept as it was, and what it folds to.

Run `python -m tests.core.audit.golden_logs NAME` to make one that is not there yet: a log, once kept, is never written
again.
"""

import asyncio
import hashlib
import json
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import attrs

from refundry.gateway import Gateway
from refundry.inputs import Operator
from refundry.journal import Write
from refundry.journal.codec import decode, private_digest
from refundry.journal.merkle import entry, leaf_hash, root_of
from refundry.journal.sqlite.journal import SqliteJournal
from refundry.journal.sqlite.recorder import connect
from refundry.money import Money
from refundry.provider import OutcomeKind, Quote, Resend, ReviewReason, Scope
from refundry.refund import (
    Channel,
    Event,
    Failed,
    Inquired,
    NextStep,
    RaisedReview,
    Refund,
    Requested,
    Settled,
    SettlementFacts,
    Submitted,
    fold,
)
from refundry.testing.simulator.ledger import State

FOLDER: Final = Path(__file__).with_name("golden")
HASHES: Final = FOLDER / "hashes.json"
_CODES: Final = {
    "antom": ["RISK_REJECT", "REFUND_IN_PROCESS", "INVALID_CONTRACT", "SYSTEM_ERROR"],
    "alphapay": [],
    "alipay": [],
}


@attrs.frozen
class Line:
    """One event of a golden log."""

    position: int
    refund_id: str
    version: int
    topic: str
    state: bytes
    private: bytes | None

    @property
    def event(self) -> Event:
        return decode(self.topic, self.state, self.position, self.private)


# --- reading ----------------------------------------------------------------------------------------------------------


def names() -> list[str]:
    """Return the names of all golden logs."""
    return sorted(path.stem for path in FOLDER.glob("*.jsonl"))


def read_log(name: str) -> list[Line]:
    """Read a golden log."""
    lines = (FOLDER / f"{name}.jsonl").read_text("utf-8").splitlines()
    return [_line(json.loads(line)) for line in lines]


def _line(written: Mapping[str, Any]) -> Line:
    private = written.get("private")
    return Line(
        written["position"],
        written["refund"],
        written["version"],
        written["topic"],
        written["state"].encode(),
        None if private is None else private.encode(),
    )


def folded(lines: Sequence[Line], *, erased: bool = False) -> dict[str, Refund]:
    """Fold every refund of a log; as it reads when every text is erased, if that is asked for."""
    histories: dict[str, list[Event]] = {}
    for line in lines:
        event = decode(line.topic, line.state, line.position) if erased else line.event
        histories.setdefault(line.refund_id, []).append(event)
    return {refund_id: fold(refund_id, events) for refund_id, events in histories.items()}


def summary(lines: Sequence[Line]) -> dict[str, Any]:
    """Return the summary of a log: its tree, and every state with its hash."""
    leaves = [leaf_hash(entry(line.refund_id, line.version, line.topic, line.state)) for line in lines]
    return {
        "events": len(lines),
        "root": root_of(leaves).hex(),
        "refunds": {id: [str(refund.status), _hash(refund)] for id, refund in folded(lines).items()},
        "erased": {id: _hash(refund) for id, refund in folded(lines, erased=True).items()},
    }


def _hash(refund: Refund) -> str:
    return hashlib.sha256(json.dumps(plain(refund), sort_keys=True).encode()).hexdigest()


def plain(value: Any) -> Any:
    """Return plain values, without fields that have their default: one that comes later changes no hash."""
    if attrs.has(type(value)):
        fields = [field for field in attrs.fields(type(value)) if getattr(value, field.name) != field.default]
        return {field.name: plain(getattr(value, field.name)) for field in fields}
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value


# --- making -----------------------------------------------------------------------------------------------------------

AT: Final = datetime(2026, 11, 22, 12, tzinfo=UTC)
DIGEST: Final = "ab" * 32


def shapes() -> Iterator[list[Event]]:
    """Return histories in which every field of every event has a value, and each optional one is also absent."""
    yield _full_history()
    yield from _bare_histories()


_ASKED: Final = Requested(
    at=AT, account="shop", provider="antom", payment="P1", amount=Money(1233, "EUR", 2), refund_request_id="R1",
    by="Ada", reason="too small: \u00e9\u2603", payment_total=Money(10_000, "EUR", 2), retry_of="other",
    details={"note": ["x", None, 1], "nested": {"k": True}}, plugin="antom 0.1.0",
)  # fmt: skip
_SENT: Final = Submitted(
    at=AT, attempt=1, digest=DIGEST, sender="c@h", plugin="antom 0.1.0", next_at=AT + timedelta(seconds=10),
    key_version="1",
)  # fmt: skip
_DECIDED: Final = Failed(
    at=AT, channel=Channel.OPERATOR, code="OPERATOR", cause="c", advice="a", evidence=DIGEST, plugin="p 1",
    by="Cem", why="seen at the bank",
)  # fmt: skip


def _full_history() -> list[Event]:
    look = (RaisedReview(ReviewReason.ID_HORIZON, "look"), RaisedReview(ReviewReason.RECONCILIATION_AMOUNT, "more"))
    inquired = Inquired(
        at=AT, channel=Channel.INQUIRY, outcome=OutcomeKind.UNKNOWN, next_step=NextStep.INQUIRE, next_at=AT,
        code="C", cause="c", advice="a", resend=Resend.NEVER, scope=Scope.REQUEST, review=look,
        provider_refund_id="PR1", evidence=DIGEST,
        sender="c@h", plugin="antom 0.1.0", details={"k": "v"},
    )  # fmt: skip
    resumed = Inquired(
        at=AT, channel=Channel.OPERATOR, outcome=OutcomeKind.RESUMED, next_step=NextStep.INQUIRE, by="Ben",
        why="fixed", plugin="p 1",
    )  # fmt: skip
    done = Settled(
        at=AT, channel=Channel.NOTIFICATION, amount=Money(1233, "EUR", 2), provider_refund_id="PR1",
        settled_at="2026-11-22T20:00:00+08:00", settlement_amount=Money(1500, "JPY", 0),
        quote=Quote("EUR/JPY", "160.1", "q", "s", "e", "true"), details={"arn": "77"}, evidence=DIGEST,
        plugin="antom 0.1.0",
    )  # fmt: skip
    late_answer = attrs.evolve(
        inquired, outcome=OutcomeKind.INFORMATIONAL, channel=Channel.NOTIFICATION, review=(), scope=None
    )
    overruled = attrs.evolve(done, channel=Channel.OPERATOR, by="D", why="no")
    return [_ASKED, _SENT, inquired, resumed, done, late_answer, _DECIDED, overruled]


def _bare_histories() -> Iterator[list[Event]]:
    bare = attrs.evolve(
        _ASKED, by="platform", reason=None, payment_total=None, retry_of=None, details=None, plugin=None
    )
    short = attrs.evolve(_SENT, key_version=None)
    yield [attrs.evolve(bare, refund_request_id="R2"), short]
    yield [attrs.evolve(bare, refund_request_id="R3", details={"only": "details"})]
    half = Inquired(
        at=AT, channel=Channel.REPLY, outcome=OutcomeKind.UNKNOWN, next_step=NextStep.INQUIRE, cause="half \ud800"
    )
    by_us = Inquired(
        at=AT, channel=Channel.OPERATOR, outcome=OutcomeKind.BLOCKED, next_step=NextStep.MANUAL_REVIEW,
        scope=Scope.REQUEST, by="refundry",
    )  # fmt: skip
    yield [attrs.evolve(bare, refund_request_id="R4", reason="only why"), short, half, by_us]
    end = Failed(at=AT, channel=Channel.REPLY, code="RISK_REJECT", cause="c", advice="a")
    yield [attrs.evolve(bare, refund_request_id="R5"), short, end]
    paid = Settled(at=AT, channel=Channel.REPLY, amount=Money(1233, "EUR", 2))
    yield [attrs.evolve(bare, refund_request_id="R6"), short, paid]
    late = attrs.evolve(
        bare, refund_request_id="R7", by="Eva", payment_total=Money(20_000, "EUR", 2), possible_sender="c@h",
        inquire_at=AT + timedelta(seconds=30), corrects_total=True, why="a second capture",
    )  # fmt: skip
    named = attrs.evolve(half, channel=Channel.INQUIRY, cause="c", payment_alias="merchant:ORDER-77")
    settled = attrs.evolve(paid, channel=Channel.INQUIRY, payment_alias="merchant:ORDER-77")
    refused = attrs.evolve(_DECIDED, offline=True, against_evidence=True)
    restored = attrs.evolve(paid, channel=Channel.OPERATOR, by="D", why="no", offline=True, against_evidence=True)
    yield [late, named, settled, refused, restored]


def shapes_of_facts() -> Iterator[list[Event]]:
    """Return histories with the fields for facts that a provider states besides the status, each also absent."""
    asked = Requested(
        at=AT, account="shop", provider="antom", payment="P1", amount=Money(1233, "EUR", 2), refund_request_id="R1",
        by="platform",
    )  # fmt: skip
    sent = Submitted(
        at=AT, attempt=1, digest=DIGEST, sender="c@h", plugin="antom 0.1.0", next_at=AT + timedelta(seconds=10)
    )
    early = Inquired(
        at=AT, channel=Channel.NOTIFICATION, outcome=OutcomeKind.SUCCEEDED, next_step=NextStep.INQUIRE, next_at=AT,
        settlement=SettlementFacts(details={"arn": "77", "rrn": "1"}),
    )  # fmt: skip
    done = Settled(at=AT, channel=Channel.REPLY, amount=Money(1233, "EUR", 2), details={"rrn": "2"})
    facts = SettlementFacts(
        settled_at="2026-11-22T20:00:00+08:00", settlement_amount=Money(1500, "JPY", 0),
        quote=Quote("EUR/JPY", "160.1"), details={"arn": "78"},
    )  # fmt: skip
    late = Inquired(
        at=AT, channel=Channel.NOTIFICATION, outcome=OutcomeKind.INFORMATIONAL, next_step=NextStep.DONE,
        code="LATE_FACTS", cause="c", provider_refund_id="PR1", settlement=facts,
    )  # fmt: skip
    yield [asked, sent, early, done, late]
    refused = Inquired(
        at=AT, channel=Channel.REPLY, outcome=OutcomeKind.FAILED, next_step=NextStep.INQUIRE, next_at=AT, code="C",
        cause="c", advice="a", provider_message="Not today.", details={"refundTime": "t"},
    )  # fmt: skip
    end = Failed(
        at=AT, channel=Channel.INQUIRY, code="C", cause="c", advice="a", provider_refund_id="PR2",
        provider_message="Not today.", details={"refundTime": "t"},
    )  # fmt: skip
    yield [attrs.evolve(asked, refund_request_id="R2"), sent, refused, end]
    bare = Failed(at=AT, channel=Channel.REPLY, code="C", cause="c", advice="a")
    yield [attrs.evolve(asked, refund_request_id="R3"), sent, bare]


def shapes_of_counts() -> Iterator[list[Event]]:
    """Return a history whose inquiries state how many answers were counted before them."""
    asked = Requested(
        at=AT, account="shop", provider="antom", payment="P1", amount=Money(1233, "EUR", 2), refund_request_id="R1",
        by="platform",
    )  # fmt: skip
    sent = Submitted(
        at=AT, attempt=1, digest=DIGEST, sender="c@h", plugin="antom 0.1.0", next_at=AT + timedelta(seconds=10)
    )
    pending = Inquired(
        at=AT, channel=Channel.INQUIRY, outcome=OutcomeKind.PENDING, next_step=NextStep.INQUIRE, next_at=AT,
        sender="c@h",
    )  # fmt: skip
    yield [asked, sent, pending, attrs.evolve(pending, repeats=7)]


SHAPES: Final = {"shapes": shapes, "shapes-of-facts": shapes_of_facts, "shapes-of-counts": shapes_of_counts}
"""What the logs of shapes contain: together every field of every event."""


async def _write_shapes(name: str, directory: Path) -> Path:
    store = directory / "refunds.db"
    journal = await SqliteJournal.open(store)
    for number, events in enumerate(SHAPES[name]()):
        refund_id = f"0190a0e6-0000-7000-8000-{number:012x}"
        await journal.save(Write(fold(refund_id, events), events))
    await journal.close()
    return store


@asynccontextmanager
async def _shop(name: str, directory: Path) -> AsyncIterator[Any]:
    if name == "antom":
        from tests.core.shop import open_shop as antom

        async with antom(directory, mode="async", async_delay=None) as shop:
            yield shop, shop.antom
    elif name == "alphapay":
        from tests.plugins.alphapay.shop import open_shop as alphapay

        async with alphapay(directory) as shop:
            yield shop, shop.alphapay
    else:
        from refundry_alipay.simulator.keys import make_keys
        from tests.plugins.alipay.test_end_to_end import open_shop as alipay

        async with alipay(directory, make_keys(directory / "keys")) as shop:
            yield shop, shop.alipay


async def _write_flows(name: str, directory: Path) -> Path:
    """Process refunds of one provider, some with lost and unusual answers."""
    async with _shop(name, directory) as (shop, provider):
        for number, code in enumerate([None, *_CODES[name]]):
            if code is not None:
                provider.fault("answer", code=code, operation="refund", refund_request_id=f"R{number}")
            await shop.request(f"R{number}", payment=f"P{number}", reason="too small", by="orders")
            await shop.gateway.resume_account("shop", Operator(by="Ben", why="fixed"))
        provider.fault("drop_response", operation="refund", refund_request_id="LOST")
        await shop.request("LOST", payment="PLOST")
        provider.fault("corrupt", kind="html", operation="refund", refund_request_id="HTML")
        await shop.request("HTML", payment="PHTML")
        for _ in range(4):
            for book in provider.ledger.refunds.values():
                if book.state is State.PROCESSING:
                    provider.ledger.finish(book, State.SUCCESS, shop.clock())
            for row in await shop.gateway.list():
                await shop.later(await shop.gateway.get(row.id), 20)
        await _decide(shop.gateway)
    return directory / "refunds.db"


async def _decide(gateway: Gateway) -> None:
    await gateway.resume_account("shop", Operator(by="Ben", why="fixed"))
    for row in await gateway.list():
        if row.review and not (await gateway.get(row.id)).final:
            await gateway.resolve(
                row.id, Operator(by="Cem", why="seen at the bank"), settled=False, version=row.version, offline=True,
                against_evidence=True,
            )  # fmt: skip


def _dump(store: Path) -> Iterator[dict[str, Any]]:
    with closing(connect(store)) as connection:
        for position, refund_id, version, topic, state in connection.execute(
            "SELECT rowid, originator_id, originator_version, topic, state FROM stored_events ORDER BY rowid"
        ).fetchall():
            line = {"position": position, "refund": refund_id, "version": version, "topic": topic}
            line["state"] = state.decode()
            digest = private_digest(state)
            if digest is not None:
                statement = "SELECT bytes FROM evidence WHERE digest=?"
                line["private"] = connection.execute(statement, (digest,)).fetchone()[0].decode()
            yield line


async def main(name: str) -> None:
    """Make a log that is not there yet, and record what it folds to."""
    path = FOLDER / f"{name}.jsonl"
    if path.exists():
        sys.exit(f"{path.name} is there: a golden log is never written again")
    with TemporaryDirectory() as directory:
        made = await (_write_shapes(name, Path(directory)) if name in SHAPES else _write_flows(name, Path(directory)))
        path.write_text("".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in _dump(made)), "utf-8")
    hashes = json.loads(HASHES.read_text("utf-8")) if HASHES.exists() else {}
    HASHES.write_text(json.dumps(hashes | {name: summary(read_log(name))}, indent=1, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
