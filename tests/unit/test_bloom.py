"""The filter: never a wrong no, and as often a wrong maybe as the formula says."""

import numpy as np
import pytest

from k2_streams.core.dedup.bloom import Bloom, BloomShape, positions
from k2_streams.core.dedup.ids import Memory, hashes_of


def hashes(prefix: bytes, count: int) -> np.ndarray:
    return hashes_of([b"%b-%d" % (prefix, number) for number in range(count)])


@pytest.mark.parametrize("rate", [0.1, 0.01, 0.001])
def test_the_measured_rate_is_that_of_the_formula(rate: float) -> None:
    """Full to what it was made for: within four standard deviations of the expected."""
    count, asked = 50_000, 200_000
    shape = BloomShape.of(count, rate)
    bloom = Bloom(shape)
    bloom.add(positions(shape, hashes(b"in", count)))
    found = int(bloom.maybe(positions(shape, hashes(b"out", asked))).sum())
    expected = shape.rate_at(count)
    assert expected == pytest.approx(rate, rel=0.1)
    assert abs(found / asked - expected) < 4 * (expected / asked) ** 0.5


def test_what_was_added_is_never_denied() -> None:
    """Whatever else was added."""
    shape = BloomShape.of(1_000, 0.01)
    bloom = Bloom(shape)
    for part in range(20):  # far beyond what it was made for
        mine = positions(shape, hashes(b"%d" % part, 500))
        bloom.add(mine)
        assert bloom.maybe(mine).all()
    for part in range(20):
        assert bloom.maybe(positions(shape, hashes(b"%d" % part, 500))).all()


def test_an_empty_filter_denies_all() -> None:
    """And takes what it says it takes."""
    shape = BloomShape.of(1_000_000_000, 0.001)
    assert shape.size_bytes == pytest.approx(1.8e9, rel=0.01)
    assert shape.probes == 10
    small = BloomShape.of(1, 0.5)
    assert not Bloom(small).maybe(positions(small, hashes(b"x", 100))).any()


def test_all_live_filters_together_keep_the_rate() -> None:
    """Each has its share of it, and of the ids."""
    memory = Memory.of(1_000_000, 0.001)
    each = memory.shape.rate_at(125_000)
    assert 1 - (1 - each) ** 9 == pytest.approx(0.001, rel=0.1)
    assert memory.size_bytes * 8 / 1_000_000 == pytest.approx(21.3, rel=0.01)
