"""Replay: the whole log is folded with the installed code, and every stored message is read again by its plugin.

The rule of this module: it only reads. It needs no private key and no network, and writes nothing; a store in use is
read part by part, each part in one snapshot. Memory is flat: refunds are read in the order of their ids, some at a
time, together with their index rows. Erased messages are reported, and are not a difference.
"""

import multiprocessing
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, assert_never

import attrs

from refundry.audit.replay.findings import Found, ReplayKind, Wordings
from refundry.audit.replay.reinterpretation import Reading, read_again, reading_in_words, states_of
from refundry.audit.verification.findings import Finding
from refundry.config import Account, Config, open_accounts
from refundry.errors import Invalid, StoreError
from refundry.formatting import counted, plain
from refundry.journal import Recorded, Row
from refundry.journal.codec import decode, private_digest
from refundry.journal.index import differences, row_of
from refundry.journal.log_source import StoredEvent, StoredHistory, StoredRow, StoreSource
from refundry.journal.stores import read_store
from refundry.plugin_host import Plugins
from refundry.refund import IllegalEvent, Refund, Status

__all__ = ["Progress", "replay"]

Progress = Callable[[int, int], None]
"""Called from time to time with the number of events done, and the number of all events."""

PART: Final = 20_000
"""How many events one process replays at a time, and between two reports of progress."""
_CHUNK: Final = 1_000
_TOTALS: Final = ("refunds", "requested", "settled", "failed", "open")

_Bound = tuple[str | None, str | None]
"""The id after which a part begins, and the id with which it ends; None at the beginning and at the end of the log."""
_Totals = Counter[tuple[str, str, int, str]]
"""The sums for each account, currency and number of decimals, by the names of `_TOTALS`."""


@attrs.define
class _Part:
    """The result of one part."""

    events: int = 0
    findings: list[Found] = attrs.field(factory=list)
    wordings: Wordings = attrs.field(factory=Wordings)
    log: _Totals = attrs.field(factory=Counter)
    index: _Totals = attrs.field(factory=Counter)


def replay(
    config: Config,
    plugins: Plugins,
    progress: Progress = lambda done, total: None,
    *,
    processes: int | None = None,
) -> Iterator[Found]:
    """Yield every place where the installed code or plugins come to another result than the one stored.

    `significance` tells which kinds are differences; a changed wording is reported once, with the number of events that
    have it. Raises `ConfigError` or `PluginError` if the accounts cannot be opened, and `StoreError` if the store
    cannot be read.
    """
    path, accounts = config.store_path, open_accounts(config, plugins, keys=False, tolerant=True)
    with read_store(path) as source:
        total = source.count()
        bounds = list(pairwise([None, *source.partition(PART), None]))
        if not source.has_expected_tables():
            text = "the tables and indexes are not those that Refundry creates"
            yield Finding(ReplayKind.INDEX, "tables", text)
    done, log, index = 0, _Totals(), _Totals()
    unknown_accounts: set[str] = set()
    wordings = Wordings()
    for part in _parts(path, accounts, bounds, processes):
        done += part.events
        progress(done, max(total, done))
        log.update(part.log)
        index.update(part.index)
        for finding in part.findings:
            if finding.kind is ReplayKind.ACCOUNT:
                if finding.where in unknown_accounts:
                    continue
                unknown_accounts.add(finding.where)
            yield finding
        wordings.update(part.wordings)
    yield from _compare_totals(log, index)
    yield from wordings.findings()


def _parts(
    path: Path, accounts: Mapping[str, Account], bounds: Sequence[_Bound], processes: int | None
) -> Iterator[_Part]:
    wanted = min(processes or os.cpu_count() or 1, len(bounds))
    # A fork inherits locks that other threads hold, so it is only safe in a process with one thread.
    if wanted < 2 or threading.active_count() > 1:
        return (_replay_part(path, accounts, bound) for bound in bounds)
    return _parts_in_parallel(path, accounts, bounds, wanted)


def _parts_in_parallel(
    path: Path, accounts: Mapping[str, Account], bounds: Sequence[_Bound], processes: int
) -> Iterator[_Part]:
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(processes, context, _set_up_process, (path, accounts)) as workers:
        yield from workers.map(_replay_mine, bounds)


