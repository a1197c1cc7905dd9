"""The task's decisions do not depend on how records were cut into batches or epochs."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_agents import raw_agent
from tick_model import without

from k2_streams.core.dedup.duplicates import DuplicateCounter
from k2_streams.core.dedup.ids import Memory, Window
from k2_streams.core.records import events
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.sequence import codec as sequence_codec
from k2_streams.core.sequence.expiry import margin_ms
from k2_streams.runtime.task.epoch import BEGINNING, Epoch
from k2_streams.runtime.task.outputs import TaskOutputs
from k2_streams.runtime.task.sequencer import Sequencer, SequencerOptions
from k2_streams.state.ids import IdTable
from k2_streams.state.ids_store import IdsMeta, IdStore
from k2_streams.state.position import Position
from k2_streams.state.scope_table import ScopeTable
from k2_streams.state.store import PartitionStore, StoreMeta

MEMORY = Memory.of(20, 0.5)
#: Longer than a gap is held for another line.
DEFAULT_OPTIONS = SequencerOptions(horizon_ms=100_000)
WINDOW = Window(8 * 10_000)

#: No time at which a partition is idle.
NEVER: Mapping[int, Sequence[int]] = {}
BASE_NS = 1_700_000_000_000_000_000


class Raw(NamedTuple):
    """As aiokafka gives a record, as far as a task reads it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


def value(
    symbol: str, sequence: int, hours: int, exchange: str = "X", session: str | None = None
) -> bytes:
    named = {} if session is None else {"session": session}
    return json.dumps(
        named
        | {
            "exchange": exchange,
            "symbol": symbol,
            "price": "1.25",
            "quantity": "3",
            "exchange_time_ns": BASE_NS + hours * 3_600 * 10**9 + sequence,
            "sequence": sequence,
        }
    ).encode()


def native(symbol: str, sequence: int, hours: int) -> bytes:
    time_ms = BASE_NS // 10**6 + hours * 3_600_000
    return json.dumps(
        {
            "e": "trade",
            "s": symbol,
            "t": sequence,
            "p": "1.5",
            "q": "3",
            "T": time_ms,
            "m": True,
        }
    ).encode()


def by_id(symbol: str, number: int) -> bytes:
    return value(symbol, number, 0).replace(
        b'"sequence": %d' % number, b'"trade_id": "%d"' % number
    )


GOOD = st.builds(
    lambda symbol, sequence, hours: (f"X:{symbol}".encode(), value(symbol, sequence, hours)),
    st.sampled_from("ABC"),
    st.integers(0, 30),
    st.sampled_from([0, 0, 0, 2]),
)
#: Of a named session: a number used twice is no repeat, and begins no session.
NAMED = st.builds(
    lambda sequence, hours: (b"X:C", value("C", sequence, hours, session="day")),
    st.integers(0, 9),
    st.sampled_from([0, 0, 2]),
)
IDS = st.builds(
    lambda symbol, number: (f"X:{symbol}".encode(), by_id(symbol, number)),
    st.sampled_from("AD"),
    st.integers(0, 9),
)
#: Of two feeds whose sessions begin differently, under keys that they share.
SHARED = st.builds(
    lambda symbol, sequence, hours, is_native: (
        f"BINANCE:{symbol}".encode(),
        native(symbol, sequence, hours) if is_native else value(symbol, sequence, hours, "BINANCE"),
        ((("feed", b"binance.spot"),) if is_native else ()),
    ),
    st.sampled_from("AB"),
    st.integers(0, 12),
    st.sampled_from([0, 0, 0, 2]),
    st.booleans(),
)
#: Of a feed whose trades are identified by their id in any session, beside those of `IDS`.
ADVANCED = st.builds(
    lambda number, sequence: (
        b"COINBASE:@1",
        json.dumps(
            {
                "channel": "market_trades",
                "sequence_num": sequence,
                "timestamp": "2023-11-14T22:13:20Z",
                "events": [
                    {
                        "type": "update",
                        "trades": [
                            {
                                "product_id": "A-USD",
                                "trade_id": str(number),
                                "price": "1.25",
                                "size": "3",
                                "time": "2023-11-14T22:13:20Z",
                                "side": "BUY",
                            }
                        ],
                    }
                ],
            }
        ).encode(),
        (("feed", b"coinbase.advanced"),),
    ),
    st.integers(0, 5),
    st.integers(0, 9),
)
BAD = st.sampled_from(
    [
        (b"X:A", b"{"),
        (b"X:A", b""),
        (None, b"{}"),
        (b"X:A", b'{"a":"x'),
        (b"X:A", b'y"}'),
        (b"X:B", value("A", 3, 0)),
        (b"X:A", value("A", 4, 0).replace(b"1.25", b"-1")),
    ]
)
HEADERS = st.sampled_from(
    [
        (),
        (),
        (),
        (("feed", b"nobody"),),
        (("trace", b"1"),),
        (("feed", None),),
        (("feed", b"nobody"), ("feed", None)),
        (("feed", b"\xff"),),
        (("line", None),),
        (("", b""), ("feed", b"")),
    ]
)
LINES = st.sampled_from(
    [
        (("line", b"A"),),
        (("line", b"A"),),
        (("line", b"B"),),
        (("line", b"B"),),
        (),
        (("line", b" "),),
        (("line", b"B"), ("line", b"A")),
        (("line", b"A"), ("line", None)),
    ]
)
#: More than an exchange may have: the last ones have room only if others are silent.
MANY_LINES = st.sampled_from([(("line", b"L%d" % number),) for number in range(18)])


