"""The oracle's states are those of the tasks, also where a feed was mended or a gap repaired."""

import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from raw_agents import raw_agent
from sequencer_world import T0_MS, Raw, World, canonical, world

from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.sequence.step import ScopeState
from k2_streams.feeds.canonical.feed import Canonical
from k2_streams.feeds.decoding.decoded import Bad, Decoded, Kind, RawBatch
from k2_streams.feeds.feed import FEEDS, Feeds
from k2_streams.kafka.log_reader import Record
from k2_streams.runtime.task.epoch import PartitionProgress
from k2_streams.runtime.task.processing_error import ProcessingError
from k2_streams.runtime.task.sequencer import Sequencer, SequencerOptions
from k2_streams.state.position import Position
from k2_streams.testing.oracle.dead_letters import DeadNumbers, dead_numbers
from k2_streams.testing.oracle.replay import ReplayedPartition

HORIZON_MS, TOLERANCE_MS = 300_000, 1_000


class Refusing(Canonical):
    """With a bug: numbers that end in 7 have a wrong price, and no time."""

    def decode(self, batch: RawBatch) -> Decoded:
        found = super().decode(batch)
        chosen = (found.sequence % 10 == 7).nonzero()[0]
        found.kind[chosen] = Kind.BAD
        found.event_time_ns[chosen] = 0
        found.bad += [Bad(at, "wrong-type", "price", "bug") for at in chosen.tolist()]
        found.rows = found.rows.filter(found.kind[found.rows.column("message")] != Kind.BAD)
        return found


class Raising(Canonical):
    """With a bug: it fails before it has read a number that ends in 7."""

    def decode(self, batch: RawBatch) -> Decoded:
        if any(b'"sequence": 7}' in (value or b"") for value in batch.values):
            raise KeyError("bug")
        return super().decode(batch)


class Tasks:
    """The task of a partition, with the feeds of the day, and all that it has read."""

    def __init__(self, of: World) -> None:
        self._world = of
        self.records: list[Raw] = []
        self.use(FEEDS)

    def use(self, feeds: Feeds) -> None:
        """A restart with other feeds."""
        epoch, table = self._world.epoch, self._world.table
        progress = epoch.progress or PartitionProgress(0, (), 0, 0)
        self.sequencer = Sequencer(
            raw_agent(TRADES_INPUT, feeds), 0, 1, table, self._world.ids, progress=progress,
            options=SequencerOptions(horizon_ms=HORIZON_MS, tolerance_ms=TOLERANCE_MS),
        )  # fmt: skip

    def read(self, *records: Raw) -> None:
        self.records += records
        try:
            self.sequencer.process(records, records[-1].offset + 1, self._world.epoch)
        except ProcessingError as error:
            (record,) = records
            self.sequencer.refuse(record, error, record.offset + 1, self._world.epoch)

    def states(self) -> dict[str, ScopeState]:
        return dict(self._world.table.items())

    async def dead(self) -> dict[int, DeadNumbers]:
        letters = [
            Record(at, one.key, one.value, one.headers, 0)
            for at, one in enumerate(self._world.epoch.dead_letters)
        ]

        async def read() -> AsyncIterator[tuple[int, Sequence[Record]]]:
            yield 0, letters

        return await dead_numbers(read(), TRADES_INPUT.raw)

    def replayed(self, dead: DeadNumbers) -> dict[str, ScopeState]:
        """By the feeds of today."""
        made = ReplayedPartition(
            FEEDS, 0, 1, horizon_ms=HORIZON_MS, tolerance_ms=TOLERANCE_MS, dead=dead
        )
        made.take(self.records)
        made.settle(
            Position(
                source_id="x", partitions=1, next_offset=made.next,
                append_time_ms=self.sequencer.stream_time_ms, sections=self.sequencer.sections(),
            )
        )  # fmt: skip
        return made.states


def redriven(offset: int, of: Raw) -> Raw:
    """The record, sent again."""
    return of._replace(
        offset=offset, timestamp=T0_MS + offset, headers=((("k2.redrive", b"r"), *of.headers))
    )