_mine: tuple[Path, Mapping[str, Account]]


def _set_up_process(path: Path, accounts: Mapping[str, Account]) -> None:
    global _mine
    _mine = path, accounts


def _replay_mine(bound: _Bound) -> _Part:
    return _replay_part(*_mine, bound)


# --- one part ---------------------------------------------------------------------------------------------------------


def _replay_part(path: Path, accounts: Mapping[str, Account], bound: _Bound) -> _Part:
    part = _Part()
    with read_store(path) as source:
        _replay_all(part, accounts, source, bound)
    return part


def _replay_all(part: _Part, accounts: Mapping[str, Account], source: StoreSource, bound: _Bound) -> None:
    """Walk over refunds and index rows together, in the order of their ids."""
    rows = _rows(part, source, bound)
    row = next(rows, None)
    for chunk in source.histories(*bound, _CHUNK):
        kept, erased = _kept(source, chunk)
        for refund_id, events in chunk:
            if not isinstance(refund_id, str):
                part.findings.append(Finding(ReplayKind.EVENT, f"refund {refund_id!r}", "its id is not text"))
                continue
            while row is not None and row.id < refund_id:
                _compare_row(part, None, row)
                row = next(rows, None)
            mine = row if row is not None and row.id == refund_id else None
            _Replayed(part, accounts, kept, erased).take(refund_id, events, mine)
            row = next(rows, None) if mine is not None else row
    while row is not None:
        _compare_row(part, None, row)
        row = next(rows, None)


def _rows(part: _Part, source: StoreSource, bound: _Bound) -> Iterator[StoredRow]:
    """Yield the index rows of a part."""
    for row in source.rows(*bound):
        if isinstance(row.id, str):
            yield row
        else:
            _report_unreadable(part, row, "its id is not text")


def _read_row(part: _Part, stored: StoredRow | None) -> Row | None:
    """Read an index row; one that cannot have been written is a finding, and not a row."""
    try:
        return None if stored is None else stored.read()
    except Invalid as error:
        assert stored is not None
        _report_unreadable(part, stored, error.rule)
        return None


def _report_unreadable(part: _Part, row: StoredRow, why: str) -> None:
    where = f"refund {plain(str(row.id))}"
    part.findings.append(Finding(ReplayKind.INDEX, where, f"row: cannot be read: {why}"))


def _kept(source: StoreSource, chunk: Sequence[StoredHistory]) -> tuple[dict[str, bytes], set[str]]:
    """Look up what the events of a chunk name, all at once: the bytes, and the digests of what was erased."""
    # Searched as text: decoding the events comes later, and needs their private text.
    states = (event[4] for _, events in chunk for event in events)
    texts = {digest for state in states if isinstance(state, bytes) for digest in _NAMED.findall(state)}
    kept, erased = source.kept([bytes.fromhex(text.decode()) for text in texts])
    return {digest.hex(): content for digest, content in kept.items()}, {digest.hex() for digest in erased}


_NAMED: Final = re.compile(rb'"(?:digest|evidence|private)":"([0-9a-f]{64})"')


