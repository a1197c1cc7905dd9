"""Gap events in lake and tail, and what is answered from them; the events are the truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from query_world import TOPIC_ID, FileLake, FixedClock, Log, World, make_batch

from k2_streams.core.records import events
from k2_streams.core.records.events import AnyEvent
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.records.vector import Range
from k2_streams.query.engine import Engine
from k2_streams.query.gaps import NOTHING_MISSING, GapsView
from k2_streams.query.hybrid import HybridQuery
from k2_streams.query.lake_view import LakeView
from k2_streams.query.tail.store import Tail

GAP_EVENTS = TRADES_INPUT.ledger.gap_events


@dataclass(frozen=True)
class Written:
    """A record as a client gives it."""

    offset: int
    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp: int = 1_700_000_000_000


class EventsWorld:
    """A node that answers about gap events; all of one partition are in its memory too."""

    def __init__(self, folder: Path, engine: Engine, findings: GapsView | None = None) -> None:
        self.findings = GapsView() if findings is None else findings
        self.findings.expect({})
        self.clock = FixedClock()
        self.log = Log()
        self.lake = FileLake(folder, GAP_EVENTS)
        self.tail = Tail(GAP_EVENTS, topic_id=TOPIC_ID)
        self.tail.seek(0, 0)
        self.query = HybridQuery(
            self.tail,
            LakeView(lambda: self.lake),
            engine,
            NOTHING_MISSING,
            clock=self.clock,
            stream=GAP_EVENTS,
            findings=self.findings,
        )

    def publish(self, found: Sequence[AnyEvent]) -> None:
        """Events of one transaction, read by the tail and into memory."""
        start = self.log.ends.get(0, 0)
        records = [Written(start + at, events.encode(one)) for at, one in enumerate(found)]
        self._take(list(GAP_EVENTS.decode(0, records)))
        for record, one in zip(records, found, strict=True):
            self.findings.apply(one, 0, record.offset + 1)
        self.findings.advance(0, self.log.ends[0])

    def _take(self, batches: list) -> None:
        start = self.log.ends.get(0, 0)
        self.log.records.setdefault(0, []).extend(batches)
        self.log.ends[0] = start + len(batches) + 1  # the transaction's marker
        self.tail.append(0, Range(start, self.log.ends[0]), batches)

    async def commit(self) -> None:
        """What the sink does, and what the node's answers are made of then."""
        self.lake.commit(self.log, dict(self.log.ends))
        await self.query.refresh()


@dataclass(frozen=True)
class Accepted:
    """A row of a message that was accepted."""

    symbol: str
    session: str
    sequence: int | None
    time_ns: int
    trading_date: int  # days since 1970
    late: bool = False


def add_rows(world: World, rows: Sequence[Accepted]) -> None:
    """A checkpoint's rows of partition 0, read by the tail."""
    offset = world.log.ends.get(0, 0)
    more = {
        "session": [row.session for row in rows],
        "sequence": [row.sequence for row in rows],
        "late": [row.late for row in rows],
        "trading_date": [row.trading_date for row in rows],
    }
    trades = [(row.symbol, row.time_ns) for row in rows]
    batch = make_batch(trades, partition=0, offset=offset, more=more)
    world.log.records.setdefault(0, []).append(batch)
    world.log.ends[0] = offset + 2
    world.read_tail(0)
