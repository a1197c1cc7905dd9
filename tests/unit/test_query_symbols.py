"""Totals that go on from where they were add up exactly the rows that are new."""

from hypothesis import given
from hypothesis import strategies as st

from k2_streams.core.query.union_read import Cut, cut_at, cut_now
from k2_streams.core.records.vector import Range, Vector
from k2_streams.lake.snapshots import Head
from k2_streams.query.read_point import ReadPoint
from k2_streams.query.symbols.totals import slice_from
from k2_streams.query.tail.store import PartitionView, TailView

offset = st.integers(0, 6)
held = st.dictionaries(st.integers(0, 1), offset)
tails = st.dictionaries(
    st.integers(0, 1), st.tuples(offset, offset).map(lambda p: Range(min(p), max(p)))
)


@given(held, tails, st.none() | held, held)
def test_a_slice_is_what_lies_between(v, parts, wanted, base):
    cut = cut_now(v, parts) if wanted is None else cut_at(wanted, v, parts)
    if not isinstance(cut, Cut):
        return
    base = {p: min(n, cut.next.get(p, 0)) for p, n in base.items()}
    view = TailView({p: PartitionView(r.start, r.end, 0, (), 0, 0) for p, r in parts.items()})
    read_point = ReadPoint(view, Head(1, 1, Vector(), 1, 1), "log", v, cut, "t")
    part = slice_from(read_point, base)
    added = []
    if part.lake:
        for partition, end in v.items():
            limit = cut.lake_limits.get(partition, end)
            start = part.lake_from.get(partition, 0)
            added += [(partition, n) for n in range(end) if start <= n < limit]
    for partition, range_ in part.tail.items():
        kept = parts.get(partition, Range(0, 0))
        added += [
            (partition, n) for n in range(kept.start, kept.end) if range_.start <= n < range_.end
        ]
    truth = [(p, n) for p, end in cut.next.items() for n in range(base.get(p, 0), end)]
    assert sorted(added) == sorted(truth)
