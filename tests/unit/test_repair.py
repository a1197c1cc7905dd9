"""What a repair asks for, and which of a source's records it sends."""

import json
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import msgspec
import pyarrow as pa
import pytest
from lake_rows import NOON_NS, World, append
from raw_agents import raw_topology
from redrive_world import T0_NS, decoding, value
from test_stream_driver import RAW, sequences, trade
from test_stream_driver import T0_NS as DRIVER_NS

from k2_streams.cli.repair_report import lines_of_plan, lines_of_repair, tell_what_stays
from k2_streams.cli.repair_source import source_of
from k2_streams.core.lines.state import Held, LineAt, Lines
from k2_streams.core.records.identity import TradeId
from k2_streams.core.records.stream import TRADES
from k2_streams.core.sequence.codec import encode
from k2_streams.core.sequence.scopes import own_scope
from k2_streams.core.sequence.sessions import Missing, Session
from k2_streams.core.sequence.step import MAX_MISSING, Counters, ScopeState
from k2_streams.kafka.log_reader import Record
from k2_streams.runtime.repair import sources
from k2_streams.runtime.repair.decoding import decoded_portions
from k2_streams.runtime.repair.missing import (
    GapSelection,
    MissingRange,
    RepairPlan,
    plan_repair,
    read_states,
    still_missing,
)
from k2_streams.runtime.repair.platform import Repaired
from k2_streams.runtime.repair.run import Chooser, Repair, repaired
from k2_streams.runtime.repair.sources import (
    LakeSource,
    PluggedInSource,
    RecordingSource,
    RepairRecord,
    RepairSourceError,
    TopicSource,
)
from k2_streams.state.codec import COUNT_PREFIX, POSITION_KEY
from k2_streams.state.position import Position, encode_position
from k2_streams.testing import InputMessage
from k2_streams.testing.memory.loop import VirtualLoop
from k2_streams.testing.memory.ports import VirtualClock

NOW_MS = T0_NS // 10**6
HORIZON_MS = 1_000
ABOUT = {"repair_id": "r", "started": "s", "by": "b", "source": "x"}


def missing(first: int, last: int, since_ms: int = NOW_MS, at_ns: int = T0_NS) -> Missing:
    return Missing(first, last + 1, first, last, since_ms, at_ns + first - 1, at_ns + last + 1)


def scope(*parts: Missing, expected: int = 100, **changes: Any) -> ScopeState:
    session = Session("0", 1, expected, parts, 0, T0_NS + 1, T0_NS + expected, T0_NS + 1, T0_NS)
    return ScopeState(**{"sessions": (session,)} | changes)


def planned(scopes: dict[str, ScopeState], **selected: Any) -> RepairPlan:
    return plan_repair(scopes, GapSelection(**selected), NOW_MS, HORIZON_MS)


# -- the plan --------------------------------------------------------------------------------------


def test_a_plan_asks_for_exactly_what_is_missing():
    scopes = {"Y:B": scope(missing(5, 5)), "X:A": scope(missing(2, 4), missing(9, 9))}
    plan = planned(scopes)
    assert plan.ranges == [
        MissingRange("X:A", "0", 2, 4), MissingRange("X:A", "0", 9, 9),
        MissingRange("Y:B", "0", 5, 5),
    ]  # fmt: skip
    assert plan.numbers == 5
    assert planned(scopes, exchange="Y").ranges == [MissingRange("Y:B", "0", 5, 5)]
    assert planned(scopes, symbol="A", exchange="Y").ranges == []
    assert lines_of_plan(plan)[0] == "X:A session 0: 2 to 4"


async def test_states_are_the_rows_of_scopes_and_the_position():
    """Not counts of deferred records, which share the changelog, and no row that was removed."""
    state = scope(missing(2, 4))
    position = Position(source_id="x", partitions=2, next_offset=77)
    rows = [
        (b"X:A", encode(scope())), (b"X:A", encode(state)), (b"X:B", encode(state)), (b"X:B", None),
        (COUNT_PREFIX + b"X:A", b"\x01"), (POSITION_KEY, encode_position(position)),
    ]  # fmt: skip

    async def read(topic: str, partition: int) -> AsyncIterator[Sequence[Record]]:
        assert topic == "k2-sequence-changelog"
        if partition == 1:
            yield [Record(at, key, value, (), 0) for at, (key, value) in enumerate(rows)]

    first, second = await read_states(read, "k2-sequence-changelog", 2)
    assert (first.next_offset, first.scopes) == (0, {})
    assert (second.next_offset, second.scopes) == (77, {"X:A": state})