class _Replayed:
    """Replays one refund."""

    def __init__(
        self, part: _Part, accounts: Mapping[str, Account], kept: Mapping[str, bytes], erased: set[str]
    ) -> None:
        self._part = part
        self._accounts = accounts
        self._kept = kept
        self._erased = erased

    def take(self, refund_id: str, stored: Sequence[StoredEvent], found: StoredRow | None) -> None:
        """Fold a refund, compare it with its row, and read its messages again."""
        self._part.events += len(stored)
        try:
            history = [self._decode(event, version) for version, event in enumerate(stored, 1)]
            states = states_of(history)
        except (StoreError, IllegalEvent) as error:
            self._add_finding(ReplayKind.EVENT, f"refund {refund_id}", str(error))
            row = _read_row(self._part, found)
            if row is not None:
                _add(self._part.index, row, row.amount.minor)
            return
        refund = states[-1]
        _compare_row(self._part, refund, found)
        self._report_missing(refund_id, history)
        account = self._accounts.get(refund.account)
        if account is None or account.error is not None:
            reason = "is not in the configuration" if account is None else str(account.error)
            self._add_finding(ReplayKind.ACCOUNT, refund.account, f"{reason}: its messages are not read again")
            return
        self._read(account, history, states)

    def _decode(self, event: StoredEvent, expected: int) -> Recorded:
        position, refund_id, version, topic, state = event
        if version != expected:
            raise StoreError(f"store: version {expected} is missing; the next is {version}")
        if not isinstance(state, bytes):
            raise StoreError(f"store: the event at position {position} is not bytes")
        private = private_digest(state)
        words = None if private is None else self._kept.get(private.hex())
        return Recorded(position, refund_id, version, decode(topic, state, position, words))

    def _report_missing(self, refund_id: str, history: Sequence[Recorded]) -> None:
        """Report evidence that is missing, or was erased."""
        gone = 0
        for recorded in history:
            for name in ("digest", "evidence"):
                digest = getattr(recorded.event, name, None)
                if digest is None or digest in self._kept:
                    continue
                if digest in self._erased:
                    gone += 1
                else:
                    text = f"{digest} is missing, and no signed note reports its erasure"
                    self._add_finding(ReplayKind.EVIDENCE, _place(recorded), text)
        if gone:
            text = f"{counted(gone, 'message was', 'messages were')} erased and cannot be read again"
            self._add_finding(ReplayKind.ERASED, f"refund {refund_id}", text)

    def _read(self, account: Account, history: Sequence[Recorded], states: Sequence[Refund]) -> None:
        for _, readings in read_again(account, history, states, self._kept):
            for reading in readings:
                self._report(reading)

    def _report(self, reading: Reading) -> None:
        text, place = reading_in_words(reading), _place(reading.recorded)
        if reading.sender is not None:
            self._add_finding(ReplayKind.SENDER, place, text)
        elif not reading.wording:
            self._add_finding(ReplayKind.READING, place, text)
        else:
            self._part.wordings.add(text, place)

    def _add_finding(self, kind: ReplayKind, where: str, text: str) -> None:
        self._part.findings.append(Finding(kind, where, plain(text)))


def _place(recorded: Recorded) -> str:
    return f"position {recorded.position} (refund {recorded.refund_id}, version {recorded.version})"


# --- index and totals -------------------------------------------------------------------------------------------------


def _compare_row(part: _Part, refund: Refund | None, found: StoredRow | None) -> None:
    """Compare a refund with its index row, and add both up."""
    as_stored = refund is not None and found is not None and found.matches(refund)
    # Parsing a row is slow, so only rows that differ are parsed.
    row = refund if as_stored else _read_row(part, found)
    if refund is not None:
        settled = refund.settled_amount
        _add(part.log, refund, refund.amount.minor if settled is None else settled.minor)
    if row is not None:
        _add(part.index, row, row.amount.minor)
    if not as_stored:
        assert not isinstance(row, Refund)
        for each in differences(None if refund is None else row_of(refund), row):
            text = f"{each.field}: the log says {each.log}, the index says {each.index}"
            part.findings.append(Finding(ReplayKind.INDEX, f"refund {each.refund_id}", plain(text)))


def _add(totals: _Totals, of: Refund | Row, moved: int) -> None:
    amount = of.amount
    unit = of.account, amount.currency, amount.exponent
    totals[*unit, "refunds"] += 1
    totals[*unit, "requested"] += amount.minor
    match of.status:
        case Status.SETTLED:
            totals[*unit, "settled"] += moved
        case Status.FAILED:
            totals[*unit, "failed"] += amount.minor
        case Status.REQUESTED | Status.SUBMITTED | Status.PENDING | Status.UNKNOWN:
            totals[*unit, "open"] += amount.minor
        case _:
            assert_never(of.status)


def _compare_totals(log: Mapping[Any, int], index: Mapping[Any, int]) -> Iterator[Found]:
    for account, currency, exponent, name in sorted({*log, *index}):
        key = account, currency, exponent, name
        if log.get(key, 0) != index.get(key, 0):
            text = (
                f"{name}: the log gives {log.get(key, 0)}, the index {index.get(key, 0)} (in units of 10^-{exponent})"
            )
            yield Finding(ReplayKind.TOTALS, f"{account} {currency}", text)
