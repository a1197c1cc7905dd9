"""An answer as known at a time holds what had been accepted by then: rows, corrections, gaps.

The model is the log's records and the events as they were made, each with its accepted time. What
sink, tail, evictions, compaction and restarts have made of them since must not show.
"""

import asyncio
import itertools
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from query_world import T0, DictSpill, World
from rows_requests import parse_rows

from k2_streams.core.query.corrections import CANCEL
from k2_streams.core.records.events import AnyEvent, GapFilled, GapOpened, Late
from k2_streams.core.records.stream import TRADES
from k2_streams.core.records.vector import Range
from k2_streams.core.sequence.gap_history import GapHistory
from k2_streams.core.sequence.gaps import GapLedger
from k2_streams.query import known_at
from k2_streams.query.engine import Engine
from k2_streams.query.errors import BeforeHistoryError, NotYetError, UnknownSymbolError
from k2_streams.query.gaps import GapsView
from k2_streams.query.hybrid import HybridQuery
from k2_streams.query.read_point import SETTLED_AFTER_S
from k2_streams.query.request import GapsRequest, RowsRequest, SymbolsRequest
from k2_streams.query.token import Token

PARTITIONS = 2
SYMBOLS = ("A", "B")
START_US = T0 // 1_000
SETTLED_US = SETTLED_AFTER_S * 10**6
#: In milliseconds: some below and some above the windows, which are made a millisecond here.
pause = st.sampled_from([0, 0, 1, 2, 50, 20_000])
partition = st.integers(0, PARTITIONS - 1)
trades = st.lists(st.tuples(st.sampled_from(SYMBOLS), st.integers(T0, T0 + 3)), max_size=3)

appended = st.tuples(st.just("append"), partition, trades, pause, st.booleans())
cancelled = st.tuples(st.just("cancel"), partition, pause)
tailed = st.tuples(st.just("tail"), partition)
committed = st.tuples(st.just("commit"), st.sets(partition, min_size=1))
refreshed = st.tuples(st.just("refresh"))
compacted = st.tuples(st.just("compact"))
restarted = st.tuples(st.just("restart"))
observed = st.tuples(st.just("observe"))
gap = st.tuples(st.just("gap"), st.sampled_from(SYMBOLS), st.integers(0, 2))
change = st.one_of(
    appended, appended, cancelled, tailed, committed, refreshed, compacted, restarted, observed, gap
)
asked = st.tuples(
    st.just("ask"),
    st.integers(0, 12),  # at which of the times that were met, or between them
    st.sampled_from([(), ("A",)]),
    st.sampled_from(["reported", "corrected"]),
)


@pytest.fixture(autouse=True)
def narrow_windows(monkeypatch) -> None:
    """A few records meet what days would."""
    monkeypatch.setattr(known_at, "FIRST_WINDOW_US", 1_000)
    monkeypatch.setattr(known_at, "WINDOWS", 2)


