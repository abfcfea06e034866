"""Many refunds from one CSV file.

The rule of this module: every row is checked before the first is stored, also against what the store would reject, and
what is recorded is exactly what was checked: the file is read once. A file can be imported again and continues where it
stopped, because the same id is the same refund.
"""

import asyncio
import csv
import hashlib
import io
import os
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from itertools import groupby, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import attrs

from refundry.config import Config
from refundry.errors import Conflict, Invalid, RefundryError
from refundry.gateway import Gateway
from refundry.gateway.request import RefundRequest
from refundry.journal import Row, Selection
from refundry.journal.index import Sibling, check_total, counts
from refundry.money import Money
from refundry.ports import Ports
from refundry.refund import Refund

__all__ = ["BadRows", "Imported", "MAX_ERRORS", "OPTIONAL", "Progress", "REQUIRED", "import_file"]

if TYPE_CHECKING:
    import _csv

REQUIRED: Final = ("account", "payment", "amount", "currency", "id")
OPTIONAL: Final = ("reason", "payment_total")
DETAILS: Final = "details."
"""What begins the name of a column with a further field of the provider; an empty cell is an absent field."""
MAX_ERRORS: Final = 100
"""How many rows with an error are reported; the rest of the file is then not read."""
_TOGETHER: Final = 256
_CHUNK: Final = 1 << 20
_PAGE: Final = 1000
Progress = Callable[[str, int, int | None], None]


@attrs.frozen
class Imported:
    """The result of an import: rows in the file, refunds that it recorded, and rows whose refund already existed."""

    rows: int
    recorded: int
    known: int
    totals: Sequence[Money]
    """The sum of all rows in each currency."""
    sha256: str
    """The SHA-256 of the file, in hexadecimal: what was checked and recorded."""


class BadRows(Invalid):
    """Several rows of a file cannot be recorded. Nothing was stored."""

    def __init__(self, errors: Sequence[Invalid | Conflict]) -> None:
        count = f"at least {MAX_ERRORS}" if len(errors) >= MAX_ERRORS else str(len(errors))
        self.summary = f"{count} rows cannot be recorded; nothing is stored"
        """How many rows there are, without what is wrong with each."""
        super().__init__("FILE", f"{self.summary}: {'; '.join(map(str, errors))}")
        self.errors = tuple(errors)
        """What is wrong with each, in the order of the file; at most `MAX_ERRORS`."""


@attrs.frozen(slots=True)
class _Row:
    line: int
    request: RefundRequest


@attrs.frozen
class _File:
    """A copy of the file, so that a change of the original between two readings changes nothing."""

    copy: IO[bytes]
    sha256: str


_Common = Mapping[str, Any]
"""The fields that all requests of a file have in common."""


async def import_file(
    config: str | os.PathLike[str] | Config,
    source: Path | IO[bytes],
    *,
    by: str,
    dry_run: bool,
    progress: Progress,
    ports: Ports | None = None,
    may_have_been_sent: bool = False,
) -> Imported:
    """Check every row, then record them all for the workers; with `dry_run` only check.

    `source` is read once, into a temporary file. Raises `Invalid` or `Conflict` with the line, the column and the rule,
    or `BadRows` if several rows break a rule; then nothing is stored. Only an event after the check stops an import in
    the middle: another process refunds the same payment, or the store fails. Rows are recorded in order, some hundred
    at once, and the error states which lines were recorded.
    """
    steps: Counter[str] = Counter()
    outside = ports or Ports()

    def step(name: str) -> None:
        steps[name] += 1
        outside.step(name)

    common = {"by": by, "may_have_been_sent": may_have_been_sent}
    with _copied(source) as file:
        async with Gateway.open(config, ports=attrs.evolve(outside, step=step)) as gateway:
            checked = await _check(gateway, file, common, progress)
            if dry_run:
                return checked
            await _record_all(gateway, file, common, checked.rows, progress)
    # Another process may have recorded some of them meanwhile.
    recorded = steps["refund recorded"]
    return attrs.evolve(checked, recorded=recorded, known=checked.rows - recorded)


# --- checking ---------------------------------------------------------------------------------------------------------


async def _check(gateway: Gateway, file: _File, common: _Common, progress: Progress) -> Imported:
    """Return what an import would find, before it records anything."""
    ahead = _Ahead(gateway)
    rows = known = 0
    sums: Counter[tuple[str, int]] = Counter()
    errors: list[Invalid | Conflict] = []
    with closing(_rows(file, common, errors)) as found:
        for rows, row in enumerate(found, 1):
            try:
                with _Line(row.line):
                    refund = await gateway.check(row.request)
                    known += not await ahead.is_new(row, refund)
            except (Invalid, Conflict) as error:
                errors.append(error)
            else:
                sums[refund.amount.currency, refund.amount.exponent] += refund.amount.minor
            if rows % _TOGETHER == 0:
                progress("checking", rows, None)
    if errors:
        raise errors[0] if len(errors) == 1 else BadRows(errors)
    progress("checking", rows, rows)
    totals = [Money(minor, currency, exponent) for (currency, exponent), minor in sorted(sums.items())]
    return Imported(rows, 0, known, totals, file.sha256)