async def test_a_state_of_before_its_feed_was_mended_is_recomputed_as_its_letters_say(
    tmp_path: Path,
) -> None:
    with world(tmp_path) as of:
        tasks = Tasks(of)
        tasks.use({**FEEDS, "canonical": Refusing()})
        for number in range(1, 30):
            tasks.read(canonical(number, number))
        tasks.use(FEEDS)
        dead = (await tasks.dead())[0]
        assert [one and one.sequence for one in dead.values()] == [7, 17, 27]
        assert tasks.replayed(dead) == tasks.states(), "not redriven yet"
        tasks.read(redriven(40, tasks.records[6]), redriven(41, tasks.records[16]))
        tasks.read(redriven(42, tasks.records[6]))
        assert tasks.replayed(dead) == tasks.states()
        assert tasks.replayed({}) != tasks.states(), "today's feed alone does not explain it"


async def test_a_record_whose_number_was_not_read_then_counts_from_its_redrive_on(
    tmp_path: Path,
) -> None:
    with world(tmp_path) as of:
        tasks = Tasks(of)
        tasks.use({**FEEDS, "canonical": Raising()})
        for number in (5, 6, 7, 8, 9):
            tasks.read(canonical(number, number))
        tasks.use(FEEDS)
        dead = (await tasks.dead())[0]
        assert dead == {7: None}
        tasks.read(redriven(20, tasks.records[2]))
        assert tasks.states()["X:A"].counters.gaps_filled == 1
        assert tasks.replayed(dead) == tasks.states()
        assert tasks.replayed({}) != tasks.states()


async def test_a_number_that_is_refused_by_its_verdict_is_recomputed(tmp_path: Path) -> None:
    with world(tmp_path) as of:
        tasks = Tasks(of)
        later = canonical(3, 2, session="day", exchange_time_ns=T0_MS * 10**6 + 10**12)
        tasks.read(canonical(1, 1, session="day"), canonical(2, 2, session="day"), later)
        assert of.epoch.reasons == {"conflicting-duplicate": 1}
        assert await tasks.dead() == {}
        assert tasks.replayed({}) == tasks.states()


def some(chance: random.Random, records: int) -> list[Raw]:
    """Numbers of two symbols by no line, by two, or by a repair's, some lost, some repeated."""
    made, time_ms = [], T0_MS
    last = {"A": 0, "B": 0}
    for offset in range(records):
        time_ms += chance.choice((0, 1, 1_000, 40_000, 90_000))
        symbol, line = chance.choice("AB"), chance.choice(("", "", "a", "b", "repair-1"))
        last[symbol] += chance.choice((0, 1, 1, 1, 2, 4))
        number = max(1, last[symbol] - chance.choice((0, 0, 0, 1, 3)))
        headers: Any = (("line", line.encode()),) if line else ()
        made.append(canonical(offset, number, symbol, headers)._replace(timestamp=time_ms))
    return made


async def test_lines_gaps_and_time_that_passes_are_recomputed(tmp_path: Path) -> None:
    """Whatever the batches are, and whenever somebody looked at silent scopes."""
    found = {"held": 0, "abandoned": 0}
    for seed in range(12):
        chance = random.Random(seed)
        with world(tmp_path / str(seed)) as of:
            tasks = Tasks(of)
            records = some(chance, 120)
            while records:
                size = chance.randint(1, 30)
                batch, records = records[:size], records[size:]
                tasks.read(*batch)
                if chance.random() < 0.3 and records:
                    tasks.sequencer.pass_time(records[0].timestamp, of.epoch)
            if seed % 2:
                now_ms = tasks.sequencer.stream_time_ms + chance.randint(0, 2 * HORIZON_MS)
                tasks.sequencer.pass_time(now_ms, of.epoch)
            states = tasks.states()
            assert tasks.replayed({}) == states, seed
            found["held"] += sum(bool(one.lines and one.lines.held) for one in states.values())
            found["abandoned"] += sum(one.counters.numbers_abandoned for one in states.values())
    assert all(found.values()), found