@st.composite
def records(draw: Any) -> list[Raw]:
    kinds = st.one_of(GOOD, GOOD, GOOD, NAMED, IDS, SHARED, SHARED, ADVANCED, BAD)
    made = draw(st.lists(kinds, min_size=1, max_size=40))
    headers = draw(st.sampled_from([HEADERS, LINES, MANY_LINES]))
    now_ms, raw = BASE_NS // 10**6, []
    for offset, (key, content, *own) in enumerate(made):
        now_ms += draw(st.sampled_from([0, 0, 1, 5_000, 30_000, 61_000, -10]))
        more = own[0] if own else ()
        raw.append(Raw(offset, now_ms, key, content, draw(headers) + more))
    return raw


def work(
    raw: Sequence[Raw],
    cuts: set[int],
    seals: set[int],
    idle: Mapping[int, Sequence[int]] = NEVER,
    until_ms: int | None = None,
) -> dict[str, Any]:
    """All records in batches cut at `cuts`; sealed, written and taken over anew at `seals`.

    Before the record of an offset in `idle` nothing comes for so long that these times pass; behind
    the last one nothing until `until_ms`.
    """
    with tempfile.TemporaryDirectory() as folder:
        store, id_store = PartitionStore(Path(folder) / "s"), IdStore(Path(folder) / "i")
        store.open()
        id_store.open(lambda _bucket, _ids: None)
        table = ScopeTable(store, sequence_codec.encode, sequence_codec.decode, 0, 0)
        ids = IdTable(id_store, MEMORY, WINDOW)
        sequencer = Sequencer(raw_agent(), 0, 1, table, ids, options=DEFAULT_OPTIONS)
        epochs, start = [Epoch(TaskOutputs.of_raw(TRADES_INPUT), 0)], 0
        for end in sorted({*cuts, *seals, *idle, len(raw)} - {0}):
            for time_ms in idle.get(start, ()):
                sequencer.pass_time(time_ms, epochs[-1])
            sequencer.process(raw[start:end], end, epochs[-1])
            start = end
            if end == len(raw) and until_ms is not None:
                sequencer.pass_time(until_ms, epochs[-1])
            if end in seals or end == len(raw):
                sealed, sealed_ids = table.seal(), ids.seal()
                progress = epochs[-1].progress or BEGINNING
                store.write(sealed.rows, StoreMeta(2, "c", end, 0, b"", {"": sealed.sum}))
                if sealed_ids.ids:  # as the checkpoint has it: buckets dropped before wait for it
                    meta = IdsMeta(1, "c", end, 0, sealed_ids.buckets)
                    id_store.write(sealed_ids.ids, sealed_ids.dropped, meta)
                id_store.close()
                table = ScopeTable(
                    store,
                    sequence_codec.encode,
                    sequence_codec.decode,
                    sealed.count,
                    sealed.checksum,
                )
                ids = IdTable(id_store, MEMORY, WINDOW)
                id_store.open(ids.load)
                ids.keep(sealed_ids.buckets)
                sequencer = Sequencer(
                    raw_agent(),
                    0,
                    1,
                    table,
                    ids,
                    options=DEFAULT_OPTIONS,
                    progress=progress,
                )
                epochs.append(Epoch(TaskOutputs.of_raw(TRADES_INPUT), end))
        store.close()
        id_store.close()
    rows = [
        without(row)
        for epoch in epochs
        for batch in epoch.rows["k2.trades"]
        for row in batch.to_pylist()
    ]
    found: dict[str, list[bytes]] = {}
    for epoch in epochs:
        for event in epoch.events:
            found.setdefault(event.scope, []).append(events.encode(event))
    last = epochs[-2].progress
    duplicates = DuplicateCounter()
    for epoch in epochs:
        duplicates.update(epoch.duplicates)
    return {
        "rows": rows,
        "events": found,  # by scope: a held gap may be said later, among others' events
        # No gap is older than it says; how much younger they are depends on when it was looked at.
        "progress": last and last._replace(oldest_gap_ms=0),
        "ids": sealed_ids.buckets,
        "letters": [letter for epoch in epochs for letter in epoch.dead_letters],
        "duplicates": duplicates.events(),
        "table": (sealed.count, sealed.checksum),
        "verdicts": {
            name: sum(epoch.verdicts[name] for epoch in epochs)
            for name in ("first", "in_order", "late", "duplicate", "reset", "stale", "conflicting")
        },
    }