class _Ahead:
    """Predicts what the store would reject if the rows were recorded in order.

    It keeps only digests and sums, so that memory stays small with millions of rows.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._ids: dict[bytes, bytes] = {}
        self._names: dict[bytes, bytes] = {}
        """The payment that each name is one of."""
        self._payments: dict[bytes, Sibling | None] = {}

    async def is_new(self, row: _Row, refund: Refund) -> bool:
        """Return True if the row is a new refund; raise what the store would raise."""
        name = _digest(refund.account, refund.payment)
        if name not in self._names:
            # Before the refund is looked up: what is stored in between is then missed rather than counted twice.
            await self._look_up(refund, name)
        payment = self._names[name]
        first = self._is_first(row)
        there = await self._gateway.journal.find(refund.account, refund.refund_request_id)
        if there is not None:
            await self._gateway.same_or_conflict(there, refund)
        if not first or there is not None:
            return False
        earlier = self._payments[payment]
        check_total(refund, [] if earlier is None else [earlier])
        total = None if refund.payment_total is None else refund.payment_total.minor
        self._payments[payment] = _together(earlier, [Sibling(refund.amount, total, counts=True)])
        return True

    async def _look_up(self, refund: Refund, payment: bytes) -> None:
        """Find what is stored of a payment, under all of its names."""
        together: Sibling | None = None
        names, seen = {refund.payment}, set[str]()
        while wanted := names - seen:
            name = wanted.pop()
            seen.add(name)
            self._names[_digest(refund.account, name)] = payment
            async for row in self._rows(Selection(account=refund.account, payment=name)):
                together = _together(together, [_sibling(row)])
                names.add(row.payment_alias or name)
            async for row in self._rows(Selection(account=refund.account, payment_alias=name)):
                names.add(row.payment)
        self._payments[payment] = together

    async def _rows(self, selection: Selection) -> AsyncIterator[Row]:
        after = ""
        while rows := await self._gateway.journal.select(selection, after=after, limit=_PAGE):
            for row in rows:
                yield row
            after = rows[-1].id

    def _is_first(self, row: _Row) -> bool:
        """Return True for the first row of an id; raise `Conflict` if an earlier row has other data."""
        key = _digest(row.request.account, row.request.refund_request_id)
        whole = _digest(row.request)
        if self._ids.get(key, whole) != whole:
            raise Conflict(f"id: {row.request.refund_request_id!r} is used in an earlier line with different data")
        first = key not in self._ids
        self._ids[key] = whole
        return first


def _sibling(row: Row) -> Sibling:
    total = None if row.payment_total is None else row.payment_total.minor
    return Sibling(row.amount, total, counts(row.status, needs_review=bool(row.review)), row.corrects_total)


def _together(earlier: Sibling | None, more: Iterable[Sibling]) -> Sibling | None:
    """Return one sibling for all refunds of a payment that bind it, with their sum and the total that applies."""
    for sibling in more:
        if not sibling.counts and not sibling.corrects_total:
            continue
        amount = attrs.evolve(sibling.amount, minor=sibling.amount.minor if sibling.counts else 0)
        if earlier is None:
            earlier = Sibling(amount, sibling.payment_total, counts=True)
            continue
        before = () if sibling.corrects_total else (earlier.payment_total,)
        totals = [total for total in (*before, sibling.payment_total) if total is not None]
        used = attrs.evolve(amount, minor=earlier.amount.minor + amount.minor)
        earlier = Sibling(used, min(totals, default=None), counts=True)
    return earlier


def _digest(*parts: object) -> bytes:
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()


# --- recording --------------------------------------------------------------------------------------------------------


async def _record_all(gateway: Gateway, file: _File, common: _Common, total: int, progress: Progress) -> None:
    before, done = list[int](), 0
    with closing(_rows(file, common, [])) as rows:
        while batch := list(islice(rows, _TOGETHER)):
            results = await asyncio.gather(*(_record(gateway, row) for row in batch), return_exceptions=True)
            lines = [*before, *(row.line for row in batch)]
            errors = [*(None for _ in before), *results]
            for error in results:
                if error is not None:
                    raise _with(error, _recorded(lines, errors)) from error
            before, done = [lines[0], lines[-1]], done + len(batch)
            progress("recording", done, total)


async def _record(gateway: Gateway, row: _Row) -> None:
    with _Line(row.line):
        await gateway.request(row.request, submit=False)


def _recorded(lines: Sequence[int], errors: Sequence[BaseException | None]) -> str:
    """Return in words which lines were recorded."""
    spans = []
    for recorded, group in groupby(zip(lines, errors, strict=True), key=lambda pair: pair[1] is None):
        span = [line for line, _ in group]
        if recorded:
            spans.append(str(span[0]) if len(span) == 1 else f"{span[0]} to {span[-1]}")
    return f"recorded: line {', '.join(spans)}" if spans else "no line is recorded"


def _with(error: BaseException, progress: str) -> BaseException:
    if isinstance(error, Invalid):
        return Invalid(error.field, f"{error.rule}; {progress}")
    return type(error)(f"{error}; {progress}") if isinstance(error, RefundryError) else error


# --- reading ----------------------------------------------------------------------------------------------------------


class _Line:
    """Adds the line to every error about the content of a row."""

    def __init__(self, line: int) -> None:
        self._line = line

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Invalid):
            field = "id" if error.field == "refund_request_id" else error.field
            raise Invalid(f"line {self._line}: {field}", error.rule) from None
        if isinstance(error, Conflict):
            raise Conflict(f"line {self._line}: {error}") from None


@contextmanager
def _copied(source: Path | IO[bytes]) -> Iterator[_File]:
    """Copy a file that another process may change, or a stream that can be read only once."""
    digest = hashlib.sha256()
    with tempfile.TemporaryFile() as copy:
        try:
            with source.open("rb") if isinstance(source, Path) else nullcontext(source) as original:
                while chunk := original.read(_CHUNK):
                    digest.update(chunk)
                    copy.write(chunk)
        except FileNotFoundError:
            raise Invalid("FILE", f"there is no file {source}") from None
        except OSError as error:
            raise Invalid("FILE", f"cannot be read and copied: {error.strerror or type(error).__name__}") from None
        yield _File(copy, digest.hexdigest())


def _rows(file: _File, common: _Common, errors: list[Invalid | Conflict]) -> Generator[_Row]:
    """Yield the rows; add what is wrong with the form of a row to `errors`."""
    file.copy.seek(0)
    text = io.TextIOWrapper(file.copy, "utf-8-sig", newline="")
    try:
        yield from _read(csv.reader(text, strict=True), common, errors)
    except UnicodeDecodeError:
        raise Invalid("FILE", "cannot be read as UTF-8 text") from None
    finally:
        text.detach()


def _read(reader: "_csv.Reader", common: _Common, errors: list[Invalid | Conflict]) -> Iterator[_Row]:
    try:
        header = next(reader, None)
        if header is None:
            raise Invalid("FILE", "is empty; the first line must name the columns")
        _check_header(header)
        for cells in reader:
            if len(cells) == len(header):
                yield _Row(reader.line_num, _request(dict(zip(header, cells, strict=True)), common))
            elif cells:
                rule = f"has {len(cells)} columns; the first line names {len(header)}"
                errors.append(Invalid(f"line {reader.line_num}", rule))
            if len(errors) >= MAX_ERRORS:
                return
    except csv.Error as error:
        errors.append(Invalid(f"line {reader.line_num}", f"is not CSV: {error}"))


def _check_header(header: list[str]) -> None:
    if len(header) == 1 and (separator := next((mark for mark in ";\t|" if mark in header[0]), None)):
        name = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}[separator]
        raise Invalid("line 1", f"separates columns with {name}; save the file with commas")
    for column in REQUIRED:
        if column not in header:
            raise Invalid("line 1", f"column {column!r} is missing; required: {', '.join(REQUIRED)}")
    for column in header:
        if column not in REQUIRED + OPTIONAL and not column.startswith(DETAILS):
            known = ", ".join((*REQUIRED, *OPTIONAL, f"{DETAILS}NAME"))
            raise Invalid("line 1", f"unknown column {column!r}; known: {known}")
        if header.count(column) > 1:
            raise Invalid("line 1", f"column {column!r} appears twice")


def _request(cells: dict[str, str], common: _Common) -> RefundRequest:
    return RefundRequest(
        account=cells["account"],
        payment=cells["payment"],
        amount=cells["amount"],
        currency=cells["currency"],
        refund_request_id=cells["id"],
        reason=cells.get("reason") or None,
        payment_total=cells.get("payment_total") or None,
        details_text={
            column.removeprefix(DETAILS): cell for column, cell in cells.items() if column.startswith(DETAILS) and cell
        },
        **common,
    )