def test_a_gap_is_of_a_time_that_one_of_its_numbers_may_have():
    scopes = {"X:A": scope(missing(2, 4), missing(50, 60))}
    assert [one.first for one in planned(scopes, since_ns=T0_NS + 40).ranges] == [50]
    assert [one.first for one in planned(scopes, until_ns=T0_NS + 10).ranges] == [2]


def test_beyond_the_horizon_nothing_is_asked_for_and_the_setting_is_named(capsys):
    scopes = {
        "X:A": scope(
            missing(2, 4, since_ms=NOW_MS - HORIZON_MS),
            missing(9, 9, since_ms=NOW_MS - HORIZON_MS + 1),
            counters=Counters(numbers_abandoned=7),
        )
    }
    plan = planned(scopes)
    assert [one.first for one in plan.ranges] == [9]
    assert [one.first for one in plan.too_old] == [2]
    tell_what_stays(plan)
    told = capsys.readouterr().err
    assert "3 numbers are missing for longer than K2_LATE_HORIZON_S" in told
    assert "7 numbers of these scopes were abandoned" in told
    assert Repaired(plan, []).is_missing


def test_a_bound_cuts_a_range_and_says_what_is_left_out():
    plan = planned({"X:A": scope(missing(2, 4), missing(9, 20))}, max_numbers=5)
    assert [one[2:] for one in plan.ranges] == [(2, 4), (9, 10)]
    assert plan.left_out == 10


def test_a_gap_that_is_held_for_a_line_is_none_yet():
    held = Held("0", 2, 4, NOW_MS, 7, T0_NS, ("B",))
    lines = Lines((LineAt("A", "0", 5, NOW_MS),), (held,))
    assert [
        one.first
        for one in planned({"X:A": scope(missing(2, 4), missing(9, 9), lines=lines)}).ranges
    ] == [9]


def test_what_is_still_missing_of_a_range():
    after = {"X:A": scope(missing(3, 3), missing(8, 20))}
    assert list(still_missing(after, MissingRange("X:A", "0", 2, 10))) == [(3, 3), (8, 10)]
    assert list(still_missing(after, MissingRange("X:A", "1", 2, 10))) == []
    assert list(still_missing({}, MissingRange("X:A", "0", 2, 10))) == []


# -- what is sent ----------------------------------------------------------------------------------


def numbered(*numbers: int, **changes: Any) -> list[RepairRecord]:
    return [RepairRecord(b"X:A", value(number, **changes)) for number in numbers]


class Given:
    """A source of these records."""

    def __init__(self, records: Sequence[RepairRecord]) -> None:
        self._records = records

    async def records(self, asked: Sequence[MissingRange]) -> AsyncIterator[RepairRecord]:
        for one in self._records:
            yield one


def chooser_of(scopes: dict[str, ScopeState]) -> Chooser:
    return Chooser(scopes, planned(scopes).ranges, decoding(), HORIZON_MS, 1_000)


def test_only_what_fills_is_sent_each_number_once():
    scopes = {"X:A": scope(missing(2, 4), missing(9, 9))}
    chooser = chooser_of(scopes)
    others = [RepairRecord(b"X:B", value(2, symbol="B")), RepairRecord(b"X:A", b"{")]
    records = [*numbered(1, 2, 3, 3, 9, 150), *others, *numbered(4, price="-1")]
    chosen = chooser.of(records, NOW_MS)
    assert [json.loads(one.value)["sequence"] for one in chosen] == [2, 3, 9]
    assert chooser.of(numbered(2, 3, 9), NOW_MS) == []
    left = {"X:A": scope(missing(4, 4))}
    done = repaired(chooser, left, planned(scopes).ranges, ABOUT)
    told = [(one.first, one.asked, one.received, one.filled, one.still_missing) for one in done]
    assert told == [(2, 3, 2, 2, [(4, 4)]), (9, 1, 1, 1, [])]
    assert lines_of_repair(Repaired(planned(scopes), done), dry_run=False) == [
        "4 numbers asked for, 3 sent, 3 filled", "still missing: X:A session 0: 4 to 4"
    ]  # fmt: skip


