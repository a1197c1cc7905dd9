"""Clients that hold connections or ask too much, against a worker that ingests meanwhile.

`idle_connections`: connections that send half a request, more than the worker may have files open.
`stalled_readers`: clients that ask for much and read one byte, at a worker with little memory.
`heavy_queries`: many clients that each ask for as many rows as an answer may have.

In each of them a stream of `rate` messages per second runs beside; once a second the worker is
asked whether it is ready and how many rows it holds, over a connection of its own.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import msgspec

from bench.stage import lake_rows, peak_memory_mib, percentile, process_of, stage
from k2_streams.testing.client import HttpClient, NoAnswerError, StatusError
from k2_streams.testing.local.workers import LocalWorker
from k2_streams.testing.waiting import wait_until

HEAVY = "/v1/trades?limit=100000"
SMALL = "/v1/trades?symbol=S0001&order=desc&limit=10"
LONG = "/v1/trades?limit=16384"
#: A client's timeout, which is longer than the worker may take.
CLIENT_PATIENCE_S = 60.0
#: A reader that stalls connects again after this, so that one that was cut off is soon back.
STALLS_S = 30.0
#: Rows in the lake before a run begins.
ROWS = 300_000
#: How long the stream runs before what is measured, and after it.
WARM_UP_S = 5.0


@dataclass
class Watched:
    """What was seen once a second."""

    asked: int = 0
    ready: int = 0
    why_not: Counter[str] = field(default_factory=Counter)
    positions: list[int] = field(default_factory=list)  # raw records processed, in all

    def figures(self) -> dict[str, float]:
        """How often it was ready, and whether the stream went on."""
        moved = [
            after > before
            for before, after in zip(self.positions, self.positions[1:], strict=False)
        ]
        for reason, times in self.why_not.items():
            print(f"  not ready {times} times: {reason}")
        return {
            "asked whether ready": self.asked,
            "ready %": 100.0 * self.ready / max(self.asked, 1),
            "seconds in which ingest moved %": 100.0 * sum(moved) / max(len(moved), 1),
            "records processed": self.positions[-1] - self.positions[0] if self.positions else 0,
        }


async def _watch(worker: LocalWorker, watched: Watched) -> None:
    while True:
        watched.asked += 1
        try:
            await asyncio.to_thread(worker.get, "/health/ready", 5.0)
            watched.ready += 1
        except StatusError as error:
            watched.why_not[error.body.decode()[:200]] += 1
        except OSError as error:
            watched.why_not[str(error)] += 1
        with contextlib.suppress(OSError):
            status = await asyncio.to_thread(worker.get, "/v1/status", 5.0)
            watched.positions.append(sum(status["watermark"].values()))
        await asyncio.sleep(1.0)


@contextlib.asynccontextmanager
async def _watched(worker: LocalWorker) -> AsyncIterator[Watched]:
    watched = Watched()
    task = asyncio.create_task(_watch(worker, watched))
    try:
        yield watched
    finally:
        task.cancel()
        await asyncio.wait([task])


def _run(
    under: tuple[str, ...],
    settings: dict[str, str],
    rows: int,
    rate: int,
    measure: Callable[[LocalWorker], Coroutine[Any, Any, dict[str, float]]],
) -> dict[str, float]:
    """A worker with some rows, a stream beside, and what is measured of it."""
    with stage(under) as at:
        worker = at.start(0, **settings).wait_ready()
        process = process_of(worker)
        if rows:
            at.produce("--rate", "20000", "--messages", str(rows), "--symbols", "20")
            wait_until(lambda: lake_rows(worker) >= 0.9 * rows, "rows in the lake", 120.0)
        stream = at.start_produce(
            at.directory / "stream.jsonl.gz", "--rate", str(rate), "--duration", "600",
            "--symbols", "20",
        )  # fmt: skip
        try:
            time.sleep(WARM_UP_S)
            before = worker.log_file.stat().st_size
            figures = asyncio.run(measure(worker))
            figures["log KB"] = (worker.log_file.stat().st_size - before) / 1e3
            figures["peak memory MiB"] = peak_memory_mib(process)
            figures["alive"] = float(process.is_running())
        finally:
            stream.terminate()
            stream.wait()
        return figures


async def _beside(
    worker: LocalWorker,
    clients: int,
    seconds: float,
    client: Callable[[LocalWorker, Counter[str]], Coroutine[Any, Any, None]],
) -> dict[str, float]:
    """What is seen of a worker while clients do the same for `seconds`, and what they count."""
    counts: Counter[str] = Counter()
    async with _watched(worker) as watched:
        tasks = [asyncio.create_task(client(worker, counts)) for _ in range(clients)]
        await asyncio.sleep(seconds)
        figures = watched.figures() | {name: float(n) for name, n in counts.items()}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    return figures


def idle_connections(
    connections: int = 400, files: int = 300, seconds: float = 65.0, rate: int = 500
) -> dict[str, float]:
    """Half requests on `connections` under a limit of `files`; those closed are opened again."""

    async def hold(worker: LocalWorker, counts: Counter[str]) -> None:
        while True:
            counts["opened"] += 1
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", worker.port)
                writer.write(b"GET /v1/trades?symbol=S00")
                await reader.read()
                counts["closed by the worker"] += 1
                writer.close()
            except OSError:
                counts["refused"] += 1
            await asyncio.sleep(1.0)

    limited = ("sh", "-c", f'ulimit -n {files}; exec "$@"', "sh")
    return _run(limited, {}, 0, rate, lambda worker: _beside(worker, connections, seconds, hold))


def stalled_readers(
    readers: int = 100, memory_mib: int = 700, seconds: float = 60.0, rate: int = 500
) -> dict[str, float]:
    """Readers that take one byte of a long answer, at a worker with `memory_mib`."""

    async def stall(worker: LocalWorker, counts: Counter[str]) -> None:
        while True:
            counts["asked"] += 1
            try:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", worker.port, limit=1_024
                )
                writer.write(f"GET {LONG} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                status = (await reader.readline()).split(b" ")
                counts[f"status {status[1].decode() if len(status) > 1 else 'none'}"] += 1
                if b"200" in status:
                    await asyncio.sleep(STALLS_S)
                writer.close()
            except OSError:
                counts["cut off"] += 1
            await asyncio.sleep(1.0)

    limit = {"K2_MEMORY_LIMIT_BYTES": str(memory_mib << 20)}
    return _run((), limit, ROWS, rate, lambda worker: _beside(worker, readers, seconds, stall))


async def _ask(client: HttpClient, url: str) -> tuple[str, float]:
    """The answer's status, or the error's code, and the seconds it took; the body is read."""
    began = time.monotonic()
    try:
        answer = await client.drain(url)
    except NoAnswerError as error:
        found = str(error).rpartition(": ")[2]
    else:
        found = str(answer.status)
        if answer.status != 200:
            found += f" {msgspec.json.decode(answer.body)['error']['code']}"
    return found, time.monotonic() - began


def heavy_queries(
    clients: int = 64, each: int = 3, alone: int = 8, rate: int = 500
) -> dict[str, float]:
    """`clients` that each ask `each` heavy queries, against what one client gets alone."""

    async def measure(worker: LocalWorker) -> dict[str, float]:
        async with HttpClient(timeout_s=CLIENT_PATIENCE_S, connections=None) as session:
            await _ask(session, worker.url + HEAVY)
            began = time.monotonic()
            for _ in range(alone):
                status, _ = await _ask(session, worker.url + HEAVY)
                if status != "200":
                    raise RuntimeError(f"one client alone was answered {status}")
            alone_s = (time.monotonic() - began) / alone
            counts: Counter[str] = Counter()
            refused_s: list[float] = []
            small_s: list[float] = []
            small: Counter[str] = Counter()

            async def client() -> None:
                for _ in range(each):
                    status, took_s = await _ask(session, worker.url + HEAVY)
                    counts[status] += 1
                    if status == "503 busy":
                        refused_s.append(took_s)

            async def ask_small() -> None:
                while True:
                    status, took_s = await _ask(session, worker.url + SMALL)
                    small[status] += 1
                    small_s.append(took_s)
                    await asyncio.sleep(0.2)

            async with _watched(worker) as watched:
                beside = asyncio.create_task(ask_small())
                began = time.monotonic()
                await asyncio.gather(*(client() for _ in range(clients)))
                took_s = time.monotonic() - began
                beside.cancel()
                await asyncio.wait([beside])
                figures = watched.figures()
        answered = counts["200"]
        figures |= {f"answers {status}": float(n) for status, n in counts.items()}
        figures |= {f"small {status}": float(n) for status, n in small.items()}
        return figures | {
            "one client alone, answers/s": 1 / alone_s,
            "goodput, answers/s": answered / took_s,
            "goodput share of alone": answered / took_s * alone_s,
            "seconds in all": took_s,
            "refusal p50 s": percentile(refused_s, 0.5) if refused_s else 0.0,
            "refusal p99 s": percentile(refused_s, 0.99) if refused_s else 0.0,
            "small p50 s": percentile(small_s, 0.5),
            "small p99 s": percentile(small_s, 0.99),
        }

    return _run((), {}, ROWS, rate, measure)