@settings(max_examples=60, deadline=None)
@given(records(), st.data())
def test_any_split_gives_the_same_rows_events_letters_and_state(raw: list[Raw], data: Any) -> None:
    """One batch, or every record alone, or anything between."""
    offsets = st.sets(st.integers(1, len(raw)))
    whole = work(raw, set(), set())
    assert work(raw, data.draw(offsets), data.draw(offsets)) == whole
    assert work(raw, set(range(len(raw))), set()) == whole
    assert len(whole["rows"]) + len(whole["letters"]) <= len(raw)


def aggregated(number: int, seconds: int, price: str) -> Raw:
    """An aggregate trade of Binance, whose numbers are one session for ever."""
    at_ms = 1_700_000_000_000 + 1_000 * seconds
    trade = {
        "e": "aggTrade", "E": at_ms + 1, "s": "AB", "a": number, "p": price, "q": "824.0",
        "f": 200, "l": 200, "T": at_ms, "m": False, "M": True,
    }  # fmt: skip
    headers = (("feed", b"binance.spot"),)
    return Raw(0, at_ms, b"BINANCE:AB@aggTrade", json.dumps(trade).encode(), headers)


def placed(raw: list[Raw]) -> list[Raw]:
    return [record._replace(offset=offset) for offset, record in enumerate(raw)]


def test_a_number_used_twice_is_a_dead_letter_with_its_bytes_and_an_event() -> None:
    """A repeat of the first one is still a duplicate, a repeat of the second one a letter too."""
    first, second = aggregated(12_027, 0, "0.1"), aggregated(12_027, 46, "0.2")
    raw = placed([first, second, first, second])
    found = work(raw, set(), set())
    assert [row["source_offset"] for row in found["rows"]] == [0]
    assert [letter.value for letter in found["letters"]] == [raw[1].value, raw[3].value]
    headers = [dict(letter.headers) for letter in found["letters"]]
    assert [one["k2.reason"] for one in headers] == [b"conflicting-duplicate"] * 2
    told = [events.decode(one) for one in found["events"]["BINANCE:AB@aggTrade"]]
    assert [(type(one), one.sequence, one.source_offset) for one in told] == [
        (events.ConflictingDuplicate, 12_027, 1),
        (events.ConflictingDuplicate, 12_027, 3),
    ]
    assert found["verdicts"]["conflicting"] == 2
    assert found["verdicts"]["duplicate"] == 1


