"""Whatever order commits, compaction, expiry, deletion and orphan removal come in: nothing changes.

On a real catalog and real files. A node that queries all the while keeps the snapshot it has loaded
until its files are gone, and tokens and cursors from before are asked again and again.
"""

import asyncio
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lake_rows import DAY_NS, TOPIC_ID, World, places_of
from maintenance_world import SetClock, commit, compactor, state_of

from k2_streams.core.maintenance.deletion import plain
from k2_streams.core.maintenance.row_sums import sums_of
from k2_streams.core.records.stream import TRADES
from k2_streams.lake.maintenance.deletions import delete_due
from k2_streams.lake.maintenance.expiry import expire_snapshots
from k2_streams.lake.maintenance.orphans import OLDER_THAN_S, delete_orphans
from k2_streams.lake.maintenance.table_files import ReachableFiles, list_files
from k2_streams.query.engine import Engine, EngineConfig
from k2_streams.query.hybrid import HybridQuery
from k2_streams.query.lake_view import LakeView
from k2_streams.query.request import RowsRequest
from k2_streams.query.tail.store import Tail
from k2_streams.query.token import Cursor, Token

LATER = 1 << 62
STEPS = st.lists(
    st.sampled_from(
        ["append", "append", "append", "compact", "next-day", "expire", "delete", "orphans"]
    ),
    min_size=4,
    max_size=8,
)
#: Every step after every other one that matters to it.
ALL = [
    *("append", "append", "append", "next-day", "compact", "append", "compact", "expire"),
    *("delete", "orphans", "append", "compact", "delete", "expire", "orphans", "delete"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("lakes")


@pytest.fixture(scope="module")
def engine(folder):
    engine = Engine(EngineConfig(allowed=(str(folder),)))
    yield engine
    engine.close()


class Kept:
    """A table, who maintains it, and a node that queries it."""

    def __init__(self, folder, engine):
        self.world = World(folder)
        self.sink, self.upkeep = self.world.writer(), self.world.writer()
        self.clock = SetClock()
        self.compactor = compactor(self.world, clock=self.clock)
        self.tail = Tail(TRADES, topic_id=TOPIC_ID, memory_bytes=1 << 24)
        self.query = HybridQuery(
            self.tail, LakeView(self.world.writer), engine, None, clock=self.clock, stream=TRADES
        )
        self.ends = [0, 0]
        self.tokens = []  # and the sums of the rows that each stands for
        self.pages = []  # first pages, and the sums of all their rows
        self.stored = None  # sums of the rows as the table has them

    async def append(self):
        partition = len(self.tokens) % 2
        commit(self.sink, self.ends[partition], partition=partition)
        self.ends[partition] += 1
        for number, end in enumerate(self.ends):
            self.tail.seek(number, end)
        await self.query.refresh()
        answer = await self.query.rows(RowsRequest(limit=1_000))
        assert answer.rows.num_rows == 3 * sum(self.ends)
        self.tokens.append((Token.decode(answer.meta.token), sums_of(answer.rows)))
        first = await self.query.rows(RowsRequest(limit=2))
        self.pages.append((first, sums_of(answer.rows)))
        _, self.stored, _ = state_of(self.world)

    async def step(self, name):
        # A table without a commit has nothing to maintain.
        if name == "append" or not self.tokens:
            await self.append()
        elif name == "compact":
            self.compactor.run_once()
        elif name == "next-day":  # the day of all rows is closed
            self.clock.now_ns += DAY_NS
        elif name == "expire":
            expire_snapshots(self.upkeep, keep=1, older_than_ms=LATER, files_at_ms=0)
        elif name == "delete":  # at once: harsher than real life
            delete_due(self.upkeep, self.clock, delay_s=0.0)
        elif name == "orphans":
            later = SetClock(time.time_ns() + int((OLDER_THAN_S + 60) * 1e9))
            delete_orphans(self.upkeep, later, force=True)

    async def check(self):
        """Every token and cursor of before answers as it did."""
        for token, sums in self.tokens:
            answer = await self.query.rows(RowsRequest(as_of=token, limit=1_000))
            assert sums_of(answer.rows) == sums
        for page, sums in self.pages:
            found, at = sums_of(page.rows), page.meta.next_cursor
            while at is not None:
                cursor = Cursor.decode(at)
                request = RowsRequest(limit=100, cursor=cursor)
                after = await self.query.rows(request.continued(cursor, is_repeated=False))
                found += sums_of(after.rows)
                at = after.meta.next_cursor
            assert found == sums

    def check_table(self):
        """Rows, vector and places are those of the commits, and every file of theirs is there."""
        table = self.world.table()
        rows, sums, vector = state_of(self.world)
        assert (rows, sums) == (3 * sum(self.ends), self.stored)
        assert vector.topics["k2.trades"].next == {p: end for p, end in enumerate(self.ends) if end}
        assert self.world.places() == places_of(
            *((p, n) for p, end in enumerate(self.ends) for n in range(end))
        )
        reachable = ReachableFiles(table.io).of(table.metadata, table.metadata.snapshots)
        stored = {plain(one.path) for one in list_files(table.io, table.location())}
        assert reachable.keys() <= stored


@settings(max_examples=5)
@given(STEPS)
@example(ALL)
def test_rows_vector_tokens_and_cursors_are_those_of_no_maintenance(folder, engine, steps):
    async def run():
        kept = Kept(folder / str(time.monotonic_ns()), engine)
        for name in steps:
            await kept.step(name)
        kept.check_table()
        await kept.check()
        await kept.query.close()

    asyncio.run(run())
