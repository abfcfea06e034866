"""Many refunds from one file: every row is checked before the first is stored."""

import hashlib
import io
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from refundry.batch.csv_import import MAX_ERRORS, BadRows, Imported, Progress, import_file
from refundry.errors import Conflict, Invalid
from refundry.gateway import Gateway, RefundRequest
from refundry.ports import Ports
from refundry.refund import Refund
from tests.core.shop import Shop, open_shop

HEAD = "account,payment,amount,currency,id,reason,payment_total\n"


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as opened:
        yield opened


def figures(done: Imported) -> tuple[int, int, int]:
    """Return the rows, the recorded and the known refunds of an import."""
    return done.rows, done.recorded, done.known


async def imported(
    shop: Shop, content: str | bytes, *, dry_run: bool = False, progress: Progress | None = None
) -> Imported:
    progress = progress or silent
    path = shop.config.parent / "refunds.csv"
    write(path, content)
    return await import_file(
        shop.config, path, by="ann", dry_run=dry_run, progress=progress, ports=Ports(now=shop.clock)
    )


def silent(what: str, done: int, total: int | None) -> None:
    pass


def write(path: Path, content: str | bytes) -> None:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


async def stored(shop: Shop) -> list[str]:
    return sorted(row.refund_request_id for row in await shop.gateway.list(limit=10_000))


async def test_every_row_becomes_a_refund(shop: Shop) -> None:
    """Quoted cells, a byte order mark, Windows line ends, empty lines and empty cells are read as meant."""
    rows = "\ufeff" + HEAD + 'shop,P1,1.50,EUR,R1,"late, and\nbroken",10.00\n\nshop,P2,2,EUR,R2,,\n'
    done = await imported(shop, rows.replace("and\nbroken", "and broken").replace("\n", "\r\n"))
    first = await shop.gateway.get("R1")

    assert (2, 2, 0) == figures(done)
    assert ("late, and broken", "10.00", "ann") == (first.reason, str(first.payment_total), first.requested_by)
    assert (await shop.gateway.get("R2")).reason is None
    assert {} == shop.antom.ledger.refunds


async def test_columns_stand_in_any_order_and_the_last_two_may_be_absent(shop: Shop) -> None:
    """The first line says which column is which."""
    done = await imported(shop, "id,currency,amount,payment,account\nR1,EUR,1,P1,shop\n")

    assert ((1, 1, 0), ["R1"]) == (figures(done), await stored(shop))


async def test_further_fields_have_columns(shop: Shop) -> None:
    """A column details.NAME is a field of the provider: JSON, or text if the field is one; an empty cell is absent."""
    head = "account,payment,amount,currency,id,details.goods,details.metadata\n"
    rows = 'shop,P1,1,EUR,R1,"[{""goodsName"":""x""}]","{""a"":1}"\nshop,P1,1,EUR,R2,,\n'
    await imported(shop, head + rows)
    first, second = await shop.gateway.get("R1"), await shop.gateway.get("R2")

    assert {"goods": [{"goodsName": "x"}], "metadata": '{"a":1}'} == first.request_details
    assert second.request_details is None


async def test_a_further_field_that_is_wrong_is_named(shop: Shop) -> None:
    """The line, the column and the rule, as for every other column."""
    head = "account,payment,amount,currency,id,details.nope,details.goods\n"
    with pytest.raises(Invalid, match="line 2: details.nope"):
        await imported(shop, head + "shop,P1,1,EUR,R1,x,\n")
    with pytest.raises(Invalid, match="line 2: details.goods: is not valid JSON"):
        await imported(shop, head + "shop,P1,1,EUR,R1,,[1\n")