def test_a_count_that_begins_again_within_the_hour_loses_no_trade() -> None:
    """Of a venue that names no session: 1,000 trades, and 200 more from 1 on."""
    numbers = [*range(1, 1_001), *range(1, 201)]
    timed = []
    for at, number in enumerate(numbers):
        record = json.loads(value("A", number, 0)) | {"exchange_time_ns": BASE_NS + 2 * at * 10**9}
        timed.append(Raw(at, BASE_NS // 10**6 + at, b"X:A", json.dumps(record).encode(), ()))
    found = work(timed, {500, 1_000, 1_100}, {700})
    assert len(found["rows"]) == 1_200
    assert found["letters"] == []
    assert (found["verdicts"]["reset"], found["verdicts"]["duplicate"]) == (1, 0)


def by_whatever(found: dict[str, Any]) -> dict[str, Any]:
    """The same without the message by which a gap was abandoned: by time there is none."""
    scopes = {}
    for scope, encoded in found["events"].items():
        decoded = [json.loads(event) for event in encoded]
        for event in decoded:
            if event["type"] == "gap_abandoned":
                del event["source_offset"], event["exchange_time_ns"]
        scopes[scope] = decoded
    return found | {"events": scopes}


@settings(max_examples=40, deadline=None)
@given(records(), st.data())
def test_time_that_passes_reports_only_earlier_what_the_next_record_would_report(
    raw: list[Raw], data: Any
) -> None:
    """Wherever a partition is idle, for however long, and whoever takes over: the same."""
    before, idle = 0, {}
    for at, record in enumerate(raw):
        passed = st.integers(min(before, record.timestamp), record.timestamp)
        if before:
            idle[at] = sorted(data.draw(st.lists(passed, max_size=2)))
        before = max(before, record.timestamp)
    idle = {at: times for at, times in idle.items() if times}
    offsets = st.sets(st.integers(1, len(raw)))
    # A gap of a scope that is silent from now on would be abandoned by no record: time does it.
    until_ms = before + 2 * DEFAULT_OPTIONS.horizon_ms
    found = work(raw, data.draw(offsets), data.draw(offsets), idle, until_ms)
    assert by_whatever(found) == by_whatever(work(raw, set(), set(), until_ms=until_ms))


def test_a_gap_held_for_a_silent_line_is_said_when_time_has_passed() -> None:
    """And a number of it is late from then on, also after a restart."""
    now_ms = BASE_NS // 10**6

    def sent(offset: int, line: bytes, sequence: int, ms: int) -> Raw:
        return Raw(offset, now_ms + ms, b"X:A", value("A", sequence, 0), (("line", line),))

    raw = [sent(0, b"A", 1, 0), sent(1, b"B", 1, 0), sent(2, b"A", 3, 1), sent(3, b"B", 2, 60_002)]
    early = work(raw, set(), {3}, {3: [now_ms + 60_000]})
    told = work(raw, set(), {3}, {3: [now_ms + 60_001]})
    assert early == told == work(raw, set(), set())
    assert [json.loads(event)["type"] for event in told["events"]["X:A"]] == [
        "gap_opened",
        "late",
        "gap_filled",
    ]


def test_time_alone_tells_a_gap_that_is_held(tmp_path: Path) -> None:
    """At its deadline, not a moment before; stream time is then what the next task begins with."""
    store, id_store = PartitionStore(tmp_path / "s"), IdStore(tmp_path / "i")
    store.open()
    id_store.open(lambda _bucket, _ids: None)
    table = ScopeTable(store, sequence_codec.encode, sequence_codec.decode, 0, 0)
    sequencer = Sequencer(
        raw_agent(),
        0,
        1,
        table,
        IdTable(id_store, MEMORY, WINDOW),
        options=DEFAULT_OPTIONS,
    )
    epoch, now_ms = Epoch(TaskOutputs.of_raw(TRADES_INPUT), 0), BASE_NS // 10**6
    said = [(b"A", 1), (b"B", 1), (b"A", 3)]
    raw = [
        Raw(at, now_ms, b"X:A", value("A", number, 0), (("line", line),))
        for at, (line, number) in enumerate(said)
    ]
    sequencer.process(raw, 3, epoch)
    deadline_ms = sequencer.next_deadline_ms
    assert deadline_ms == now_ms + 60_000
    sequencer.pass_time(deadline_ms - 1, epoch)
    assert not epoch.events
    sequencer.pass_time(deadline_ms, epoch)
    assert [type(event).__name__ for event in epoch.events] == ["GapOpened"]
    assert epoch.progress == epoch.progress._replace(append_time_ms=deadline_ms, held=0)
    assert (epoch.position, epoch.is_timed) == (3, True)
    horizon_ms = DEFAULT_OPTIONS.horizon_ms + margin_ms(DEFAULT_OPTIONS.horizon_ms)
    assert sequencer.next_deadline_ms == now_ms + horizon_ms, "what is left is the gap's own end"
    store.close()
    id_store.close()


def test_an_epoch_without_rows_still_says_how_far_it_came() -> None:
    """At least one record of trades, with the source's position in its headers."""
    epoch = Epoch(TaskOutputs.of_raw(TRADES_INPUT), 17)
    epoch.seal(2)
    position = Position(
        source_id="",
        partitions=4,
        next_offset=17,
        accepted_time_us=5,
        outputs={TRADES_INPUT.events: 3},
    )
    (only,) = epoch.outputs(2, position).records
    assert dict(only.headers)["k2.raw-next"] == b"17"
    assert dict(only.headers)["k2.events"] == b"3"
    assert pa.ipc.open_stream(only.value).read_all().num_rows == 0