def test_a_record_that_would_make_its_scope_abandon_a_range_is_not_sent():
    parts = [missing(10 * at, 10 * at + 2) for at in range(1, MAX_MISSING + 1)]
    scopes = {"X:A": scope(*parts, expected=20_000)}
    chooser = chooser_of(scopes)
    records = numbered(5_001, 5_000, 5_001)
    assert chooser.of(records, NOW_MS) == [records[1], records[2]]
    # A range less: there is room for one that is in two.
    assert chooser.of(numbered(31), NOW_MS) == []
    assert len(chooser.of(numbered(5_002, 31), NOW_MS)) == 2


def test_what_was_abandoned_meanwhile_is_not_told_as_filled():
    """What this run sent is: of what lies below the floor nothing else is known."""
    before = {"X:A": scope(missing(2, 4), missing(9, 9)), "X:B": scope(missing(7, 8))}
    asked = planned(before).ranges
    chooser = chooser_of(before)
    assert len(chooser.of(numbered(3, 9), NOW_MS)) == 2
    session = msgspec.structs.replace(scope(missing(9, 9)).sessions[0], floor=5)
    after = {"X:A": ScopeState((session,)), "X:B": scope(missing(7, 8), sessions=())}
    done = repaired(chooser, after, asked, ABOUT)
    told = [(one.first, one.received, one.filled, one.abandoned, one.still_missing) for one in done]
    assert told == [(2, 1, 1, 2, []), (9, 1, 0, 0, [(9, 9)]), (7, 0, 0, 2, [])]
    assert lines_of_repair(Repaired(planned(before), done), dry_run=False)[2:] == [
        "abandoned meanwhile: 2 of X:A session 0: 2 to 4",
        "abandoned meanwhile: 2 of X:B session 0: 7 to 8",
    ]
    assert Repaired(RepairPlan(), done[:1]).is_missing


def test_the_same_number_of_another_session_is_not_sent():
    chooser = chooser_of({"X:A": scope(missing(2, 4))})
    assert chooser.of(numbered(2, session="9"), NOW_MS) == []


