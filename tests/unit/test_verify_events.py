"""Each way in which events and dead letters can be wrong is found."""

from collections import Counter

import msgspec
import numpy as np
import pytest

from k2_streams.core.records import events as ev
from k2_streams.testing.oracle.check_events import FoundEvents, FoundLetters
from k2_streams.testing.oracle.model import Expected
from k2_streams.testing.oracle.truth_file import Header, SentRange, Truth, session_line


def truth(alone: bool = True, reasons: dict[str, int] | None = None) -> Truth:
    """X:A: a small gap filled, a large one abandoned by a reset, two duplicates, a stale number."""
    expected = Expected()
    for session, numbers in (
        ("0", [1, 3, 2, 2, 3, 20]),
        ("1", [1, 2]),
        ("0", [4]),
    ):
        group = expected.group("X:A", session)
        size = len(numbers)
        expected.feed(
            np.full(size, group), np.array(numbers), np.ones(size, bool), np.ones(size, np.int64)
        )
    lines = [session_line(one, 3) for one in expected.truths()]
    header = Header(topic="raw", feed="canonical", options={}, sent=9)
    place = SentRange(0, 100, 100 if alone else 9)
    return Truth(header, lines, Counter(reasons or {}), {0: place})


def right() -> list[ev.Event]:
    at = {"scope": "X:A", "session": "0", "source_partition": 0, "source_offset": 7}
    return [
        ev.GapOpened(first=2, last=2, size="small", **at),
        ev.Late(sequence=2, **at),
        ev.GapFilled(first=2, last=2, **at),
        ev.Duplicates(scope="X:A", session="0", count=1, ranges=[(2, 2)]),
        ev.Duplicates(scope="X:A", session="0", count=1, ranges=[(3, 3)]),
        ev.GapOpened(first=4, last=19, size="large", **at),
        ev.GapAbandoned(first=4, last=19, gap_first=4, gap_last=19, reason="reset", **at),
        ev.Reset(sequence=1, previous="0", **at | {"session": "1"}),
        ev.Stale(sequence=4, **at),
    ]


def compared(events: list[ev.Event], alone: bool = True) -> dict[str, list[str]]:
    found = FoundEvents(truth(alone))
    for number, event in enumerate(events):
        found.add(ev.encode(event), f"events 0:{number}")
    return {
        check.name.removeprefix("events: "): check.differences or ["count"]
        for check in found.checks()
        if not check.agrees
    }


def replaced(event: ev.Event, **fields) -> ev.Event:
    return msgspec.structs.replace(event, **fields)


def test_events_that_are_right():
    assert compared(right()) == {}
    assert compared(right()[::-1]) == {}, "their order does not matter"


@pytest.mark.parametrize("at", [0, 1, 2, 5, 6, 7, 8])
def test_an_event_missing_and_an_event_twice(at):
    events = right()
    kind = msgspec.to_builtins(events[at])["type"]
    (missing,) = compared(events[:at] + events[at + 1 :])[kind]
    assert missing.startswith(f"missing 1 x {kind} X:A")
    (twice,) = compared([*events, events[at]])[kind]
    assert twice.startswith(f"too many 1 x {kind} X:A")


@pytest.mark.parametrize(
    ("at", "fields"),
    [
        (0, {"last": 3}),
        (0, {"size": "large"}),
        (2, {"first": 1}),
        (5, {"session": "1"}),
        (6, {"reason": "limit"}),
        (6, {"gap_last": 18}),
        (7, {"previous": "7"}),
        (7, {"sequence": 2}),
        (8, {"sequence": 5}),
    ],
)
def test_an_event_that_says_something_else(at, fields):
    events = right()
    events[at] = replaced(events[at], **fields)
    (differences,) = compared(events).values()
    assert len(differences) == 2, "one is missing and one is too many"


