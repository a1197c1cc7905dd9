"""A worker's ticks, and those that a query looks up, are those of the plain model."""

from decimal import Decimal

import pyarrow as pa
import tick_model
from hypothesis import given
from hypothesis import strategies as st
from query_world import T0, make_batch

from k2_streams.core.enrich import ticks as ticks_module
from k2_streams.core.enrich.ticks import Ticks
from k2_streams.core.time_units import DAY_NS

Row = tuple[str, int, str, str | None, bool]  # symbol, time, price, action, late

prices = st.sampled_from(
    # Of each sign, and such that differ in the upper, the lower, and the lower half's highest bit.
    ["1", "2", "-1", "0.000000000000000001", "18446744073.709551616", "9.223372036854775808",
     "9.223372036854775807", "99999999999999999999", "-99999999999999999999"]
)  # fmt: skip
rows = st.lists(
    st.tuples(
        st.sampled_from(["A", "B", "C"]),
        st.sampled_from([T0, T0 + 1, T0 + DAY_NS, T0 - DAY_NS]),
        prices,
        st.sampled_from([None, None, None, "cancel", "correct"]),
        st.sampled_from([False, False, False, True]),
    ),
    max_size=12,
)


def plain(trades: list[Row]) -> list[str | None]:
    return tick_model.ticks(
        tick_model.Trade(("X", symbol, 0), time_ns, Decimal(price), action, late)
        for symbol, time_ns, price, action, late in trades
    )


def batch_of(trades: list[Row], offset: int = 0) -> pa.RecordBatch:
    columns = zip(*trades, strict=True)
    symbols, times, texts, actions, lates = map(list, columns)
    more = {"price": texts, "action": actions, "late": lates}
    pairs = list(zip(symbols, times, strict=True))
    return make_batch(pairs, partition=0, offset=offset, more=more).rows


@given(st.lists(rows, max_size=4))
def test_a_worker_writes_the_ticks_it_knows_and_no_other(batches):
    ticks = Ticks()
    found, trades = [], []
    for some in batches:
        if not some:
            continue
        made = batch_of(some)
        found += ticks.of(made, made.column("late")).to_pylist()
        trades += some
    expected = plain(trades)
    assert len(found) == len(expected)
    for (symbol, time_ns, *_), tick, wanted in zip(trades, found, expected, strict=True):
        # Null is allowed where a trade of another day came in between: the query finds it.
        assert tick in (None, wanted), (symbol, time_ns)
    if len({time_ns // DAY_NS for _, time_ns, *_ in trades}) <= 1:
        assert found == expected


@given(rows.filter(bool), rows.filter(bool))
def test_what_was_accepted_unseen_is_not_passed_over(seen, after):
    ticks = Ticks()
    made = batch_of(seen)
    ticks.of(made, made.column("late"))
    ticks.forget()
    made = batch_of(after)
    found = ticks.of(made, made.column("late")).to_pylist()
    assert all(tick in (None, wanted) for tick, wanted in zip(found, plain(after), strict=True))


def test_a_name_twice_in_a_dictionary_is_one_symbol():
    made = batch_of([("A", T0, "1", None, False), ("A", T0, "2", None, False)])
    twice = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int32()), pa.array(["A", "A"]))
    at = made.schema.get_field_index("symbol")
    made = made.set_column(at, made.schema.field(at), twice)
    assert Ticks().of(made, made.column("late")).to_pylist() == [None, "up"]


def test_symbols_without_end_do_not_grow_the_memory_without_end(monkeypatch):
    monkeypatch.setattr(ticks_module, "MAX_REMEMBERED", 10)
    ticks = Ticks()
    for start in range(0, 30, 4):
        made = batch_of([(f"S{n}", T0, "1", None, False) for n in range(start, start + 4)])
        assert ticks.of(made, made.column("late")).null_count == 4
        assert len(ticks._number) <= 10
    again = ticks.of(made, made.column("late"))
    assert again.to_pylist() == ["same"] * 4
    many = batch_of([(f"S{n}", T0, "1", None, False) for n in range(11)] * 2)
    assert ticks.of(many, many.column("late")).null_count == 22
    # What came in between is not passed over.
    assert ticks.of(made, made.column("late")).null_count == 4


def test_more_names_than_sixteen_bits_hold(monkeypatch):
    monkeypatch.setattr(ticks_module, "_RADIX_SORTED", 0)
    trades = [(f"S{n % 3}", T0, str(1 + n * 7 % 5), None, False) for n in range(20)]
    made = batch_of(trades)
    assert Ticks().of(made, made.column("late")).to_pylist() == plain(trades)


def test_as_many_symbols_as_sixteen_bits_have_numbers():
    trades = [(f"S{n}", T0, "1", None, False) for n in range(2**16)]
    made = batch_of(trades)
    assert Ticks().of(made, made.column("late")).null_count == 2**16
