"""Reconciliation: a provider's report compared with a real store and the command line."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refundry import cli
from refundry.batch.reconcile import Finding, Period, reconcile
from refundry.batch.report import Line, _lines, chosen_format, read_format, read_report, zone_of
from refundry.errors import ConfigError, Invalid
from refundry.inputs import Operator
from refundry.money import Money, exponent_of
from refundry.provider import ReportFormat, ReviewReason
from refundry.refund import Status
from refundry.testing.simulator.ledger import State
from refundry_alipay.reports import TRADE_BILL
from refundry_antom.reports import SETTLEMENT_DETAILS
from tests.core.shop import Shop, open_shop

KIND = ReportFormat(
    name="plain", refund_request_id="id", amount="amount", currency="currency", provider_refund_id="theirs",
    refunds={"type": "REFUND"}, settled={"status": "SUCCESS"}, comment="#", end="<END>",
)  # fmt: skip
HEAD = "type,id,theirs,amount,currency,status"


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as opened:
        yield opened


def report(directory: Path, *rows: str, head: str = HEAD) -> Path:
    path = directory / "report.csv"
    path.write_text("\n".join(["# a report", head, *rows, "<END>", "not read"]), "utf-8")
    return path


async def compared(shop: Shop, *rows: str, **more: Any) -> list[Finding]:
    path = report(shop.config.parent, *rows)
    return [finding async for finding in reconcile(shop.gateway, "shop", path, KIND, by="ann", **more)]


async def test_refunds_that_match_are_not_changed(shop: Shop) -> None:
    """A row with our id, the provider's id, amount and currency matches; nothing is recorded."""
    refund = await shop.request("R1", "12.33")

    found = await compared(
        shop, f"REFUND,R1,{refund.provider_refund_id},-12.33,EUR,SUCCESS", "PAYMENT,P1,,100.00,EUR,SUCCESS"
    )

    assert [("matched", "R1", "")] == [(finding.kind, finding.refund_request_id, finding.text) for finding in found]
    assert refund == await shop.gateway.get("R1")


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ("REFUND,R1,,12.34,EUR,SUCCESS", "the report says 12.34 EUR; Refundry says 12.33 EUR"),
        ("REFUND,R1,,12.33,USD,SUCCESS", "the report says 12.33 USD; Refundry says 12.33 EUR"),
        ("REFUND,R1,OTHER,12.33,EUR,SUCCESS", "the report gives the provider's refund id 'OTHER'"),
        ("REFUND,R1,,12.33,EUR,FAIL", "the report says not refunded; Refundry says settled"),
    ],
)
async def test_a_difference_needs_review_and_changes_nothing_else(shop: Shop, row: str, text: str) -> None:
    """The refund keeps its state and needs review because of the difference; the row is its evidence."""
    await shop.request("R1", "12.33")

    (found,) = await compared(shop, row)
    refund = await shop.gateway.get("R1")
    event = (await shop.gateway.history("R1"))[-1].event

    assert ("mismatched", True) == (found.kind, text in found.text)
    assert (Status.SETTLED, True) == (refund.status, [text in review.message for review in refund.review] == [True])
    assert row.encode() == await shop.gateway.evidence(event.evidence or "")  # type: ignore[union-attr]


async def test_a_second_comparison_flags_nothing_twice(shop: Shop) -> None:
    """The same report again finds the same and records nothing; an operator clears it with `resume`."""
    await shop.request("R1", "12.33")
    first = await compared(shop, "REFUND,R1,,12.34,EUR,SUCCESS")
    called = await shop.gateway.get("R1")
    again = await compared(shop, "REFUND,R1,,12.34,EUR,SUCCESS")

    assert first == again
    assert called == await shop.gateway.get("R1")

    cleared = await shop.gateway.resume(called.id, Operator(by="ann", why="asked the provider"))

    assert (Status.SETTLED, ()) == (cleared.status, cleared.review)


async def test_an_open_refund_in_the_report_is_reported_and_continues(tmp_path: Path) -> None:
    """An open refund that the report shows as settled needs review; its next step stays, and it settles by inquiry."""
    async with open_shop(tmp_path, mode="async", async_delay=None) as shop:
        before = await shop.request("R1")
        (found,) = await compared(shop, "REFUND,R1,,12.33,EUR,SUCCESS")
        after = await shop.gateway.get("R1")
        shop.antom.finish("R1", State.SUCCESS)
        ended = await shop.later(after)

    assert "mismatched" == found.kind
    assert "Refundry says pending" in found.text
    assert (before.status, before.next_step, before.next_at) == (after.status, after.next_step, after.next_at)
    assert [ReviewReason.RECONCILIATION_STATUS] == [review.code for review in after.review]
    assert (Status.SETTLED, ()) == (ended.status, ended.review)


