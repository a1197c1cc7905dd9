"""Run in an environment with nothing but the release: an example app on the test driver."""

from k2_streams.testing import StreamDriver
from topologies.examples.vwap import app

NOON_NS = 1_767_614_400_000_000_000

with StreamDriver(app) as driver:
    driver.input("trades").send_many(
        [
            {
                "exchange": "X",
                "symbol": "A",
                "price": price,
                "quantity": "1",
                "exchange_time_ns": NOON_NS,
            }
            for price in ("1", "2")
        ]
    )
    rows = driver.output("vwap").read_all().to_pylist()
assert len(rows) == 2, rows
