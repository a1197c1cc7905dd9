"""`k2 dead-letters list`: every dead letter can be read, selected and shown."""

import base64
import json
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from k2_streams.cli import dead_letters
from k2_streams.cli.dead_letters import COLUMNS, row_of
from k2_streams.cli.main import main
from k2_streams.cli.text_table import printable
from k2_streams.core.records.source import QUOTES_INPUT, TRADES_INPUT
from k2_streams.kafka.log_reader import Record
from k2_streams.runtime.task.epoch import dead_letter
from k2_streams.runtime.task.outputs import TaskOutputs
from k2_streams.testing.oracle import dead_letters as oracle
from k2_streams.testing.oracle.dead_letters import LetterFilter, LetterSelection, letter_of

T0_MS = 1_790_000_000_000


def record(offset: int, *, source=TRADES_INPUT, **fields) -> Record:
    """A dead letter as a task makes it."""
    given = {
        "partition": 2, "offset": 100 + offset, "key": b"X:A", "value": b'{"a":1}', "headers": (),
        "timestamp_ms": T0_MS + 1_000 * offset, "reason": "not-json", "field_name": None,
        "detail": "d",
    }  # fmt: skip
    output = dead_letter(of=TaskOutputs.of_raw(source), **(given | fields))
    return Record(offset, output.key, output.value, output.headers, T0_MS)


def test_a_dead_letter_is_read_with_reason_position_and_bytes():
    letter = letter_of(
        1, record(7, headers=(("feed", b"asx.csv"), ("line", b"a")), field_name="price")
    )
    assert (letter.reason, letter.field, letter.detail, letter.feed) == (
        *("not-json", "price", "d", "asx.csv"),
    )
    assert (letter.topic, letter.partition, letter.offset) == (TRADES_INPUT.raw, 2, 107)
    assert (letter.letter_partition, letter.letter_offset) == (1, 7)
    assert (letter.key, letter.value) == ("X:A", '{"a":1}')
    assert letter.headers == [{"name": "feed", "value": "asx.csv"}, {"name": "line", "value": "a"}]
    assert letter.time_ms == T0_MS + 7_000


def test_bytes_that_are_not_text_are_base64_and_what_there_was_not_is_null():
    letter = letter_of(0, record(0, key=None, value=b"\xff\x00"))
    assert (letter.key, letter.key_base64, letter.value) == (None, None, None)
    assert base64.b64decode(letter.value_base64) == b"\xff\x00"
    letter = letter_of(0, record(0, key=None, value=None))
    assert (letter.key, letter.value, letter.value_base64) == (None, None, None)
    letter = letter_of(0, record(0, headers=(("feed", None), ("h", b"\xff"))))
    assert letter.feed is None
    assert letter.headers[1] == {"name": "h", "value": None, "value_base64": "/w=="}


def test_the_last_of_a_header_counts_so_that_no_producer_can_pretend_a_reason():
    letter = letter_of(
        0, record(0, headers=(("k2.reason", b"mine"), ("feed", b"a"), ("feed", b"b")))
    )
    assert (letter.reason, letter.feed) == ("not-json", "b")


@given(
    st.none() | st.binary(max_size=20),
    st.none() | st.binary(max_size=20),
    st.lists(
        st.tuples(
            st.sampled_from(["k2.reason", "k2.partition", "k2.append-time", "k2.null", "feed", ""]),
            st.none() | st.binary(max_size=12),
        )
    ),
)
def test_whatever_stands_in_the_topic_is_shown_in_one_line(key, value, headers):
    letter = letter_of(0, Record(0, key, value, tuple(headers), 0))
    line = "".join(row_of(letter))
    assert line.isprintable()
    assert len(row_of(letter)) == len(COLUMNS)
    LetterFilter(reasons=frozenset({"x"}), since_ms=1).matches(letter)


LETTERS = [
    letter_of(
        offset % 2,
        record(
            offset,
            reason=("stale", "not-json")[offset % 3 == 0],
            key=(b"X:A", b"X:B", b"Y:A")[offset % 3],
            partition=offset % 4,
            headers=(("feed", b"asx.csv"),) if offset % 5 == 0 else (),
        ),
    )
    for offset in range(40)
]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (LetterFilter(), lambda n: True),
        (LetterFilter(reasons=frozenset({"not-json"})), lambda n: n % 3 == 0),
        (LetterFilter(feeds=frozenset({"asx.csv"})), lambda n: n % 5 == 0),
        (LetterFilter(feeds=frozenset({"canonical"})), lambda n: n % 5 != 0),
        (LetterFilter(keys=("X:B",)), lambda n: n % 3 == 1),
        (LetterFilter(keys=("X:*", "Y:A")), lambda n: True),
        (LetterFilter(keys=("X:*",)), lambda n: n % 3 != 2),
        (LetterFilter(partition=3), lambda n: n % 4 == 3),
        (LetterFilter(first_offset=110, last_offset=119), lambda n: 10 <= n <= 19),
        (LetterFilter(last_offset=104), lambda n: n <= 4),
        (LetterFilter(since_ms=T0_MS + 5_000, until_ms=T0_MS + 9_000), lambda n: 5 <= n <= 9),
        (LetterFilter(reasons=frozenset({"stale"}), partition=1), lambda n: n % 3 and n % 4 == 1),
    ],
)
def test_each_option_selects(wanted, expected):
    found = [letter.offset - 100 for letter in LETTERS if wanted.matches(letter)]
    assert found == [number for number in range(40) if expected(number)]


