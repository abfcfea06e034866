"""A provider's report: a CSV file, read as its format describes it.

The rule of this module: it reads all or nothing. What cannot be read is an error with the line, the column and the
rule, and an amount is exact or refused.
"""

import csv
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Final, TextIO

import attrs

from refundry.config.settings import read_toml
from refundry.errors import ConfigError, Invalid
from refundry.money import Money
from refundry.provider import ReportFormat

__all__ = ["Line", "MAX_ID", "MAX_LINE", "chosen_format", "read_format", "read_report", "zone_of"]

MAX_LINE: Final = 64 * 1024
MAX_ID: Final = 200
"""The largest number of characters of an id: a longer one would not fit into the reasons for a review."""
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_OFFSET: Final = re.compile(r"[+-](?:0[0-9]|1[0-4]):[0-5][0-9]", re.ASCII)
_AMOUNT: Final = re.compile(r"[+-]?([0-9]{1,18}(?:\.[0-9]{1,6})?)", re.ASCII)


@attrs.frozen
class Line:
    """One refund in a report."""

    number: int
    """Its line in the file, from 1."""
    refund_request_id: str
    provider_refund_id: str | None
    amount: Money
    settled: bool
    """Whether the report shows the refund as settled."""
    text: str
    """The row as it appears in the report."""
    reversal: bool = False
    """Whether the row states that the money of the refund came back."""


def read_format(path: Path) -> ReportFormat:
    """Read a mapping: a TOML file with the fields of `ReportFormat`; `ConfigError` names the key."""
    data = read_toml(path, "--mapping")
    fields = {field.name: field for field in attrs.fields(ReportFormat)}
    for key, value in data.items():
        if key not in fields:
            raise ConfigError(f"--mapping: {key}", f"is not a known key; known are: {', '.join(sorted(fields))}")
        _check_value(key, value)
    for name in ("refund_request_id", "amount", "currency"):
        if name not in data:
            raise ConfigError(f"--mapping: {name}", "is missing")
    zone_of(data.get("utc_offset", "+00:00"))
    return ReportFormat(**{"name": path.stem} | data)


def zone_of(utc_offset: str) -> tzinfo:
    """Return the time zone of a report's format; raise `ConfigError` unless it is an offset such as +08:00."""
    if _OFFSET.fullmatch(utc_offset) is None:
        raise ConfigError("utc_offset", "must be an offset from UTC, such as +08:00")
    zone = datetime.fromisoformat(f"2000-01-01T00:00:00{utc_offset}").tzinfo
    assert zone is not None
    return zone


_TABLES: Final = ("refunds", "settled", "reversals")
"""The fields that name columns with the value that marks a row."""


def _check_value(key: str, value: object) -> None:
    if key == "minor_units":
        right = isinstance(value, bool)
    elif key in _TABLES:
        right = isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
    else:
        right = isinstance(value, str) and value != ""
    if not right:
        kinds = {"minor_units": "true or false"} | dict.fromkeys(_TABLES, "a table of texts")
        raise ConfigError(f"--mapping: {key}", f"must be {kinds.get(key, 'a text')}")


def read_report(path: Path, kind: ReportFormat, exponent: Callable[[str], int]) -> Iterator[Line]:
    """Yield every refund of a report; raise `Invalid` with the line, the column and the rule."""
    try:
        with path.open(encoding=kind.encoding, errors="strict", newline="") as file:
            yield from _lines(file, kind, exponent)
    except OSError as error:
        raise Invalid("FILE", f"{path} cannot be read: {error.strerror or type(error).__name__}") from None
    except LookupError:
        raise ConfigError("encoding", f"there is no encoding {kind.encoding!r}") from None
    except UnicodeDecodeError as error:
        raise Invalid("FILE", f"{path} is not in {kind.encoding}: {error.reason}") from None


def _lines(file: TextIO, kind: ReportFormat, exponent: Callable[[str], int]) -> Iterator[Line]:
    kind = _plain_columns(kind)
    numbered = _Numbered(file, kind)
    rows = csv.reader(numbered, strict=True)
    head: list[str] | None = None
    try:
        for values in rows:
            cells = [value.strip() for value in values]
            if head is None:
                head = [_plain(cell.removeprefix("\ufeff")) for cell in cells]
                _check_head(head, kind)
            elif any(cells):
                row = _row(head, cells, numbered.number)
                reversal = bool(kind.reversals) and _is_marked(row, kind.reversals)
                if reversal or _is_marked(row, kind.refunds):
                    line = _line(row, kind, exponent, numbered.number, ",".join(values))
                    yield attrs.evolve(line, reversal=reversal)
    except csv.Error as error:
        raise Invalid(f"line {numbered.number}", f"is not CSV: {error}") from None
    if head is None:
        raise Invalid("FILE", "has no line with the names of the columns")