async def test_a_row_that_stands_twice_is_one_refund(shop: Shop) -> None:
    """Two equal rows are the same refund, as two equal requests are."""
    row = "shop,P1,1,EUR,R1,,\n"

    assert (2, 1, 1) == figures(await imported(shop, HEAD + row + row))
    assert (2, 0, 2) == figures(await imported(shop, HEAD + row + row))
    assert ["R1"] == await stored(shop)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "FILE: is empty"),
        ("\n", "line 1"),
        ("account,payment,amount,currency\n", "line 1: column 'id' is missing"),
        (HEAD.replace("reason", "colour"), "line 1: unknown column 'colour'"),
        (HEAD.replace(",", ";"), "line 1: separates columns with semicolons"),
        (HEAD.replace(",", "\t"), "line 1: separates columns with tabs"),
        (HEAD.replace("reason", "id"), "line 1: column 'id' appears twice"),
        (HEAD.replace("id", " id"), "line 1: column 'id' is missing"),
        (HEAD + "shop,P1,1,EUR,R1\n", "line 2: has 5 columns"),
        (HEAD + "shop,P1,1,EUR,R1,,,\n", "line 2: has 8 columns"),
        (HEAD + "shop,P1,1,EUR,R1,,\nshop,P1,1,EUR,R2,a\0b,\n", "line 3"),
        (HEAD + 'shop,P1,1,EUR,R1,"open,\n', "is not CSV"),
        (HEAD + 'shop,P1,1,EUR,R1,"a"b,\n', "line 2: is not CSV"),
        (HEAD.encode() + b"shop,P1,1,EUR,R1,\xe9t\xe9,\n", "cannot be read as UTF-8"),
        ((HEAD + "shop,P1,1,EUR,R1,,\n").encode("utf-16"), "cannot be read as UTF-8"),
        (HEAD + "shop,P1,1,EUR,R1,,\nshop,P1,1.555,EUR,R2,,\nshop,P1,1,EUR,R3,,\n", "line 3: amount"),
        (HEAD + "shop,P1,1,EUR,R1,,\nnobody,P1,1,EUR,R2,,\n", "line 3: account"),
        (HEAD + "shop,P1,1,EUR,R1,,\nshop,P1,1,EUR,,,\n", "line 3: id"),
        (HEAD + "shop,P1,1,EUR,R1,,\nshop,P1,1,EUR,R2,,0.50\n", "line 3: payment_total"),
        (HEAD + "shop,P1,１２,EUR,R1,,\n", "line 2: amount"),
        (HEAD + "shop,P1,60,EUR,R1,,100\nshop,P1,60,EUR,R2,,100\n", "line 3: amount: 60.00 EUR would bring"),
        (HEAD + "shop,P1,60,EUR,R1,,100\nshop,P1,60,EUR,R2,,\n", "line 3: amount: 60.00 EUR would bring"),
        (HEAD + "shop,P1,60,EUR,R1,,100\nshop,P1,60,EUR,R2,,150\n", "line 3: payment_total: 60.00 EUR would bring"),
        (HEAD + "shop,P1,60,EUR,R1,,\nshop,P1,1,EUR,R2,,60\n", "line 3: amount: 1.00 EUR would bring"),
        (HEAD + "shop,P1,60,EUR,R1,,\nshop,P1,1,USD,R2,,\n", "line 3: currency: earlier refunds of this payment"),
    ],
)
async def test_a_wrong_file_stores_nothing(shop: Shop, content: str | bytes, expected: str) -> None:
    """The first thing that is wrong is named with its line, in one line; no row of the file is stored."""
    with pytest.raises(Invalid) as caught:
        await imported(shop, content)

    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [] == await stored(shop)


async def test_an_id_twice_with_other_data_is_a_conflict(shop: Shop) -> None:
    """Two rows of one id that differ are refused before anything is stored."""
    with pytest.raises(Conflict, match="line 3: id: 'R1' is used in an earlier line"):
        await imported(shop, HEAD + "shop,P1,1,EUR,R1,,\nshop,P1,2,EUR,R1,,\n")

    assert [] == await stored(shop)


async def test_an_id_that_is_in_use_with_other_data_is_a_conflict(shop: Shop) -> None:
    """A row against what is stored is refused, with its line, before anything is stored."""
    await imported(shop, HEAD + "shop,P1,1,EUR,R2,,\n")
    with pytest.raises(Conflict, match="line 3: amount: 'R2'"):
        await imported(shop, HEAD + "shop,P1,1,EUR,R1,,\nshop,P1,2,EUR,R2,,\n")

    assert ["R2"] == await stored(shop)