async def test_a_refund_on_one_side_only_is_reported(shop: Shop) -> None:
    """A row without a refund, a refund without a row, and a row that appears twice are each reported by name."""
    await shop.request("R1", "12.33")
    await shop.request("R2", "1.00")

    found = await compared(
        shop, "REFUND,R1,,12.33,EUR,SUCCESS", "REFUND,R1,,12.33,EUR,SUCCESS", "REFUND,X9,,5.00,EUR,SUCCESS"
    )

    assert [("matched", "R1"), ("mismatched", "R1"), ("missing_in_ledger", "X9"), ("missing_in_report", "R2")] == [
        (finding.kind, finding.refund_request_id) for finding in found
    ]
    reasons = [review.code for id in ("R1", "R2") for review in (await shop.gateway.get(id)).review]
    assert [ReviewReason.RECONCILIATION_DUPLICATE, ReviewReason.RECONCILIATION_MISSING] == reasons


async def test_only_the_period_of_the_report_is_expected_in_it(shop: Shop) -> None:
    """A refund that was settled outside the period is not missed there."""
    await shop.request("R1")
    now = shop.clock()
    shop.clock.move(86_400)
    await shop.request("R2")

    found = await compared(shop, period=Period(None, shop.clock()))
    both = await compared(shop, period=Period(now, None), dry_run=True)

    assert ["R1"] == [finding.refund_request_id for finding in found]
    assert ["R1", "R2"] == [finding.refund_request_id for finding in both]
    assert not (await shop.gateway.get("R2")).review


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["REFUND,R1,,12.333,EUR,SUCCESS"], r"line 3: amount: "),
        (["REFUND,R1,,1e3,EUR,SUCCESS"], r"line 3: amount: must be an amount"),
        (["REFUND,R1,,１２,EUR,SUCCESS"], r"line 3: amount: must be an amount"),
        (["REFUND,R1,,12.00,EURO,SUCCESS"], r"line 3: currency: "),
        (["REFUND,,,12.00,EUR,SUCCESS"], r"line 3: id: is empty"),
        (["REFUND,R1,,12.00,EUR,SUCCESS", "REFUND,R2,12.00"], r"line 4: has 3 columns instead of 6"),
        (["REFUND,R2," + "X" * 201 + ",12.00,EUR,SUCCESS"], r"line 3: theirs: has 201 characters"),
        (["REFUND," + "X" * 201 + ",,12.00,EUR,SUCCESS"], r"line 3: id: has 201 characters"),
        (['REFUND,"R1'], r"line \d: is not CSV"),
    ],
)
async def test_a_bad_row_is_named_and_nothing_is_flagged(shop: Shop, rows: list[str], message: str) -> None:
    """A report that cannot be read names the line, the column and the rule, before any finding."""
    await shop.request("R2")
    with pytest.raises(Invalid, match=message):
        await compared(shop, *rows)

    assert not (await shop.gateway.get("R2")).review


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    """A report without a column that the mapping names says which, and which there are."""
    path = report(tmp_path, head="type,id,theirs,value,currency,status")
    with pytest.raises(Invalid, match=r"column amount: is missing; the columns are: type, id"):
        list(read_report(path, KIND, lambda currency: 2))


@given(
    st.lists(
        st.tuples(
            st.text("ABCxyz019_-", min_size=1, max_size=20), st.integers(1, 10**12), st.sampled_from(["EUR", "JPY"])
        ),
        max_size=20,
    ),
    st.booleans(),
)
def test_what_is_written_is_read(rows: list[tuple[str, int, str]], minor: bool) -> None:
    """Any rows come back with exact amounts, in decimals or in minor units, in every exponent."""
    kind = ReportFormat(name="k", refund_request_id="i", amount="a", currency="c", minor_units=minor)
    amounts = [Money(value, currency, exponent_of(currency)) for _, value, currency in rows]
    text = "".join(
        f"{id}\t,{amount.minor if minor else amount},{amount.currency}\r\n"
        for (id, _, _), amount in zip(rows, amounts, strict=True)
    )

    read = list(_lines(io.StringIO("i,a,c\r\n" + text), kind, exponent_of))

    assert [(id, amount) for (id, _, _), amount in zip(rows, amounts, strict=True)] == [
        (line.refund_request_id, line.amount) for line in read
    ]
    assert all(isinstance(line, Line) and line.settled for line in read)


