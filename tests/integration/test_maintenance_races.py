"""Two sinks, maintenance, killed commits and a query at once, on one lake, as fast as they can.

No broker is needed: the lake is a SQLite catalog and files, the writers are threads. For longer
than the test's two minutes: `python tests/integration/test_maintenance_races.py SECONDS`.
"""

import asyncio
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from lake_rows import TOPIC_ID, World, places_of, record, table_of
from maintenance_world import SetClock, commit, compactor, state_of

from k2_streams.core.maintenance.deletion import plain
from k2_streams.core.maintenance.row_sums import RowSums, sums_of
from k2_streams.core.records.stream import TRADES
from k2_streams.lake import files
from k2_streams.lake.errors import InputsGoneError, LakeUnavailableError
from k2_streams.lake.maintenance.deletions import delete_due, pending
from k2_streams.lake.maintenance.expiry import expire_snapshots
from k2_streams.lake.maintenance.orphans import LEAST_AGE_S, OLDER_THAN_S, delete_orphans
from k2_streams.lake.maintenance.table_files import ReachableFiles, list_files
from k2_streams.lake.schema import description_of
from k2_streams.query.engine import Engine, EngineConfig
from k2_streams.query.errors import LakeUnavailable
from k2_streams.query.hybrid import HybridQuery
from k2_streams.query.lake_view import LakeView
from k2_streams.query.request import RowsRequest
from k2_streams.query.tail.store import Tail
from k2_streams.query.token import Cursor, Token

RACE_S = 120.0
LATER = 1 << 62
#: Harsher than real life: a query has a second to end with the files it has planned, and files that
#: no commit took in are orphans after a minute, as those of a commit that is tried again never are.
DELETE_DELAY_S, ORPHAN_AGE_S = 1.0, 60.0
#: Rows of a page, and answers that are asked for again and again.
PAGE_ROWS, ANSWERS = 40, 5


@dataclass
class Race:
    """What the threads tell each other."""

    world: World
    over: threading.Event = field(default_factory=threading.Event)
    ends: list[int] = field(default_factory=lambda: [0, 0])
    compacted: int = 0
    deleted: int = 0
    littered: int = 0
    cleared: int = 0
    answers: int = 0
    pages: int = 0

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

    def litter(self):
        """Writes files for commits that never come, as killed processes leave them."""
        lake, rows = self.world.writer(), table_of(record(9, 0, 3))
        while not self.over.wait(0.5):
            try:
                self.littered += len(files.write(lake.load(), rows, description_of(TRADES)))
            except LakeUnavailableError:
                continue

    def clear(self):
        """Removes orphans without a pause."""
        lake = self.world.writer()
        while not self.over.wait(1.0):
            ahead = SetClock(time.time_ns() + int((LEAST_AGE_S - ORPHAN_AGE_S) * 1e9))
            try:
                done = delete_orphans(lake, ahead, older_than_s=LEAST_AGE_S, force=True)
                self.cleared += done.deleted
            except LakeUnavailableError:
                continue

    async def query(self, engine):
        """Asks for what an earlier answer held, again and again, whole and page by page."""
        tail = Tail(TRADES, topic_id=TOPIC_ID, memory_bytes=1 << 20)
        query = HybridQuery(
            tail, LakeView(self.world.writer), engine, None, clock=SetClock(), stream=TRADES
        )
        asked = []
        while not self.over.is_set():
            try:
                await query.refresh()
                if len(asked) < ANSWERS:
                    asked.append(await self._ask(query, tail))
                for token, sums, rest, cursor in asked:
                    whole = await query.rows(RowsRequest(as_of=token, limit=100_000))
                    assert sums_of(whole.rows) == sums
                    self.answers += 1
                    assert await self._pages(query, cursor) == rest
            except LakeUnavailable:
                continue
        await query.close()

    async def _ask(self, query, tail):
        """A token, what it holds, what its pages behind the first hold, and their cursor."""
        head = self.world.writer().head().vector.topics.get("k2.trades")
        for partition, end in (head.next if head else {}).items():
            tail.seek(partition, end)
        await query.refresh()
        whole = await query.rows(RowsRequest(limit=100_000))
        token = Token.decode(whole.meta.token)
        first = await query.rows(RowsRequest(as_of=token, limit=PAGE_ROWS))
        rest = sums_of(whole.rows.slice(PAGE_ROWS))
        return token, sums_of(whole.rows), rest, first.meta.next_cursor

    async def _pages(self, query, cursor):
        found = RowSums()
        while cursor is not None:
            page = await query.rows(RowsRequest(cursor=Cursor.decode(cursor), limit=10_000))
            found += sums_of(page.rows)
            cursor = page.meta.next_cursor
            self.pages += 1
        return found


def race(folder, seconds):
    """Nothing is lost, doubled or changed, and no file goes that a snapshot reaches."""
    race = Race(World(folder))
    engine = Engine(EngineConfig(allowed=(str(folder),)))
    with ThreadPoolExecutor(6) as threads:
        running = [
            threads.submit(race.sink, 0),
            threads.submit(race.sink, 1),
            threads.submit(race.maintain),
            threads.submit(race.litter),
            threads.submit(race.clear),
            threads.submit(lambda: asyncio.run(race.query(engine))),
        ]
        race.over.wait(seconds)
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
    # What is left are the files that are reachable, and those that wait for their deletion.
    later = SetClock(time.time_ns() + int((OLDER_THAN_S + 60) * 1e9))
    race.cleared += delete_orphans(race.world.writer(), later, force=True).deleted
    table = race.world.table()
    reachable = ReachableFiles(table.io).of(table.metadata, table.metadata.snapshots)
    stored = {plain(one.path) for one in list_files(table.io, table.location())}
    assert reachable.keys() <= stored
    left = {path for path in stored if path.endswith((".parquet", ".avro"))}
    assert left <= reachable.keys() | pending(table)
    assert race.cleared >= race.littered
    done = (race.compacted, race.deleted, race.littered, race.answers, race.pages)
    assert all(done), done
    return race


@pytest.mark.long
def test_nothing_is_lost_doubled_or_changed(tmp_path):
    race(tmp_path, RACE_S)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        print(race(Path(made), float(sys.argv[1])))  # noqa: T201 - a program of its own
