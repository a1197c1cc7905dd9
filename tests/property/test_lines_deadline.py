"""When held gaps are due, found for all of them together: as for each by itself."""

import time

from hypothesis import given
from hypothesis import strategies as st

from k2_streams.core.lines.state import Held, LineAt, Lines
from k2_streams.core.lines.step import HOLD_MS, deadline_ms, deadlines_ms

NAMES = ["", "A", "B", "C"]
SESSIONS = ["s", "t"]
small = st.integers(0, 8)


def plain(lines: Lines, held: Held) -> int:
    """Line by line: until when one that has not passed the gap is expected."""
    passed = {
        line.name for line in lines.at if line.session == held.session and line.next > held.last
    }
    waits = [held.since_ms for name in held.awaits if name not in passed]
    waits += [line.seen_ms for line in lines.at if line.name not in passed]
    return max(waits) + HOLD_MS if waits else 0


lines_at = st.lists(
    st.builds(LineAt, st.sampled_from(NAMES), st.sampled_from(SESSIONS), small, small),
    max_size=4,
    unique_by=lambda line: line.name,
)
gaps = st.builds(
    lambda session, first, more, since_ms, awaits: Held(
        session, first, first + more, since_ms, 0, 0, tuple(sorted(awaits))
    ),
    *(st.sampled_from(SESSIONS), small, small, small, st.sets(st.sampled_from(NAMES))),
)


@given(lines_at, st.lists(gaps, max_size=8))
def test_all_together_as_each_by_itself(at: list[LineAt], held: list[Held]) -> None:
    lines = Lines(tuple(at), tuple(held))
    each = [plain(lines, one) for one in held]
    assert deadlines_ms(lines) == each
    assert deadline_ms(lines) == min(each, default=None)


def test_what_a_gap_costs_does_not_follow_the_lines() -> None:
    """Of 16 lines as of one, measured 1.3 times; it was 8."""

    def best_s(count: int) -> float:
        names = tuple(f"L{number:02}" for number in range(count))
        at = tuple(LineAt(name, "s", 0, number) for number, name in enumerate(names))
        lines = Lines(at, tuple(Held("s", n, n, 0, n, 0, names) for n in range(2_000)))
        found = []
        for _ in range(5):
            started = time.process_time()
            deadlines_ms(lines)
            found.append(time.process_time() - started)
        return min(found)

    assert best_s(16) < 4 * best_s(1)