def _is_marked(row: Mapping[str, str], marks: Mapping[str, str]) -> bool:
    return all(row[column] == value for column, value in marks.items())


def _plain(column: str) -> str:
    # Some editions of a report write the names of columns with full-width brackets.
    return unicodedata.normalize("NFKC", column)


def _plain_columns(kind: ReportFormat) -> ReportFormat:
    return attrs.evolve(
        kind,
        refund_request_id=_plain(kind.refund_request_id),
        amount=_plain(kind.amount),
        currency=_plain(kind.currency),
        provider_refund_id=None if kind.provider_refund_id is None else _plain(kind.provider_refund_id),
        refunds=_plain_marks(kind.refunds),
        settled=_plain_marks(kind.settled),
        reversals=_plain_marks(kind.reversals),
    )


def _plain_marks(marks: Mapping[str, str]) -> Mapping[str, str]:
    return {_plain(column): value for column, value in marks.items()}


class _Numbered:
    """The lines of a file that are rows, with the number of the newest."""

    def __init__(self, file: TextIO, kind: ReportFormat) -> None:
        self._file = file
        self._kind = kind
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        while line := self._file.readline(MAX_LINE + 1):
            self.number += 1
            if len(line) > MAX_LINE:
                raise Invalid(f"line {self.number}", f"is longer than {MAX_LINE} characters")
            if self._kind.end is not None and line.strip() == self._kind.end:
                return
            if self._kind.comment is None or not line.removeprefix("\ufeff").startswith(self._kind.comment):
                yield line


def _check_head(head: list[str], kind: ReportFormat) -> None:
    wanted = [kind.refund_request_id, kind.amount, *kind.refunds, *kind.settled, *kind.reversals]
    wanted += [kind.provider_refund_id] if kind.provider_refund_id is not None else []
    wanted += [kind.currency] if _CURRENCY.fullmatch(kind.currency) is None else []
    for column in wanted:
        if head.count(column) != 1:
            there = "appears twice" if column in head else "is missing"
            raise Invalid(f"column {column}", f"{there}; the columns are: {', '.join(head)[:500]}")


def _row(head: list[str], cells: list[str], number: int) -> Mapping[str, str]:
    if len(cells) != len(head):
        raise Invalid(f"line {number}", f"has {len(cells)} columns instead of {len(head)}")
    return dict(zip(head, cells, strict=True))


def _line(row: Mapping[str, str], kind: ReportFormat, exponent: Callable[[str], int], number: int, text: str) -> Line:
    currency = kind.currency if _CURRENCY.fullmatch(kind.currency) else row[kind.currency]
    id = row[kind.refund_request_id]
    if not id:
        raise Invalid(f"line {number}: {kind.refund_request_id}", "is empty")
    written = _AMOUNT.fullmatch(row[kind.amount])
    if written is None:
        raise Invalid(f"line {number}: {kind.amount}", "must be an amount, such as 12.33")
    field = f"line {number}: {kind.amount}"
    try:
        amount = (
            attrs.evolve(Money.of_minor(written[1], currency, field=field), exponent=exponent(currency))
            if kind.minor_units
            else _exact(written[1], currency, exponent(currency), field)
        )
    except Invalid as error:
        raise Invalid(field if error.field != "currency" else f"line {number}: currency", error.rule) from None
    provider_id = row[kind.provider_refund_id] if kind.provider_refund_id is not None else None
    for column, given in ((kind.refund_request_id, id), (kind.provider_refund_id, provider_id or "")):
        if len(given) > MAX_ID:
            raise Invalid(f"line {number}: {column}", f"has {len(given)} characters; an id has at most {MAX_ID}")
    return Line(number, id, provider_id or None, amount, _is_marked(row, kind.settled), text)


def _exact(written: str, currency: str, places: int, field: str) -> Money:
    """Read a decimal amount; zeros beyond the currency's decimals do not change it."""
    whole, point, decimals = written.partition(".")
    kept = decimals[:places] + decimals[places:].rstrip("0")
    return Money.parse(f"{whole}{point}{kept}" if kept else whole, currency, places, field=field)


def chosen_format(reports: Sequence[ReportFormat], name: str | None) -> ReportFormat:
    """Return the format of this name among a plugin's, or its only one; raise `Invalid` with the known names."""
    found = {report.name: report for report in reports}
    if name is None and len(found) == 1:
        return next(iter(found.values()))
    if name not in found:
        known = ", ".join(sorted(found)) or "none"
        raise Invalid("--format", f"name one of the provider's formats ({known}), or give --mapping FILE")
    return found[name]
