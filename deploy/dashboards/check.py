"""Every panel on a real Prometheus that scrapes a worker: each query gives a series."""

import asyncio
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer

from deploy.dashboards.files import FOLDER, WINDOW
from k2_streams.kafka.topics import RAW
from k2_streams.testing.local.prometheus import SCRAPE_S, Prometheus
from k2_streams.testing.local.stage import Stage
from k2_streams.testing.local.workers import LocalWorker
from k2_streams.testing.waiting import wait_until

#: As long as a person would look; the windows of the queries are within it.
TRAFFIC_S = 40
#: The queries are evaluated while messages still come.
LOOK_BEFORE_END_S = 10
RATE_PER_S = 500
#: The dashboard's variables, as Grafana fills them in: any value, and at least four scrapes.
VARIABLES = {"$instance": ".*", "$stream": ".*", WINDOW: f"{15 * SCRAPE_S}s"}
#: Two lines of an exchange: one loses each tenth number.
LINES, LINE_MESSAGES = ("A", "B"), 200


class PanelSeries(NamedTuple):
    """What a query of a panel gave."""

    dashboard: str
    panel: str
    legend: str
    series: int


def check() -> list[PanelSeries]:
    """Start Kafka, a worker and Prometheus; send, ask, and evaluate every query.

    Raises:
        NoPrometheusError: there is none.
    """
    settings = {
        "K2_MAINTENANCE": "1", "K2_MAINTENANCE_INTERVAL_S": "2", "K2_LAKE_COMMIT_INTERVAL_S": "2",
        "K2_RATE_LIMIT_PER_S": "100000", "NO_COLOR": "1",
    }  # fmt: skip
    with (
        tempfile.TemporaryDirectory(prefix="k2-dashboards-") as folder,
        Stage(Path(folder) / "data", settings) as at,
    ):
        at.brokers.start()
        worker = at.start().wait_ready()
        with Prometheus(Path(folder) / "prometheus", worker.url) as prometheus:
            _work(at, worker)
            wait_until(lambda: prometheus.query("k2_ready == 1"), "a scrape")
            found = [
                PanelSeries(dashboard, panel, legend, len(prometheus.query(_filled_in(query))))
                for dashboard, panel, legend, query in _queries()
            ]
        worker.stop()
    return found


def _work(at: Stage, worker: LocalWorker) -> None:
    """Trades with faults of every kind, records of two lines, and questions, all at once."""
    sent = at.next_truth()
    faults = ("gaps", "duplicates", "late", "invalid")
    at.start_produce(
        sent, "--rate", str(RATE_PER_S), "--duration", str(TRAFFIC_S), "--seed", "1",
        *(word for fault in faults for word in (f"--{fault}", "0.005")),
    )  # fmt: skip
    asyncio.run(_send_lines(at.bootstrap))
    symbols = "/v1/symbols?exchange=SIM"
    wait_until(lambda: worker.get(symbols)["data"], "the first rows")
    symbol = worker.get(symbols)["data"][0]["symbol"]
    deadline = time.monotonic() + TRAFFIC_S - LOOK_BEFORE_END_S
    while time.monotonic() < deadline:
        worker.get(f"/v1/trades?symbol={symbol}&window=1m&limit=10")
        time.sleep(SCRAPE_S)


async def _send_lines(bootstrap: str) -> None:
    """Numbered trades of one symbol by two lines, then trades that have ids and no numbers."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        for number in range(LINE_MESSAGES):
            for line in LINES:
                if line == "A" or number % 10:
                    value = _trade("LINES") | {"sequence": number}
                    await _send(producer, value, [("line", line.encode())])
            await _send(producer, _trade("IDS") | {"trade_id": str(number)}, [])
    finally:
        await producer.stop()


def _trade(exchange: str) -> dict[str, Any]:
    return {
        "exchange": exchange, "symbol": "X", "price": "1.5", "quantity": "1",
        "exchange_time_ns": time.time_ns(),
    }  # fmt: skip


async def _send(
    producer: AIOKafkaProducer, value: dict[str, Any], headers: list[tuple[str, bytes]]
) -> None:
    key = f"{value['exchange']}:{value['symbol']}".encode()
    await producer.send(RAW, json.dumps(value).encode(), key, headers=headers)


def _queries() -> Iterator[tuple[str, str, str, str]]:
    """(dashboard, panel, legend, query) of each query of the files."""
    for file in sorted(FOLDER.glob("*.json")):
        declared = json.loads(file.read_text())
        for panel in declared["panels"]:
            for target in panel.get("targets", ()):
                yield declared["title"], panel["title"], target["legendFormat"], target["expr"]


def _filled_in(query: str) -> str:
    for variable, value in VARIABLES.items():
        query = query.replace(variable, value)
    return query
