"""`k2 verify`: compare a platform with the truth files of what was sent."""

import asyncio
import logging
from pathlib import Path

import click
from rich.console import Console

from k2_streams.cli.errors import CannotError
from k2_streams.cli.option_types import InstantType
from k2_streams.core.records.source import INPUTS
from k2_streams.kafka.log_reader import LogError
from k2_streams.kafka.sender import UNREACHABLE
from k2_streams.lake.errors import LakeError
from k2_streams.runtime.settings.app_defaults import AppDefaults
from k2_streams.runtime.settings.kafka import with_bootstrap
from k2_streams.runtime.settings.worker import SettingsError, from_environment
from k2_streams.testing.oracle import truth_file
from k2_streams.testing.oracle import verify as oracle
from k2_streams.testing.oracle.report import show, write_report
from k2_streams.testing.oracle.topic_records import NotReachedError
from k2_streams.testing.oracle.verify import PARTS, CannotVerifyError, Verification

EXIT_DIFFERENT = 1

_EXAMPLES = """\b
Examples:
  k2 verify --truth truth.jsonl.gz
  k2 verify --truth a.jsonl --truth b.jsonl       two runs of different symbols or sessions
  k2 verify --truth truth.jsonl --only http --only events
  k2 verify --truth truth.jsonl --deep            state, lake, log and group against each other too

It first waits until the platform has processed all that the run sent, and until the lake holds the
rows. The lake is found as the worker finds it: K2_DATA_DIR, K2_CATALOG_URI, K2_WAREHOUSE.

Exit codes: 0 no difference; 1 differences; 2 it could not compare."""


@click.command(epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--truth",
    "truths",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    required=True,
    help="As `k2 produce` wrote it; may be repeated.",
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
    help="Seconds for the platform to process all of it.",
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
    help="Compare only this; may be repeated.  [default: all]",
)
@click.option(
    "--sql",
    is_flag=True,
    help="Also compare the lake's files once more in plain SQL, and count rows lost and doubled.",
)
@click.option(
    "--known-at",
    "known_at_ns",
    type=InstantType(),
    help="Also compare what was known at this accepted time with the lake's files and the events.",
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
    known_at_ns: int | None,
    deep: bool,
    report: Path | None,
    limit: int,
) -> None:
    """Compare the lake, the HTTP answers, the events and the dead letters with truth files."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        truth = truth_file.merge(map(truth_file.read, truths))
        oracle.check_supported(truth.header, sql=sql, deep=deep)
        source = INPUTS[truth.header.stream]
        settings = from_environment(defaults=AppDefaults.of_input(source))
        settings = settings.with_kafka(with_bootstrap(settings.kafka, bootstrap))
        what = Verification(
            settings=settings,
            source=source,
            truth=truth,
            files=truths,
            url=url or f"http://127.0.0.1:{settings.web_port}",
            parts=frozenset(parts or PARTS),
            timeout_s=timeout,
            lake_timeout_s=lake_timeout,
            sql=sql,
            deep=deep,
            known_at_ns=known_at_ns,
        )
        checks = asyncio.run(oracle.verify(what))
    except (*UNREACHABLE, LogError) as error:
        raise CannotError(f"no broker answers, or a file cannot be read: {error}") from error
    except (
        SettingsError, truth_file.TruthError, CannotVerifyError, NotReachedError, LakeError,
    ) as error:  # fmt: skip
        raise CannotError(str(error)) from error
    if report:
        write_report(report, truth.header.sent, checks)
    if not show(Console(), checks, limit):
        context.exit(EXIT_DIFFERENT)
