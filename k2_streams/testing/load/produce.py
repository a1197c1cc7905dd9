"""One run of the load generator: topic, messages, sending, truth file, report."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from heapq import merge
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path

from rich.console import Console

from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.feeds.recordings.readers import Recorded, RecordingError
from k2_streams.feeds.recordings.readers import read as read_recording
from k2_streams.kafka.sender import Sender, prepare_topic
from k2_streams.kafka.topics import TopicSpec, stream_topics
from k2_streams.testing.load.invalid import BY_NAME
from k2_streams.testing.load.job import SYNTHETIC_EXCHANGE, LoadJob
from k2_streams.testing.load.messages import Encoder, Names
from k2_streams.testing.load.options import LoadError
from k2_streams.testing.load.recorded import Item, RecordedStream, edited, items, messages, model_of
from k2_streams.testing.load.recorded_trades import RecordedError
from k2_streams.testing.load.report import report
from k2_streams.testing.load.sending import SendOutcome, send_all
from k2_streams.testing.load.stream import LoadStream, SyntheticStream
from k2_streams.testing.local.load_watch import watching
from k2_streams.testing.oracle import truth_file
from k2_streams.testing.oracle.model import Expected, SessionTruth
from k2_streams.testing.oracle.model_ids import ExpectedIds
from k2_streams.testing.oracle.model_messages import ExpectedMessages
from k2_streams.testing.progress import progress


async def produce(job: LoadJob) -> None:
    """Send all of a job, until its end or a signal; write its truth and print what was sent.

    SIGINT and SIGTERM end the run in order: all that was sent is acknowledged and in the truth.

    Raises:
        LoadError: a recording or a file cannot be used.
        TopicConfigurationError: the topic is not as K2 needs it.
        NotAcknowledgedError: something was sent and is not known to have arrived.
        OSError, KafkaError: no broker answers (`UNREACHABLE`).
    """
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
        outcome = await _send(job, stream, sender, expected, stop)
        sessions = list((_model(stream) or expected).truths())
        if job.truth:
            with _writing(job.truth):
                truth = _truth(job, stream, sender, expected, sessions, outcome)
                truth_file.write(job.truth, truth)
    missed = stream.resets_missed if isinstance(stream, SyntheticStream) else 0
    report(Console(), sessions, expected, outcome, sender.sent, job.truth, missed)


async def _send(
    job: LoadJob, stream: LoadStream, sender: Sender, expected: Expected, stop: asyncio.Event
) -> SendOutcome:
    errors = Console(stderr=True)
    with (
        watching(job.watch, errors) as seen,
        progress(errors, SYSTEM_CLOCK, "sending", stream.total, "records", seen) as show,
    ):
        try:
            return await send_all(
                stream, sender, expected, job.pace, clock=SYSTEM_CLOCK, stop=stop, progress=show
            )
        except (RecordedError, RecordingError) as error:
            await sender.finish()
            raise LoadError(
                f"{error}\n{sender.acknowledged:,} records before it were sent; "
                "no truth was written"
            ) from error


@contextmanager
def _writing(file: Path) -> Iterator[None]:
    """Name the file that cannot be written: any other OSError is taken for an unreachable broker.

    Raises:
        LoadError: the file and the cause.
    """
    try:
        yield
    except OSError as error:
        raise LoadError(f"{file}: cannot be written: {error.strerror or error}") from error


def _model(stream: LoadStream) -> ExpectedIds | ExpectedMessages | None:
    """The model that is fed instead of the common one."""
    if isinstance(stream, SyntheticStream):
        return stream.ids
    return stream.model if isinstance(stream, RecordedStream) else None


def _stream(job: LoadJob, sender: Sender) -> LoadStream:
    if job.plan is None:
        model = model_of(job.reading, lined=job.lines)
        return RecordedStream(
            job.feed,
            lambda: _recorded(job, by_message=model is not None),
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
        with _writing(job.tiers_file):
            plan.tiers.write(job.tiers_file, names.scopes)
    encoder = Encoder(
        names, sender.partition_of, sender.partitions, job.source.stream.name, ids=plan.ids
    )
    return SyntheticStream(plan, names, encoder, job.repeat)


def _recorded(job: LoadJob, *, by_message: bool) -> Iterator[Item]:
    """What is sent of the files.

    Raises:
        RecordingError: a file cannot be read.
        RecordedError: a record is not of the feed; the text names its file and number.
    """
    files = [_records(job, file) for file in job.files]
    records = merge(*files, key=itemgetter(0)) if job.lines else chain.from_iterable(files)
    position = ""

    def positioned() -> Iterator[tuple[bytes, bytes, str | None]]:
        nonlocal position
        for _, one, line, (file, number) in records:
            position = f"{file}, record {number}"
            yield one.key, one.value, line

    if by_message:
        stream = messages(job.reading, job.feed, positioned())
    elif job.reading.read is not None:
        stream = edited(items(job.reading.read, job.feed, positioned()), job.edits)
    else:
        raise AssertionError(f"{job.feed}: neither its messages nor its trades can be read")
    try:
        yield from islice(stream, job.messages)
    except RecordedError as error:
        raise RecordedError(f"{position}: {error}") from error


def _records(
    job: LoadJob, file: Path
) -> Iterator[tuple[int, Recorded, str | None, tuple[Path, int]]]:
    """A file's records, each with the time it was received, its line, and its position."""
    line = file.name if job.lines else None
    for number, one in enumerate(read_recording(job.feed, file, job.exchange), 1):
        yield one.receive_time_ns or one.event_time_ns, one, line, (file, number)


def _truth(
    job: LoadJob,
    stream: LoadStream,
    sender: Sender,
    expected: Expected,
    sessions: list[SessionTruth],
    outcome: SendOutcome,
) -> truth_file.Truth:
    model = stream.model if isinstance(stream, RecordedStream) else None
    header = truth_file.Header(
        topic=job.topic,
        rows_by=model.rows_by if model else "sequence",
        repeated=model.repeated if model else 0,
        stream=job.source.stream.name,
        feed=job.feed,
        options=job.options,
        sent=outcome.handed_over,
        controls=model.controls if model else expected.controls,
    )
    positions = {
        partition: truth_file.SentRange(sent.first, sent.next, sent.count)
        for partition, sent in sorted(sender.sent.items())
    }
    lines = [truth_file.session_line(session, stream.scale) for session in sessions]
    return truth_file.Truth(header, lines, expected.reasons, positions)