class Run:
    """One interleaving."""

    def __init__(self, engine: Engine, folder: Path, memory_bytes: int) -> None:
        self.engine, self.history = engine, GapHistory(max_events=4)
        self.world = World(
            folder,
            engine,
            partitions=PARTITIONS,
            memory_bytes=memory_bytes,
            spill=DictSpill(),
            gaps=GapsView(history=self.history),
        )
        self.now_us = START_US
        self.events: list[AnyEvent] = []
        self.first: dict[str, int] = {}  # the next sequence number of a symbol
        self.times = [START_US - 1]
        self.answers: list[tuple[RowsRequest, str, list[dict]]] = []

    def change(self, action: tuple) -> None:
        world = self.world
        match action:
            case ("append", number, rows, pause_ms, is_read):
                self.accept(number, rows, pause_ms, None)
                if is_read:
                    self.change(("tail", number))
            case ("cancel", number, pause_ms):
                self.accept(number, [("A", T0 + 1)], pause_ms, CANCEL)
            case ("tail", number):
                world.read_tail(number)
                world.gaps.cover({number: world.log.ends.get(number, 0)})
            case ("gap", symbol, kind):
                self.event(symbol, kind)
            case _:
                self.rearrange(action)

    def rearrange(self, action: tuple) -> None:
        """What must not show: where the rows are, and what the node has seen of it."""
        world = self.world
        match action:
            case ("commit", numbers):
                world.commit(*numbers)
            case ("compact",):
                world.lake.compact()
            case ("refresh",):
                world.view._head = world.lake.heads[-1]
                world.tail.evict(world.view._head.vector)
            case ("restart",):
                head = world.lake.heads[-1]
                for number in range(PARTITIONS):
                    world.tail.seek(number, head.vector.next_of("k2.trades", number) or 0)
                    self.change(("tail", number))
                world.view._head = head
            case ("observe",):
                self.now_us += SETTLED_US + 1
                world.clock.now_ns = self.now_us * 1_000
                world.tail.observe(
                    {p: world.log.ends.get(p, 0) for p in range(PARTITIONS)}, world.clock.now_ns
                )

    def accept(self, number: int, rows: list, pause_ms: int, action: str | None) -> None:
        self.now_us += pause_ms * 1_000
        self.world.clock.now_ns = self.now_us * 1_000
        self.times.append(self.now_us)
        count = len(rows)
        more = (
            {}
            if action is None
            else {
                "action": [action] * count,
                "ref_trade_id": ["id3"] * count,
                "ref_session": ["0"] * count,
                "trade_id": [None] * count,
            }
        )
        self.world.log.append(number, rows, more=more, accepted_us=self.now_us)

    def event(self, symbol: str, kind: int) -> None:
        scope, first = f"X:{symbol}", self.first.get(symbol, 1)
        common = {
            "scope": scope, "session": "0", "exchange_time_ns": T0 + 1,
            "accepted_time_us": self.now_us,
        }  # fmt: skip
        event: AnyEvent
        if kind == 0:
            self.first[symbol] = first + 2
            event = GapOpened(
                first=first, last=first + 1, size="small", previous_time_ns=T0,
                next_time_ns=T0 + 2, **common,
            )  # fmt: skip
        elif kind == 1:
            event = Late(sequence=first - 1, **common)
        else:
            event = GapFilled(first=first - 2, last=first - 1, **common)
        self.events.append(event)
        self.world.gaps.apply(event, 0, len(self.events))

    def known_rows(self, known_us: int) -> list[dict]:
        ends = {
            number: max(
                (b.log_offset + 1 for b in batches if b.accepted_time_us <= known_us), default=0
            )
            for number, batches in self.world.log.records.items()
        }
        return self.world.log.rows(ends)

    def known_gaps(self, known_us: int) -> GapLedger:
        ledger = GapLedger()
        for event in self.events:
            if event.accepted_time_us <= known_us:
                ledger.apply(event)
        return ledger

    def is_read_past(self, known_us: int) -> bool:
        """Of every partition a later record was read, or an end that was found late enough."""
        parts = self.world.tail.view().partitions
        for number, part in parts.items():
            below = self.world.log.between(number, Range(0, part.end))
            newer = any(batch.accepted_time_us > known_us for batch in below)
            settled = part.read_to_ns // 1_000 - SETTLED_US >= known_us
            if not (newer or settled):
                return False
        return True

    async def ask(self, action: tuple) -> None:
        _, which, symbols, view = action
        known_us = self.times[which % len(self.times)] + which % 2
        known_ns = known_us * 1_000 + 999
        request = RowsRequest(symbols=symbols, known_at_ns=known_ns, limit=3, view=view)
        truth = self.known_rows(known_us)
        try:
            answer = await self.world.query.rows(request)
        except NotYetError:
            assert not self.is_read_past(known_us) or self.forgot(known_us)
            return
        except BeforeHistoryError:
            assert truth == []
            return
        except UnknownSymbolError:
            assert not any(row["symbol"] == "A" for row in truth)
            return
        assert self.is_read_past(known_us)
        # Every record that was accepted by then had been read: nothing of it is missing.
        assert answer.meta.known_at_ns == known_ns
        rows = answer.rows.to_pylist()
        while answer.meta.next_cursor is not None:
            answer = await self.world.query.rows(parse_rows({"cursor": answer.meta.next_cursor}))
            assert answer.meta.known_at_ns == known_ns
            rows += answer.rows.to_pylist()
        wanted = [row for row in truth if not symbols or row["symbol"] in symbols]
        if view == "corrected":
            is_cancelled = any(row["action"] == CANCEL for row in truth)
            gone = ("A", "id3") if is_cancelled else None
            wanted = [
                row
                for row in wanted
                if row["action"] != CANCEL
                and not (gone and row["symbol"] == "A" and row["trade_id"] == "id3")
            ]
        assert rows == wanted
        self.check_gaps(answer.meta.gaps, known_us, symbols)
        await self.check_lists(known_ns, truth)
        self.answers.append((request, answer.meta.token, rows))

    def forgot(self, known_us: int) -> bool:
        """Everything newer of a partition is in the lake: a restart may have forgotten its time."""
        return any(
            all(
                batch.accepted_time_us <= known_us
                for batch in self.world.log.between(number, part.range)
            )
            for number, part in self.world.tail.view().partitions.items()
        )

    def check_gaps(self, shown: tuple, known_us: int, symbols: tuple[str, ...]) -> None:
        if known_us < self.history.since_us:
            return
        ledger = self.known_gaps(known_us)
        scopes = [f"X:{symbol}" for symbol in symbols or SYMBOLS]
        assert list(shown) == list(ledger.gaps(scopes))

    async def check_lists(self, known_ns: int, truth: list[dict]) -> None:
        known_us = known_ns // 1_000
        gaps = await self.world.query.gaps(GapsRequest(known_at_ns=known_ns))
        self.check_gaps(gaps.gaps, known_us, ())
        assert gaps.meta.known_at_ns == known_ns
        assert gaps.meta.complete == (known_us >= self.history.since_us)
        symbols = await self.world.query.symbols(SymbolsRequest(known_at_ns=known_ns))
        counts = {s: sum(row["symbol"] == s for row in truth) for s in SYMBOLS}
        assert {row.symbol: row.trades for row in symbols.symbols} == {
            symbol: count for symbol, count in counts.items() if count
        }
        if known_us >= self.history.since_us:
            ledger = self.known_gaps(known_us)
            for row in symbols.symbols:
                assert row.counts == ledger.counts(f"X:{row.symbol}")

    async def ask_again(self) -> None:
        """The same times and tokens, whatever happened since: the same rows."""
        for request, token, rows in self.answers:
            pinned = RowsRequest(
                symbols=request.symbols, as_of=Token.decode(token), view=request.view
            )
            assert (await self.world.query.rows(pinned)).rows.to_pylist() == rows
            again = await self.world.query.rows(
                RowsRequest(
                    symbols=request.symbols, known_at_ns=request.known_at_ns, view=request.view
                )
            )
            assert (again.rows.to_pylist(), again.meta.token) == (rows, token)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.one_of(change, change, asked), max_size=25),
    st.sampled_from([0, 2**28]),
)
def test_any_interleaving_shows_what_was_known_at_any_time(engine, actions, memory_bytes):
    async def run() -> None:
        with tempfile.TemporaryDirectory(dir=engine[1]) as folder:
            world_run = Run(engine[0], Path(folder), memory_bytes)
            for action in actions:
                if action[0] == "ask":
                    await world_run.ask(action)
                else:
                    world_run.change(action)
            # At last everything is read and settled: each time has an answer.
            for number in range(PARTITIONS):
                world_run.change(("tail", number))
            world_run.change(("observe",))
            for which, view in itertools.product(range(6), ["reported", "corrected"]):
                await world_run.ask(("ask", which, (), view))
            await world_run.ask_again()
            world_run.world.commit()
            world_run.world.lake.compact()
            await world_run.world.query.refresh()
            await world_run.ask_again()
            # A node that has remembered nothing finds the same offsets.
            world = world_run.world
            world.query = HybridQuery(
                world.tail, world.view, engine[0], world.gaps, clock=world.clock, stream=TRADES
            )
            await world_run.ask_again()
            await world_run.world.view.close()

    asyncio.run(run())