async def test_a_dry_run_finds_the_same_and_stores_nothing(shop: Shop) -> None:
    """A dry run says how many rows are in order and which are known, and refuses what an import would."""
    await imported(shop, HEAD + "shop,P1,1,EUR,R1,,\n")
    done = await imported(shop, HEAD + "shop,P1,1,EUR,R1,,\nshop,P1,1,EUR,R2,,\n", dry_run=True)
    with pytest.raises(Invalid):
        await imported(shop, HEAD + "shop,P1,x,EUR,R3,,\n", dry_run=True)

    assert ((2, 0, 1), ["R1"]) == (figures(done), await stored(shop))


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            "shop,P1,31,EUR,R3,,",
            "line 3: amount: 31.00 EUR would bring the refunds of this payment to 101.00 EUR; an earlier",
        ),
        ("shop,P1,31,EUR,R3,,200", "line 3: payment_total: 31.00 EUR would bring"),
        (
            "shop,P1,10,EUR,R3,,79.99",
            "line 3: amount: 10.00 EUR would bring the refunds of this payment to 80.00 EUR; the payment total",
        ),
        ("shop,P1,1,USD,R3,,", "line 3: currency: earlier refunds of this payment are in EUR"),
    ],
)
async def test_what_is_stored_counts_before_anything_is_stored(
    shop: Shop, row: str, expected: str, dry_run: bool
) -> None:
    """A payment's stored refunds, their smallest total and their currency hold for the rows of a file."""
    await shop.request("R1", "50", payment_total="100", submit=False)
    await shop.request("R2", "20", submit=False)
    with pytest.raises(Invalid) as caught:
        await imported(shop, HEAD + f"shop,P2,1,EUR,R0,,\n{row}\n", dry_run=dry_run)

    assert expected in str(caught.value)
    assert ["R1", "R2"] == await stored(shop)


async def test_what_is_there_already_counts_once(shop: Shop) -> None:
    """A row whose refund is stored, or is repeated, takes nothing more of its payment; a failed refund nothing."""
    shop.antom.fault("answer", operation="refund", code="RISK_REJECT", refund_request_id="R0")
    failed = await shop.request("R0", "50", payment_total="100")
    await shop.request("R1", "60", payment_total="100", submit=False)
    rows = "shop,P1,60,EUR,R1,,100\n" + "shop,P1,40,EUR,R2,,100\n" * 2

    assert "failed" == failed.status
    assert (3, 1, 2) == figures(await imported(shop, HEAD + rows))
    assert ["R0", "R1", "R2"] == await stored(shop)


