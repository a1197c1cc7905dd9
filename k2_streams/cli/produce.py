"""`k2 produce`: the load producer."""

import asyncio
import logging
import signal
from collections.abc import Iterator
from dataclasses import replace
from heapq import merge
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from k2_streams.cli.errors import CannotError, writing
from k2_streams.cli.produce_job import SYNTHETIC_EXCHANGE, Job, settle
from k2_streams.cli.produce_options import Instant, Kinds, Resets, Share, Tiers
from k2_streams.cli.produce_report import report
from k2_streams.cli.progress import progress
from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.core.records.stream import STREAMS
from k2_streams.feeds.recordings.readers import FEEDS, Recorded, RecordingError
from k2_streams.feeds.recordings.readers import read as read_recording
from k2_streams.kafka.sender import UNREACHABLE, NotAcknowledgedError, Sender, prepare_topic
from k2_streams.kafka.topics import TopicConfigurationError, TopicSpec, stream_topics
from k2_streams.testing.load.invalid import BY_NAME
from k2_streams.testing.load.messages import Encoder, Names
from k2_streams.testing.load.recorded import Item, RecordedStream, edited, items, messages, model_of
from k2_streams.testing.load.recorded_trades import RecordedError
from k2_streams.testing.load.sending import Outcome, send_all
from k2_streams.testing.load.stream import Stream, SyntheticStream
from k2_streams.testing.local.load_watch import watching
from k2_streams.testing.oracle import truth_file
from k2_streams.testing.oracle.model import Expected, SessionTruth
from k2_streams.testing.oracle.model_ids import ExpectedIds
from k2_streams.testing.oracle.model_messages import ExpectedMessages

EXIT_NOT_ACKNOWLEDGED = 1
COMPRESSIONS = ("none", "lz4", "zstd", "snappy", "gzip")


class NotSentError(click.ClickException):
    """Something was sent and is not known to have arrived."""

    exit_code = EXIT_NOT_ACKNOWLEDGED


_SHARE = Share()
_EXAMPLES = """\b
Examples:
  k2 produce --rate 1000                          until Ctrl-C, as if it were live
  k2 produce --messages 1000000 --seed 7 --gaps 0.1% --duplicates 0.1% \\
      --disorder 0.1% --late 0.1% --invalid 0.1% --resets 50 --truth truth.jsonl.gz
  K2_MAX_RATE_PER_S=1000 k2 produce --rate 0.5x:10,10x:60,0.1x:300 --tiers 20:5%,180:25% \\
      --tiers-file tiers.csv --watch http://127.0.0.1:6066
  k2 produce --messages 1000000 --seed 7 --ids --duplicates 1% --truth ids.jsonl.gz
  k2 produce --feed binance.spot *.gz --repeat 2 --truth truth.jsonl
  k2 produce --feed hitbtc.v2 --lines HITBTC.ws.*.0 --truth lines.jsonl
  k2 produce --stream quotes --feed asx.quotes.csv 7078.csv --truth quotes.jsonl
  k2 produce --feed binance.spot *.gz --seed 3 --gaps 1% --disorder 1% --truth edited.jsonl
  k2 produce --feed hitbtc.v2 --lines HITBTC.ws.*

A seed makes a run repeatable to the byte: event time then starts at 2025-06-02T09:30:00Z unless
--start says otherwise. Without one each run is new: event time starts now, in a session of its
own.

Ctrl-C ends a run in order: all that was sent is acknowledged and stands in the truth file.
Exit codes: 0 all sent is acknowledged; 1 something is not; 2 it could not begin."""