def test_duplicates_are_added_up_over_checkpoints():
    events = [event for event in right() if not isinstance(event, ev.Duplicates)]
    assert "expected 2 repeated, found 0" in compared(events)["duplicates"][0]
    both = ev.Duplicates(scope="X:A", session="0", count=2, ranges=[(2, 3)])
    assert compared([*events, both]) == {}
    assert "found 3" in compared([*events, replaced(both, count=3)])["duplicates"][0]
    wrong = compared([*events, replaced(both, ranges=[(2, 2)])])["duplicates"]
    assert wrong == ["X:A, session 0: repeated numbers missing [3], too many []"]


def test_events_of_others_are_left_alone():
    later = {"source_partition": 0, "source_offset": 100}
    of_others = [
        ev.GapAbandoned(
            scope="X:A",
            session="1",
            first=3,
            last=3,
            gap_first=3,
            gap_last=3,
            reason="reset",
            **later,
        ),
        ev.Reset(scope="X:A", session="2", sequence=1, previous="1", **later),
        ev.Late(scope="Y:B", session="0", sequence=1, source_partition=1, source_offset=5),
    ]
    assert compared(right() + of_others) == {}


def test_a_stranger_among_our_offsets():
    stranger = ev.Late(scope="X:B", session="0", sequence=1, source_partition=0, source_offset=5)
    assert compared([*right(), stranger]) == {"late": ["too many 1 x late X:B, session 0: 1"]}
    assert compared([*right(), stranger], alone=False) == {}


def test_a_scope_may_have_had_a_life_before():
    at = {"scope": "X:A", "source_partition": 0, "source_offset": 0}
    before = ev.Reset(session="0", sequence=1, previous="earlier", **at)
    assert compared([*right(), before]) == {}
    wrong = ev.Reset(session="1", sequence=1, previous="earlier", **at)
    assert "reset" in compared([*right(), wrong])


@pytest.mark.parametrize("value", [None, b"", b"{}", b'{"type":"new","scope":"X:A","session":"0"}'])
def test_a_record_that_is_no_event(value):
    found = FoundEvents(truth())
    found.add(value, "events 0:1")
    (check,) = [one for one in found.checks() if one.name == "events: unreadable"]
    assert check.differences[0].startswith("events 0:1: not an event")


def letters(*reasons: str, alone: bool = True, **options) -> list[tuple[str, list[str]]]:
    found = FoundLetters(truth(alone, {"not-json": 2, "empty": 1}))
    for offset, reason in enumerate(reasons):
        headers = {
            "k2.reason": reason.encode(),
            "k2.topic": b"raw",
            "k2.partition": b"0",
            "k2.offset": str(offset).encode(),
        }
        found.add(headers | options, f"letters 0:{offset}")
    return [(check.name, check.differences) for check in found.checks() if not check.agrees]


def test_letters_that_are_right():
    assert letters("not-json", "empty", "not-json") == []


def test_letters_with_another_reason():
    (difference,) = letters("not-json", "empty", "empty")
    assert difference[1] == ["empty: expected 1, found 2", "not-json: expected 2, found 1"]


def test_a_letter_missing_or_too_many():
    assert letters("not-json", "empty")[0][1] == ["not-json: expected 2, found 1"]
    assert letters("not-json", "empty", "not-json", "stale")[0][1] == ["stale: expected 0, found 1"]


def test_a_letter_twice():
    twice = letters("not-json", "empty", "not-json", **{"k2.offset": b"4"})
    assert twice == [("dead letters, each once", ["raw 0:4: 3 letters"])]


def test_a_letter_without_a_reason():
    ((name, differences),) = letters(
        "not-json", "empty", "not-json", "x", **{"k2.partition": b"?"}
    )[1:]
    assert name == "dead letters, each once"
    assert differences[0].startswith("letters 0:0: without a reason or a position")


def test_letters_of_others_are_left_alone():
    assert letters("x", "y", **{"k2.topic": b"other"})[0][1] == [
        "empty: expected 1, found 0",
        "not-json: expected 2, found 0",
    ]
    assert letters("not-json", "x", alone=False) == [], "others wrote among ours"
