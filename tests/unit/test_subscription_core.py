"""What a subscription decides: its position, where rows are, files, pace, and the tally."""

import numpy as np
import pytest

from k2_streams.core.records.vector import Range
from k2_streams.core.subscription.file_spans import FileSpan, next_files
from k2_streams.core.subscription.legs import Leg
from k2_streams.core.subscription.position import LogPosition, PartialRecord, Places
from k2_streams.core.subscription.replay_pace import ReplayPace
from k2_streams.core.subscription.sources import sources_of
from k2_streams.core.subscription.tally import Tally


def places(*found):
    columns = zip(*found, strict=True) if found else ([], [], [])
    return Places(*(np.array(column, np.int64) for column in columns))


def test_a_position_is_exact_to_the_row():
    start = LogPosition({0: 0, 1: 5})
    within = start.after(places((0, 0, 0), (0, 0, 1)))
    assert within == LogPosition({0: 0, 1: 5}, PartialRecord(0, 2))
    assert within.after(places((0, 0, 2))) == LogPosition({0: 0, 1: 5}, PartialRecord(0, 3))
    # A row of another record says that the one before it was whole.
    assert within.after(places((1, 7, 0))) == LogPosition({0: 1, 1: 7}, PartialRecord(1, 1))
    assert within.reached({0: 9, 1: 3}) == LogPosition({0: 9, 1: 5})
    assert start.after(places()) == start


@pytest.mark.parametrize(
    ("start", "stop", "held", "tail", "lake", "recent"),
    [
        (0, 12, 8, (8, 12), (0, 8), (8, 12)),  # history, then the tail
        (9, 12, 8, (8, 12), None, (9, 12)),  # in the tail
        (9, 12, 10, (8, 12), None, (9, 12)),  # the tail still has what the lake has too
        (3, 12, 10, (8, 12), (3, 10), (10, 12)),  # evicted meanwhile
        (9, 14, 14, (8, 12), (12, 14), (9, 12)),  # the tail is behind the snapshot
        (0, 4, 8, (8, 12), (0, 4), None),  # ends in history
        (12, 12, 8, (8, 12), None, None),
    ],
)
def test_each_offset_is_read_from_one_part(start, stop, held, tail, lake, recent):
    found = sources_of({0: start}, {0: stop}, {0: held}, {0: Range(*tail)})
    assert found.lake == ({0: Range(*lake)} if lake else {})
    assert found.tail == ({0: Range(*recent)} if recent else {})


def test_a_leg_carries_what_no_row_left_lies_below():
    first = Leg({0: 9}, floor=3, beyond=20)
    assert first.at(7).floor_of_rest == 7
    assert first.at(30).floor_of_rest == 20
    assert first.following({0: 12}, 25) == Leg({0: 12}, floor=20, beyond=25)


def test_few_files_are_read_and_each_step_moves_on():
    spans = [FileSpan(f"{n}", 100, n * 10, n * 10 + 9) for n in range(10)]
    assert next_files(spans, 0, 150) == (("0", "1"), 20)
    assert next_files(spans, 25, 150) == (("2", "3"), 40)
    assert next_files(spans, 85, 150) == (("8", "9"), None)
    day = FileSpan("day", 1_000_000, 0, 95)
    assert next_files([day, *spans], 0, 150) == (("0", "day"), 10)
    unknown = FileSpan("unknown", 5, None, None)
    assert "unknown" in next_files([unknown, *spans], 40, 10).paths
    same = [FileSpan(f"{n}", 100, 0, 9) for n in range(3)]
    assert next_files(same, 0, 10) == (("0", "1", "2"), None)
    assert next_files([], 0, 10) == ((), None)


def test_rows_are_due_as_far_apart_as_they_were_and_never_before_the_one_above():
    pace = ReplayPace.begun(10.0, 1_000_000_000, 50.0)
    times = np.array([1_000_000_000, 3_000_000_000, 2_000_000_000, 5_000_000_000])
    assert pace.due_s(times).tolist() == pytest.approx([50.0, 50.2, 50.2, 50.4])
    assert pace.after(times).due_s(np.array([0])).tolist() == pytest.approx([50.4])


def mixed(number):
    """As a reader in any language would write it."""
    word = (number + 0x9E3779B97F4A7C15) % 2**64
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    word = (word ^ word >> 27) * 0x94D049BB133111EB % 2**64
    return word ^ word >> 31


def of_row(place):
    partition, offset, row = place
    return mixed(mixed(mixed(partition) + offset) + row)


def test_a_tally_does_not_depend_on_the_order_and_notices_each_row():
    rows = [(p, o, r) for p in range(3) for o in range(20) for r in range(3)]
    whole = Tally().with_rows(places(*rows))
    parts = Tally().with_rows(places(*rows[100:])).with_rows(places(*reversed(rows[:100])))
    assert parts == whole
    assert whole.rows == 180
    assert whole.text == f"{sum(map(of_row, rows)) % 2**64:016x}"
    for at in range(len(rows)):
        doubled = [*rows[:at], *rows[at + 1 :], rows[at - 1]]
        assert Tally().with_rows(places(*doubled)).checksum != whole.checksum