@click.command(epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--rate",
    default="0",
    show_default=True,
    help="Messages a second; 0: as fast as possible. 10x: ten times K2_MAX_RATE_PER_S. "
    "Steps RATE:SECONDS by comma, FROM..TO:SECONDS is a ramp.",
)
@click.option(
    "--event-rate",
    type=click.FloatRange(0, min_open=True),
    help="Messages a second of event time, where it is not --rate: history made quickly.",
)
@click.option("--messages", type=click.IntRange(1), help="How many, before repeats.")
@click.option("--duration", type=click.FloatRange(0, min_open=True), help="Seconds, at most.")
@click.option("--symbols", type=click.IntRange(1, 1_000_000), default=1000, show_default=True)
@click.option(
    "--skew",
    type=click.FloatRange(0, 5),
    default=1.0,
    show_default=True,
    help="Zipf's exponent over the symbols; 0: all alike.",
)
@click.option(
    "--tiers",
    type=Tiers(),
    help="Symbols and their share of the messages, of tiers 1 and 2: 20:5%,180:25%.",
)
@click.option(
    "--tiers-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the table of these tiers here, for K2_TIERS_FILE.",
)
@click.option("--watch", help="A worker's address: show its lag, level and freshness by tier.")
@click.option("--seed", type=click.IntRange(0), help="Of all that is random.  [default: a new one]")
@click.option("--start", type=Instant(), help="Event time of the first message, or `now`.")
@click.option(
    "--exchange",
    help="Whose the messages are.  [default: SIM; of recordings the feed's own, or the record's]",
)
@click.option("--gaps", type=_SHARE, default="0", help="Where 1 to 20 numbers are never sent.")
@click.option("--duplicates", type=_SHARE, default="0", help="Sent once more a bit later.")
@click.option("--disorder", type=_SHARE, default="0", help="Swapped with the symbol's next.")
@click.option("--late", type=_SHARE, default="0", help="Sent 20 to 200 of the symbol later.")
@click.option("--invalid", type=_SHARE, default="0", help="Spoiled, for the dead letter topic.")
@click.option("--invalid-kinds", type=Kinds(), help=f"Of {', '.join(BY_NAME)}.  [default: all]")
@click.option(
    "--ids",
    is_flag=True,
    help="A trade id instead of a number; --duplicates then come at any distance.",
)
@click.option("--resets", type=Resets(), default="0", help="Sessions begun anew; from 1 a number.")
@click.option(
    "--session",
    type=click.Choice(["declared", "fall"]),
    help="How a session is told: by a field, or by the number's fall and an hour's gap.",
)
@click.option(
    "--feed",
    help=f"Send recordings (FILES) of this feed instead: {', '.join(sorted(FEEDS))}, or one of "
    "another package.",
)
@click.option(
    "--lines",
    is_flag=True,
    help="FILES are redundant lines of one feed: sent as received, each record naming its line.",
)
@click.option(
    "--repeat",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Send all of it so many times.",
)
@click.option(
    "--truth",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write here what must come of it; gzipped if it ends in .gz.",
)
@click.option("--bootstrap", help="Broker.  [default: $K2_BOOTSTRAP or 127.0.0.1:9092]")
@click.option(
    "--stream",
    type=click.Choice(list(STREAMS)),
    default="trades",
    show_default=True,
    help="What is sent.",
)
@click.option("--topic", help="Where to.  [default: the stream's raw topic]")
@click.option("--compression", type=click.Choice(COMPRESSIONS), default="none", show_default=True)
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def produce(**options: Any) -> None:
    """Send trades or quotes: synthetic ones with known faults, or recordings (FILES)."""
    # aiokafka's warnings about a broker that is away repeat what the error says.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    job = settle(options)
    try:
        asyncio.run(_run(job, options["truth"]))
    except UNREACHABLE as error:
        raise CannotError(
            f"no broker answers at {job.settings.kafka.bootstrap} ({error}): start one with "
            "`k2 broker start`, or name another with --bootstrap or K2_BOOTSTRAP"
        ) from error
    except TopicConfigurationError as error:
        raise CannotError(str(error)) from error
    except NotAcknowledgedError as error:
        raise NotSentError(f"{error}; no truth was written") from error


