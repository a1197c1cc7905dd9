"""A repair by trade ids, against a model: what the platform lacks is sent, each trade once."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, Self

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lake_rows import NOON_NS, table_of
from lake_rows import record as lake_record
from raw_agents import raw_topology
from redrive_world import T0_NS, decoding, value
from venue_records import APPEND_MS
from venue_records import TRADES as MESSAGES

from k2_streams.cli.repair_report import lines_of_repair, tell_what_stays
from k2_streams.core.records.log_record import encode
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.records.stream import TRADES
from k2_streams.core.records.vector import Range
from k2_streams.core.types import TopicPartition
from k2_streams.kafka.log_reader import Chunk, Record
from k2_streams.lake.config import LakeConfig
from k2_streams.lake.table import Lake
from k2_streams.runtime.repair import held, trade_ids
from k2_streams.runtime.repair.held import HeldTrades
from k2_streams.runtime.repair.missing import GapSelection, RepairPlan
from k2_streams.runtime.repair.platform import RepairBy, Repaired
from k2_streams.runtime.repair.sources import RepairRecord, RepairSourceError
from k2_streams.runtime.repair.trade_ids import (
    HELD_COLUMNS,
    TIME_MARGIN_NS,
    LackingTrades,
    Owner,
    repaired_trades,
)
from k2_streams.testing import InputMessage

NOW_MS = T0_NS // 10**6
ABOUT = {"repair_id": "r", "started": "s", "by": "b", "source": "x"}


class Trade(NamedTuple):
    symbol: str
    session: str
    id: str


def record(trade: Trade, **changes: Any) -> RepairRecord:
    """One of K2's own format, without a number."""
    session = {} if trade.session == "0" else {"session": trade.session}
    raw = value(None, symbol=trade.symbol, trade_id=trade.id, **session, **changes)
    return RepairRecord(f"X:{trade.symbol}".encode(), raw)


def trade_of(one: RepairRecord) -> Trade:
    fields = json.loads(one.value)
    return Trade(fields["symbol"], fields.get("session", "0"), fields["trade_id"])


def rows(trades: Sequence[Trade], exchange: str = "X") -> pa.Table:
    """As the platform holds them."""
    columns = zip(*[(exchange, *one) for one in trades], strict=True) if trades else ((),) * 4
    names = dict(zip(HELD_COLUMNS, map(list, columns), strict=True))
    return pa.table({name: pa.array(found, pa.string()) for name, found in names.items()})


def lacking(source: Sequence[RepairRecord], *there: pa.Table, **selected: Any) -> LackingTrades:
    found = LackingTrades(decoding(), GapSelection(**selected))
    found.ask(source, NOW_MS)
    for some in there:
        found.take_away(some)
    return found


TRADES_ = st.builds(
    Trade, st.sampled_from("AB"), st.sampled_from(("0", "day")), st.sampled_from("12345|")
)


@given(st.lists(TRADES_, min_size=1, max_size=40), st.sets(TRADES_), st.integers(1, 40))
def test_exactly_what_is_lacking_is_sent_once(
    source: list[Trade], there: set[Trade], portion: int
) -> None:
    """However the source repeats itself, and however its records are cut."""
    records = [record(one) for one in source]
    found = lacking(records, rows(sorted(there)), rows([], "X"))
    expected = [one for one in dict.fromkeys(source) if one not in there]
    assert found.lacking() == Counter(Owner("X", one.symbol, one.session) for one in expected)
    sent = [
        one
        for at in range(0, len(records), portion)
        for one in found.of(records[at : at + portion], NOW_MS)
    ]
    assert list(map(trade_of, sent)) == expected
    assert found.sent == found.lacking()


def test_rows_of_others_take_nothing_away() -> None:
    one = Trade("A", "0", "1")
    found = lacking([record(one)], rows([one], "Y"), rows([one._replace(symbol="B")]))
    assert found.lacking().total() == 1
    assert lacking([record(one)], rows([one])).lacking().total() == 0


def test_what_is_selected_is_asked_for_and_a_bound_leaves_the_rest_out() -> None:
    source = [
        record(Trade("A", "0", str(number)), exchange_time_ns=T0_NS + number)
        for number in range(10)
    ]
    found = lacking(source, since_ns=T0_NS + 2, until_ns=T0_NS + 8, max_numbers=4)
    assert found.lacking().total() == 6
    assert found.span_ns == (T0_NS + 2 - TIME_MARGIN_NS, T0_NS + 8 + TIME_MARGIN_NS)
    assert found.keys == (("exchange", ("X",)), ("symbol", ("A",)))
    assert [trade_of(one).id for one in found.of(source, NOW_MS)] == ["2", "3", "4", "5"]
    assert found.left_out == 2
    assert lacking(source, symbol="B").is_nothing_asked


def test_a_record_of_several_trades_is_sent_if_all_of_them_are_lacking() -> None:
    """The id of an old one is not remembered: its row would be there twice."""
    one = RepairRecord(*MESSAGES["bybit.v5"][:2], "bybit.v5")
    trades = [Trade("linear:BTCUSDT", "whatever", name) for name in "xy"]
    for there, expected in (([], [one]), (trades[:1], []), (trades, [])):
        found = LackingTrades(decoding(), GapSelection())
        found.ask([one], APPEND_MS)
        found.take_away(rows(there, "BYBIT"))
        assert found.of([one], APPEND_MS) == expected
        asked = found.lacking()
        assert asked.total() == len(trades) - len(there)
        done = Repaired(RepairPlan(), repaired_trades(asked, found.sent, asked, ABOUT))
        assert done.is_missing == bool(asked)


