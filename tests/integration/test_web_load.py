"""Clients that hold connections or ask too much, against a real worker: it stays ready.

`python -m bench idle_connections`, `stalled_readers` and `heavy_queries` measure the same.
"""

import asyncio
import time
from collections import Counter
from typing import Any

import aiohttp
import pytest
from conftest import Cluster, eventually, processed  # type: ignore[import-not-found]

from k2_streams.testing.local.workers import LocalWorker

pytestmark = pytest.mark.integration

ROWS = 45_000
HEAVY = "/v1/trades?limit=100000"
SMALL = "/v1/trades?symbol=S0001&order=desc&limit=10"


def limited_to(files: int) -> tuple[str, ...]:
    """A command that becomes a worker which may have so many files open."""
    return ("sh", "-c", f'ulimit -n {files}; exec "$@"', "sh")


def answers_ready(worker: LocalWorker) -> bool:
    """Whether it says that it is ready; how soon, the machine's other work decides."""
    try:
        worker.fetch("/health/ready", within_s=10.0)
    except OSError:
        return False
    return True


def processed_if_asked(worker: LocalWorker) -> int | None:
    """The same; None if the connection gave way to one of a storm before its request arrived."""
    try:
        return processed(worker)
    except OSError:
        return None


async def half_request(port: int) -> None:
    """Open a connection and send half of a request, again as soon as it is closed."""
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /v1/trades?symbol=S00")
            await reader.read()
            writer.close()
        except OSError:
            pass
        await asyncio.sleep(1.0)


async def stalled(port: int, found: Counter[bytes]) -> None:
    """Ask for much and read one line of it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1_024)
    writer.write(b"GET /v1/trades?limit=16384 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    found[(await reader.readline())[9:12]] += 1
    await asyncio.sleep(3_600)
    writer.close()


async def beside(tasks: list["asyncio.Task[Any]"], work: Any, seconds: float) -> list[Any]:
    """What `work` says once a second while the tasks go on."""
    said = []
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            said.append(await asyncio.to_thread(work))
            await asyncio.sleep(1.0)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    return said


def test_a_worker_that_may_have_too_few_files_says_how_many(k2: Cluster) -> None:
    worker = LocalWorker(k2.directory, k2.bootstrap, under=limited_to(200))
    worker.start()
    k2.workers.append(worker)
    assert worker.process is not None
    assert worker.process.wait(60) == 2
    assert "logs of this worker need 292 open files" in worker.last_words()


def test_400_half_requests_under_a_limit_of_300_files(k2: Cluster) -> None:
    settings = {"K2_LAKE_COMMIT_INTERVAL_S": "1", "K2_RATE_LIMIT_PER_S": "100000"}
    worker = LocalWorker(k2.directory, k2.bootstrap, settings=settings, under=limited_to(300))
    k2.workers.append(worker)
    worker.start().wait_ready()
    eventually(lambda: len(worker.get("/v1/status")["partitions"]) == 4, what="partitions worked")
    eventually(worker.is_ready)
    stream = k2.spawn("produce", "--rate", "500", "--duration", "60", "--symbols", "20")
    eventually(lambda: processed(worker) > 0, what="the stream is there")
    log_bytes = worker.log_file.stat().st_size

    async def run() -> list[tuple[bool, int | None]]:
        tasks = [asyncio.create_task(half_request(worker.port)) for _ in range(400)]
        return await beside(tasks, lambda: (answers_ready(worker), processed_if_asked(worker)), 8.0)

    said = asyncio.run(run())
    stream.terminate()
    stream.wait()
    # Asked so few times, one answer that did not come is more than a tenth.
    missed_at_most = max(1, len(said) // 10)
    assert sum(not ready for ready, _ in said) <= missed_at_most
    counts = [count for _, count in said if count is not None]
    assert len(said) - len(counts) <= missed_at_most
    assert counts[-1] > counts[len(counts) // 2] > counts[0], "ingest goes on"
    assert worker.log_file.stat().st_size - log_bytes < 200_000


def test_readers_that_stall_and_heavy_queries(k2: Cluster) -> None:
    worker = k2.worker(K2_MEMORY_LIMIT_BYTES=str(700 << 20)).start().wait_ready()
    k2.produce("--rate", "20000", "--messages", str(ROWS), "--symbols", "20")
    eventually(lambda: processed(worker) >= ROWS, what="all of it is processed")
    stream = k2.spawn("produce", "--rate", "500", "--duration", "120", "--symbols", "20")
    eventually(lambda: processed(worker) > ROWS, what="the stream is there")

    async def stall() -> tuple[Counter[bytes], list[tuple[bool, int]]]:
        found: Counter[bytes] = Counter()
        tasks = [asyncio.create_task(stalled(worker.port, found)) for _ in range(100)]
        said = await beside(tasks, lambda: (answers_ready(worker), processed(worker)), 6.0)
        return found, said

    found, said = asyncio.run(stall())
    assert set(found) == {b"200", b"503"}
    assert found[b"200"] <= 16, "the others are refused"
    assert all(ready for ready, _ in said)
    assert said[-1][1] > said[0][1], "ingest goes on"

    async def heavy() -> tuple[Counter[int], float, list[float], float]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def ask(path: str) -> tuple[int, float]:
                began = time.monotonic()
                async with session.get(worker.url + path) as answer:
                    await answer.read()
                return answer.status, time.monotonic() - began

            async def ask_alone() -> float:
                return sum([(await ask(HEAVY))[1] for _ in range(3)]) / 3

            await ask(HEAVY)
            before_s = await ask_alone()
            counts: Counter[int] = Counter()
            refused_s = []

            async def client() -> None:
                for _ in range(3):
                    status, took_s = await ask(HEAVY)
                    counts[status] += 1
                    if status == 503:
                        refused_s.append(took_s)

            began = time.monotonic()
            small, *_ = await asyncio.gather(ask(SMALL), *(client() for _ in range(64)))
            took_s = time.monotonic() - began
            assert small[0] == 200, "a small query passes heavy ones"
            # What else the machine does may have begun meanwhile.
            return counts, took_s, refused_s, max(before_s, await ask_alone())

    counts, took_s, refused_s, alone_s = asyncio.run(heavy())
    stream.terminate()
    stream.wait()
    assert set(counts) == {200, 503}
    assert counts[200] / took_s >= 0.5 / alone_s, "half of what one client alone gets, or more"
    assert sorted(refused_s)[len(refused_s) // 2] < alone_s, "the others are refused at once"
    assert answers_ready(worker)
