"""`k2 verify`: is what the platform answers the truth?"""

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from rich.console import Console

from k2_streams.cli.errors import CannotError
from k2_streams.cli.progress import progress
from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.core.records.source import INPUTS, RawInput
from k2_streams.kafka.log_reader import LogError
from k2_streams.kafka.sender import UNREACHABLE
from k2_streams.lake.errors import LakeError
from k2_streams.runtime.settings.kafka import with_bootstrap
from k2_streams.runtime.settings.worker import Settings, SettingsError, from_environment
from k2_streams.testing.oracle import truth_file
from k2_streams.testing.oracle.check_events import FoundEvents, FoundLetters
from k2_streams.testing.oracle.check_rows import FoundRows
from k2_streams.testing.oracle.invariants import deep_checks, sql_checks
from k2_streams.testing.oracle.observed import (
    HttpPlatform,
    Meta,
    NotReachedError,
    lake_rows,
    read_topic,
    wait_for_lake,
)
from k2_streams.testing.oracle.report import Check, show, write_report

EXIT_DIFFERENT = 1
PARTS = ("http", "events", "letters", "lake")


@dataclass(frozen=True, slots=True)
class _Job:
    """What one call is to compare."""

    settings: Settings
    source: RawInput
    truth: truth_file.Truth
    url: str
    api_key: str | None
    parts: frozenset[str]
    timeout_s: float
    lake_timeout_s: float
    files: tuple[Path, ...]  # that the truth was read from
    sql: bool
    deep: bool


_EXAMPLES = """\b
Examples:
  k2 verify --truth truth.jsonl.gz
  k2 verify --truth a.jsonl --truth b.jsonl       two runs of different symbols or sessions
  k2 verify --truth truth.jsonl --only http --only events
  k2 verify --truth truth.jsonl --deep            state, lake, log and group against each other too

It first waits until the platform has worked all that the run sent, and for the rows until the
lake holds them. The lake is found as the worker finds it: K2_DATA_DIR, K2_CATALOG_URI,
K2_WAREHOUSE.

Exit codes: 0 no difference; 1 differences; 2 it could not compare."""


