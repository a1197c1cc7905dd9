"""A task's decisions with deferral, without Kafka: what is committed survives, the rest is lost."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from tick_model import without

from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.core.dedup.ids import Memory, Window
from k2_streams.core.load.degradation import Level
from k2_streams.core.load.tiers import parse
from k2_streams.core.records import events
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.sequence import codec as sequence_codec
from k2_streams.core.sequence.step import ScopeState
from k2_streams.feeds.feed import FEEDS
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import Record
from k2_streams.kafka.topics import TopicInfo
from k2_streams.kafka.transactions import Output
from k2_streams.runtime.control.supervisor import Supervisor
from k2_streams.runtime.deferral import record as deferred
from k2_streams.runtime.deferral.backlog import Deferral
from k2_streams.runtime.deferral.overload import Overload
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.settings.worker import OverloadSettings
from k2_streams.runtime.task.epoch import Epoch
from k2_streams.runtime.task.sequencer import Sequencer
from k2_streams.state.codec import Position
from k2_streams.state.ids import IdTable
from k2_streams.state.ids_store import IdStore
from k2_streams.state.store import STATE_VERSION, PartitionStore, StoreMeta
from k2_streams.state.table import Table

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
        self.log: list[Output] = []  # of k2.trades.deferred, committed
        self.epochs: list[Epoch] = []  # committed
        self.overload = Overload(OverloadSettings(), SYSTEM_CLOCK)
        self.overload.tiers.table = parse(TIERS)
        self._disk = MemoryDisk()
        self.position = Position(
            source_id="raw", partitions=1, next_offset=0, epoch=0, events=0, accepted_time_us=0,
            rows=0, checksum=0,
        )  # fmt: skip
        self.start()

    def start(self) -> None:
        """Take over from what is committed; count and checksum are checked by the store."""
        self.store = PartitionStore(Path("memory"), self._disk)
        meta = self.store.open()
        assert meta is None or meta.position == self.position
        self.table: Table[ScopeState] = Table(
            self.store,
            sequence_codec.encode,
            sequence_codec.decode,
            self.position.rows,
            self.position.checksum,
        )
        # Every record has a number, so no id is ever asked for.
        ids = IdTable(IdStore(Path("ids"), self._disk), Memory.of(1, 0.5), Window(8))
        self.sequencer = Sequencer(TRADES_INPUT, FEEDS, 0, 1, self.table, ids)
        self.deferral = Deferral(
            DEFERRED,
            0,
            self.position,
            self.store,
            self.overload,
            KafkaConfig("nowhere"),
            lambda: None,
            Supervisor(SYSTEM_CLOCK, Metrics()),
        )
        self.epoch = Epoch(TRADES_INPUT, self.position.next_offset)

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
        epoch, self.epoch = self.epoch, Epoch(TRADES_INPUT, self.epoch.position)
        self.deferral.end(epoch)
        epoch.seal(0)
        sealed = self.deferral.seal(self.table.seal())
        self.position = msgspec.structs.replace(
            self.position,
            next_offset=epoch.position,
            epoch=self.position.epoch + 1,
            rows=sealed.count,
            checksum=sealed.checksum,
            deferred_next=epoch.deferred_next,
            deferred_records=epoch.deferred,
            deferred_from=epoch.deferred_from,
        )
        self.log += epoch.put_off
        self.epochs.append(epoch)
        self.store.write(sealed.rows, StoreMeta(STATE_VERSION, "log", 0, 0, self.position))
        self.table.written()
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
        left = records[self.position.deferred_next :]
        return [record.offset for record in left if record is not None]

    def outcome(self) -> dict[str, Any]:
        """What came of the records, each scope by itself."""
        rows: dict[Any, list[Any]] = {}
        happened: dict[Any, list[Any]] = {}
        for epoch in self.epochs:
            for row in (without(row) for batch in epoch.rows for row in batch.to_pylist()):
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
            "table": (self.position.rows, self.position.checksum),
            "verdicts": {name: sum(e.verdicts[name] for e in self.epochs) for name in names},
        }
