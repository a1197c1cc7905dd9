"""What an adoption reads of the lake and writes to it: ids, numbers, letters, tables, tokens."""

from collections import defaultdict
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lake_rows import TOPIC_ID, World, append, places_of
from ledger_world import Written

from k2_streams.core.adoption.rebuild import ScopeEvidence
from k2_streams.core.dedup.ids import Window, hashes_of
from k2_streams.core.records.events import GapOpened
from k2_streams.core.records.expand import expand
from k2_streams.core.records.log_record import CheckpointHeaders, last_headers
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.records.stream import TRADES, Stream
from k2_streams.core.records.vector import LostLog, TopicOffsets, Vector
from k2_streams.kafka.transactions import OutputRecord
from k2_streams.lake import table as lake_table
from k2_streams.lake.adoption import adopt_log, created_topics, write_created_topics
from k2_streams.lake.errors import TopicChangedError, VectorMovedError
from k2_streams.lake.registration import register, unregistered
from k2_streams.lake.scan import scan
from k2_streams.query.errors import InvalidParameter
from k2_streams.query.read_point import check_lost
from k2_streams.query.token import Token
from k2_streams.runtime.adoption.changelogs import changelogs_of
from k2_streams.runtime.adoption.evidence import PartitionEvidence
from k2_streams.runtime.adoption.ids import RecentIds
from k2_streams.runtime.adoption.letters import letter_of
from k2_streams.runtime.adoption.numbers import COLUMNS, RowNumbers
from k2_streams.runtime.adoption.plan import plan_of
from k2_streams.runtime.task.epoch import dead_letter
from k2_streams.runtime.task.outputs import TaskOutputs
from k2_streams.state.codec import POSITION_KEY
from k2_streams.state.position import decode_position

LETTERS = TRADES_INPUT.ledger.dead_letters
NEW_ID = "topic-2"
APPENDED_MS = 1_700_000_000_123


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(lake_table, "RELOAD_PAUSE_S", 0.001)
    return World(tmp_path)


# -- the tables ----------------------------------------------------------------------------------


def test_a_table_goes_on_from_a_new_log_at_the_offsets_that_it_has(world: World):
    lake = world.writer()
    append(lake, 0, 0, 5)
    append(lake, 1, 0, 3)
    before = lake.head().vector
    adopt_log(lake, before, NEW_ID)
    head = world.writer().head()
    assert head.vector.id_of(TRADES.log) == NEW_ID
    assert head.vector.topics[TRADES.log].next == {0: 5, 1: 3}
    assert head.lost == (LostLog(TOPIC_ID, {0: 5, 1: 3}),)
    with pytest.raises(TopicChangedError):
        append(lake, 0, 5, 7)
    append(lake, 0, 5, 7, topic_id=NEW_ID)
    assert world.places() == places_of((0, 0), (0, 5), (1, 0))
    assert lake.head().lost == head.lost


def test_an_adoption_that_is_repeated_is_one_and_a_second_loss_is_another(world: World):
    lake = world.writer()
    append(lake, 0, 0, 5)
    before = lake.head().vector
    adopt_log(lake, before, NEW_ID)
    snapshots = len(lake.snapshots())
    with pytest.raises(VectorMovedError):
        adopt_log(lake, before, "topic-9")
    append(lake, 0, 5, 7, topic_id=NEW_ID)
    adopt_log(lake, lake.head().vector, "topic-3")
    assert len(lake.snapshots()) == snapshots + 2
    assert lake.head().lost == (LostLog(TOPIC_ID, {0: 5}), LostLog(NEW_ID, {0: 7}))


def test_what_was_created_is_written_down(world: World):
    lake = world.writer()
    assert created_topics(lake) == {}
    write_created_topics(lake, {"k2.trades": "a"})
    assert created_topics(world.writer()) == {"k2.trades": "a"}


def test_a_table_is_known_again_by_its_newest_metadata_file(world: World):
    lake = world.writer()
    append(lake, 0, 0, 5)
    append(lake, 0, 5, 9)
    assert unregistered(world.config, TRADES) is None
    head = lake.head()
    lake.close()
    Path(world.config.catalog_uri.removeprefix("sqlite:///")).unlink()
    newest = unregistered(world.config, TRADES)
    assert newest is not None
    for _ in range(2):
        register(world.config, TRADES, newest)
    with closing(world.writer()) as again:
        assert again.head() == head
        append(again, 0, 9, 11)


