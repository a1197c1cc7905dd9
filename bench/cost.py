"""The inputs of `k2 cost`: processors, bytes and requests to the object store, all of one run.

A worker takes messages to a lake on an S3-compatible server (`make store-jars`), a node of another
app reads its log, and a proxy before the server counts the requests. Writes the figures to
`k2_streams/core/cost/figures/measured.json`.
"""

import asyncio
import datetime as dt
import os
import random
import re
import statistics
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.stage import STAYS_NORMAL, cpu_s, lake_rows, process_of, stage
from faults.object_store import BUCKET, ObjectStore, settings
from faults.proxy import Handler, Proxy, Request
from k2_streams.core.cost.inputs import MeasuredFigures
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.kafka.topics import RAW
from k2_streams.testing.local.loopback import free_port
from k2_streams.testing.local.stage import Stage
from k2_streams.testing.local.workers import LocalWorker
from k2_streams.testing.waiting import wait_until

FILE = Path(__file__).parents[1] / "k2_streams" / "core" / "cost" / "figures" / "measured.json"
MESSAGES, QUERIES, SYMBOLS, MINUTES = 2_000_000, 200, 1_000, 15
COMMIT_S = 2.0
#: Messages of which the mean size is taken.
SAMPLE = 1_000


class CountingProxy(Proxy):
    """Counts the requests that it sends on: `reads`, and `writes` with those that list."""

    def __init__(self, upstream: int, port: int) -> None:
        self._counted: Counter[str] = Counter()
        self._lock = threading.Lock()
        super().__init__(upstream, port, _CountingHandler)

    def count(self, request: Request) -> None:
        """As the providers price it: a deletion is free."""
        parts = urlsplit(request.path)
        lists = request.method == "GET" and parts.path.strip("/") == BUCKET
        is_deletion = request.method == "DELETE" or "delete" in parse_qs(
            parts.query, keep_blank_values=True
        )
        kind = "writes" if lists or request.method in {"PUT", "POST"} else "reads"
        with self._lock:
            self._counted["deletions" if is_deletion else kind] += 1

    def counted(self) -> Counter[str]:
        """So far."""
        with self._lock:
            return self._counted.copy()


class _CountingHandler(Handler):
    server: CountingProxy

    def handle_request(self, request: Request) -> None:
        self.server.count(request)
        self.answer(self.server.send_on(request))


@contextmanager
def _counted_store() -> Iterator[tuple[ObjectStore, CountingProxy]]:
    with (
        tempfile.TemporaryDirectory(prefix="k2-bench-") as folder,
        closing(ObjectStore(Path(folder), free_port())) as store,
        closing(CountingProxy(store.port, free_port())) as proxy,
    ):
        yield store, proxy


def run(messages: int = MESSAGES, queries: int = QUERIES) -> dict[str, float]:
    """Send, process, commit, then ask; the figures, which are written to `FILE` too."""
    with stage() as at, _counted_store() as (store, proxy):
        at.settings |= (
            settings(proxy.url) | STAYS_NORMAL | {"K2_LAKE_COMMIT_INTERVAL_S": f"{COMMIT_S}"}
        )
        worker = at.start().wait_ready()
        follows = at.settings | {"K2_STREAMS": "trades"}
        reader = LocalWorker(at.directory, at.bootstrap, 1, follows, topology="quotes")
        with reader:
            costs = _work(at, proxy, worker, reader, messages)
            asked = _ask(proxy, worker, queries)
        worker.stop()
        sizes = _sizes(at, store, messages)
    found = MeasuredFigures(
        date=f"{dt.datetime.now(dt.UTC):%Y-%m-%d}",
        machine=machine(),
        messages=messages,
        **costs,
        **asked,
        **sizes,
    )
    FILE.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    numbers = msgspec.structs.asdict(found)
    return {name: float(value) for name, value in numbers.items() if not isinstance(value, str)}