@given(st.permutations(LETTERS), st.integers(1, 50), st.booleans())
def test_the_first_of_them_are_kept_whatever_the_order_of_reading(letters, limit, newest):
    selection = LetterSelection(LetterFilter(reasons=frozenset({"stale"})), limit, newest=newest)
    for letter in letters:
        selection.add(letter)
    stale = [letter for letter in LETTERS if letter.reason == "stale"]
    assert selection.letters() == (stale[::-1] if newest else stale)[:limit]
    assert selection.matched == len(stale)
    assert len(selection._kept) <= limit


@pytest.fixture
def topic(monkeypatch):
    """What is read, instead of a topic."""
    asked = []

    async def read(kafka, name, only=None):
        asked.append((kafka.bootstrap, name))
        source = QUOTES_INPUT if name == QUOTES_INPUT.dead_letter else TRADES_INPUT
        yield 0, (record(0, source=source), record(1, value=b"\x1b[31m\xff", reason="not-utf8"))
        yield 1, (record(2, value=b"x" * 500, reason="stale"),)

    monkeypatch.setattr(oracle, "read_topic", read)
    return asked


def run(*options: str):
    return CliRunner().invoke(main, ["dead-letters", "list", *options])


def test_json_is_an_object_per_dead_letter(topic):
    done = run("--json")
    assert done.exit_code == 0, done.output
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["reason"] for one in found] == ["not-json", "not-utf8", "stale"]
    assert found[2]["value"] == "x" * 500
    assert base64.b64decode(found[1]["value_base64"]) == b"\x1b[31m\xff"
    assert done.stderr == "3 dead letters\n"


def test_options_reach_the_selection(topic):
    since = datetime.fromtimestamp(T0_MS / 1000 + 1, UTC).isoformat()
    for options, reasons in (
        (["--reason", "stale", "--reason", "not-json"], ["not-json", "stale"]),
        (["--offsets", "101:"], ["not-utf8", "stale"]),
        (["--since", since, "--newest"], ["stale", "not-utf8"]),
        (["--until", since, "--key", "X:*", "--partition", "2"], ["not-json", "not-utf8"]),
        (["--newest", "--limit", "1"], ["stale"]),
    ):
        done = run("--json", *options)
        assert [json.loads(line)["reason"] for line in done.stdout.splitlines()] == reasons, options
    assert "1 of 3 that match: --limit shows more" in done.stderr
    assert run("--stream", "quotes", "--bootstrap", "there:1").exit_code == 0
    assert topic[-1] == ("there:1", QUOTES_INPUT.dead_letter)


def test_where_none_matches_it_tells_what_there_is(topic):
    done = run("--reason", "stael")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.startswith("no dead letter matches; of 3 the reasons are not-json (1)")


def test_the_table_has_a_line_per_dead_letter_and_no_control_character(topic, monkeypatch):
    class Terminal:
        is_terminal = True

    monkeypatch.setattr(dead_letters, "Console", Terminal)
    done = run()
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    assert all(name in lines[0] for name in COLUMNS)
    assert "k2.trades.raw 2:101" in lines[2]
    assert all(line.isprintable() for line in lines)
    assert lines[3].endswith("x" * 80 + "...")


@pytest.mark.parametrize(
    "options",
    [
        *(["--limit", "0"], ["--offsets", "5"], ["--since", "yesterday"], ["--stream", "bars"]),
        *(["--bootstrap", "x:abc"], ["--limit", "10001"]),
    ],
)
def test_what_cannot_be_ends_with_2(topic, options):
    assert run(*options).exit_code == 2


def test_nobody_there_ends_with_2():
    done = run("--bootstrap", "127.0.0.1:1")
    assert done.exit_code == 2
    assert done.output.startswith("Error: the dead letters cannot be read: ")


def test_printable():
    assert printable("a\x1b[0m\u202eb\n") == "a\\x1b[0m\\u202eb\\n"
