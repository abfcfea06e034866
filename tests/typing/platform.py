"""A platform that uses everything `refundry` exports: checked by mypy and pyright, and never run."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import assert_never, assert_type

from refundry import (
    Acknowledgement,
    AsOf,
    Channel,
    Conflict,
    Done,
    Erased,
    Event,
    Failed,
    Failure,
    Gateway,
    Inquire,
    Inquired,
    Invalid,
    ManualReview,
    Money,
    Notification,
    Operator,
    RaisedReview,
    Reader,
    Reading,
    Recorded,
    Refund,
    RefundRequest,
    RefundryError,
    Requested,
    Review,
    ReviewReason,
    Row,
    Settled,
    Status,
    Step,
    Submit,
    Submitted,
    Total,
    UnknownAccount,
    UnmatchedNotification,
    Worker,
    process,
)

__all__: list[str] = []


async def command(gateway: Gateway) -> Refund:
    """Call every command."""
    request = RefundRequest(
        account="shop",
        payment="P1",
        amount=Money(1233, "EUR", 2),
        refund_request_id="R1",
        payment_total="100.00",
        details={"referenceRefundId": "R-77"},
    )
    assert_type(await gateway.check(request), Refund)
    refund = assert_type(await gateway.request(request, submit=False), Refund)
    assert_type(await gateway.advance(refund.id), Refund)
    assert_type(await gateway.inquire(refund.id), Refund)
    operator = Operator(by="ann", why="the provider's dashboard shows it")
    assert_type(await gateway.resolve(refund.id, operator, settled=True, version=3), Refund)
    assert_type(await gateway.resume(refund.id, operator), Refund)
    assert_type(await gateway.resume_account("shop", operator), Sequence[Refund])
    reasons = [RaisedReview(ReviewReason.WORKER_GAVE_UP, "three errors in a row")]
    assert_type(await gateway.flag_for_review(refund.id, reasons, operator), Refund)
    assert_type(await gateway.erase(refund.id, operator), Erased)
    notification = Notification("POST", "/notifications/shop", (("signature", "..."),), b"{}")
    assert_type(await gateway.receive_notification("shop", notification), Acknowledgement)
    return await process(gateway, refund, 10.0)


async def query(reader: Reader) -> None:
    """Ask every query; a gateway is a reader too."""
    moment = AsOf(datetime(2026, 11, 22, tzinfo=UTC))
    refund = assert_type(await reader.get("R1", account="shop", as_of=moment), Refund)
    history = assert_type(await reader.history("R1", as_of=AsOf(position=7)), Sequence[Recorded])
    assert_type(await reader.list(status=Status.PENDING, review=True), Sequence[Row])
    assert_type(await reader.totals(by_payment=True), Sequence[Total])
    assert_type(await reader.readings(history), Sequence[Reading])
    assert_type(await reader.unmatched(), Sequence[UnmatchedNotification])
    assert_type(await reader.evidence("00"), bytes)
    assert_type(describe_step(await reader.next_step(refund)), str)
    assert_type(refund.review, tuple[Review, ...])
    assert_type(refund.failure, Failure | None)


async def open_both() -> None:
    """Open a gateway and a reader, and pass the gateway where a reader is expected."""
    async with Gateway.open("refundry.toml") as gateway, Reader.open("refundry.toml") as reader:
        assert_type(gateway, Gateway)
        assert_type(reader, Reader)
        await query(gateway)
        await query(reader)
        await Worker(gateway, concurrency=8).run(until_idle=True)


def describe_step(step: Step) -> str:
    """Name every step."""
    match step:
        case Submit(at) | Inquire(at):
            return at.isoformat()
        case ManualReview(reason, message):
            return f"{reason.value}: {message}"
        case Done():
            return "done"
    assert_never(step)


def describe_event(event: Event) -> Channel | None:
    """Name every event."""
    match event:
        case Requested() | Submitted():
            return None
        case Inquired() | Settled() | Failed():
            return event.channel
    assert_never(event)


def describe_status(status: Status) -> bool:
    """Name every status."""
    match status:
        case Status.SETTLED | Status.FAILED:
            return True
        case Status.REQUESTED | Status.SUBMITTED | Status.PENDING | Status.UNKNOWN:
            return False
    assert_never(status)


def describe_error(error: RefundryError) -> str:
    """Read what an error says about itself."""
    match error:
        case UnknownAccount():
            return error.account
        case Invalid():
            return error.field + error.rule
        case Conflict():
            return error.next
        case _:
            return str(error)
