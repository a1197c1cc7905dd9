"""What `k2 verify` does: compare a platform's answers, lake, events and dead letters with a truth.

1. Wait until an answer holds every raw offset that the run sent.
2. Read the sequence events. Compare the rows of the answers, page by page, at one read point.
3. Compare the events and the dead letters, as the topics hold them.
4. Wait until the lake holds what the answer of step 1 held, and compare its rows.
5. Account for each record sent, and make the checks that were asked for: of what was known at a
   time (`check_known_at`), and those of `invariants`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.core.records.source import RawInput
from k2_streams.lake.snapshots import Head
from k2_streams.runtime.settings.worker import Settings
from k2_streams.testing.oracle.check_events import FoundEvents, FoundLetters
from k2_streams.testing.oracle.check_known_at import COLUMNS, KnownAtGaps, KnownAtRows
from k2_streams.testing.oracle.check_rows import FoundRows
from k2_streams.testing.oracle.invariants import deep_checks, sql_checks
from k2_streams.testing.oracle.observed import (
    HttpPlatform,
    Meta,
    lake_rows,
    wait_for_lake,
)
from k2_streams.testing.oracle.report import Check
from k2_streams.testing.oracle.topic_records import read_topic
from k2_streams.testing.oracle.truth_file import Header, Truth
from k2_streams.testing.progress import progress

PARTS = ("http", "events", "letters", "lake")
#: Exchanges that one question may name; the platform's limit.
_EXCHANGES_PER_QUESTION = 10


class CannotVerifyError(ValueError):
    """The checks that were asked for cannot be made of this truth; the text says why."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What one call compares.

    Attributes:
        settings: as the worker has them.
        source: of the truth.
        truth: of one run, or of several merged.
        files: that the truth was read from.
        url: of the platform.
        parts: of `PARTS`, those that are compared.
        timeout_s: for an answer that holds all that was sent.
        lake_timeout_s: for the lake to hold it.
        sql: compare the lake's files once more in plain SQL.
        deep: recompute the state, and hold lake, log and group against each other.
        known_at_ns: compare what was known at this time; None: that is not compared.
    """

    settings: Settings
    source: RawInput
    truth: Truth
    files: tuple[Path, ...]
    url: str
    parts: frozenset[str]
    timeout_s: float
    lake_timeout_s: float
    sql: bool
    deep: bool
    known_at_ns: int | None = None

    @property
    def exchanges(self) -> list[str]:
        """Those of the truth, as many as one question may name."""
        found = sorted({line.scope.partition(":")[0] for line in self.truth.sessions})
        return found[:_EXCHANGES_PER_QUESTION]

    def platform(self) -> HttpPlatform:
        """Its HTTP side; an async context manager."""
        key = next(iter(self.settings.api_keys), None)
        return HttpPlatform(self.url, key, SYSTEM_CLOCK, self.timeout_s, self.source.stream)


def check_supported(header: Header, *, sql: bool, deep: bool) -> None:
    """Refuse checks that a truth does not support before anything is read.

    Raises:
        CannotVerifyError: it does not.
    """
    if (sql or deep) and header.rows_by == "place":
        raise CannotVerifyError(
            "--sql and --deep need rows with a sequence number or an id; this feed has neither"
        )
    if deep and header.rows_by != "sequence":
        raise CannotVerifyError(
            "--deep recomputes the state of rows that their numbers identify: use --sql"
        )


async def verify(what: Verification) -> list[Check]:
    """Every comparison, in the order of the module's steps.

    Raises:
        NotReachedError: platform, lake or topic did not answer in time.
        LakeError: the lake cannot be read.
    """
    truth, errors = what.truth, Console(stderr=True)
    offsets = {partition: sent.next for partition, sent in truth.positions.items()}
    checks: list[Check] = []
    events = FoundEvents(truth)
    async with what.platform() as http:
        with progress(errors, SYSTEM_CLOCK, "waiting", sum(offsets.values()), "offsets") as show:
            meta = await http.wait(offsets, show)
        await _read_events(what, events)
        rows: FoundRows | None = None
        if "http" in what.parts:
            rows = FoundRows(truth, events.redriven, events.repaired)
            checks += await _http_rows(what, http, rows, offsets)
    letters = FoundLetters(truth, events.redriven)
    if "events" in what.parts:
        checks += events.checks()
    if "letters" in what.parts:
        checks += await _letters(what, letters)
    if "lake" in what.parts:
        rows = FoundRows(truth, events.redriven, events.repaired)
        checks += await _lake_rows(what, rows, meta)
    if rows is not None and {"events", "letters"} <= what.parts and truth.alone:
        checks.append(_conserved(truth, rows, events, letters))
    if what.known_at_ns is not None:
        checks += await _known_at(what, what.known_at_ns, meta)
    if what.deep:
        checks += await deep_checks(what.settings, what.source, what.files, events.repaired)
    elif what.sql:
        by_id = truth.header.rows_by == "trade_id"
        checks += await sql_checks(
            what.settings, what.source.stream, what.files, events.repaired, by_id=by_id
        )
    return checks


async def _read_events(what: Verification, events: FoundEvents) -> None:
    """All events: which numbers were redriven says what is to be expected of rows and letters."""
    topic = what.source.events
    async for partition, records in read_topic(what.settings.kafka, topic):
        for record in records:
            events.add(record.value, f"{topic} {partition}:{record.offset}")


async def _letters(what: Verification, letters: FoundLetters) -> list[Check]:
    topic = what.source.dead_letter
    async for partition, records in read_topic(what.settings.kafka, topic):
        for record in records:
            headers = {name: value for name, value in record.headers if value is not None}
            letters.add(headers, f"{topic} {partition}:{record.offset}")
    return letters.checks()


async def _http_rows(
    what: Verification, http: HttpPlatform, rows: FoundRows, offsets: dict[int, int]
) -> list[Check]:
    """All rows of the truth's exchanges, page by page."""
    pages = Check("http: rows of the pages, as each counts them", 0, 0)
    errors = Console(stderr=True)
    with progress(errors, SYSTEM_CLOCK, "asking", what.truth.rows, "rows") as show:
        async for table, meta in http.pages(what.exchanges, offsets):
            pages.expected += meta["rows"]
            pages.found += table.num_rows
            if meta["rows_lake"] + meta["rows_tail"] != table.num_rows:
                pages.differ(
                    f"{table.num_rows} rows, counted as {meta['rows_lake']} of the lake and "
                    f"{meta['rows_tail']} of the tail"
                )
            for batch in table.to_batches():
                rows.add(batch)
            show(pages.found)
    return [*rows.checks("http"), pages]


