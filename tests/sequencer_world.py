"""A sequencer on stores of its own, and records as a task reads them."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from raw_agents import raw_agent

from k2_streams.core.dedup.ids import Memory, Window
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.sequence import codec as sequence_codec
from k2_streams.feeds.feed import FEEDS, Feeds
from k2_streams.native import Native
from k2_streams.runtime.task.epoch import Epoch
from k2_streams.runtime.task.outputs import TaskOutputs
from k2_streams.runtime.task.sequencer import Sequencer, SequencerOptions
from k2_streams.state.ids import IdTable
from k2_streams.state.ids_store import IdStore
from k2_streams.state.scope_table import ScopeTable
from k2_streams.state.store import PartitionStore

T0_MS = 1_700_000_000_000


class Raw(NamedTuple):
    """As aiokafka gives a record, as far as a task reads one."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class World:
    """One partition."""

    def __init__(
        self, store: PartitionStore, ids: IdStore, feeds: Feeds, native: Native | None
    ) -> None:
        self.table = ScopeTable(store, sequence_codec.encode, sequence_codec.decode, 0, 0)
        self.ids = IdTable(ids, Memory.of(1_000, 0.01), Window(86_400_000))
        self.sequencer = Sequencer(
            raw_agent(TRADES_INPUT, feeds),
            0,
            1,
            self.table,
            self.ids,
            options=SequencerOptions(native=native),
        )
        self.epoch = Epoch(TaskOutputs.of_raw(TRADES_INPUT), 0)

    def process(self, records: Sequence[Raw]) -> Epoch:
        """All records as one batch."""
        self.sequencer.process(records, records[-1].offset + 1, self.epoch)
        return self.epoch

    def found(self) -> dict[str, Any]:
        """Everything that the records brought about."""
        rows = [row for batch in self.epoch.rows["k2.trades"] for row in batch.to_pylist()]
        for row in rows:
            row.pop("tick_direction")  # null where records came one by one; a query finds it
        sealed, ids = self.table.seal(), self.ids.seal()
        return {
            "rows": rows,
            "events": sorted(map(repr, self.epoch.events)),
            "letters": self.epoch.dead_letters,
            "duplicates": self.epoch.duplicates.events(),
            "verdicts": +self.epoch.verdicts,
            "feeds": self.epoch.feeds,
            "reasons": self.epoch.reasons,
            "progress": self.epoch.progress,
            "position": self.epoch.position,
            "records": self.epoch.records,
            "table": (sealed.rows, sealed.count, sealed.checksum),
            "ids": ids.buckets,
        }


@contextmanager
def world(folder: Path, feeds: Feeds = FEEDS, native: Native | None = None) -> Iterator[World]:
    """A world whose stores are closed at the end."""
    store, ids = PartitionStore(folder / "s"), IdStore(folder / "i")
    store.open()
    ids.open(lambda _bucket, _ids: None)
    try:
        yield World(store, ids, feeds, native)
    finally:
        store.close()
        ids.close()


def canonical(
    offset: int,
    sequence: int | None,
    symbol: str = "A",
    headers: tuple[tuple[str, bytes | None], ...] = (),
    **changes: Any,
) -> Raw:
    """A trade of K2's own format."""
    fields = {
        "exchange": "X",
        "symbol": symbol,
        "price": "1.5",
        "quantity": "2",
        "exchange_time_ns": T0_MS * 10**6 + offset,
        "sequence": sequence,
    } | changes
    value = json.dumps({name: one for name, one in fields.items() if one is not None}).encode()
    return Raw(offset, T0_MS + offset, f"X:{symbol}".encode(), value, headers)


def spot(offset: int, number: int, symbol: str = "B") -> Raw:
    """A trade of Binance's."""
    value = json.dumps(
        {"e": "trade", "s": symbol, "t": number, "p": "1", "q": "2", "T": T0_MS, "m": True}
    ).encode()
    key = f"BINANCE:{symbol}".encode()
    return Raw(offset, T0_MS + offset, key, value, (("feed", b"binance.spot"),))