@click.command(epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--truth",
    "truths",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    required=True,
    help="As `k2 produce` wrote it; may be given again.",
)
@click.option(
    "--url", help="The platform.  [default: http://127.0.0.1 and $K2_WEB_PORT or the stream's own]"
)
@click.option("--bootstrap", help="Broker.  [default: $K2_BOOTSTRAP or 127.0.0.1:9092]")
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=120.0,
    show_default=True,
    help="Seconds for the platform to have worked all of it.",
)
@click.option(
    "--lake-timeout",
    type=click.FloatRange(0, min_open=True),
    default=180.0,
    show_default=True,
    help="Seconds for the lake to hold all of it.",
)
@click.option(
    "--only",
    "parts",
    type=click.Choice(PARTS),
    multiple=True,
    help="Compare this alone; may be given again.  [default: all]",
)
@click.option(
    "--sql",
    is_flag=True,
    help="Also compare the lake's files once more in plain SQL, and count rows lost and doubled.",
)
@click.option(
    "--deep",
    is_flag=True,
    help="Also recompute the state from the raw log, look for open transactions and lag, hold the "
    "lake against the log, and all that --sql does. Reads everything there is.",
)
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the checks here, as JSON.",
)
@click.option(
    "--show",
    "limit",
    type=click.IntRange(0),
    default=40,
    show_default=True,
    help="Differences printed at most.",
)
@click.pass_context
def verify(  # noqa: PLR0913, PLR0917 - click passes options by name
    context: click.Context,
    truths: tuple[Path, ...],
    url: str | None,
    bootstrap: str | None,
    timeout: float,
    lake_timeout: float,
    parts: tuple[str, ...],
    sql: bool,
    deep: bool,
    report: Path | None,
    limit: int,
) -> None:
    """Compare the lake, the HTTP answers, the events and the dead letters with truth files."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        truth = truth_file.merge(map(truth_file.read, truths))
        _refuse(truth.header, sql=sql, deep=deep)
        source = INPUTS[truth.header.stream]
        settings = from_environment(source=source)
        settings = settings.with_kafka(with_bootstrap(settings.kafka, bootstrap))
        job = _Job(
            settings=settings,
            source=source,
            truth=truth,
            url=url or f"http://127.0.0.1:{settings.web_port}",
            api_key=settings.api_keys[0] if settings.api_keys else None,
            parts=frozenset(parts or PARTS),
            timeout_s=timeout,
            lake_timeout_s=lake_timeout,
            files=truths,
            sql=sql,
            deep=deep,
        )
        checks = asyncio.run(_compare(job))
    except (*UNREACHABLE, LogError) as error:
        raise CannotError(f"no broker answers, or a file cannot be read: {error}") from error
    except (SettingsError, truth_file.TruthError, NotReachedError, LakeError) as error:
        raise CannotError(str(error)) from error
    if report:
        write_report(report, job.truth.header.sent, checks)
    if not show(Console(), checks, limit):
        context.exit(EXIT_DIFFERENT)


async def _compare(job: _Job) -> list[Check]:
    truth, errors = job.truth, Console(stderr=True)
    offsets = {partition: place.next for partition, place in truth.positions.items()}
    checks: list[Check] = []
    async with HttpPlatform(
        job.url, job.api_key, SYSTEM_CLOCK, job.timeout_s, job.source.stream
    ) as http:
        with progress(errors, SYSTEM_CLOCK, "waiting", sum(offsets.values()), "offsets") as tell:
            meta = await http.wait(offsets, tell)
        rows: FoundRows | None = None
        if "http" in job.parts:
            rows = FoundRows(truth)
            checks += await _http_rows(job, http, rows, offsets)
    events, letters = FoundEvents(truth), FoundLetters(truth)
    if "events" in job.parts:
        checks += await _events(job, events)
    if "letters" in job.parts:
        checks += await _letters(job, letters)
    if "lake" in job.parts:
        rows = FoundRows(truth)
        checks += await _lake_rows(job, rows, meta)
    if rows is not None and {"events", "letters"} <= job.parts and truth.alone:
        checks.append(_conserved(truth, rows, events, letters))
    if job.deep:
        checks += await deep_checks(job.settings, job.source, job.files)
    elif job.sql:
        by_id = truth.header.rows_by == "trade_id"
        checks += await sql_checks(job.settings, job.source.stream, job.files, by_id=by_id)
    return checks


def _refuse(header: truth_file.Header, *, sql: bool, deep: bool) -> None:
    """What --sql and --deep cannot tell is said before anything is read."""
    if (sql or deep) and header.rows_by == "place":
        raise CannotError("--sql and --deep need rows with a number or an id; this feed has none")
    if deep and (header.rows_by != "sequence" or header.options.get("lines")):
        raise CannotError(
            "--deep recomputes the state of numbered rows that come by one line alone: use --sql"
        )


async def _events(job: _Job, events: FoundEvents) -> list[Check]:
    topic = job.source.events
    async for partition, records in read_topic(job.settings.kafka, topic):
        for record in records:
            events.add(record.value, f"{topic} {partition}:{record.offset}")
    return events.checks()


async def _letters(job: _Job, letters: FoundLetters) -> list[Check]:
    topic = job.source.dead_letter
    async for partition, records in read_topic(job.settings.kafka, topic):
        for record in records:
            said = {name: value for name, value in record.headers if value is not None}
            letters.add(said, f"{topic} {partition}:{record.offset}")
    return letters.checks()


async def _http_rows(
    job: _Job, http: HttpPlatform, rows: FoundRows, offsets: dict[int, int]
) -> list[Check]:
    """All rows of the truth's exchanges, page by page."""
    exchanges = sorted({line.scope.partition(":")[0] for line in job.truth.sessions})
    pages = Check("http: pages say how many rows they hold", 0, 0)
    errors = Console(stderr=True)
    with progress(errors, SYSTEM_CLOCK, "asking", job.truth.rows, "rows") as tell:
        async for table, meta in http.pages(exchanges[:10], offsets):
            pages.expected += meta["rows"]
            pages.found += table.num_rows
            if meta["rows_lake"] + meta["rows_tail"] != table.num_rows:
                pages.differ(
                    f"{table.num_rows} rows, said to be {meta['rows_lake']} of the lake and "
                    f"{meta['rows_tail']} of the tail"
                )
            for batch in table.to_batches():
                rows.add(batch)
            tell(pages.found)
    return [*rows.checks("http"), pages]


async def _lake_rows(job: _Job, rows: FoundRows, meta: Meta) -> list[Check]:
    """All rows of the lake, once it holds what the answer of `meta` stood for."""
    offsets = {int(partition): int(end) for partition, end in meta["offsets"].items()}
    errors = Console(stderr=True)
    with progress(errors, SYSTEM_CLOCK, "lake", sum(offsets.values()), "offsets") as tell:
        head = await wait_for_lake(
            job.settings.lake, offsets, SYSTEM_CLOCK, job.lake_timeout_s, tell, job.source.stream
        )
    count = Check("lake: rows that the snapshot says it holds", head.rows, 0)
    with progress(errors, SYSTEM_CLOCK, "reading", head.rows, "rows") as tell:
        for batch in lake_rows(job.settings.lake, head.snapshot_id, job.source.stream):
            rows.add(batch)
            count.found += batch.num_rows
            tell(count.found)
    return [*rows.checks("lake"), count]


def _conserved(
    truth: truth_file.Truth, rows: FoundRows, events: FoundEvents, letters: FoundLetters
) -> Check:
    """Each record sent is a row, a dead letter, a counted duplicate or a control message."""
    positions = rows.positions()
    records, repeated = rows.rows, events.duplicates
    if truth.header.rows_by != "sequence":
        # A message may hold several trades, and is repeated by its number, or trade by trade.
        records = sum(len(np.unique(offsets)) for offsets in positions.values())
        repeated += truth.header.repeated - events.repeated_ids
    found = records + letters.count + repeated + truth.header.controls
    check = Check("every record sent is accounted for", truth.header.sent, found)
    buried = letters.positions()
    for partition, offsets in positions.items():
        both = np.intersect1d(offsets, buried.get(partition, np.empty(0, np.int64)))
        for offset in both.tolist():
            check.differ(f"raw {partition}:{offset} is a row and a dead letter")
    return check
