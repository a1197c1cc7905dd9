"""Rows for as-of joins: quotes as their log has them, and trades as an answer has them."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

T0 = 1_700_000_000_000_000_000


def quote_row(number: int, one: dict[str, Any]) -> dict[str, Any]:
    """A row of the log of quotes; `one` has what it quotes."""
    return {
        "crossed": False,
        "locked": False,
        "one_sided": False,
        "conditions": None,
        "receive_time_ns": None,
        "trading_date": date(2023, 11, 14),
        "vendor": None,
        "session": "0",
        "sequence": number,
        "late": False,
        "ingest_time": datetime(2023, 11, 14, tzinfo=UTC),
        "source_offset": number,
        "source_index": 0,
        **one,
    }


def trades_table(trades: Sequence[tuple[str, str, int]]) -> pa.Table:
    """Trades by exchange, symbol and event time."""
    return pa.table(
        {
            "exchange": pa.array([one[0] for one in trades], pa.string()),
            "symbol": pa.array([one[1] for one in trades], pa.string()),
            "exchange_time_ns": pa.array([one[2] for one in trades], pa.int64()),
            "price": pa.array([Decimal(n) / 16 for n in range(len(trades))], pa.decimal128(38, 18)),
        }
    )