async def _run(job: Job, truth: Path | None) -> None:
    specs = {
        spec.name: spec
        for spec in stream_topics(job.source, job.settings.app_id, job.settings.partitions)
    }
    spec = TopicSpec(job.topic, job.settings.partitions, specs[job.source.raw].config)
    partitions = await prepare_topic(job.settings.kafka, spec, job.settings.replication)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with Sender(job.settings.kafka, job.topic, partitions, job.compression) as sender:
        stream = _stream(job, sender)
        expected = Expected()
        errors = Console(stderr=True)
        with (
            watching(job.watch, errors) as seen,
            progress(errors, SYSTEM_CLOCK, "sending", stream.total, "records", seen) as tell,
        ):
            try:
                outcome = await send_all(
                    stream, sender, expected, job.pace, clock=SYSTEM_CLOCK, stop=stop, progress=tell
                )
            except (RecordedError, RecordingError) as error:
                await sender.finish()
                raise CannotError(
                    f"{error}\n{sender.acknowledged:,} records before it were sent; "
                    "no truth was written"
                ) from error
        sessions = list((_model(stream) or expected).truths())
        if truth:
            with writing(truth):
                truth_file.write(truth, _truth(job, stream, sender, expected, sessions, outcome))
    missed = stream.resets_missed if isinstance(stream, SyntheticStream) else 0
    report(Console(), sessions, expected, outcome, sender.sent, truth, missed)


def _model(stream: Stream) -> ExpectedIds | ExpectedMessages | None:
    """What is told instead of the common model."""
    if isinstance(stream, SyntheticStream):
        return stream.ids
    return stream.model if isinstance(stream, RecordedStream) else None


def _stream(job: Job, sender: Sender) -> Stream:
    if job.plan is None:
        model = model_of(job.told, lined=job.lines)
        return RecordedStream(
            job.feed,
            lambda: _recorded(job, is_told=model is not None),
            sender.partition_of,
            job.repeat,
            model,
        )
    plan = job.plan
    if sender.partitions == 1:  # there is no wrong one
        wrong = BY_NAME["wrong-partition"]
        plan = replace(plan, kinds=tuple(kind for kind in plan.kinds if kind != wrong))
    names = Names(job.exchange or SYNTHETIC_EXCHANGE, plan.symbols, job.session)
    if job.tiers_file is not None and plan.tiers is not None:
        with writing(job.tiers_file):
            plan.tiers.write(job.tiers_file, names.scopes)
    encoder = Encoder(
        names, sender.partition_of, sender.partitions, job.source.stream.name, ids=plan.ids
    )
    return SyntheticStream(plan, names, encoder, job.repeat)


def _recorded(job: Job, *, is_told: bool) -> Iterator[Item]:
    """What is sent of the files.

    Raises:
        RecordingError: a file cannot be read.
        RecordedError: a record is not of the feed; the text names its file and number.
    """
    files = [_records(job, file) for file in job.files]
    records = merge(*files, key=itemgetter(0)) if job.lines else chain.from_iterable(files)
    at = ""

    def told() -> Iterator[tuple[bytes, bytes, str | None]]:
        nonlocal at
        for _, one, line, (file, number) in records:
            at = f"{file}, record {number}"
            yield one.key, one.value, line

    if is_told:
        stream = messages(job.told, job.feed, told())
    elif job.told.read is not None:
        stream = edited(items(job.told.read, job.feed, told()), job.edits)
    else:
        raise AssertionError(f"{job.feed}: neither messages nor trades are told")
    try:
        yield from islice(stream, job.messages)
    except RecordedError as error:
        raise RecordedError(f"{at}: {error}") from error


def _records(job: Job, file: Path) -> Iterator[tuple[int, Recorded, str | None, tuple[Path, int]]]:
    """A file's records, each with the time it was received, its line, and where it stands."""
    line = file.name if job.lines else None
    for number, one in enumerate(read_recording(job.feed, file, job.exchange), 1):
        yield one.receive_time_ns or one.event_time_ns, one, line, (file, number)


def _truth(
    job: Job,
    stream: Stream,
    sender: Sender,
    expected: Expected,
    sessions: list[SessionTruth],
    outcome: Outcome,
) -> truth_file.Truth:
    told = stream.model if isinstance(stream, RecordedStream) else None
    header = truth_file.Header(
        topic=job.topic,
        rows_by=told.rows_by if told else "sequence",
        repeated=told.repeated if told else 0,
        stream=job.source.stream.name,
        feed=job.feed,
        options=job.options,
        sent=outcome.handed_over,
        controls=told.controls if told else expected.controls,
    )
    positions = {
        partition: truth_file.Position(sent.first, sent.next, sent.count)
        for partition, sent in sorted(sender.sent.items())
    }
    lines = [truth_file.session_line(session, stream.scale) for session in sessions]
    return truth_file.Truth(header, lines, expected.reasons, positions)
