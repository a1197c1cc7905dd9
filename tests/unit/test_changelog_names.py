"""`k2 changelog` shows names: of every field of every state, a line per row."""

from decimal import Decimal

import msgspec
import pytest
from click.testing import CliRunner

from k2_streams.cli import changelog as module
from k2_streams.cli.changelog import changelog, shown
from k2_streams.core.sequence import codec as sequence_codec
from k2_streams.core.sequence.sessions import SessionRule
from k2_streams.core.sequence.step import ScopeMessage, step
from k2_streams.kafka.log_reader import Record
from k2_streams.state.codec import POSITION_KEY, TIMER_PREFIX
from k2_streams.state.dedup_table import Buckets, buckets_section
from k2_streams.state.ids_codec import BucketSum
from k2_streams.state.position import Position, RowSum, encode_position
from k2_streams.testing.oracle import changelog as oracle
from k2_streams.testing.oracle.changelog import named


def state():
    found = step(None, ScopeMessage(1, None, 1, "X:A", 0, 0), SessionRule.NEVER).state
    return step(found, ScopeMessage(5, None, 2, "X:A", 0, 1), SessionRule.NEVER).state


DEDUP = buckets_section("dedup")
POSITION = Position(
    source_id="id", partitions=2, next_offset=9, checkpoint=1, accepted_time_us=5,
    tables={"sequence": RowSum(2, 3)}, outputs={"k2.sequence-events": 4},
    sections={DEDUP.name: DEDUP.write(Buckets((BucketSum(1, 2, 3),)))},
)  # fmt: skip


def no_list_of_positions(value) -> bool:
    """Lists hold things of one kind, not the fields of one thing."""
    if isinstance(value, dict):
        return all(map(no_list_of_positions, value.values()))
    if isinstance(value, list):
        return all(isinstance(one, dict | str) for one in value) and all(
            map(no_list_of_positions, value)
        )
    return True


def test_every_field_has_its_name():
    found = named(state())
    session = found["sessions"][0]
    assert (session["id"], session["first"], session["expected"]) == ("0", 1, 6)
    assert session["missing"][0]["start"] == 2
    assert found["counters"]["gaps_opened"] == 1
    assert named(POSITION)["sections"]["dedup"]["body"]["buckets"] == [
        {"end_ms": 1, "ids": 2, "checksum": 3}
    ]
    for value in (found, named(POSITION)):
        assert no_list_of_positions(value)


@pytest.fixture
def topic(monkeypatch):
    async def read(kafka, name, only=None):
        yield (
            0,
            (
                Record(0, b"X:A", sequence_codec.encode(state()), (), 0),
                Record(1, POSITION_KEY, encode_position(POSITION), (), 0),
                Record(2, b"X:\x1b", None, (), 0),
            ),
        )

    monkeypatch.setattr(oracle, "read_topic", read)

    class Terminal:
        is_terminal = True

    monkeypatch.setattr(module, "Console", Terminal)


def run(*options):
    return CliRunner().invoke(changelog, options)


def test_a_table_has_a_line_per_row_and_cuts_nothing(topic):
    done = run("sequence")
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    assert lines[0].split() == ["partition", "offset", "time", "key", "value"]
    assert 'sessions=[{"id":"0","first":1,"expected":6,' in lines[1]
    assert shown(named(state())) in lines[1]
    assert "next_offset=9" in lines[2]
    assert lines[3].split()[-2:] == ["X:\\x1b", "removed"]


def test_an_unknown_table_or_key_ends_with_2_and_says_what_there_is(topic):
    done = run("sequences")
    assert done.exit_code == 2
    assert "table 'sequences': expected sequence or dedup, found none" in done.output
    done = run("sequence", "--key", "X:B")
    assert done.exit_code == 2
    assert "expected records of key 'X:B', found none: keys are EXCHANGE:SYMBOL" in done.output


def test_bytes_that_cannot_be_read_are_named(monkeypatch):
    async def read(kafka, name, only=None):
        yield 3, (Record(7, b"X:A", b"\xffjunk", (), 0),)

    monkeypatch.setattr(oracle, "read_topic", read)
    done = run("sequence")
    assert done.exit_code == 2
    assert "k2-sequence-changelog 3:7, key 'X:A': sequence state: " in done.output


def test_a_table_that_an_app_declares_is_shown_with_its_position_and_its_timers(monkeypatch):
    asked = []

    async def read(kafka, name, only=None):
        asked.append(name)
        due = (5).to_bytes(8, signed=True)
        yield (
            0,
            (
                Record(0, b"X\0A", msgspec.msgpack.encode({"open": Decimal("1.5")}), (), 0),
                Record(1, TIMER_PREFIX + b"bars\0X", due, (), 0),
                Record(2, POSITION_KEY, encode_position(POSITION), (), 0),
                Record(3, b"X\0A", None, (), 0),
            ),
        )

    monkeypatch.setattr(oracle, "read_topic", read)
    done = run("open-bars", "--app", "bars")
    assert (done.exit_code, asked) == (0, ["bars-open-bars-changelog"])
    found = [msgspec.json.decode(line) for line in done.stdout.splitlines()]
    assert [(one["key"], one["value"]) for one in found if one["key"] != "@position"] == [
        ("X\0A", {"open": "1.5"}), ("@timer:bars:X", 5), ("X\0A", None),
    ]  # fmt: skip
    assert found[2]["value"]["next_offset"] == 9
    one = run("open-bars", "--app", "bars", "--key", "@timer:bars:X")
    assert len(one.stdout.splitlines()) == 1


def test_bytes_that_no_agents_table_has_are_named(monkeypatch):
    async def read(kafka, name, only=None):
        yield 1, (Record(4, b"a", b"\xc1", (), 0),)

    monkeypatch.setattr(oracle, "read_topic", read)
    done = run("mine", "--app", "app")
    assert done.exit_code == 2
    assert "app-mine-changelog 1:4, key 'a': " in done.output