def test_a_scan_gives_all_rows_of_the_head(world: World):
    lake = world.writer()
    lake_append = [(0, 0, 4), (1, 0, 2), (0, 4, 6)]
    for one in lake_append:
        append(lake, *one)
    found = pa.concat_tables(scan(lake, ("log_partition", "log_offset", "log_row")))
    assert sorted(map(tuple, (row.values() for row in found.to_pylist()))) == sorted(world.places())


def test_a_token_of_a_lost_log_is_answered_as_far_as_its_rows_had_come(world: World):
    lake = world.writer()
    append(lake, 0, 0, 5)
    adopt_log(lake, lake.head().vector, NEW_ID)
    head = lake.head()
    check_lost(Token(TOPIC_ID, {0: 5, 1: 0}, 1, 0), head, "as_of")
    for token, why in (
        (Token(TOPIC_ID, {0: 6}, 1, 0), "lost with their log"),
        (Token(TOPIC_ID, {0: 5, 1: 1}, 1, 0), "lost with their log"),
        (Token("topic-0", {0: 1}, 1, 0), "of another log"),
    ):
        with pytest.raises(InvalidParameter, match=why):
            check_lost(token, head, "as_of")


# -- numbers, ids, letters -----------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(0, 1), st.sampled_from("ab"), st.integers(1, 30)), max_size=60),
    st.integers(1, 9),
)
def test_ranges_of_numbers_are_those_of_the_rows_however_they_are_cut(
    found: list[tuple[int, str, int]], portion: int
):
    rows = [
        {
            "log_partition": partition, "exchange": "X", "symbol": symbol, "session": "s",
            "sequence": number, "exchange_time_ns": 1_000 + number, "accepted_time": at,
            "source_offset": at,
        }
        for at, (partition, symbol, number) in enumerate(found)
    ]  # fmt: skip
    schema = pa.schema([TRADES.table_schema.field(name) for name in COLUMNS])
    numbers = RowNumbers({0: 30, 1: 0}, {})
    for start in range(0, len(rows), portion):
        numbers.add(pa.Table.from_pylist(rows[start : start + portion], schema=schema))
    expected: dict[tuple[int, str], dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for at, (partition, symbol, number) in enumerate(found):
        expected[partition, f"X:{symbol}"][number].append(at)
    scopes = numbers.scopes()
    assert scopes.keys() == expected.keys()
    for key, by_session in scopes.items():
        ranges, wanted = by_session["s"], expected[key]
        assert [n for one in ranges for n in range(one.first, one.last + 1)] == sorted(wanted)
        assert all(below.last + 1 < above.first for below, above in pairwise(ranges))
        for one in ranges:
            places = [at for n in range(one.first, one.last + 1) for at in wanted[n]]
            assert one.rows == len(places)
            assert one.begins.source_offset == min(places)
            assert (one.first_time_ns, one.last_time_ns) == (1_000 + one.first, 1_000 + one.last)
            certain = [n for n, ats in wanted.items() if one.first <= n <= one.last and key[0] == 0
                       for at in ats if at < 30]  # fmt: skip
            assert one.certain_last == max(certain, default=-1)


def test_ids_are_those_that_feeds_look_for_of_the_time_that_counts():
    window = Window(8_000)
    now_ms = 1_700_000_000_000
    recent = RecentIds(window, {0: now_ms}, {(0, "X"): ["X:@feed"]})

    def row(trade: str | None, sequence: int | None, age_ms: int = 0) -> dict:
        return {
            "log_partition": 0, "exchange": "X", "symbol": "A", "session": "s",
            "sequence": sequence, "trade_id": trade, "ingest_time": (now_ms - age_ms) * 1_000,
            "ref_message_id": None,
        }  # fmt: skip

    schema = pa.schema([TRADES.table_schema.field(name) for name in row("t", 1)])
    rows = [row("t1", None), row("t2", 7), row("8", 8), row(None, 9), row("old", None, 20_000)]
    for _ in range(2):
        recent.add(pa.Table.from_pylist(rows, schema=schema))
    found = recent.of(0)
    assert list(found) == [window.bucket(now_ms)]
    expected = {
        f"{scope}\0A\0{session}\0{trade}".encode()
        for scope in ("X:A", "X:@feed")
        for session, trade in (("", "t1"), ("s", "t1"), ("", "t2"))
    }
    assert {tuple(one) for one in found[window.bucket(now_ms)].tolist()} == {
        tuple(one) for one in hashes_of(expected).tolist()
    }
    assert recent.of(1) == {}


@pytest.mark.parametrize(
    ("key", "value", "headers"),
    [
        (b"X:A", b"{}", (("feed", b"asx.csv"), ("note", None))),
        (None, b"\x00", ()),
        (None, None, ()),
        (b"X:A", None, (("k2.redrive", b"r1"),)),
    ],
)
def test_a_dead_letter_made_of_its_row_has_the_same_row(key, value, headers):
    letter = dead_letter(
        of=TaskOutputs.of_raw(TRADES_INPUT), partition=2, offset=17, key=key, value=value,
        headers=headers, timestamp_ms=APPENDED_MS, reason="wrong-type", field_name="price",
        detail="d",
    )  # fmt: skip
    numbered = (("k2.scope", b"X:A"), ("k2.session", b"s"), ("k2.sequence", b"5"))
    stamped = (*letter.headers, *numbered, ("k2.accepted-time-us", b"1700000000000456"))

    def row_of(record: Written) -> dict:
        rows = expand(LETTERS, LETTERS.decode(2, [record])).cast(LETTERS.table_schema)
        (row,) = rows.to_pylist()
        return row

    row = row_of(Written(3, letter.value, letter.key, stamped))
    again = letter_of(row, TRADES_INPUT)
    assert row_of(Written(3, again.value, again.key, again.headers)) == row


# -- the plan ------------------------------------------------------------------------------------


def test_topics_go_on_at_the_offsets_of_their_tables_and_say_how_far_the_source_was_processed():
    ledger = TRADES_INPUT.ledger
    opened = GapOpened(scope="X:A", session="s", first=3, last=4, size="small", accepted_time_us=9)
    evidence = [
        PartitionEvidence(
            raw_next=40,
            accepted_us=10,
            events=[opened],
            letters=[OutputRecord(TRADES_INPUT.dead_letter, b"k", b"v")] * 2,
            scopes=[ScopeEvidence("X:A", 0, {}, [opened], 10, 10, 7)],
        ),
        PartitionEvidence(),
    ]

    def vector_of(stream: Stream, *ends: int) -> Vector:
        return Vector({stream.log: TopicOffsets("old", dict(enumerate(ends)), {0: 6})})

    vectors = {
        TRADES: vector_of(TRADES, 100, 0),
        ledger.gap_events: vector_of(ledger.gap_events, 8, 0),
        ledger.dead_letters: vector_of(ledger.dead_letters, 9),
        ledger.levels: Vector(),
        ledger.repairs: Vector(),
    }
    plan = plan_of(TRADES_INPUT, vectors, evidence)
    assert {one.name: (one.begins, one.ends) for one in plan.topics} == {
        TRADES.log: ((99, 0), (100, 0)),
        TRADES_INPUT.events: ((7, 0), (8, 0)),
        TRADES_INPUT.dead_letter: ((7, 0), (9, 0)),
        TRADES_INPUT.levels: ((0, 0), (0, 0)),
        TRADES_INPUT.repairs: ((0, 0), (0, 0)),
        TRADES_INPUT.raw: ((40, 0), (40, 0)),
    }
    assert plan.topics[-1].name == TRADES_INPUT.raw
    assert plan.deferred == 6
    ((checkpoint,), _) = plan.topics[0].records
    assert last_headers([checkpoint]) == CheckpointHeaders(40, None, 0, 1, 2, 0)
    made = changelogs_of(
        TRADES_INPUT, plan.partitions[0], source_id="new", partitions=2, accepted_us=11
    )
    *rows, (key, value) = made.scopes
    assert [name for name, _ in rows] == [b"X:A"]
    assert key == POSITION_KEY
    position = decode_position(value)
    assert (position.source_id, position.next_offset, position.accepted_time_us) == ("new", 40, 11)
    assert position.outputs == {TRADES.log: 0, TRADES_INPUT.events: 1, TRADES_INPUT.dead_letter: 2}
    assert position.tables["sequence"].rows == 1
