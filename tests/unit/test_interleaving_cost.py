"""What a batch costs follows its records: not their order, their lines' names or their faults."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from sequencer_world import Raw, canonical, spot, world

from k2_streams.feeds.canonical import Canonical
from k2_streams.feeds.feed import FEEDS, Decoded, RawBatch

COUNT = 4_096


class Counting(Canonical):
    """Counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.batches = 0

    def decode(self, batch: RawBatch) -> Decoded:
        self.batches += 1
        return super().decode(batch)


def alternating() -> list[Raw]:
    return [(spot if n % 2 else canonical)(n, n // 2) for n in range(COUNT)]


def in_order() -> list[Raw]:
    first, second = COUNT // 2, COUNT - COUNT // 2
    return [canonical(n, n) for n in range(first)] + [spot(first + n, n) for n in range(second)]


def best_s(folder: Path, records: Sequence[Raw]) -> float:
    """CPU time of the records as one batch: the least of three runs."""
    found = []
    for run in range(3):
        (folder / str(run)).mkdir(parents=True)
        with world(folder / str(run)) as at:
            started = time.process_time()
            at.process(records)
            found.append(time.process_time() - started)
    return min(found)


def test_a_feed_decodes_its_records_of_a_batch_at_once(tmp_path: Path) -> None:
    """However they are mixed with another's: it was once for each change, 100 times the cost."""
    counting = Counting()
    with world(tmp_path, {**FEEDS, "canonical": counting}) as at:
        at.process(alternating())
        assert at.epoch.row_count == COUNT
    assert counting.batches == 1


def one_line() -> list[Raw]:
    return [canonical(n, n, headers=(("line", b"A"),)) for n in range(COUNT)]


def many_lines() -> list[Raw]:
    return [canonical(n, n, headers=(("line", b"L%d" % n),)) for n in range(COUNT)]


@pytest.mark.parametrize(
    ("unusual", "usual", "times"),
    # Measured: 1.1, 2.1; they were 300 and 1,500. The rest is for a machine that is busy.
    [(alternating, in_order, 4), (many_lines, one_line, 10)],
)
def test_the_cost_follows_the_records(
    tmp_path: Path, unusual: Callable[[], list[Raw]], usual: Callable[[], list[Raw]], times: float
) -> None:
    """CPU time against that of the same records in the usual way."""
    cost = best_s(tmp_path / "unusual", unusual())
    assert cost < times * best_s(tmp_path / "usual", usual())
