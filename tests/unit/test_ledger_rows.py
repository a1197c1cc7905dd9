"""Records of the ledger's topics as rows: nothing is lost of them, and no record stops a log."""

import dataclasses
import datetime as dt

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_world import Written
from query_world import DictSpill

from k2_streams.core.ledger.gap_events import event_of
from k2_streams.core.ledger.repairs import RepairedRange
from k2_streams.core.load import level_changes
from k2_streams.core.records import events
from k2_streams.core.records.events import AnyEvent
from k2_streams.core.records.expand import expand
from k2_streams.core.records.log_record import pieces_of
from k2_streams.core.records.source import QUOTES_INPUT, TRADES_INPUT
from k2_streams.core.records.stream import Stream
from k2_streams.core.records.vector import Range
from k2_streams.query.tail.store import Tail

LEDGER = TRADES_INPUT.ledger
APPENDED_MS = 1_700_000_000_123
LATE = events.Late(scope="X:A", session="0", sequence=5)


def table_of(stream: Stream, *records: Written) -> list[dict]:
    """The rows of a table, by its sink."""
    return expand(stream, stream.decode(3, records)).cast(stream.table_schema).to_pylist()


NUMBER = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(max_size=5)
FIELDS = {
    int: NUMBER,
    str: TEXT,
    int | None: st.none() | NUMBER,
    str | None: st.none() | TEXT,
    list[tuple[int, int]]: st.lists(st.tuples(NUMBER, NUMBER), max_size=3),
}


@st.composite
def any_event(draw) -> AnyEvent:
    kind = draw(st.sampled_from(list(events.BY_TYPE.values())))
    fields = {one.name: draw(FIELDS[one.type]) for one in msgspec.structs.fields(kind)}
    return kind(**{**fields, "source_partition": draw(st.integers(-1, 9))})


@given(st.lists(any_event(), min_size=1, max_size=3))
def test_an_event_can_be_made_of_its_row_again(found):
    written = [
        Written(7 + at, events.encode(msgspec.structs.replace(one, accepted_time_us=5 + at)))
        for at, one in enumerate(found)
    ]
    rows = table_of(LEDGER.gap_events, *written)
    for at, (row, one) in enumerate(zip(rows, found, strict=True)):
        assert event_of(row) == msgspec.structs.replace(one, accepted_time_us=0)
        assert (row["log_partition"], row["log_offset"], row["log_row"]) == (3, 7 + at, 0)
        assert row["scope"] == ":".join([row["exchange"], row["symbol"]]) or ":" not in one.scope
        assert row["trading_date"] == dt.date(1970, 1, 1) + dt.timedelta(
            days=max(one.exchange_time_ns, 0) // (86_400 * 10**9)
        )


@pytest.mark.parametrize(
    "value",
    [None, b"", b"{", b"[]", b'{"type":"of-tomorrow","scope":"X:A","session":"0"}',
     b'{"type":"late","scope":"X:A","session":"0","sequence":99999999999999999999}'],
)  # fmt: skip
def test_an_event_that_cannot_be_read_keeps_its_place(value):
    (row,) = table_of(LEDGER.gap_events, Written(4, value, timestamp=APPENDED_MS))
    assert (row["type"], row["log_offset"], row["scope"]) == ("unreadable", 4, "")
    assert row["accepted_time"].timestamp() * 1_000 == APPENDED_MS
    assert event_of(row) is None


def test_a_row_takes_the_memory_of_its_own_words_whatever_others_came_with_it():
    def sizes_of(stream: Stream, *records: Written) -> list[int]:
        return [batch.size_bytes for batch in stream.decode(0, records)]

    found = [
        events.Late(scope=f"X:SYMBOL-{number}", session=str(number), sequence=number)
        for number in range(500)
    ]
    written = [Written(at, events.encode(one)) for at, one in enumerate(found)]
    (alone,) = sizes_of(LEDGER.gap_events, written[-1])
    together = sizes_of(LEDGER.gap_events, *written)
    assert max(together) <= 2 * alone


