"""A task's decisions with deferral, without Kafka: what is committed survives, the rest is lost."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from raw_agents import raw_agent
from tick_model import without

from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.core.dedup.ids import Memory, Window
from k2_streams.core.load.degradation import Level
from k2_streams.core.load.tiers import parse
from k2_streams.core.records import events
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.feeds.feed import FEEDS
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import Record
from k2_streams.kafka.topics import TopicInfo
from k2_streams.kafka.transactions import OutputRecord
from k2_streams.runtime.control.supervisor import Supervisor
from k2_streams.runtime.deferral import record as deferred
from k2_streams.runtime.deferral.backlog import (
    COUNT_CODEC,
    DEFERRAL,
    Deferral,
    DeferralState,
)
from k2_streams.runtime.deferral.overload import Overload
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.settings.worker import OverloadSettings
from k2_streams.runtime.task.epoch import Epoch
from k2_streams.runtime.task.market import SEQUENCE_CODEC
from k2_streams.runtime.task.outputs import TaskOutputs
from k2_streams.runtime.task.sequencer import Sequencer
from k2_streams.state.ids import IdTable
from k2_streams.state.ids_store import IdStore
from k2_streams.state.position import Position, encode_position
from k2_streams.state.row_tables import RowTables
from k2_streams.state.scope_table import ScopeTable
from k2_streams.state.store import PartitionStore

CHANGELOG = TopicInfo("changelog", "changelog", 1)
DEFERRED = TopicInfo(TRADES_INPUT.deferred, "deferred", 1)
TIERS = "X:A,1\nX:B,2\n*,3"


class Raw(NamedTuple):
    """As aiokafka gives a record, as far as a task reads it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class MemoryDisk:
    """A `Disk` of one database."""

    def __init__(self) -> None:
        self.entries: dict[bytes, bytes] = {}

    def open(self, path: Path) -> "MemoryDisk":
        return self

    def delete(self, path: Path) -> None:
        self.entries = {}

    def get(self, key: bytes) -> bytes | None:
        return self.entries.get(key)

    def items(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        return iter(sorted(e for e in self.entries.items() if e[0].startswith(prefix)))

    def all_keys(self) -> Iterator[bytes]:
        return iter(sorted(self.entries))

    def write(self, entries: Mapping[bytes, bytes | None], dropped: Sequence[bytes] = ()) -> None:
        assert not dropped
        for key, value in entries.items():
            if value is None:
                self.entries.pop(key, None)
            else:
                self.entries[key] = value

    def close(self) -> None:
        pass


class World:
    """A source of records, and the task that works it; `crash` loses what is not committed."""

    def __init__(self, source: list[Raw]) -> None:
        self.source = source
        self.log: list[OutputRecord] = []  # of k2.trades.deferred, committed
        self.epochs: list[Epoch] = []  # committed
        self.overload = Overload(OverloadSettings(), SYSTEM_CLOCK)
        self.overload.tiers.use(parse(TIERS))
        self._disk = MemoryDisk()
        self.position = Position(source_id="raw", partitions=1, next_offset=0)
        self.start()

    def start(self) -> None:
        """Take over from what is committed; count and checksum are checked by the store."""
        store = PartitionStore(Path("memory"), self._disk)
        self.rows = RowTables("sequence", store, CHANGELOG, 0, has_position=True)
        self.rows.open(0)
        assert self.rows.position in (None, self.position)
        self.table = self.rows.table_of(ScopeTable, SEQUENCE_CODEC)
        # Every record has a number, so no id is ever asked for.
        ids = IdTable(IdStore(Path("ids"), self._disk), Memory.of(1, 0.5), Window(8))
        self.sequencer = Sequencer(raw_agent(TRADES_INPUT, FEEDS), 0, 1, self.table, ids)
        self.deferral = Deferral(
            DEFERRED,
            0,
            self.state,
            self.rows.table(COUNT_CODEC, "deferral"),
            self.overload,
            KafkaConfig("nowhere"),
            lambda: None,
            Supervisor(SYSTEM_CLOCK, Metrics()),
        )
        self.epoch = Epoch(TaskOutputs.of_raw(TRADES_INPUT), self.position.next_offset)

    @property
    def state(self) -> DeferralState:
        """Of the backlog, as it is committed."""
        return DEFERRAL.read(self.position.sections) or DeferralState()

    def work(self, level: Level, at_most: int, budget: int) -> int:
        """Work some of the source; how many records were taken."""
        self.overload.level = level
        if self.deferral.holds_source():
            return 0
        records = self.source[self.epoch.position : self.epoch.position + at_most]
        found = self.deferral.triage(records, self.epoch, budget)
        end = self.epoch.position + found.taken
        self.sequencer.process(found.now, end, self.epoch)
        return found.taken

    def drain(self, at_most: int) -> int:
        """Work some of what was put off and is committed; how many records were read."""
        start = self.deferral.next_offset
        records = [
            Record(start + i, out.key, out.value, out.headers, 0)
            for i, out in enumerate(self.log[start : start + at_most])
        ]
        found = [deferred.decode(record, 0) for record in records]
        waited = self.deferral.drained(found, start + len(records), self.epoch)
        self.sequencer.process(waited, self.epoch.position, self.epoch)
        return len(records)

    def commit(self) -> None:
        """One transaction, and the store behind it."""
        epoch, self.epoch = self.epoch, Epoch(TaskOutputs.of_raw(TRADES_INPUT), self.epoch.position)
        sections = self.deferral.seal(epoch)
        epoch.seal(0)
        sealed = self.rows.seal()
        self.position = msgspec.structs.replace(
            self.position,
            next_offset=epoch.position,
            checkpoint=self.position.checkpoint + 1,
            tables=dict(sealed.sums),
            sections=dict(sections),
        )
        self.log += epoch.newly_deferred
        self.epochs.append(epoch)
        self.rows.written(sealed, 0, encode_position(self.position))
        self.deferral.committed()

    def crash(self) -> None:
        """kill -9: another task takes over."""
        self.start()

    def waiting(self) -> list[int]:
        """The offsets in the source of what is committed and waits."""
        records = [
            deferred.decode(Record(i, out.key, out.value, out.headers, 0), 0)
            for i, out in enumerate(self.log)
        ]
        left = records[self.state.next_offset :]
        return [record.offset for record in left if record is not None]

    def outcome(self) -> dict[str, Any]:
        """What came of the records, each scope by itself."""
        rows: dict[Any, list[Any]] = {}
        happened: dict[Any, list[Any]] = {}
        for epoch in self.epochs:
            for row in (
                without(row) for batch in epoch.rows["k2.trades"] for row in batch.to_pylist()
            ):
                rows.setdefault((row["exchange"], row["symbol"]), []).append(row)
            for event in epoch.events:
                if not isinstance(event, events.Duplicates):
                    happened.setdefault(event.scope, []).append(events.encode(event))
        letters = [letter for epoch in self.epochs for letter in epoch.dead_letters]
        names = ("first", "in_order", "late", "duplicate", "reset", "stale")
        return {
            "rows": rows,
            "events": happened,
            "letters": sorted(letters, key=lambda out: int(dict(out.headers)["k2.offset"])),
            "duplicates": sum(epoch.duplicates.count for epoch in self.epochs),
            "table": self.position.tables["sequence"],
            "verdicts": {name: sum(e.verdicts[name] for e in self.epochs) for name in names},
        }
