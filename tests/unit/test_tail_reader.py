"""The tail of any log: a user's output has neither sequence events nor an append time."""

from dataclasses import replace

import pyarrow as pa
from metric_values import value
from raw_agents import raw_topology
from tail_world import ACCEPTED_US, TailWorld

from k2_streams.core.records import events
from k2_streams.core.records.log_chunk import PublishedBeside
from k2_streams.core.records.log_record import CheckpointHeaders
from k2_streams.core.records.schema import INGEST_TIME
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.records.stream import TRADES, Stream
from k2_streams.core.records.vector import Range
from k2_streams.runtime.committed_rows import FOLLOWED_FOR_S
from k2_streams.runtime.node.log_topics import LogTopics
from k2_streams.topology.declarations import Agent, Output, StreamSource, Topology

FOUND = pa.schema(
    [
        pa.field("account", pa.string(), nullable=False),
        pa.field("time_ns", pa.int64(), nullable=False),
    ]
)
ALERTS = Output.of("alerts", FOUND, key=("account",), time="time_ns")
BESIDE = LogTopics("k2.app.trades.dead-letter")
SEQUENCED = LogTopics("k2.dead-letter", "k2.sequence-events")


def gap(number: int) -> events.GapOpened:
    return events.GapOpened(scope="X:A", session="", first=number, last=number, size="small")


def rows(*accounts: str) -> list[dict]:
    return [{"account": account, "time_ns": 1} for account in accounts]


def test_beside_a_log_are_the_topics_of_its_source() -> None:
    trades = StreamSource(TRADES_INPUT.stream)
    of_trades = raw_topology("k2")
    beside = ("k2.dead-letter", "k2.sequence-events", "k2.trades.deferred")
    assert LogTopics.of(of_trades, TRADES_INPUT.stream) == (*beside, None)
    of_query_node = LogTopics.of(of_trades, TRADES_INPUT.stream, with_source=True)
    assert of_query_node == (*beside, "k2.trades.raw")
    agent = Agent("find", trades, function=lambda batch, ctx: None, outputs=(ALERTS,))
    of_alerts = Topology("app", (trades,), (agent,), outputs=(ALERTS,))
    assert LogTopics.of(of_alerts, ALERTS.stream) == BESIDE


async def test_an_output_without_events_reads_its_dead_letters_alone() -> None:
    world = TailWorld(ALERTS.stream, BESIDE)
    world.checkpoint(rows("a"), CheckpointHeaders(3, None, 0, 0, 2, 0), dead_letters=2)
    world.checkpoint(rows("b", "c"), CheckpointHeaders(9, None, 0, 0, 3, 0), dead_letters=1)
    await world.follow(lambda: world.tail.rows == 3 and world.reader.dead_letters.total == 3)
    assert world.topics.read == {"k2.alerts", "k2.app.trades.dead-letter"}
    assert world.reader.dead_letters.reached() == {0: 2}
    assert world.tail.view().partitions[0].raw_next == 9
    assert world.reader.error is None


async def test_a_tail_begins_behind_the_lake_and_knows_what_was_processed_before() -> None:
    world = TailWorld(ALERTS.stream, BESIDE, in_lake=2)
    for number in (4, 8):
        world.checkpoint(rows("a"), CheckpointHeaders(number, None, 0, 0, 0, 0))
    await world.follow(world.tail.all_ready)
    view = world.tail.view().partitions[0]
    assert (view.evicted, view.end, view.raw_next, world.tail.rows) == (2, 2, 8, 0)


async def test_freshness_counts_from_the_checkpoint_where_rows_have_no_append_time() -> None:
    world = TailWorld(ALERTS.stream, BESIDE)
    world.checkpoint(rows("a"), CheckpointHeaders(1, None, 0, 0, 0, 0))
    world.clock.now_s += 5
    await world.follow(lambda: world.tail.rows == 1)
    expected = world.clock.time_ns() / 1e9 - ACCEPTED_US / 1e6
    assert world.freshness_s() == expected


async def test_freshness_counts_from_the_append_time_that_rows_carry_on() -> None:
    schema = pa.schema([*FOUND, INGEST_TIME])
    stream = Stream.of_output("carried", schema, key=("account",), time="time_ns")
    world = TailWorld(stream, BESIDE)
    appended_us = ACCEPTED_US - 2_000_000
    world.checkpoint(
        [{**rows("a")[0], "ingest_time": appended_us}], CheckpointHeaders(1, None, 0, 0, 0, 0)
    )
    await world.follow(lambda: world.tail.rows == 1)
    expected = world.clock.time_ns() / 1e9 - appended_us / 1e6
    assert world.freshness_s() == expected


async def test_rows_that_a_task_gives_are_in_the_tail_before_they_are_fetched() -> None:
    world = TailWorld(ALERTS.stream, BESIDE)
    world.checkpoint(rows("a"), CheckpointHeaders(3, None, 0, 0, 0, 0))
    await world.follow(lambda: world.tail.rows == 1)
    world.committed.give(world.chunk(1, rows("b", "c"), CheckpointHeaders(9, None, 0, 0, 0, 0)))
    await world.follow(lambda: world.tail.rows == 3)
    view = world.tail.view().partitions[0]
    assert (view.end, view.raw_next) == (2, 9)
    read = {
        origin: value(
            world.metrics.registry, "k2_tail_rows_read_total", stream="alerts", origin=origin
        )
        for origin in ("log", "memory")
    }
    assert read == {"log": 1, "memory": 2}