def test_a_spilled_row_has_its_own_words_and_none_of_others_that_came_with_it():
    stream = LEDGER.gap_events

    def spilled(*found: AnyEvent) -> list[tuple[int, list[dict]]]:
        kept = DictSpill()
        tail = Tail(stream, memory_bytes=0, spill=kept)
        tail.seek(0, 0)
        written = [Written(at, events.encode(one)) for at, one in enumerate(found)]
        tail.append(0, Range(0, len(written)), stream.decode(0, written))
        batches = tail.view().batches({0: Range(0, len(written))})
        return [(batch.spilled_bytes, batch.load().rows.to_pylist()) for batch in batches]

    found = [
        events.Late(scope=f"X:SYMBOL-{number}", session=str(number), sequence=number)
        for number in range(200)
    ]
    ((alone_bytes, _),) = spilled(found[-1])
    together = spilled(*found)
    assert max(size_bytes for size_bytes, _ in together) <= 1.1 * alone_bytes
    assert [rows[0]["scope"] for _, rows in together] == [one.scope for one in found]


def test_rows_of_records_that_are_read_together_are_made_together():
    written = [Written(at, events.encode(LATE)) for at in (0, 1)]
    first, second = LEDGER.gap_events.decode(0, written)
    places = [one.rows.column("source_offset").buffers()[1].address for one in (first, second)]
    assert places[0] == places[1]


@given(st.lists(st.integers(0, 6), max_size=12))
def test_pieces_have_the_rows_of_each_record_in_their_order(chosen):
    lates = [msgspec.structs.replace(LATE, sequence=number) for number in range(6)]
    written = [Written(at, events.encode(one)) for at, one in enumerate(lates)]
    decoded = LEDGER.gap_events.decode(0, written)
    records = [*decoded, dataclasses.replace(decoded[0], only=None)]  # the last one has six rows
    batches = [records[number] for number in chosen]
    pieces = list(pieces_of(batches))
    assert [row for piece in pieces for row in piece.to_pylist()] == [
        row for batch in batches for row in batch.rows.to_pylist()
    ]
    assert sum(batch.row_count for batch in batches) == sum(piece.num_rows for piece in pieces)
    assert len(list(pieces_of(decoded))) == 1


REPAIRED = RepairedRange(
    repair_id="r1", started="2026-11-30T10:00:00+00:00", by="me@host", source="file:x",
    scope="X:A", session="0", first=5, last=9, asked=5, received=4, filled=3, abandoned=1,
    still_missing=[(7, 7)],
)  # fmt: skip


def test_a_repair_has_what_was_asked_and_what_came_of_it():
    written = Written(4, msgspec.json.encode(REPAIRED), b"X:A", timestamp=APPENDED_MS)
    (row,) = table_of(LEDGER.repairs, written)
    fields = msgspec.structs.asdict(REPAIRED)
    fields |= {"still_missing": [{"first": 7, "last": 7}]}
    fields["started"] = dt.datetime(2026, 11, 30, 10, 0, 0, tzinfo=dt.UTC)
    assert {name: row[name] for name in fields} == fields
    assert (row["exchange"], row["symbol"], row["log_offset"]) == ("X", "A", 4)
    assert row["started_ns"] == int(fields["started"].timestamp()) * 10**9
    assert row["accepted_time"].timestamp() * 1_000 == APPENDED_MS


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"{",
        msgspec.json.encode(msgspec.structs.replace(REPAIRED, started="yesterday")),
        msgspec.json.encode(msgspec.structs.replace(REPAIRED, started="2026-11-30T10:00:00")),
        msgspec.json.encode(msgspec.structs.replace(REPAIRED, filled=1 << 63)),
    ],
)
def test_a_repair_that_cannot_be_read_keeps_its_place(value):
    (row,) = table_of(LEDGER.repairs, Written(4, value, timestamp=APPENDED_MS))
    assert (row["repair_id"], row["log_offset"], row["asked"]) == ("unreadable", 4, 0)
    assert row["started_ns"] == APPENDED_MS * 10**6


