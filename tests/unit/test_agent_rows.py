"""Rows of a log as agents are given them."""

from decimal import Decimal

import pyarrow as pa

from k2_streams.core.records.agent_rows import agent_rows, agent_schema
from k2_streams.core.records.stream import QUOTES, TRADES


def log_rows(**columns: list) -> pa.RecordBatch:
    """Rows of `k2.trades`, null where nothing is given."""
    count = len(next(iter(columns.values())))
    arrays = []
    for field in TRADES.log_schema:
        values = columns.get(field.name)
        if values is None:
            arrays.append(pa.nulls(count, field.type))
        elif pa.types.is_dictionary(field.type):
            arrays.append(pa.array(values, field.type.value_type).dictionary_encode())
        else:
            arrays.append(pa.array(values, field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=TRADES.log_schema)


def test_what_a_worker_under_load_leaves_out_is_no_column() -> None:
    """What an agent does may depend on rows alone."""
    left_out = set(TRADES.log_schema.names) - set(agent_schema(TRADES).names)
    assert left_out == {"notional", "tick_direction"}
    assert agent_schema(QUOTES).names == QUOTES.log_schema.names


def test_dictionaries_of_different_records_are_one_column_of_text() -> None:
    first = log_rows(exchange=["X", "Y"], price=[Decimal(1), Decimal("1.5")])
    second = log_rows(exchange=["Z"], price=[Decimal("1E-18")])
    rows = agent_rows(TRADES, [first, log_rows(exchange=[]), second])
    assert rows.schema == agent_schema(TRADES)
    assert rows.column("exchange").to_pylist() == ["X", "Y", "Z"]
    assert rows.column("price").to_pylist() == [Decimal(1), Decimal("1.5"), Decimal("1E-18")]


def test_records_of_no_row_are_a_batch_of_none() -> None:
    rows = agent_rows(TRADES, [log_rows(exchange=[])])
    assert (rows.num_rows, rows.schema) == (0, agent_schema(TRADES))


def test_a_column_that_an_earlier_version_lacked_is_null() -> None:
    whole = log_rows(exchange=["X"])
    older = whole.select([name for name in whole.schema.names if name != "action"])
    rows = agent_rows(TRADES, [older, whole])
    assert rows.column("action").to_pylist() == [None, None]