async def _known_at(what: Verification, known_ns: int, meta: Meta) -> list[Check]:
    """Rows and gaps as an answer shows them known at a time, once the lake holds those of now."""
    known_us = known_ns // 1_000
    rows, gaps = KnownAtRows(known_us, what.exchanges), KnownAtGaps(known_us, what.exchanges)
    head = await _lake_head(what, meta)
    for batch in lake_rows(what.settings.lake, head.snapshot_id, what.source.stream, COLUMNS):
        rows.add_accepted(batch)
    async for _, records in read_topic(what.settings.kafka, what.source.events):
        for record in records:
            gaps.add(record.value)
    async with what.platform() as http:
        async for table in http.known_pages(what.exchanges, known_ns):
            for batch in table.to_batches():
                rows.add_shown(batch)
        shown = await http.known_gaps(what.exchanges, known_ns)
    return [rows.check(), *gaps.checks(shown)]


async def _lake_head(what: Verification, meta: Meta) -> Head:
    """The lake's head, once it holds what the answer of `meta` held."""
    offsets = {int(partition): int(end) for partition, end in meta["offsets"].items()}
    errors = Console(stderr=True)
    with progress(errors, SYSTEM_CLOCK, "lake", sum(offsets.values()), "offsets") as show:
        return await wait_for_lake(
            what.settings.lake,
            offsets,
            SYSTEM_CLOCK,
            what.lake_timeout_s,
            show,
            what.source.stream,
        )


async def _lake_rows(what: Verification, rows: FoundRows, meta: Meta) -> list[Check]:
    """All rows of the lake, once it holds what the answer of `meta` held."""
    errors, lake = Console(stderr=True), what.settings.lake
    head = await _lake_head(what, meta)
    count = Check("lake: rows, as the snapshot counts them", head.rows, 0)
    with progress(errors, SYSTEM_CLOCK, "reading", head.rows, "rows") as show:
        for batch in lake_rows(lake, head.snapshot_id, what.source.stream):
            rows.add(batch)
            count.found += batch.num_rows
            show(count.found)
    return [*rows.checks("lake"), count]


def _conserved(truth: Truth, rows: FoundRows, events: FoundEvents, letters: FoundLetters) -> Check:
    """Each record sent is a row, a dead letter, a counted duplicate or a control message."""
    positions = rows.positions()
    records, repeated = rows.rows, events.duplicates
    if truth.header.rows_by != "sequence":
        # A message may hold several trades, and is repeated by its number, or trade by trade.
        records = sum(len(np.unique(offsets)) for offsets in positions.values())
        repeated += truth.header.repeated - events.repeated_ids
    found = records + letters.count + repeated + truth.header.controls
    check = Check("every record sent is accounted for", truth.header.sent, found)
    dead = letters.positions()
    for partition, offsets in positions.items():
        both = np.intersect1d(offsets, dead.get(partition, np.empty(0, np.int64)))
        for offset in both.tolist():
            check.differ(f"raw {partition}:{offset} is a row and a dead letter")
    return check
