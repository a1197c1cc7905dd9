"""`k2 dead-letters redrive`: dead letters are sent again, after their cause was mended."""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import click
import msgspec

from k2_streams import failpoints
from k2_streams.cli.errors import CannotError
from k2_streams.cli.option_types import InstantType
from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.core.records.source import INPUTS, RawInput
from k2_streams.core.sequence.codec import SequenceFormatError
from k2_streams.feeds.plugins import FeedPluginError, with_plugged_in
from k2_streams.kafka.log_reader import LogError, Record
from k2_streams.kafka.sender import UNREACHABLE
from k2_streams.kafka.topics import (
    TopicAdmin,
    TopicConfigurationError,
    TopicInfo,
    redrives_topic,
)
from k2_streams.kafka.transactions import REQUEST_FAILED, FencedError
from k2_streams.runtime.redrive.outlook import Outlooks
from k2_streams.runtime.redrive.run import Redrive, RedriveReport, RedriveRequest
from k2_streams.runtime.settings.app_defaults import AppDefaults
from k2_streams.runtime.settings.instruments import InstrumentsError, load
from k2_streams.runtime.settings.kafka import with_bootstrap
from k2_streams.runtime.settings.worker import Settings, SettingsError, from_environment
from k2_streams.testing.oracle.dead_letters import LetterFilter, letter_of
from k2_streams.testing.oracle.topic_records import NotReachedError, read_topic
from k2_streams.testing.streams import DECODERS

_EXAMPLES = """\b
Examples:
  k2 dead-letters redrive --dry-run                      what would become of all of them
  k2 dead-letters redrive --reason processing-error
  k2 dead-letters redrive --feed binance.spot --since 2026-11-30T09:00:00Z --limit 100

Letters that would be refused again, and those whose number was received meanwhile, stay where they
are. A letter is sent once: run it again, also after a kill, and it goes on where it was.
Exit codes: 0 done; 2 it could not be done, or not to the end."""


@click.command(
    name="redrive", epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option("--stream", type=click.Choice(list(INPUTS)), default="trades", show_default=True)
@click.option("--reason", "reasons", multiple=True, help="With this reason; may be repeated.")
@click.option(
    "--feed", "feeds", multiple=True, help="Of this feed; `canonical` where no header names one."
)
@click.option("--key", "keys", multiple=True, help="With this key, or one that begins so: X:*")
@click.option("--since", type=InstantType(), help="Appended at or after this time.")
@click.option("--until", type=InstantType(), help="Appended at or before this time.")
@click.option("--limit", type=click.IntRange(1), help="Sent at most.  [default: all]")
@click.option("--dry-run", is_flag=True, help="Say what would become of them, and send nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--bootstrap", help="Broker.  [default: $K2_BOOTSTRAP or 127.0.0.1:9092]")
def redrive(**options: Any) -> None:
    """Send dead letters to the raw topic again: those that would be accepted now, each once.

    Run it where the worker's feeds and settings are. A number that is dead, or missing, is filled.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    source = INPUTS[options["stream"]]
    try:
        settings = from_environment(defaults=AppDefaults.of_input(source))
        settings = settings.with_kafka(with_bootstrap(settings.kafka, options["bootstrap"]))
        failpoints.arm(settings.failpoints, settings.failpoints_record)
        report = asyncio.run(_redrive(settings, source, options))
    except FencedError as error:
        raise CannotError("another redrive of these dead letters has started: this one ends; what "
                          "it has sent stays") from error  # fmt: skip
    except (*UNREACHABLE, *REQUEST_FAILED, LogError) as error:
        raise CannotError(f"not done to the end: {error}: run it again") from error
    except (
        SettingsError, NotReachedError, TopicConfigurationError, FeedPluginError, InstrumentsError,
        SequenceFormatError,
    ) as error:  # fmt: skip
        raise CannotError(str(error)) from error
    if options["as_json"]:
        click.echo(msgspec.json.encode(report))
    else:
        click.echo("\n".join(lines_of_report(report, dry_run=options["dry_run"])))


def lines_of_report(report: RedriveReport, *, dry_run: bool) -> list[str]:
    """A report for people."""
    reasons = ", ".join(f"{reason} ({count:,})" for reason, count in report.refused.most_common())
    accepted = "would be accepted" if dry_run else "sent again"
    return [
        f"{report.matched:>10,}  dead letters match",
        f"{report.accepted if dry_run else report.sent:>10,}  {accepted}",
        f"{report.refused.total():>10,}  still refused{': ' if reasons else ''}{reasons}",
        f"{report.present:>10,}  already there: their numbers were received meanwhile",
        f"{report.redriven_before:>10,}  sent again before",
    ]


async def _redrive(
    settings: Settings, source: RawInput, options: Mapping[str, Any]
) -> RedriveReport:
    wanted = LetterFilter.of_options(options)
    letters, has_redrives = await _topics(settings, source, dry_run=options["dry_run"])

    async def read(topic: str, partition: int) -> AsyncIterator[Sequence[Record]]:
        if topic == source.redrives and not has_redrives:
            return
        async for _, records in read_topic(settings.kafka, topic, partition):
            yield records

    feeds = with_plugged_in(source.stream.name, DECODERS[source.stream.name])
    instruments = load(settings.instruments_file) if settings.instruments_file else None
    outlooks = Outlooks(settings, source, feeds, instruments, letters.partitions, read)
    request = RedriveRequest(
        uuid.uuid4().hex[:12],
        source,
        letters,
        settings.app_id,
        lambda partition, record: wanted.matches(letter_of(partition, record)),
        options["limit"],
        options["dry_run"],
    )
    return await Redrive(request, settings.kafka, read, outlooks.of, SYSTEM_CLOCK).run()


async def _topics(settings: Settings, source: RawInput, *, dry_run: bool) -> tuple[TopicInfo, bool]:
    """The topic of the dead letters, and whether that of the redrives is there.

    Raises:
        NotReachedError: there are no dead letters.
    """
    async with TopicAdmin(settings.kafka, settings.replication) as admin:
        found = await admin.describe([source.dead_letter, source.redrives])
        letters = found.get(source.dead_letter)
        if letters is None:
            raise NotReachedError(f"topic {source.dead_letter}: expected to read it, found none")
        if not dry_run:
            await admin.ensure([redrives_topic(source.redrives, letters.partitions)])
    return letters, not dry_run or source.redrives in found