async def test_what_was_given_is_not_taken_from_the_log_as_well() -> None:
    world = TailWorld(ALERTS.stream, BESIDE)
    headers = CheckpointHeaders(9, None, 0, 0, 0, 0)
    await world.follow(world.tail.all_ready)
    world.committed.give(world.chunk(0, rows("a"), headers))
    world.checkpoint(rows("a"), headers)
    world.checkpoint(rows("b"), headers)
    await world.follow(lambda: world.tail.rows == 1)
    world.clock.now_s += FOLLOWED_FOR_S  # nothing is given any more
    await world.follow(lambda: world.tail.rows == 2)
    assert world.tail.view().partitions[0].end == 2


async def test_a_log_that_its_retention_has_emptied_is_read_on_from_its_end() -> None:
    """Nothing is in front of it: the marker of what memory gave last is gone as well."""
    world = TailWorld(ALERTS.stream, BESIDE)
    headers, at = CheckpointHeaders(9, None, 0, 0, 0, 0), (ALERTS.stream.log, 0)

    def give() -> None:
        world.committed.give(world.chunk(0, rows("a"), headers))

    def go_on() -> None:
        for account in "ab":
            world.checkpoint(rows(account), headers)
        world.topics.begins[at] = 1
        world.clock.now_s += FOLLOWED_FOR_S  # nothing is given any more

    await world.follow_through(
        (lambda: world.tail.ends == {0: 0} and world.reader.error is None, give),
        (lambda: world.tail.rows == 1 and at in world.topics.paused, go_on),
        (lambda: world.tail.rows == 2 or world.reader.error is not None, lambda: None),
    )
    assert (world.tail.rows, world.reader.error, world.reader.faults) == (2, None, [])


async def test_events_and_dead_letters_that_are_given_are_not_waited_for() -> None:
    """Their topics have nothing yet: the transaction's markers are still to be written."""
    world = TailWorld(TRADES, SEQUENCED)
    await world.follow(lambda: world.tail.all_ready() and world.reader.error is None)
    headers = CheckpointHeaders(9, None, 0, 1, 1, 0)
    given = replace(
        world.chunk(0, (), headers),
        events=PublishedBeside(Range(0, 2), 0, 1, (gap(5),)),
        dead_letters=PublishedBeside(Range(0, 2), 0, 1),
    )
    world.committed.give(given)
    await world.follow(lambda: world.tail.ends == {0: 1})
    assert world.gaps is not None
    found, _ = world.gaps.find(limit=10)
    assert [(one.first, one.last) for one in found] == [(5, 5)]
    assert world.gaps.covers({0: 1})
    assert world.reader.dead_letters.reached() == {0: 1}


async def test_what_was_given_of_events_is_not_counted_when_it_is_read_as_well() -> None:
    world = TailWorld(TRADES, SEQUENCED)
    given = replace(
        world.chunk(0, (), CheckpointHeaders(9, None, 0, 1, 1, 0)),
        events=PublishedBeside(Range(0, 1), 0, 1, (gap(5),)),
        dead_letters=PublishedBeside(Range(0, 1), 0, 1),
    )

    def give() -> None:
        world.committed.give(given)

    def append() -> None:
        for number in (5, 7):
            world.topics.append("k2.sequence-events", events.encode(gap(number)))
            world.topics.append(SEQUENCED.dead_letters, b"")

    await world.follow_through(
        (lambda: world.tail.all_ready() and world.reader.error is None, give),
        (lambda: world.tail.ends == {0: 1}, append),
        (lambda: world.reader.dead_letters.total >= 2, lambda: None),
    )
    assert world.gaps is not None
    assert world.reader.dead_letters.total == 2, "the one that was given and the one behind it"
    assert world.gaps.totals().gaps_opened == 2


async def test_events_in_front_of_which_something_is_missing_are_read() -> None:
    world = TailWorld(TRADES, SEQUENCED)
    await world.follow(lambda: world.tail.all_ready() and world.reader.error is None)
    given = replace(
        world.chunk(0, (), CheckpointHeaders(9, None, 0, 2, 0, 0)),
        events=PublishedBeside(Range(1, 2), 1, 1, (gap(5),)),
    )
    world.committed.give(given)
    await world.follow(lambda: world.tail.ends == {0: 1})
    assert world.gaps is not None
    assert not world.gaps.covers({0: 1})
    assert world.gaps.totals().gaps_opened == 0


async def test_rows_wait_for_their_dead_letters_however_they_come() -> None:
    world = TailWorld(ALERTS.stream, BESIDE)
    await world.follow(world.tail.all_ready)
    world.committed.give(world.chunk(0, rows("a"), CheckpointHeaders(9, None, 0, 0, 1, 0)))
    world.topics.append(BESIDE.dead_letters, b"")
    await world.follow(lambda: world.tail.rows == 1)
    assert world.reader.dead_letters.reached() == {0: 1}


async def test_events_that_were_there_before_a_node_are_read_before_its_gaps_are_complete() -> None:
    world = TailWorld(TRADES, SEQUENCED)
    for number in (1, 2):
        world.topics.append("k2.sequence-events", events.encode(gap(number)))
    assert world.gaps is not None
    assert not world.gaps.is_complete
    expected: list[dict[int, int]] = []
    world.gaps.expect = expected.append  # type: ignore[method-assign]
    await world.follow(lambda: world.gaps is not None and world.gaps.positions == {0: 2})
    assert expected == [{0: 2}]


async def test_rows_of_a_checkpoint_that_is_read_in_part_are_not_covered() -> None:
    """What it published is counted by its last record, and may still be to come."""
    world = TailWorld(ALERTS.stream, BESIDE)
    whole = world.chunk(0, rows("a"), CheckpointHeaders(3, None, 0, 0, 0, 0))
    await world.reader._events_of(replace(whole, end=whole.end + 1, partial_from=whole.end))
    assert world.reader.dead_letters.reached() == {0: whole.end}
