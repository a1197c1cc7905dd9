"""The cut between lake and tail: every offset below the watermark in exactly one part."""

from hypothesis import given
from hypothesis import strategies as st

from k2_streams.core.query.union_read import Ahead, Behind, Cut, cut_at, cut_now
from k2_streams.core.records.vector import Range

offset = st.integers(0, 8)
held = st.dictionaries(st.integers(0, 2), offset, max_size=3)
tail = st.dictionaries(
    st.integers(0, 2), st.tuples(offset, offset).map(lambda p: Range(min(p), max(p))), max_size=3
)


def answered(cut: Cut, v: dict[int, int], parts: dict[int, Range]) -> list[tuple[int, int]]:
    """Every (partition, offset) that the two parts give, as often as they do."""
    rows = []
    for partition, end in v.items():
        part = cut.partitions.get(partition)
        below = 0 if part is None else end if part.lake_below is None else part.lake_below
        rows += [(partition, n) for n in range(min(end, below))]
    for partition, part in cut.partitions.items():
        kept = parts.get(partition, Range(0, 0))
        rows += [
            (partition, n)
            for n in range(kept.start, kept.end)
            if n in range(part.tail.start, part.tail.end)
        ]
    return sorted(rows)


@given(held, tail)
def test_now_gives_every_offset_below_its_end_once(v, parts):
    cut = cut_now(v, parts)
    behind = any(v.get(p, 0) < part.start for p, part in parts.items())
    assert isinstance(cut, Behind) == behind
    if isinstance(cut, Cut):
        whole = {p: max(v.get(p, 0), parts[p].end if p in parts else 0) for p in {*v, *parts}}
        assert cut.next == whole
        assert answered(cut, v, parts) == sorted((p, n) for p, e in whole.items() for n in range(e))
        assert cut.lake_limits == {}


@given(held, held, tail)
def test_a_pinned_cut_gives_every_offset_below_the_token_once(wanted, v, parts):
    cut = cut_at(wanted, v, parts)
    ends = {p: max(v.get(p, 0), parts[p].end if p in parts else 0) for p in {*v, *parts}}
    short = {p: n for p, n in wanted.items() if n > ends.get(p, 0)}
    hole = any(
        v.get(p, 0) < n and v.get(p, 0) < parts[p].start for p, n in wanted.items() if p in parts
    )
    if short:
        assert cut == Ahead(short, {p: ends.get(p, 0) for p in short})
    elif hole:
        assert isinstance(cut, Behind)
    else:
        assert isinstance(cut, Cut)
        truth = sorted((p, n) for p, end in wanted.items() for n in range(end))
        assert answered(cut, v, parts) == truth


def test_behind_names_what_was_expected_and_found():
    assert cut_now({0: 3}, {0: Range(5, 9)}) == Behind(0, 5, 3)
    assert cut_at({0: 7}, {0: 3}, {0: Range(5, 9)}) == Behind(0, 5, 3)


def test_a_token_below_the_snapshot_needs_no_tail():
    # The tail has let go of everything, and a partition joined later: neither matters.
    cut = cut_at({0: 2}, {0: 5, 1: 4}, {0: Range(5, 5)})
    assert isinstance(cut, Cut)
    assert cut.lake_limits == {0: 2, 1: 0}
    assert cut.next == {0: 2, 1: 0}