def _work(
    at: Stage, proxy: CountingProxy, worker: LocalWorker, reader: LocalWorker, messages: int
) -> dict[str, float]:
    """All messages sent and committed, the node beside having read the log."""
    (broker,) = (psutil.Process(node.status().pid) for node in at.brokers.nodes)
    processes = {"worker": process_of(worker), "broker": broker, "reader": process_of(reader)}
    before, asked = {name: cpu_s(each) for name, each in processes.items()}, proxy.counted()
    start = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=MINUTES)
    at.produce(
        "--messages", str(messages), "--symbols", str(SYMBOLS), "--seed", "1",
        "--start", start.isoformat(), "--event-rate", str(messages / (MINUTES * 60)),
        "--compression", "lz4",
    )  # fmt: skip
    wait_until(lambda: lake_rows(worker) >= messages, "all rows in the lake", 900, 0.5)
    used = {name: cpu_s(each) - before[name] for name, each in processes.items()}
    requests = proxy.counted() - asked
    commits = len(worker.get("/v1/snapshots?limit=1000")["data"])
    return {
        "worker_cpu_s_per_million": used["worker"] / messages * 1e6,
        "broker_cpu_s_per_million": used["broker"] / messages * 1e6,
        "reader_cpu_s_per_million": used["reader"] / _rows_read(reader) * 1e6,
        "commit_writes": requests["writes"] / commits,
        "commit_reads": requests["reads"] / commits,
    }


def _rows_read(reader: LocalWorker) -> float:
    """Rows of the trades' log that a node has read from Kafka."""
    text = reader.fetch("/metrics").body.decode()
    found = re.search(
        r'^k2_tail_rows_read_total{origin="log",stream="trades"} (\S+)', text, re.MULTILINE
    )
    if found is None or not float(found[1]):
        raise RuntimeError("the node beside the worker has read no row of its log")
    return float(found[1])


def _ask(proxy: CountingProxy, worker: LocalWorker, queries: int) -> dict[str, float]:
    """The first 1,000 rows of 15 minutes of one symbol, so often; nothing else happens."""
    process, rng = process_of(worker), random.Random(1)
    used, asked = cpu_s(process), proxy.counted()
    for _ in range(queries):
        symbol = f"S{rng.randrange(SYMBOLS):04d}"
        worker.get(f"/v1/trades?symbol={symbol}&window={MINUTES}m&end=last&limit=1000")
    requests = proxy.counted() - asked
    return {
        "query_cpu_s": (cpu_s(process) - used) / queries,
        "query_writes": requests["writes"] / queries,
        "query_reads": requests["reads"] / queries,
    }


def _sizes(at: Stage, store: ObjectStore, messages: int) -> dict[str, float]:
    """Bytes of one message wherever it is kept."""
    segments: Counter[str] = Counter()
    for file in (at.directory / "broker").rglob("*.log"):
        segments[file.parent.name.rpartition("-")[0]] += file.stat().st_size
    changelogs = sum(size for name, size in segments.items() if name.endswith("-changelog"))
    rows = sum(file.stat().st_size for file in store.objects.rglob("*.parquet"))
    return {
        "payload_bytes": asyncio.run(_payload_bytes(at.bootstrap)),
        "raw_bytes": segments[RAW] / messages,
        "log_bytes": segments[TRADES_INPUT.stream.log] / messages,
        "changelog_bytes": changelogs / messages,
        "lake_bytes": rows / messages,
    }


async def _payload_bytes(bootstrap: str) -> float:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(RAW, 0)])
        sizes: list[int] = []
        while len(sizes) < SAMPLE:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                sizes += [len(record.value) for record in records]
        return statistics.fmean(sizes)
    finally:
        await consumer.stop()


def machine() -> str:
    """Its class: processors and memory."""
    memory = psutil.virtual_memory().total / (1 << 30)
    return f"{os.cpu_count()} processors of {_model()}, {memory:.0f} GiB, broker and worker on one"


def _model() -> str:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1].strip() if found else "an unknown kind"
