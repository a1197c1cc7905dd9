"""Each way in which events and dead letters can be wrong is found."""

from collections import Counter

import msgspec
import numpy as np
import pytest

from k2_streams.core.records import events as ev
from k2_streams.testing.oracle.check_events import FoundEvents, FoundLetters, Redriven
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


def dead_and_good() -> Truth:
    """X:A: numbers 1 to 4, of which 2 is of a record that nobody can use."""
    expected = Expected()
    group = expected.group("X:A", "0")
    numbers, good = np.array([1, 2, 3, 4]), np.array([True, False, True, True])
    expected.feed(np.full(4, group), numbers, good, np.ones(4, np.int64))
    header = Header(topic="raw", feed="canonical", options={}, sent=4)
    lines = [session_line(one, 3) for one in expected.truths()]
    return Truth(header, lines, Counter({"not-json": 1}), {0: SentRange(0, 4, 4)})


def dead_events(found: FoundEvents, *events: tuple[type[ev.Dead | ev.Redriven], int]) -> list[str]:
    for kind, number in events:
        offset = number - 1 if kind is ev.Dead else 70
        event = kind(
            scope="X:A", session="0", sequence=number, source_partition=0, source_offset=offset
        )
        found.add(ev.encode(event), "events 0:1")
    return [text for check in found.checks() for text in check.differences]


def test_dead_numbers_are_those_of_the_truth_but_for_those_redriven():
    assert dead_events(FoundEvents(dead_and_good()), (ev.Dead, 2)) == []
    refused = [(ev.Dead, 2), (ev.Dead, 3)]  # a decoder refused a good one
    (difference,) = dead_events(FoundEvents(dead_and_good()), *refused)
    assert difference == "too many 1 x dead X:A, session 0: 3"
    found = FoundEvents(dead_and_good())
    assert dead_events(found, *refused, (ev.Redriven, 3)) == []
    assert found.redriven == {("X:A", "0"): {3}}
    (difference,) = dead_events(FoundEvents(dead_and_good()), (ev.Dead, 2), (ev.Redriven, 2))
    assert difference == "missing 1 x dead X:A, session 0: 2", "it had to stay dead"


def test_a_truth_of_before_dead_numbers_were_told_is_not_compared_with_them():
    old = dead_and_good()
    old.sessions[0] = msgspec.structs.replace(old.sessions[0], dead=None)
    assert dead_events(FoundEvents(old), (ev.Dead, 3)) == []


def test_what_others_send_fills_gaps_of_the_run_and_is_no_event_of_it():
    """The raw records are named, but for those that died, were sent by the run, or fill no gap."""
    found = FoundEvents(truth())
    at = {"scope": "X:A", "session": "0", "source_partition": 0}
    later = [
        ev.Late(sequence=4, source_offset=101, **at),
        ev.Late(sequence=19, source_offset=102, **at),
        ev.Late(sequence=7, source_offset=103, **at),
        ev.Dead(sequence=7, source_offset=103, **at),
        ev.GapFilled(first=4, last=19, source_offset=104, **at),
        ev.Late(sequence=25, source_offset=105, **at),
        ev.Late(sequence=5, source_offset=106, **at | {"scope": "X:OTHER"}),
        ev.Duplicates(scope="X:A", session="0", count=2, ranges=[(4, 5)], line="repair-1"),
    ]
    for event in [*right(), *later]:
        found.add(ev.encode(event), "events 0:1")
    assert all(check.agrees for check in found.checks())
    assert found.repaired == {(0, 101), (0, 102)}


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


def letters(
    *reasons: str, alone: bool = True, redriven: Redriven | None = None, **options
) -> list[tuple[str, list[str]]]:
    found = FoundLetters(truth(alone, {"not-json": 2, "empty": 1}), redriven)
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


def test_letters_whose_number_was_redriven_are_rows_by_now():
    """Those of a verdict are about a message that has no row."""
    number = {"k2.scope": b"X:A", "k2.session": b"0", "k2.sequence": b"7"}
    redriven = {("X:A", "0"): {7}}
    found = letters("wrong-type", "stale", redriven=redriven, **number)
    assert found[0][1] == [
        "empty: expected 1, found 0",
        "not-json: expected 2, found 0",
        "stale: expected 0, found 1",
    ]
    assert "wrong-type: expected 0, found 1" in letters("wrong-type", **number)[0][1]
