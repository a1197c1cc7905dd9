"""What invalid records cost: CPU of a worker, of each common kind against valid ones.

One worker runs on. The records of a kind are sent to it at once; its CPU is read before they are
sent, and again when all are worked and committed. Polling, the lake and dead letters are in it.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterable

from bench.mixed import Raw, own, spot
from bench.stage import STAYS_NORMAL, cpu_s, process_of, stage
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.sender import Sender
from k2_streams.kafka.topics import RAW
from k2_streams.testing.local.stage import Stage
from k2_streams.testing.local.workers import LocalWorker
from k2_streams.testing.waiting import wait_until

#: For a worker to process the records of one kind.
WORKED_WITHIN_S = 300


def _changed(raw: Raw, **fields: object) -> Raw:
    """The record with these fields; without those that are None."""
    changed = json.loads(raw.value) | fields
    kept = {name: value for name, value in changed.items() if value is not None}
    return raw._replace(value=json.dumps(kept).encode())


#: Of each kind, the record of a number.
GOOD: dict[str, Callable[[int], Raw]] = {
    "good": lambda n: own(n, n),
    "good, binance.spot": lambda n: spot(n, n),
}
BAD: dict[str, Callable[[int], Raw]] = {
    "not JSON": lambda n: own(n, n)._replace(value=b"{hello %d" % n),
    "missing field": lambda n: _changed(own(n, n), price=None),
    "wrong type": lambda n: _changed(own(n, n), price=True),
    "not positive": lambda n: own(n, n, "-1"),
    "too precise": lambda n: own(n, n, f"{n}.0000000000000000001"),
    "time out of bounds": lambda n: _changed(own(n, n), exchange_time_ns=5),
    "key mismatch": lambda n: own(n, n)._replace(key=own(n, n + 1).key),
    "unknown feed": lambda n: own(n, n)._replace(headers=(("feed", b"nobody.knows"),)),
    "not JSON, binance.spot": lambda n: spot(n, n)._replace(value=b"{hello %d" % n),
    "not positive, binance.spot": lambda n: _changed(spot(n, n), p="-1"),
}


async def _send(bootstrap: str, records: Iterable[Raw], partitions: int) -> None:
    async with Sender(KafkaConfig(bootstrap), RAW, partitions) as sender:
        parts: dict[int, list[tuple[bytes, bytes, list[tuple[str, bytes]]]]] = {}
        for raw in records:
            rows = parts.setdefault(sender.partition_of(raw.key), [])
            rows.append((raw.key, raw.value, list(raw.headers)))
        for partition, rows in parts.items():
            await sender.send(partition, rows, time.time_ns() // 1_000_000)
        await sender.finish()


def _cpu_s_of(at: Stage, worker: LocalWorker, records: list[Raw], sent: int) -> float:
    """CPU of the worker for these records, behind so many others."""
    process = process_of(worker)

    def worked() -> bool:
        parts = list(worker.get("/v1/status")["partitions"].values())
        return sum(part["next_offset"] or 0 for part in parts) >= sent + len(records)

    before = cpu_s(process)
    asyncio.run(_send(at.bootstrap, records, 4))
    wait_until(worked, "all records processed", WORKED_WITHIN_S, 0.5)
    time.sleep(3)  # the last checkpoint, and the lake's commit
    return cpu_s(process) - before


def run(records: int = 200_000) -> dict[str, float]:
    """So many records of each kind."""
    figures: dict[str, float] = {}
    with stage() as at:
        settings = {"K2_LAKE_COMMIT_INTERVAL_S": "2", **STAYS_NORMAL}
        worker = at.start(0, **settings).wait_ready()
        for index, (name, make) in enumerate((GOOD | BAD).items()):
            first = index * records
            found = _cpu_s_of(at, worker, [make(first + n) for n in range(records)], first)
            figures[f"{name}: µs of CPU per record"] = found / records * 1e6
            print(name, found / records * 1e6, flush=True)
    for name in BAD:
        good = figures["good: µs of CPU per record"]
        figures[f"{name}: over good"] = figures[f"{name}: µs of CPU per record"] / good
    return figures