def test_what_no_id_identifies_is_not_asked_for() -> None:
    numbered = RepairRecord(b"X:A", value(5, trade_id="1"))
    correction = record(Trade("A", "0", "2"), action="cancel", ref_trade_id="2")
    without, bad = RepairRecord(b"X:A", value(None)), RepairRecord(b"X:A", b"{")
    assert lacking([numbered, correction, without, bad]).is_nothing_asked


def test_ids_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trade_ids, "MAX_IDS", 3)
    source = [record(Trade("A", "0", str(number))) for number in range(4)]
    with pytest.raises(RepairSourceError, match=r"more than 3 trades.*--since"):
        lacking(source)


def test_a_report_names_the_symbols_of_which_trades_are_missing_still(
    capsys: pytest.CaptureFixture[str],
) -> None:
    of = Owner("X", "A", "0")
    found = repaired_trades(Counter({of: 5}), Counter({of: 4}), Counter({of: 2}), ABOUT)
    done = Repaired(RepairPlan(left_out=1), found)
    assert done.is_missing
    assert lines_of_repair(done, dry_run=False) == [
        "5 trades asked for, 4 sent, 3 filled", "still missing: X:A session 0: 2 trades"
    ]  # fmt: skip
    assert lines_of_repair(done, dry_run=True) == ["5 trades missing, 4 of them would be sent"]
    tell_what_stays(done.plan, RepairBy.TRADE_ID)
    assert capsys.readouterr().err == "1 trades are beyond --max-numbers: run it again\n"


def test_a_recording_fills_what_was_lost_of_a_feed_without_numbers(k2_driver: Any) -> None:
    """Sent twice it changes nothing, and nothing is lacking then."""
    driver = k2_driver(raw_topology("k2"), partitions=1)
    every = [
        record(Trade("A", "0", f"t{number}"), exchange_time_ns=T0_NS + number)
        for number in range(20)
    ]
    for at, one in enumerate(every):
        if at not in {3, 4, 11}:
            driver.input(TRADES_INPUT.raw).send(one.value, "X:A")
    found = lacking(every, driver.rows("trades"))
    chosen = found.of(every, NOW_MS)
    assert [trade_of(one).id for one in chosen] == ["t3", "t4", "t11"]
    for _ in range(2):
        driver.input(TRADES_INPUT.raw).send_many(
            [InputMessage(one.value, "X:A", line="repair-1") for one in chosen]
        )
        assert driver.rows("trades").num_rows == len(every)
    assert lacking(every, driver.rows("trades")).lacking().total() == 0


class LogBehind:
    """Stands for `LogReader`: a log that begins somewhere, of one record per offset."""

    def __init__(self, begin: int, records: Sequence[Record]) -> None:
        self.begin, self.records, self._position = begin, records, 0

    def __call__(self, _kafka: Any) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def settled_offsets(self, at: Sequence[TopicPartition]) -> Any:
        return SimpleNamespace(stable=dict.fromkeys(at, len(self.records)))

    async def begin_offsets(self, at: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(at, self.begin)

    def assign(self, starts: dict[TopicPartition, int]) -> None:
        (self._position,) = starts.values()

    def position(self, _topic: str, _partition: int) -> int:
        return self._position

    async def poll(self) -> list[Chunk]:
        at, self._position = self._position, self._position + 1
        return [Chunk(TRADES.log, 0, at, at + 1, (self.records[at],))]


async def test_lake_and_log_together_hold_each_row_once_and_then_what_has_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = LakeConfig(f"sqlite:///{tmp_path}/catalog.db", f"file://{tmp_path}/warehouse")
    made = [lake_record(0, offset, 2, symbols=("A",)) for offset in range(6)]
    log = [
        Record(one.log_offset, None, encode(one.rows, 0, one.accepted_time_us), (), 0)
        for one in made
    ]
    reader = LogBehind(1, log[:4])
    monkeypatch.setattr(held, "LogReader", reader)
    with closing(Lake(config, stream=TRADES)) as lake:
        lake.ensure()
        lake.append(table_of(*made[:2]), {0: Range(0, 2)}, topic_id="t", commit_id="c")
    found = HeldTrades(config, None, TRADES, 1)  # type: ignore[arg-type]
    then = (NOON_NS, NOON_NS + 1)
    assert await ids(found.in_lake((("symbol", ("A",)),), then)) == ["T0-1", "T1-1"]
    assert await ids(found.in_log()) == ["T2-1", "T3-1"]
    assert await ids(found.in_log()) == []
    reader.records = log
    assert await ids(found.in_log()) == ["T4-1", "T5-1"]
    assert await ids(found.in_lake((("symbol", ("B",)),), then)) == []
    assert await ids(found.in_lake((), (NOON_NS + 10**12, NOON_NS + 10**13))) == []
    reader.begin = 3
    with pytest.raises(RepairSourceError, match="begins at 3, and the lake ends at 2"):
        await ids(found.in_log())


async def ids(parts: AsyncIterator[pa.Table]) -> list[str]:
    """Of all rows that have one."""
    found = [one async for part in parts for one in part.column("trade_id").to_pylist()]
    return [one for one in found if one is not None]