LETTER = (
    ("feed", b"binance.ws"),
    ("line", b"A"),
    ("own", None),
    ("k2.reason", b"invalid"),
    ("k2.field", b"price"),
    ("k2.detail", b"expected a decimal"),
    ("k2.topic", b"k2.trades.raw"),
    ("k2.partition", b"2"),
    ("k2.offset", b"17"),
    ("k2.append-time", b"2026-11-30T10:00:00.123000+00:00"),
    ("k2.scope", b"X:A"),
    ("k2.session", b"0"),
    ("k2.sequence", b"5"),
    ("k2.accepted-time-us", b"1700000000000001"),
)


def test_a_dead_letter_has_its_bytes_its_reason_and_its_place():
    (row,) = table_of(LEDGER.dead_letters, Written(9, b"\xff{", b"X:A", LETTER))
    assert (row["reason"], row["field"], row["feed"]) == ("invalid", "price", "binance.ws")
    assert (row["key"], row["value"], row["detail"]) == (b"X:A", b"\xff{", "expected a decimal")
    assert row["headers"] == [
        {"name": "feed", "value": b"binance.ws"},
        {"name": "line", "value": b"A"},
        {"name": "own", "value": None},
    ]
    assert (row["scope"], row["session"], row["sequence"]) == ("X:A", "0", 5)
    assert (row["source_partition"], row["source_offset"], row["log_offset"]) == (2, 17, 9)
    appended = dt.datetime(2026, 11, 30, 10, 0, 0, 123_000, dt.UTC)
    assert (row["append_time"], row["append_time_ns"]) == (
        appended, int(appended.timestamp() * 1_000) * 1_000_000,
    )  # fmt: skip
    assert row["accepted_time"].microsecond == 1
    assert row["redrive_id"] is None


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("k2.offset", b"9" * 5_000), ("k2.sequence", b"99999999999999999999")),
        (("k2.append-time", b"9999-12-31T00:00:00+00:00"), ("k2.partition", b"-1")),
        (("k2.append-time", b"2026-11-30T10:00:00"), ("k2.reason", b"\xff"), ("feed", None)),
        (("k2.accepted-time-us", b"\xc2\xb2"), ("k2.null", b"key,value")),
    ],
)
def test_whatever_another_program_writes_is_a_dead_letter_too(headers):
    (row,) = table_of(LEDGER.dead_letters, Written(9, b"v", None, headers, APPENDED_MS))
    assert (row["feed"], row["source_offset"], row["source_partition"]) == ("canonical", -1, -1)
    assert (row["append_time_ns"], row["sequence"]) == (APPENDED_MS * 10**6, None)
    assert row["value"] == (None if ("k2.null", b"key,value") in headers else b"v")


def test_a_change_of_level_is_a_row_and_so_is_what_cannot_be_read():
    change = level_changes.LevelChanged(
        worker="w-1", level="SOFT", previous="NORMAL", reason="lag", lag_records=7, lag_s=None,
        memory_share=0.5, time_us=APPENDED_MS * 1_000,
    )  # fmt: skip
    good, bad = table_of(
        LEDGER.levels,
        Written(0, level_changes.encode(change)),
        Written(1, b"?", timestamp=APPENDED_MS),
    )
    assert (good["worker"], good["level"], good["lag_records"], good["lag_s"]) == (
        "w-1", "SOFT", 7, None,
    )  # fmt: skip
    assert (bad["level"], bad["worker"]) == ("unreadable", "")
    assert good["time_ns"] == bad["time_ns"] == APPENDED_MS * 10**6


def test_each_raw_topic_has_a_ledger_of_its_own_topics():
    of_quotes = QUOTES_INPUT.ledger
    assert [stream.name for stream in of_quotes] == [
        "quotes_gap_events", "quotes_dead_letters", "quotes_levels", "quotes_repairs",
    ]  # fmt: skip
    assert [stream.log for stream in of_quotes] == [
        QUOTES_INPUT.events, QUOTES_INPUT.dead_letter, QUOTES_INPUT.levels,
        QUOTES_INPUT.repairs,
    ]  # fmt: skip
    assert [stream.name for stream in LEDGER] == [
        "gap_events", "dead_letters", "levels", "repairs",
    ]  # fmt: skip
