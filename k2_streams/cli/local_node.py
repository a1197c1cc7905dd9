"""A node of this process over the lake's tables alone: no broker, no worker, no tail.

It answers as any node does, up to what the newest snapshots hold. Nothing but the lake tells it how
far gaps are known, so no answer of rows is complete; gaps are those of their own table.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from k2_streams.cli.errors import CannotError
from k2_streams.cli.tables import chosen_lakes
from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.core.ledger.streams import gap_events_among, has_gap_events
from k2_streams.core.records.stream import Stream
from k2_streams.lake.errors import LakeError
from k2_streams.lake.store import DataFiles
from k2_streams.lake.table import Lake
from k2_streams.query.engine import Engine, EngineConfig
from k2_streams.query.errors import QueryError
from k2_streams.query.gaps import NOTHING_MISSING, GapsView
from k2_streams.query.hybrid import HybridQuery
from k2_streams.query.lake_view import LakeView
from k2_streams.query.relations import ServedLog
from k2_streams.query.sql.sandbox import Sandbox
from k2_streams.query.store_files import StoreFiles
from k2_streams.query.tail.store import Tail
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.settings.worker import Settings
from k2_streams.web.http.api_keys import KeyRing, new_text
from k2_streams.web.server import serve_on_loopback
from k2_streams.web.services import LinesFound, Readiness, Services

_T = TypeVar("_T")


def with_local_node(settings: Settings, module: str | None, work: Callable[[str, str], _T]) -> _T:
    """What is made of a node over the tables that there are, which ends then.

    Args:
        settings: where the lake is.
        module: of the app whose tables they are; None: K2's own.
        work: is given the node's address and a key.

    Raises:
        CannotError: there is no table, or one cannot be read.
    """
    try:
        streams = [lake.stream for lake in chosen_lakes(settings, module, ())]
    except LakeError as error:
        raise CannotError(str(error)) from error
    if not streams:
        raise CannotError("the lake has no tables yet (K2_DATA_DIR, K2_CATALOG_URI, K2_WAREHOUSE)")

    async def serve() -> _T:
        async with _served(settings, streams) as (address, key):
            # Beside the event loop, which answers what it asks.
            return await asyncio.get_running_loop().run_in_executor(None, work, address, key)

    try:
        return asyncio.run(serve())
    except QueryError as error:
        raise CannotError(str(error)) from error


@asynccontextmanager
async def _served(settings: Settings, streams: Sequence[Stream]) -> AsyncIterator[tuple[str, str]]:
    """A node's address, and the key that it asks for."""
    folder = settings.lake.folder
    files = DataFiles() if folder is None else None
    store = None if files is None else StoreFiles(files, SYSTEM_CLOCK)
    engine = Engine(EngineConfig(allowed=() if folder is None else (folder,), store=store))
    sandbox, key = Sandbox(), new_text()
    queries = _queries(settings, streams, engine, files)
    services = Services(
        logs=tuple(ServedLog(stream, queries[stream]) for stream in streams),
        status=dict,
        lines=lambda: LinesFound([], [], 0),
        ready=lambda: Readiness(ok=True),
        telemetry=Metrics().web,
        keys=KeyRing.of_texts([key]),
        sandbox=sandbox,
    )
    try:
        for query in queries.values():
            await query.refresh()
        async with serve_on_loopback(services) as address:
            yield address, key
    finally:
        for query in queries.values():
            await query.close()
        sandbox.close()
        engine.close()


def _queries(
    settings: Settings, streams: Sequence[Stream], engine: Engine, files: DataFiles | None
) -> dict[Stream, HybridQuery]:
    """What answers about each table; the ledgers first, of which the others ask."""
    found: dict[Stream, HybridQuery] = {}
    unread = {stream.about or stream.name: GapsView() for stream in streams}
    for stream in sorted(streams, key=lambda one: not one.is_ledger):
        events = gap_events_among(found, stream)
        findings = unread[stream.about or stream.name]
        found[stream] = HybridQuery(
            Tail(stream, topic_id=""),
            LakeView(partial(Lake, settings.lake, stream=stream, files=files)),
            engine,
            # Without gaps no answer is complete, not even of a table without rows.
            NOTHING_MISSING if stream.is_ledger else None,
            clock=SYSTEM_CLOCK,
            stream=stream,
            rules=settings.conditions_file,
            findings=findings if stream.is_sequenced or has_gap_events(stream) else None,
            gap_events=None if events is None else found[events],
        )
    return found