def test_what_a_repair_sends_fills_its_gaps_and_twice_changes_nothing(k2_driver):
    """As a line of its own: known before, the gaps are still those of then."""
    driver = k2_driver(raw_topology("k2"), partitions=1)
    every = range(1, 21)
    kept = [number for number in every if number not in {3, 4, 5, 11}]
    driver.input(RAW).send_many([trade(number) for number in kept])
    scopes = driver.table("sequence")
    plan = plan_repair(scopes, GapSelection(), DRIVER_NS // 10**6, 10**9)
    assert plan.numbers == 4
    recorded = [RepairRecord(b"X:A", json.dumps(trade(number)).encode()) for number in every]
    chosen = Chooser(scopes, plan.ranges, decoding(), 10**9, 1_000).of(recorded, DRIVER_NS // 10**6)
    for _ in range(2):
        driver.input(RAW).send_many(
            [InputMessage(one.value, "X:A", line="repair-1") for one in chosen]
        )
        assert sorted(sequences(driver.rows("trades"))) == list(every)
    assert [gap.state for gap in driver.gaps()] == ["filled", "filled"]
    again = plan_repair(driver.table("sequence"), GapSelection(), DRIVER_NS // 10**6, 10**9)
    assert (again.ranges, again.abandoned) == ([], 0)


# -- sources ---------------------------------------------------------------------------------------


async def given(source: Any, *asked: MissingRange) -> list[RepairRecord]:
    return [record async for record in source.records(asked)]


ASKED = MissingRange("X:A", "0", 2, 4)


async def test_a_recording_gives_its_records_and_a_damaged_one_is_named(tmp_path: Path):
    file = tmp_path / "a.jsonl"
    file.write_bytes(value(2) + b"\n" + value(3) + b"\n")
    assert await given(RecordingSource(file, "canonical"), ASKED) == numbered(2, 3)
    file.write_bytes(b"{")
    with pytest.raises(RepairSourceError, match=r"a\.jsonl"):
        await given(RecordingSource(file, "canonical"), ASKED)
    with pytest.raises(RepairSourceError, match=r"none\.jsonl"):
        await given(RecordingSource(tmp_path / "none.jsonl", "canonical"), ASKED)


async def test_rows_of_another_lake_become_records_that_fill(tmp_path: Path):
    """Through the way that the command reads it: the columns are those that the table has."""
    other = World(tmp_path)
    append(other.writer(), 0, 0, 1, count=6)
    platform = SimpleNamespace(
        settings=SimpleNamespace(lake=other.config), source=SimpleNamespace(stream=TRADES)
    )
    source = source_of(f"lake:{other.config.catalog_uri}", "canonical", platform)
    everything = [record async for record in source.whole()]
    rows = other.table().scan().to_arrow().to_pylist(maps_as_pydicts="strict")
    assert len(everything) == len(rows) == 6
    for record, row in zip(everything, rows, strict=True):
        fields = json.loads(record.value)
        assert record.key.decode() == own_scope(row["exchange"], row["symbol"])
        assert Decimal(fields["price"]) == row["price"]
        assert fields["sequence"] == row["sequence"]
        for name in ("vendor", "conditions", "trade_id", "receive_time_ns"):
            assert fields.get(name) == row[name]
    # Each is a record that the canonical feed takes.
    scopes = {record.key.decode() for record in everything}
    asked = [MissingRange(one, "0", 0, 10) for one in scopes]
    assert await given(source, *asked) == everything
    ((portion, batch),) = decoded_portions(decoding(), everything, NOON_NS // 10**6)
    assert (portion, batch.bad) == (everything, [])


async def test_a_correction_of_another_lake_names_the_trade_that_it_changes():
    ref = TradeId("X", "A|B", "s%1", "t|7")
    row = {
        "exchange": "X", "symbol": "A|B", "session": "0", "sequence": 3, "trade_id": "c1",
        "exchange_time_ns": T0_NS + 3, "receive_time_ns": None, "side": "buy", "conditions": ["x"],
        "action": "cancel", "vendor": None, "ref_message_id": ref.message_id,
    }  # fmt: skip
    one = pa.array(["1.5"]).cast(pa.decimal128(38, 18))
    columns = {name: [value] for name, value in row.items()} | {"price": one, "quantity": one}
    (found,) = await given(
        LakeSource(lambda: [pa.table(columns)]), MissingRange("X:A|B", "0", 2, 4)
    )
    fields = json.loads(found.value)
    assert (fields["ref_trade_id"], fields["ref_session"]) == ("t|7", "s%1")
    assert fields["action"] == "cancel"
    assert Decimal(fields["price"]) == Decimal("1.5")


async def test_records_of_a_topic_keep_their_feed():
    class Raw:
        key, value, headers = b"X:A", b"{}", (("feed", b"kraken.v1"),)

    class Empty:
        key, value, headers = None, None, ()

    async def portions():
        yield [Raw(), Empty()]

    found = await given(TopicSource(portions), ASKED)
    assert found == [RepairRecord(b"X:A", b"{}", "kraken.v1")]


class Vendor:
    """A plug-in that remembers what it was asked for."""

    asked: ClassVar[list[Any]] = []

    def fetch(self, scope: str, session: str, ranges: Sequence[tuple[int, int]]) -> Any:
        self.asked.append((scope, session, list(ranges)))
        if scope == "X:BROKEN":
            raise KeyError(scope)
        return [(b"X:A", value(2)), (b"X:A", b"{}", "kraken.v1")]


class Point:
    name, value = "vendor", "x:Vendor"

    @staticmethod
    def load() -> type[Vendor]:
        return Vendor


async def test_a_plug_in_is_asked_for_the_ranges_of_each_session(monkeypatch):
    monkeypatch.setattr(sources, "entry_points", lambda group: [Point()])
    plugged = PluggedInSource("vendor")
    found = await given(
        plugged, ASKED, ASKED._replace(first=9, last=9), ASKED._replace(session="1")
    )
    assert found == [*numbered(2), RepairRecord(b"X:A", b"{}", "kraken.v1")] * 2
    assert Vendor.asked == [("X:A", "0", [(2, 4), (9, 9)]), ("X:A", "1", [(2, 4)])]
    with pytest.raises(RepairSourceError, match="source vendor, X:BROKEN"):
        await given(plugged, ASKED._replace(scope="X:BROKEN"))
    with pytest.raises(RepairSourceError, match=r"expected file:PATH.*\(vendor\)"):
        PluggedInSource("nobody")


async def test_a_dry_run_asks_the_source_and_counts():
    scopes = {"X:A": scope(missing(2, 4))}
    chooser = chooser_of(scopes)
    clock = VirtualClock(VirtualLoop(), begin_ms=NOW_MS)
    given, asked = Given(numbered(*range(1, 40))), planned(scopes).ranges
    repair = Repair("r", lambda: given.records(asked), chooser.of, clock)
    assert await repair.send(None) == 3
