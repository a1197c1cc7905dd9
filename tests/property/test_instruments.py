"""Notional by reference data: the columns' way against the plain one, and what a table may say."""

import datetime as dt
import tempfile
from contextlib import suppress
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2_streams.core.enrich.instruments import Instrument, Instruments, OverlapError
from k2_streams.core.records.schema import DECIMAL, NAME
from k2_streams.runtime.settings.instruments import InstrumentsError, load

TABLE = Instruments(
    [
        Instrument("X", "SPOT", "USD", "crypto"),
        Instrument("X", "FUT", "USD", "future", Decimal("0.001")),
        Instrument("X", "COIN", "USD", "perpetual", Decimal(100), inverse=True),
        Instrument("X", "OLD", "USD", "future", Decimal(10), valid_to_ns=1_000),
        Instrument("X", "OLD", "USD", "future", Decimal(5), valid_from_ns=2_000),
        Instrument("Y", "FUT", "EUR", "future", Decimal(7)),
    ]
)
NUMBERS = st.one_of(
    st.sampled_from([Decimal("0.000000000000000001"), Decimal(3), Decimal(99999999999999999999)]),
    st.decimals(Decimal("1e-18"), Decimal("1e12"), places=18),
    st.decimals(Decimal("0.01"), Decimal("1e6"), places=2),
)  # fmt: skip
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["X", "Y", "Z"]),
        st.sampled_from(["SPOT", "FUT", "COIN", "OLD", "NONE"]),
        st.sampled_from([0, 999, 1_000, 1_999, 2_000, 5_000]),
        NUMBERS,
        NUMBERS,
    ),
    max_size=12,
)


def half_even(value: Fraction) -> Decimal | None:
    """To 18 places, exactly."""
    units = value * 10**18
    whole = units.numerator // units.denominator
    rest = units - whole
    whole += rest > Fraction(1, 2) or (rest == Fraction(1, 2) and whole % 2 == 1)
    return Decimal(whole).scaleb(-18, Context(prec=80)) if whole < 10**38 else None


def plainly(exchange: str, symbol: str, time_ns: int, price: Decimal, quantity: Decimal):
    found = TABLE.at(exchange, symbol, time_ns)
    if found is None:
        return None
    p, q, m = (Fraction(number) for number in (price, quantity, found.multiplier))
    return half_even(q * m / p if found.inverse else p * q * m)


def rows_of(rows) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True)) or [[]] * 5
    kinds = (NAME, NAME, pa.int64(), DECIMAL, DECIMAL)
    names = ("exchange", "symbol", "exchange_time_ns", "price", "quantity")
    arrays = [
        pa.array(list(column), pa.string()).dictionary_encode()
        if kind == NAME
        else pa.array(list(column), kind)
        for column, kind in zip(columns, kinds, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, list(names))


@settings(max_examples=300, deadline=None)
@given(ROWS)
def test_the_columns_way_is_the_plain_one(rows):
    batch = rows_of(rows)
    expected = [plainly(*row) for row in rows]
    assert TABLE.notional(batch).to_pylist() == expected
    table = pa.Table.from_batches([batch, batch]) if rows else pa.Table.from_batches([batch])
    assert TABLE.notional(table).to_pylist() == expected * (2 if rows else 1)


def test_a_coin_margined_contract_is_worth_its_coins():
    """12 contracts of 100 USD at 60,000: 0.02 of the coin."""
    made = TABLE.notional(rows_of([("X", "COIN", 0, Decimal(60_000), Decimal(12))]))
    assert made.to_pylist() == [Decimal("0.020000000000000000")]
    assert half_even(Fraction(2, 3)) == Decimal(2).__truediv__(Decimal(3)).quantize(
        Decimal("1e-18"), ROUND_HALF_EVEN
    )


def test_what_holds_is_told_by_time():
    found = [TABLE.at("X", "OLD", time_ns) for time_ns in (-5, 999, 1_000, 1_999, 2_000)]
    assert [one and one.multiplier for one in found] == [10, 10, None, None, 5]


def test_two_entries_at_once_are_refused():
    entry = Instrument("X", "A", "USD", "spot", valid_from_ns=5)
    with pytest.raises(OverlapError, match="X:A"):
        Instruments([entry, Instrument("X", "A", "USD", "spot", valid_to_ns=6)])
    assert len(Instruments([entry, Instrument("X", "A", "USD", "spot", valid_to_ns=5)])) == 2


HEADER = "exchange,symbol,currency,asset_class,multiplier,inverse,zone,valid_from,valid_to\n"


def test_a_file_is_read(tmp_path):
    path = tmp_path / "instruments.csv"
    path.write_text(
        HEADER
        + "BINANCE,BTCUSD_PERP,USD,perpetual,100,true,UTC,2020-08-01T00:00:00Z,\n"
        + "ASX,BHP,AUD,equity,,,Australia/Sydney,,\n"
    )
    table = load(path)
    since = int(dt.datetime(2020, 8, 1, tzinfo=dt.UTC).timestamp()) * 10**9
    found = table.at("BINANCE", "BTCUSD_PERP", since)
    assert (found.multiplier, found.inverse, found.valid_to_ns) == (Decimal(100), True, None)
    assert table.at("BINANCE", "BTCUSD_PERP", since - 1) is None
    assert table.at("ASX", "BHP", 0).zone == "Australia/Sydney"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("X,A,USD,spot,0,,,,", "line 2: multiplier"),
        ("X,A,USD,spot,1e-19,,,,", "line 2: multiplier"),
        ("X,A,USD,spot,nan,,,,", "line 2: multiplier"),
        ("X,A,USD,spot,x,,,,", "line 2"),
        ("X,A,,spot,1,,,,", "line 2: currency"),
        ("X,A,USD,spot,1,perhaps,,,", "line 2: inverse"),
        ("X,A,USD,spot,1,,Nowhere/At_All,,", "line 2"),
        ("X,A,USD,spot,1,,,2020-01-01,", "line 2: valid_from"),
        ("X,A,USD,spot,1,,,,,extra", "line 2: expected as many"),
        ("X,A,USD", "line 2: expected as many"),
        ("X,A,USD,spot,1,,,,\nX,A,USD,spot,2,,,,", "X:A"),
    ],
)
def test_a_file_that_cannot_be_used_says_where(tmp_path, line, said):
    path = tmp_path / "instruments.csv"
    path.write_text(HEADER + line + "\n")
    with pytest.raises(InstrumentsError, match=said):
        load(path)


