"""The synthetic stream is a function of its plan, and holds the faults that the plan asks for."""

from collections import defaultdict

import numpy as np
import pytest

from k2_streams.testing.load.invalid import BY_NAME, KINDS
from k2_streams.testing.load.synthetic import (
    CHUNK,
    MAX_RESETS,
    MIN_SESSION,
    SESSION_JUMP_NS,
    Messages,
    Plan,
    Synthetic,
)

START_NS = 1_750_000_000_000_000_000
HOUR_NS = 3_600_000_000_000


def stream(**options) -> Messages:
    """All messages of a plan."""
    plan = Plan(**{"seed": 1, "start_ns": START_NS, "messages": 20_000, "symbols": 20} | options)
    return np.concatenate(list(Synthetic(plan).chunks()))


def by_session(messages: Messages) -> dict[tuple[int, int], list[int]]:
    """Of each session the numbers in sending order."""
    numbers = defaultdict(list)
    for message in messages[messages["sequence"] >= 0]:
        numbers[int(message["symbol"]), int(message["session"])].append(int(message["sequence"]))
    return numbers


FAULTS = {
    "gaps": 0.01,
    "duplicates": 0.01,
    "disorder": 0.01,
    "late": 0.01,
    "invalid": 0.01,
    "resets": 40,
}


def test_the_same_seed_gives_the_same_messages():
    first, again = stream(**FAULTS), stream(**FAULTS)
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != stream(**FAULTS | {"seed": 2}).tobytes()


def test_without_faults_each_symbol_counts_from_one():
    messages = stream(messages=CHUNK + 5_000)
    assert len(messages) == CHUNK + 5_000
    for numbers in by_session(messages).values():
        assert numbers == list(range(1, len(numbers) + 1))


def test_skew_follows_zipf():
    counts = np.bincount(stream(messages=60_000, symbols=4, skew=1.0)["symbol"])
    shares = counts / counts.sum()
    weights = 1 / np.arange(1, 5)
    assert shares == pytest.approx(weights / weights.sum(), abs=0.01)


def test_a_gap_is_never_sent_and_nothing_else_is_missing():
    messages = stream(gaps=0.02)
    missing = 0
    for numbers in by_session(messages).values():
        assert numbers == sorted(set(numbers))
        steps = np.diff([0, *numbers])
        assert steps.max() <= 21
        missing += int((steps - 1).sum())
    assert missing / 10.5 == pytest.approx(20_000 * 0.02, rel=0.25)


def test_disorder_swaps_neighbours_of_a_symbol():
    messages = stream(disorder=0.02)
    swaps = 0
    for numbers in by_session(messages).values():
        assert sorted(numbers) == list(range(1, len(numbers) + 1))
        # Held back for one message: a number is at most one later than its place per neighbour.
        swaps += int((np.diff(numbers) < 0).sum())
    assert swaps == pytest.approx(20_000 * 0.02, rel=0.25)


def test_a_late_number_comes_20_to_200_messages_later():
    messages = stream(late=0.005, messages=50_000, symbols=2)
    behind = []
    for numbers in by_session(messages).values():
        highest = 0
        for number in numbers:
            if number < highest:
                behind.append(highest - number)
            highest = max(highest, number)
    assert len(behind) == pytest.approx(50_000 * 0.005, rel=0.25)
    # At the end of the stream everything is sent, however short the wait was.
    assert sum(20 <= gap <= 205 for gap in behind) >= len(behind) - 4


def test_a_duplicate_is_the_same_message_again():
    messages = stream(duplicates=0.02)
    first = {}
    again = 0
    for message in messages:
        key = (int(message["symbol"]), int(message["sequence"]))
        if key in first:
            again += 1
            assert message.tobytes() == first[key]
        first[key] = message.tobytes()
    assert again == pytest.approx(20_000 * 0.02, rel=0.2)


@pytest.mark.parametrize("by_time", [False, True])
def test_resets_begin_at_one_and_nothing_crosses_them(by_time):
    messages = stream(**FAULTS, by_time=by_time)
    seen = defaultdict(list)
    for message in messages[messages["sequence"] >= 0]:
        seen[int(message["symbol"])].append(message)
    resets = 0
    for of_symbol in seen.values():
        sessions = [int(message["session"]) for message in of_symbol]
        assert sessions == sorted(sessions), "a message was sent after its session's end"
        assert max(sessions) <= MAX_RESETS
        resets += max(sessions)
        for number in range(1, max(sessions) + 1):
            before = [m for m in of_symbol if m["session"] == number - 1]
            after = [m for m in of_symbol if m["session"] == number]
            assert max(int(m["sequence"]) for m in before) >= MIN_SESSION
            if by_time:
                first = after[0]
                assert first["sequence"] == 1
                assert first["time_ns"] - max(int(m["time_ns"]) for m in before) > HOUR_NS
    assert resets == 40


def test_sessions_told_by_time_end_in_the_present():
    messages = stream(**FAULTS, by_time=True)
    assert messages["time_ns"].max() <= START_NS + 20_000 * 10_000
    assert messages["time_ns"].min() >= START_NS - MAX_RESETS * SESSION_JUMP_NS


def test_a_rate_of_resets_is_a_rate():
    sessions = stream(resets=0.002, symbols=50)["session"]
    symbols = stream(resets=0.002, symbols=50)["symbol"]
    resets = sum(int(sessions[symbols == one].max()) for one in np.unique(symbols))
    assert resets == pytest.approx(40, rel=0.5)


def test_resets_without_a_place_are_counted_not_forced():
    synthetic = Synthetic(Plan(seed=1, start_ns=0, messages=100, symbols=50, resets=30))
    list(synthetic.chunks())
    assert synthetic.resets_made < 30


def test_invalid_messages_are_of_the_kinds_asked_for():
    kinds = (BY_NAME["nan-price"], BY_NAME["empty"])
    messages = stream(invalid=0.02, kinds=kinds)
    bad = messages[messages["bad"] >= 0]
    assert set(np.unique(bad["bad"]).tolist()) == set(kinds)
    readable = np.array([KINDS[kind].readable for kind in bad["bad"]])
    assert (bad["sequence"][readable] > 0).all()
    assert (bad["sequence"][~readable] == -1).all()
    # A number that can be read counts, so nothing is missing.
    for numbers in by_session(messages).values():
        assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"gaps": 0.6}, "gaps"),
        ({"late": -0.1}, "late"),
        ({"resets": 1.5}, "resets"),
        ({"resets": 3, "messages": None}, "resets"),
        ({"symbols": 0}, "symbols"),
        ({"invalid": 0.1, "kinds": ()}, "invalid"),
    ],
)
def test_a_plan_that_cannot_be_made_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        Plan(**{"seed": 1, "start_ns": 0} | options)