def test_antoms_settlement_details_are_read(tmp_path: Path) -> None:
    """Refunds by their refundRequestId, amounts in the main unit, up to <END>; payments are left out."""
    path = tmp_path / "settlement.csv"
    path.write_text(
        "settlementBatchId,customerId,transactionType,transactionId,transactionRequestId,transactionAmountValue,"
        "transactionCurrency\nB1,C1,PAYMENT,P1,PR1,100.00,EUR\nB1,C1,REFUND,X1,R1,12.33,EUR\n"
        "B1,C1,REFUND,X2,R2,500,JPY\n<END>\n"
    )

    lines = list(read_report(path, SETTLEMENT_DETAILS, exponent_of))

    assert [("R1", Money(1233, "EUR", 2), True), ("R2", Money(500, "JPY", 0), True)] == [
        (line.refund_request_id, line.amount, line.settled) for line in lines
    ]


@pytest.mark.parametrize("unit", ["(元)", "（元）"])
def test_alipays_bill_is_read(tmp_path: Path, unit: str) -> None:
    """In GBK, with lines of text around it, padded with tabs, negative amounts, either kind of brackets."""
    path = tmp_path / "bill.csv"
    text = (
        "#支付宝业务明细查询\n#账号:[2088]\n#-----业务明细列表-----\n"
        f"支付宝交易号,商户订单号,业务类型,订单金额{unit},退款批次号/请求号,备注\n"
        "2026112200001\t,M1\t,交易,100.00,,\n2026112200001\t,M1\t,退款,-12.33,R1\t,\n#-----业务明细列表结束-----\n"
    )
    path.write_bytes(text.encode("gbk"))

    (line,) = read_report(path, TRADE_BILL, exponent_of)

    assert ("R1", Money(1233, "CNY", 2), 6) == (line.refund_request_id, line.amount, line.number)


def test_a_mapping_is_checked(tmp_path: Path) -> None:
    """A mapping with an unknown or missing key, or a wrong type, is refused with the key."""
    path = tmp_path / "bank.toml"
    path.write_text('refund_request_id = "id"\namount = "sum"\ncurrency = "EUR"\nrefunds = {type = "R"}\n')

    assert ReportFormat(
        name="bank", refund_request_id="id", amount="sum", currency="EUR", refunds={"type": "R"}
    ) == read_format(path)
    for text, key in (('amount = "a"', "refund_request_id"), ("colour = 1", "colour"), ("amount = 3", "amount")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=key):
            read_format(path)


def test_a_format_is_chosen_by_its_name_or_is_the_only_one() -> None:
    """One format needs no name; of several one must be named; an unknown name says which there are."""
    other = ReportFormat(name="other", refund_request_id="i", amount="a", currency="c")

    assert KIND == chosen_format([KIND], None)
    assert other == chosen_format([KIND, other], "other")
    with pytest.raises(Invalid, match="plain"):
        chosen_format([KIND, other], None)


