"""The model of what must come out: by hand, and against the sequencer, which shares nothing."""

from collections import Counter

import numpy as np
import pytest

from k2_streams.core.records import events as ev
from k2_streams.core.sequence.sessions import SessionRule
from k2_streams.core.sequence.step import ScopeMessage, Verdict, step
from k2_streams.testing.load.messages import Encoder, Names
from k2_streams.testing.load.stream import SyntheticStream
from k2_streams.testing.load.synthetic import Plan, Synthetic
from k2_streams.testing.oracle.model import MAX_RANGES, Expected, SessionTruth, ranges_of


def fed(*numbers: int, bad: tuple[int, ...] = (), session: str = "0") -> Expected:
    """A model that was fed one number at a time, each worth 1."""
    expected = Expected()
    feed(expected, numbers, bad, session)
    return expected


def feed(expected, numbers, bad=(), session="0", scope="X:A"):
    size = len(numbers)
    expected.feed(
        np.full(size, expected.group(scope, session), np.int64),
        np.array(numbers, np.int64),
        ~np.isin(numbers, bad),
        np.ones(size, np.int64),
    )


def only(expected: Expected) -> SessionTruth:
    (truth,) = expected.truths()
    return truth


def test_in_order():
    truth = only(fed(1, 2, 3))
    assert (truth.rows, truth.count, truth.value) == ([(1, 3)], 3, 3)
    assert (truth.opened, truth.late, truth.duplicates) == ([], [], [])


def test_a_gap_that_stays_open():
    truth = only(fed(1, 2, 6, 7))
    assert truth.opened == [(3, 5)]
    assert truth.filled == []
    assert truth.rows == [(1, 2), (6, 7)]


def test_a_gap_filled_in_parts():
    truth = only(fed(1, 5, 3, 2, 4))
    assert truth.opened == [(2, 4)]
    assert truth.filled == [(2, 4)]
    assert truth.late == [(2, 4)]
    assert truth.rows == [(1, 5)]


def test_duplicates_count_each_time():
    truth = only(fed(1, 2, 2, 1, 2))
    assert truth.duplicates == [(1, 2)]
    assert truth.duplicate_count == 3
    assert truth.count == 2


def test_below_the_first_is_late_and_opens_a_gap():
    truth = only(fed(10, 7))
    assert truth.opened == [(8, 9)]
    assert truth.late == [(7, 7)]
    assert truth.rows == [(7, 7), (10, 10)]


def test_a_bad_record_is_received_and_no_row():
    truth = only(fed(1, 2, 3, bad=(2,)))
    assert truth.rows == [(1, 1), (3, 3)]
    assert truth.count == 2
    assert truth.opened == []


def test_a_late_bad_record_is_an_event_and_no_row():
    truth = only(fed(1, 3, 2, bad=(2,)))
    assert truth.late_events == [(2, 2)]
    assert truth.late == []
    assert truth.filled == [(2, 2)]


def test_a_reset_abandons_and_makes_stale():
    expected = fed(1, 2, 4)
    feed(expected, [1, 2], session="1")
    feed(expected, [2, 3], session="0")
    old, new = expected.truths()
    assert old.abandoned == [(3, 3, 3, 3, "reset")]
    assert old.stale == [2, 3], "below the floor nothing is known any more"
    assert expected.reasons == Counter(stale=2)
    assert new.reset == (1, "0")


def test_too_many_ranges_give_up_the_lowest():
    odd = range(1, 2 * MAX_RANGES + 4, 2)
    truth = only(fed(*odd, 2))
    assert truth.abandoned == [(2, 2, 2, 2, "limit")]
    assert truth.stale == [2]


