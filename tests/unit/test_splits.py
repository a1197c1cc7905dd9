"""`check_splits`: silent on what is right, and it shows where cuts made a difference."""

from typing import Any

import pytest
from test_stream_driver import RAW, T0_NS, TRADES, trade

from k2_streams.testing import InputMessage
from k2_streams.testing.splits import first_difference

pytestmark = pytest.mark.usefixtures("quiet_logs")


def mixed() -> list[Any]:
    """Gaps, late ones, duplicates, ids, sessions, dead letters, two lines."""
    numbers = [1, 2, 5, 6, 3, 5, 9, 4, 10, 7]
    found: list[Any] = [
        InputMessage(trade(n, symbol), line="AB"[at % 2] if symbol == "L" else None)
        for at, n in enumerate(numbers)
        for symbol in ["A", "B", "L"]
    ]
    found += [trade(None, "C", trade_id=f"t{n % 3}") for n in range(6)]
    found.insert(7, InputMessage(b"nonsense", key="X:A"))
    found.insert(12, trade(8, "B", price="-1"))
    found += [trade(n, "A", session="s2", exchange_time_ns=T0_NS + 10**9 + n) for n in (1, 2, 4)]
    return found


def test_trades_do_not_depend_on_how_they_are_cut(k2_driver):
    k2_driver(TRADES, partitions=2).check_splits(mixed())


def test_gaps_beyond_the_horizon_do_not_either(k2_driver):
    """Whether a message or the time alone was first to show it."""
    driver = k2_driver(TRADES, partitions=2, settings={"K2_LATE_HORIZON_S": 2})
    records = [trade(n, s) for n in (1, 4, 5, 2) for s in "ABCDEF"]
    records += [InputMessage(trade(n, "A"), at=20.0 + n) for n in (6, 8, 7)]
    driver.check_splits(records, topic=RAW)


def test_the_first_difference_is_shown():
    assert first_difference({"log": [1, 2]}, {"log": [1, 2]}) is None
    assert first_difference({"a": [1], "log": [1, 2]}, {"a": [1], "log": [1, 3]}) == (
        "log, number 1:\n  expected 2\n  found    3"
    )
    assert first_difference({"log": [1, 2]}, {"log": [1]}) == (
        "log: expected 2, found 1; the first of the others: 2"
    )
    assert first_difference({"log": [1]}, {"log": [1, 5]}) == (
        "log: expected 1, found 2; the first of the others: 5"
    )
