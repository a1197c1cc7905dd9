"""What senders name never becomes something that grows: metrics, figures and state have bounds."""

from pathlib import Path

from prometheus_client import generate_latest
from sequencer_world import T0_MS, Raw, canonical, world

from k2_streams.core.lines.room import MAX_LINES_OF_EXCHANGE
from k2_streams.core.lines.stats import MAX_LINE_STATS, reports
from k2_streams.core.lines.step import HOLD_MS, MAX_LINES
from k2_streams.core.sequence.step import ScopeState
from k2_streams.feeds.feed import FEEDS
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.task.decoding import OTHER_FEEDS

#: Of all series of a worker that were ever made from records.
METRICS_BYTES_MAX = 64_000


def hostile(count: int) -> list[Raw]:
    """Each with a feed, a line or an exchange of its own."""
    records = []
    for n in range(count):
        match n % 3:
            case 0:
                records.append(canonical(n, n // 3, headers=(("feed", b"feed-%d" % n),)))
            case 1:
                records.append(canonical(n, n // 3, headers=(("line", b"line-%d" % n),)))
            case _:
                exchange = f"E{n}"
                made = canonical(n, n, headers=(("line", b"A"),), exchange=exchange)
                records.append(made._replace(key=f"{exchange}:A".encode()))
    return records


def test_the_size_of_metrics_is_bounded_whatever_records_name(tmp_path: Path) -> None:
    """7.6 MB they were, and never freed."""
    metrics, sizes = Metrics(), []
    with world(tmp_path) as at:
        for start in range(0, 6_000, 2_000):
            epoch = at.process(hostile(6_000)[start : start + 2_000])
            metrics.count(epoch)
            assert epoch.progress is not None
            metrics.show_lines(reports(epoch.progress.lines))
            sizes.append(len(generate_latest(metrics.registry)))
        assert set(at.epoch.feeds) <= {*FEEDS, OTHER_FEEDS}
        assert at.epoch.row_count == 4_000, "a trade was lost for the name of its line"
        assert at.epoch.progress is not None
        assert len(at.epoch.progress.lines) == MAX_LINE_STATS
        assert at.epoch.excess_lines > 3_000
    assert max(sizes) < METRICS_BYTES_MAX
    assert sizes[-1] - sizes[0] < 1_000  # digits of counters


def test_lines_beyond_those_of_an_exchange_count_as_none(tmp_path: Path) -> None:
    """A scope has room for all that are tracked, and for messages without one."""
    records = [canonical(n, n, headers=(("line", b"L%02d" % n),)) for n in range(40)]
    with world(tmp_path) as at:
        epoch = at.process(records)
        state = at.table.get("X:A")
        assert isinstance(state, ScopeState)
        assert state.lines is not None
        names = [line.name for line in state.lines.at]
        assert len(names) == MAX_LINES
        assert names == ["", *(f"L{n:02d}" for n in range(MAX_LINES_OF_EXCHANGE))]
        assert epoch.row_count == 40
        assert epoch.excess_lines == 40 - MAX_LINES_OF_EXCHANGE


def test_a_line_takes_the_room_of_one_that_is_silent(tmp_path: Path) -> None:
    """A line that was renamed is tracked again after a minute."""
    old = [canonical(n, n, headers=(("line", b"L%02d" % n),)) for n in range(MAX_LINES_OF_EXCHANGE)]
    new = canonical(100, 100, headers=(("line", b"new"),))
    soon, late = (new._replace(timestamp=T0_MS + HOLD_MS + after) for after in (-1, 0))
    with world(tmp_path) as at:
        at.process(old)
        at.process([soon])
        assert at.epoch.excess_lines == 1
        at.process([late._replace(offset=101)])
        assert at.epoch.excess_lines == 1
        assert at.epoch.progress is not None
        told = [line.line for line in at.epoch.progress.lines]
    assert "new" in told
    assert "L00" not in told
    assert len(told) == MAX_LINES_OF_EXCHANGE
