"""A node to ask: a lake in a folder, a tail beyond it, gaps; served from a thread of its own."""

import asyncio
import threading
from contextlib import contextmanager

from aiohttp import web
from lake_rows import NOON_NS, record, table_of

from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.core.records.events import GapFilled, GapOpened, Late
from k2_streams.core.records.stream import TRADES
from k2_streams.core.records.vector import Range
from k2_streams.lake.config import LakeConfig
from k2_streams.lake.table import Lake
from k2_streams.query.engine import Engine, EngineConfig
from k2_streams.query.gaps import GapsView
from k2_streams.query.hybrid import HybridQuery
from k2_streams.query.lake_view import LakeView
from k2_streams.query.tail.store import Tail

TOPIC_ID = "topic-1"
ROWS_A_RECORD = 5
#: Records of each of two partitions: the first of them in the lake, the others in the tail.
RECORDS, IN_LAKE = 6, 4
ROWS = 2 * RECORDS * ROWS_A_RECORD
SYMBOLS = ("AAA", "BBB")
RAW_NEXT = 1_000
GAP = {
    "scope": "SYN:AAA",
    "session": "0",
    "source_partition": 0,
    "source_offset": 3,
    "exchange_time_ns": NOON_NS,
}


def records(partition, start, end):
    """The records at these offsets, a second apart."""
    return [
        record(partition, offset, ROWS_A_RECORD, start_ns=NOON_NS + offset * 10**9)
        for offset in range(start, end)
    ]


async def node(folder):
    """A hybrid query over both parts, ready, and its engine."""
    config = LakeConfig(f"sqlite:///{folder}/catalog.db", f"{folder}/warehouse")
    lake = Lake(config, stream=TRADES)
    lake.ensure()
    for partition in (0, 1):
        lake.append(
            table_of(*records(partition, 0, IN_LAKE)),
            {partition: Range(0, IN_LAKE)},
            topic_id=TOPIC_ID,
            commit_id=f"commit-{partition}",
        )
    lake.close()
    tail = Tail(TRADES, topic_id=TOPIC_ID)
    gaps = GapsView()
    gaps.expect({})
    for partition in (0, 1):
        tail.seek(partition, IN_LAKE)
        batches = records(partition, IN_LAKE, RECORDS)
        tail.append(partition, Range(IN_LAKE, RECORDS), batches, raw_next=RAW_NEXT)
    events = [
        GapOpened(**GAP, first=5, last=7, size="small"),
        Late(**GAP, sequence=6),
        GapOpened(**GAP, first=20, last=40, size="large"),
        GapFilled(**GAP, first=20, last=40),
    ]
    for position, event in enumerate(events, start=1):
        gaps.apply(event, 0, position)
    gaps.cover({0: RECORDS, 1: RECORDS})
    engine = Engine(EngineConfig(allowed=(f"{folder}/warehouse",)))
    view = LakeView(lambda: Lake(config, stream=TRADES))
    query = HybridQuery(tail, view, engine, gaps, clock=SYSTEM_CLOCK, stream=TRADES, partitions=2)
    await query.refresh()
    return query, engine


@contextmanager
def served(folder, make_application):
    """The address of an application over a node, running in a thread until the end."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start():
        query, engine = await node(folder)
        runner = web.AppRunner(make_application(query), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return query, engine, runner, runner.addresses[0][1]

    async def stop():
        await runner.cleanup()
        await query.close()
        engine.close()

    query, engine, runner, port = asyncio.run_coroutine_threadsafe(start(), loop).result(60)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