def test_a_gap_given_up_in_part_is_not_filled():
    # Of the gap 2 to 4 the 3 comes, the 2 is given up as the lowest of too many, and the 4 comes.
    numbers = [1, 5, 3, *range(7, 7 + 2 * (MAX_RANGES - 1), 2), 4]
    truth = only(fed(*numbers))
    assert truth.abandoned == [(2, 2, 2, 4, "limit")]
    assert truth.late == [(3, 4)]
    assert truth.filled == []


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_answer_does_not_depend_on_the_batches(size):
    rng = np.random.default_rng(5)
    numbers = np.maximum(1, np.arange(3_000) // 2 + rng.integers(-9, 9, 3_000))
    groups = rng.integers(0, 3, 3_000)
    whole, parts = Expected(), Expected()
    for model in (whole, parts):
        for scope in ("A", "B", "C"):
            model.group(f"X:{scope}", "0")
    good = rng.random(3_000) < 0.9
    values = rng.integers(1, 10**12, 3_000)
    whole.feed(groups, numbers, good, values)
    for at in range(0, 3_000, size):
        part = slice(at, at + size)
        parts.feed(groups[part], numbers[part], good[part], values[part])
    assert list(whole.truths()) == list(parts.truths())


def test_ranges():
    assert ranges_of([]) == []
    assert ranges_of([4]) == [(4, 4)]
    assert ranges_of([1, 2, 3, 7, 9, 10]) == [(1, 3), (7, 7), (9, 10)]


def facts(expected: Expected) -> Counter:
    found = Counter()
    for one in expected.truths():
        head = (one.scope, one.session)
        found.update(("opened", *head, *gap) for gap in one.opened)
        found.update(("filled", *head, *gap) for gap in one.filled)
        found.update(("abandoned", *head, *gap) for gap in one.abandoned)
        for first, last in one.late_events:
            found.update(("late", *head, number) for number in range(first, last + 1))
        found.update(("stale", *head, number) for number in one.stale)
        found.update(("conflicting", *head, number) for number in one.conflicts)
        found["duplicates", *head] = one.duplicate_count
        found["rows", *head] = one.count
        if one.reset:
            found["reset", *head, *one.reset] += 1
    return +found


_OF_A_NUMBER = {ev.Late: "late", ev.Stale: "stale", ev.ConflictingDuplicate: "conflicting"}


def fact(event: ev.Event) -> tuple:
    head = (event.scope, event.session)
    match event:
        case ev.GapOpened():
            return ("opened", *head, event.first, event.last)
        case ev.GapFilled():
            return ("filled", *head, event.first, event.last)
        case ev.GapAbandoned():
            gap = (event.gap_first, event.gap_last)
            return ("abandoned", *head, event.first, event.last, *gap, event.reason)
        case ev.Late() | ev.Stale() | ev.ConflictingDuplicate():
            return (_OF_A_NUMBER[type(event)], *head, event.sequence)
        case ev.Reset():
            return ("reset", *head, event.sequence, event.previous)
    raise AssertionError(event)


ACCEPTED = {Verdict.FIRST, Verdict.IN_ORDER, Verdict.LATE, Verdict.RESET}


@pytest.mark.parametrize("by_time", [False, True])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_sequencer_finds_what_the_model_says(seed, by_time):
    """Two programs that share no code judge the same stream, sent twice, and agree."""
    plan = Plan(
        seed=seed,
        start_ns=1_750_000_000_000_000_000,
        messages=12_000,
        symbols=4,
        gaps=0.06,
        duplicates=0.05,
        disorder=0.05,
        late=0.05,
        invalid=0.02,
        resets=12,
        by_time=by_time,
    )
    names = Names("SIM", 4, None if by_time else "run")
    stream = SyntheticStream(plan, names, Encoder(names, len, 1), repeat=2)
    expected = Expected()
    for chunk in stream.chunks():
        chunk.tell(expected, 0, len(chunk))

    found = Counter()
    states = {}
    first = np.concatenate(list(Synthetic(plan).chunks()))
    for message in np.concatenate([first, first[first["bad"] < 0]]):
        if message["sequence"] < 0:
            continue
        scope = names.scopes[message["symbol"]]
        told = None if by_time else names.session(int(message["session"]))
        time_ns = int(message["time_ns"])
        number = int(message["sequence"])
        asked = ScopeMessage(number, told, time_ns, scope, 0, 0)
        stepped = step(states.get(scope), asked, SessionRule.DECLARED)
        states[scope] = stepped.state
        found.update(map(fact, stepped.events))
        head = (scope, stepped.session_id)
        found["duplicates", *head] += stepped.verdict is Verdict.DUPLICATE
        found["rows", *head] += stepped.verdict in ACCEPTED and bool(message["bad"] < 0)
    said = facts(expected)
    assert said == +found
    kinds = {one[0] for one in said}
    assert kinds == {
        "opened",
        "filled",
        "abandoned",
        "late",
        "stale",
        "duplicates",
        "rows",
        "reset",
    }


@pytest.mark.parametrize("chunk", [1, 7, 1_000])
def test_the_model_finds_numbers_used_twice_as_the_sequencer_does(chunk):
    """A venue whose clock jumps, which counts on, leaves out, repeats, and uses numbers again."""
    chance = np.random.default_rng(chunk)
    numbers, times, now, following = [], [], 1_750_000_000_000_000_000, 1
    for _ in range(3_000):
        now += int(chance.choice([10**6, 10**6, 10**6, 10**9, 10**9 + 1, 3 * 10**9]))
        kind = chance.random()
        number = following
        if kind < 0.2:
            number = max(1, following - int(chance.integers(1, 9)))
        else:
            following += 1 + int(kind < 0.3)
        numbers.append(number)
        times.append(0 if chance.random() < 0.05 else now)
    groups = np.array([0, 1] * 1_500)
    expected, states, found = Expected(), {}, Counter()
    assert [expected.group("X:A", "s"), expected.group("X:B", "s")] == [0, 1]
    for at in range(0, len(numbers), chunk):
        part = slice(at, at + chunk)
        expected.feed(
            groups[part],
            np.array(numbers[part]),
            np.ones(len(numbers[part]), np.bool_),
            np.ones(len(numbers[part]), np.int64),
            np.array(times[part]),
        )
    for group, number, time_ns in zip(groups.tolist(), numbers, times, strict=True):
        scope = ("X:A", "X:B")[group]
        message = ScopeMessage(number, "s", time_ns, scope, 0, 0)
        stepped = step(states.get(scope), message, SessionRule.DECLARED)
        states[scope] = stepped.state
        found.update(map(fact, stepped.events))
        head = (scope, stepped.session_id)
        found["duplicates", *head] += stepped.verdict is Verdict.DUPLICATE
        found["rows", *head] += stepped.verdict in ACCEPTED
    assert facts(expected) == +found
    conflicts = sum(count for one, count in found.items() if one[0] == "conflicting")
    assert conflicts == expected.reasons["conflicting-duplicate"] > 100
