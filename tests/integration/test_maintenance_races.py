"""Two sinks, a maintainer and a query at once, on one lake, as fast as they can.

No broker is needed: the lake is a SQLite catalog and files, the writers are threads.
"""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from lake_rows import TOPIC_ID, World, places_of
from maintenance_world import SetClock, commit, compactor, state_of

from k2_streams.core.maintenance.deletion import plain
from k2_streams.core.maintenance.row_sums import sums_of
from k2_streams.core.records.stream import TRADES
from k2_streams.lake.errors import InputsGoneError, LakeUnavailableError
from k2_streams.lake.maintenance.deletions import delete_due
from k2_streams.lake.maintenance.expiry import expire_snapshots
from k2_streams.lake.maintenance.table_files import ReachableFiles, list_files
from k2_streams.query.engine import Engine, EngineConfig
from k2_streams.query.errors import LakeUnavailable
from k2_streams.query.hybrid import HybridQuery
from k2_streams.query.lake_view import LakeView
from k2_streams.query.request import RowsRequest
from k2_streams.query.tail.store import Tail
from k2_streams.query.token import Token

RACE_S = 60.0
LATER = 1 << 62
#: Harsher than real life: a query has a second to end with the files it has planned.
DELETE_DELAY_S = 1.0


@dataclass
class Race:
    """What the threads tell each other."""

    world: World
    over: threading.Event = field(default_factory=threading.Event)
    ends: list[int] = field(default_factory=lambda: [0, 0])
    compacted: int = 0
    deleted: int = 0
    answers: int = 0

    def sink(self, partition):
        """Commits without a pause; one that is not certain is called again, as a sink does."""
        lake = self.world.writer()
        while not self.over.is_set():
            try:
                commit(lake, self.ends[partition], partition=partition)
            except LakeUnavailableError:
                continue
            self.ends[partition] += 1

    def maintain(self):
        """Compacts, lets snapshots expire and deletes without a pause."""
        compacting, lake = compactor(self.world), self.world.writer()
        while not self.over.is_set():
            try:
                done = compacting.run_once()
                self.compacted += 0 if done is None else done.files
                now_ms = time.time_ns() // 1_000_000
                expire_snapshots(lake, keep=3, older_than_ms=LATER, files_at_ms=now_ms)
                clock = SetClock(time.time_ns())
                self.deleted += delete_due(lake, clock, delay_s=DELETE_DELAY_S).files
            except (LakeUnavailableError, InputsGoneError):
                continue

    async def query(self, engine):
        """Asks for what an earlier answer held, again and again."""
        tail = Tail(TRADES, topic_id=TOPIC_ID, memory_bytes=1 << 20)
        query = HybridQuery(
            tail, LakeView(self.world.writer), engine, None, clock=SetClock(), stream=TRADES
        )
        tokens = []
        while not self.over.is_set():
            try:
                await query.refresh()
                if len(tokens) < 5:
                    head = self.world.writer().head().vector.topics.get("k2.trades")
                    for partition, end in (head.next if head else {}).items():
                        tail.seek(partition, end)
                    await query.refresh()
                    answer = await query.rows(RowsRequest(limit=100_000))
                    tokens.append((Token.decode(answer.meta.token), sums_of(answer.rows)))
                for token, sums in tokens:
                    answer = await query.rows(RowsRequest(as_of=token, limit=100_000))
                    assert sums_of(answer.rows) == sums
                    self.answers += 1
            except LakeUnavailable:
                continue
        await query.close()


@pytest.mark.long
def test_nothing_is_lost_doubled_or_changed(tmp_path):
    race = Race(World(tmp_path))
    engine = Engine(EngineConfig(allowed=(str(tmp_path),)))
    with ThreadPoolExecutor(4) as threads:
        running = [
            threads.submit(race.sink, 0),
            threads.submit(race.sink, 1),
            threads.submit(race.maintain),
            threads.submit(lambda: asyncio.run(race.query(engine))),
        ]
        race.over.wait(RACE_S)
        race.over.set()
        for one in running:
            one.result()
    engine.close()
    rows, _, vector = state_of(race.world)
    assert rows == 3 * sum(race.ends)
    assert vector.topics["k2.trades"].next == dict(enumerate(race.ends))
    assert race.world.places() == places_of(
        *((p, n) for p, end in enumerate(race.ends) for n in range(end))
    )
    table = race.world.table()
    reachable = ReachableFiles(table.io).of(table.metadata, table.metadata.snapshots)
    assert reachable.keys() <= {plain(f.path) for f in list_files(table.io, table.location())}
    assert race.compacted > 0
    assert race.deleted > 0
    assert race.answers > 0