async def test_more_refunds_of_a_payment_than_a_page(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """All stored refunds of a payment count, also when they are read page by page."""
    monkeypatch.setattr("refundry.batch.csv_import._PAGE", 2)
    for number in range(5):
        await shop.request(f"R{number}", "10", payment_total="55", submit=False)
    with pytest.raises(Invalid, match="line 2: amount: 10.00 EUR would bring"):
        await imported(shop, HEAD + "shop,P1,10,EUR,R5,,55\n")


async def test_a_concurrent_refund_stops_an_import_and_the_error_lists_the_recorded_lines(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that is refused after the check names its line, and which lines are recorded; these are, and no other."""
    monkeypatch.setattr("refundry.batch.csv_import._TOGETHER", 3)
    rows = [f"shop,P{number},60,EUR,R{number},,100\n" for number in range(9)]
    taken = False
    request = Gateway.request

    async def others_first(gateway: Gateway, asked: RefundRequest, **more: Any) -> Refund:
        nonlocal taken
        if asked.refund_request_id == "R4" and not taken:
            taken = True
            await shop.request("OTHER", "60", payment="P4", payment_total="100", submit=False)
        return await request(gateway, asked, **more)

    monkeypatch.setattr(Gateway, "request", others_first)
    with pytest.raises(Invalid, match=r"line 6: amount: .*; recorded: line 2 to 5, 7$"):
        await imported(shop, HEAD + "".join(rows))
    there = await stored(shop)
    monkeypatch.undo()
    again = await imported(shop, HEAD + "".join(row for row in rows if "R4" not in row))

    assert ["OTHER", "R0", "R1", "R2", "R3", "R5"] == there
    assert (8, 3, 5) == figures(again)


async def test_the_recorded_lines_of_earlier_batches_are_listed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """An import that stops at the first row of a batch lists all lines of the batches before it."""
    monkeypatch.setattr("refundry.batch.csv_import._TOGETHER", 2)
    request = Gateway.request

    async def fails(gateway: Gateway, asked: RefundRequest, **more: Any) -> Refund:
        if asked.refund_request_id in ("R4", "R5"):
            raise Invalid("amount", "was refunded meanwhile")
        return await request(gateway, asked, **more)

    monkeypatch.setattr(Gateway, "request", fails)
    with pytest.raises(Invalid, match=r"line 6: amount: .*; recorded: line 2 to 5$"):
        await imported(shop, HEAD + "".join(f"shop,P{number},1,EUR,R{number},,\n" for number in range(6)))


async def test_every_bad_row_is_reported_at_once(shop: Shop) -> None:
    """All rows that break a rule are listed in the order of the file, whatever the rule, and nothing is stored."""
    rows = [
        "shop,P1,x,EUR,R1,,",
        "shop,P1,1,EUR,R2",
        "shop,P1,1,EUR,R3,,",
        "shop,P1,2,EUR,R3,,",
        'shop,P1,1,EUR,R4,"a"b,',
    ]
    with pytest.raises(BadRows) as caught:
        await imported(shop, HEAD + "\n".join(rows))

    starts = ["line 2: amount", "line 3: has 5 columns", "line 5: id", "line 6: is not CSV"]
    assert [True] * 4 == [str(e).startswith(start) for e, start in zip(caught.value.errors, starts, strict=True)]
    assert "4 rows cannot be recorded; nothing is stored" == caught.value.summary
    assert [] == await stored(shop)


@pytest.mark.parametrize("row", ["shop,P1,x,EUR,R{},,\n", "shop,P1,1\n"])
async def test_at_most_a_hundred_bad_rows_are_reported(shop: Shop, row: str) -> None:
    """A file that is wrong throughout is read only as far as a hundred errors."""
    with pytest.raises(BadRows, match="at least 100 rows cannot be recorded") as caught:
        await imported(shop, HEAD + "".join(row.format(number) for number in range(150)))

    assert MAX_ERRORS == len(caught.value.errors) == 100


async def test_what_was_checked_is_recorded(shop: Shop) -> None:
    """A file that is replaced after the check changes nothing: its SHA-256 is that of what was recorded."""
    path = shop.config.parent / "refunds.csv"
    content = HEAD + "shop,P1,1,EUR,R1,,\n"

    def replaces(what: str, done: int, total: int | None) -> None:
        if what == "checking":
            write(path, content.replace(",1,", ",9,"))

    done = await imported(shop, content, progress=replaces)

    assert "1.00" == str((await shop.gateway.get("R1")).amount)
    assert hashlib.sha256(content.encode()).hexdigest() == done.sha256


async def test_a_stream_can_be_imported(shop: Shop) -> None:
    """A stream that can be read only once, such as standard input, is imported and left open."""
    stream = io.BytesIO((HEAD + "shop,P1,1,EUR,R1,,\n").encode())
    stream.seek = stream.tell = None  # type: ignore[assignment, method-assign]  # as a pipe
    done = await import_file(shop.config, stream, by="ann", dry_run=False, progress=silent, ports=Ports(now=shop.clock))

    assert ((1, 1, 0), False) == (figures(done), stream.closed)


@pytest.mark.slow
async def test_an_import_counts_what_it_recorded_itself(shop: Shop) -> None:
    """What another import of the same file records between the check and the writing is not counted as ours."""
    rows = HEAD + "".join(f"shop,P{number},1,EUR,R{number},,\n" for number in range(5))
    await imported(shop, HEAD + "shop,P0,1,EUR,R0,,\n")
    overlapping: list[dict[str, Any]] = []

    def other(what: str, done: int, total: int | None) -> None:
        if what == "checking" and not overlapping:
            script = "import sys; from refundry.cli import main; main(sys.argv[1:])"
            command = [sys.executable, "-c", script, "--config", str(shop.config), "import", str(path), "--json"]
            overlapping.append(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))

    path = shop.config.parent / "first.csv"
    write(path, HEAD + "shop,P1,1,EUR,R1,,\nshop,P2,1,EUR,R2,,\n")
    done = await imported(shop, rows, progress=other)

    assert 2 == overlapping[0]["recorded"]
    assert (5, 2, 3) == figures(done)