FILE_TEXT = HEADER + "ASX,BHP,AUD,équité,,,Australia/Sydney,,\n" + "X,币安,USD,spot,1,,,,\n"


def test_a_byte_order_mark_is_read(tmp_path):
    path = tmp_path / "instruments.csv"
    path.write_text(FILE_TEXT, encoding="utf-8-sig")
    assert load(path).at("ASX", "BHP", 0).asset_class == "équité"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (FILE_TEXT.encode("utf-16"), "line 1: expected UTF-8, found the bytes ff fe"),
        (
            (HEADER + "A,é,USD,spot,,,,,\n").encode("latin-1"),
            "line 2: expected UTF-8, found the bytes e9",
        ),
        (HEADER.encode() + b"A,B,USD,spot,,,,,\n" * 2_000 + b"A,\xff", "line 2002: expected UTF-8"),
        ((HEADER + f'A,"{"x" * 200_000}",USD,spot,,,,,\n').encode(), "line 2: field larger than"),
        (f"{'x' * 200_000},symbol\n".encode(), "line 1: field larger than"),
        ((HEADER + "A,B,USD,spot,,,America,,\n").encode(), "line 2: "),
        (b"", "expected the columns .* found none"),
    ],
)
def test_a_file_in_another_encoding_or_damaged_is_refused_with_its_line(tmp_path, content, said):
    path = tmp_path / "instruments.csv"
    path.write_bytes(content)
    with pytest.raises(InstrumentsError, match=said) as refused:
        load(path)
    assert str(refused.value).startswith(str(path))


@given(st.binary(max_size=60), st.integers(0, len(FILE_TEXT.encode())))
def test_whatever_the_file_holds_nothing_else_is_raised(spoiled, at):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "instruments.csv"
        table = FILE_TEXT.encode()
        path.write_bytes(table[:at] + spoiled + table[at + len(spoiled) // 2 :])
        with suppress(InstrumentsError):
            load(path)


def test_a_folder_and_a_file_that_is_not_there_are_refused(tmp_path):
    for path in (tmp_path, tmp_path / "absent.csv"):
        with pytest.raises(InstrumentsError, match=f"^{path}: cannot be read: "):
            load(path)


def test_other_columns_are_refused(tmp_path):
    path = tmp_path / "instruments.csv"
    path.write_text("exchange,symbol,tick\n")
    with pytest.raises(InstrumentsError, match="expected the columns"):
        load(path)