async def test_the_command_line_reconciles(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """It prints what does not agree and a summary, exits with 5, and with 0 when all agree."""
    await shop.request("R1", "12.33")
    mapping = shop.config.parent / "plain.toml"
    mapping.write_text(
        'refund_request_id = "id"\namount = "amount"\ncurrency = "currency"\ncomment = "#"\nend = "<END>"\n'
        '[refunds]\ntype = "REFUND"\n[settled]\nstatus = "SUCCESS"\n'
    )

    def run(row: str, *more: str) -> tuple[int, list[Any]]:
        path = report(shop.config.parent, row)
        config = ["--config", str(shop.config), "--json"]
        with pytest.raises(SystemExit) as ended:
            cli.main([*config, "reconcile", str(path), "--account", "shop", "--mapping", str(mapping), *more])
        return int(str(ended.value.code)), [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    agreed = await asyncio.to_thread(run, "REFUND,R1,,12.33,EUR,SUCCESS")
    differs = await asyncio.to_thread(run, "REFUND,R1,,12.00,EUR,SUCCESS", "--dry-run")

    assert (0, 1) == (agreed[0], agreed[1][-1]["summary"]["matched"])
    assert (5, "mismatched", 3) == (differs[0], differs[1][0]["kind"], differs[1][0]["line"])
    assert not (await shop.gateway.get("R1")).review


async def test_money_that_came_back_is_a_difference(shop: Shop) -> None:
    """A REFUND_REVERSAL row flags the refund, next to its REFUND row and in a later report, and it stays settled."""
    await shop.request("R1", "12.33")
    head = "transactionType,transactionRequestId,transactionAmountValue,transactionCurrency"
    kind = attrs.evolve(SETTLEMENT_DETAILS, comment="#")
    refund, back = "REFUND,R1,12.33,EUR", "REFUND_REVERSAL,R1,12.33,EUR"
    found = [
        [finding async for finding in reconcile(shop.gateway, "shop", path, kind, by="ann")]
        for rows in ([refund], [refund, back])
        for path in [report(shop.config.parent, head, *rows, head=head)]
    ]
    after = await shop.gateway.get("R1")

    assert [["matched"], ["matched", "mismatched"]] == [[finding.kind for finding in each] for each in found]
    assert [ReviewReason.RECONCILIATION_REVERSED] == [review.code for review in after.review]
    assert "12.33 EUR of it came back" in after.review[0].message
    assert Status.SETTLED is after.status


async def test_a_reversal_does_not_stand_for_the_refund(shop: Shop) -> None:
    """A refund that settled in the period and has only a reversal in the report is missing in it, too."""
    await shop.request("R1", "12.33")
    kind = attrs.evolve(KIND, reversals={"type": "BACK"})
    path = report(shop.config.parent, "BACK,R1,,12.33,EUR,SUCCESS", "BACK,R9,,1.00,EUR,SUCCESS")

    found = [finding async for finding in reconcile(shop.gateway, "shop", path, kind, by="ann")]

    assert ["mismatched", "missing_in_ledger", "missing_in_report"] == [finding.kind for finding in found]


@pytest.mark.parametrize(
    ("written", "currency", "minor"),
    [("17000.00", "JPY", 17000), ("12.300", "EUR", 1230), ("12.3", "EUR", 1230), ("5.000000", "TND", 5000)],
)
def test_zeros_beyond_the_decimals_do_not_change_an_amount(written: str, currency: str, minor: int) -> None:
    """A report may write every amount with the same number of decimals."""
    kind = ReportFormat(name="k", refund_request_id="i", amount="a", currency="c")

    (line,) = _lines(io.StringIO(f"i,a,c\nR1,{written},{currency}\n"), kind, exponent_of)

    assert Money(minor, currency, exponent_of(currency)) == line.amount


@pytest.mark.parametrize(("written", "currency"), [("17000.01", "JPY"), ("12.301", "EUR"), ("12.3010", "EUR")])
def test_another_digit_beyond_the_decimals_is_refused(written: str, currency: str) -> None:
    """An amount that the currency cannot express is an error and is not rounded."""
    kind = ReportFormat(name="k", refund_request_id="i", amount="a", currency="c")

    with pytest.raises(Invalid, match="line 2: a"):
        list(_lines(io.StringIO(f"i,a,c\nR1,{written},{currency}\n"), kind, exponent_of))


@pytest.mark.parametrize(("utc_offset", "expected"), [("+08:00", True), ("+00:00", False), ("-05:00", False)])
async def test_a_period_is_in_the_time_zone_of_the_report(shop: Shop, utc_offset: str, expected: bool) -> None:
    """What settled at 02:00 in Beijing on the 22nd belongs to the bill of the 22nd there, and of the 21st in UTC."""
    at = datetime(2026, 11, 21, 18, tzinfo=UTC)
    kind = attrs.evolve(KIND, utc_offset=utc_offset)

    period = Period(datetime(2026, 11, 22), datetime(2026, 11, 23)).in_zone(zone_of(kind.utc_offset))  # noqa: DTZ001

    assert expected is period.has(at)


def test_alipays_bill_is_in_beijing_time() -> None:
    """The format states it, so the days of a bill need no conversion."""
    assert timedelta(hours=8) == zone_of(TRADE_BILL.utc_offset).utcoffset(None)


@pytest.mark.parametrize("utc_offset", ["Asia/Shanghai", "8", "+15:00", "+08:60", ""])
def test_a_time_zone_is_an_offset(utc_offset: str) -> None:
    """Anything else is refused with the key."""
    with pytest.raises(ConfigError, match="utc_offset"):
        zone_of(utc_offset)


async def test_rows_of_one_id_add_no_more_than_their_reasons(shop: Shop) -> None:
    """A refund that a report lists many times, each time differently, is flagged once for each kind of difference."""
    refund = await shop.request("R1", "12.33")
    before = len(await shop.gateway.history(refund.id))
    found = await compared(shop, *(f"REFUND,R1,X{number},{number}.00,EUR,SUCCESS" for number in range(1, 40)))

    assert ["mismatched"] * 39 == [finding.kind for finding in found]
    assert before + 2 == len(await shop.gateway.history(refund.id))
