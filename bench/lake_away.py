"""The lake cannot be reached for minutes under load: answers, memory, and the time to catch up.

Each question is for the last 10 s of one symbol. They are in the tail alone once the lake has been
unreachable for that long; before, an answer may need files that cannot be read: it is an error.
"""

import itertools
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from bench.away import Away
from bench.kills import FAULTS
from bench.stage import VERIFY_OPTIONS, lake_rows, percentile, process_of, stage
from k2_streams.testing.local.workers import LocalWorker
from k2_streams.testing.waiting import wait_until

WARM_UP_S = 20.0
#: The load goes on while the lake catches up.
AFTER_S = 60.0
ASK_EVERY_S = 0.1
WINDOW_S = 10
QUESTION = f"/v1/trades?symbol=S0000&window={WINDOW_S}s&order=desc&limit=100"
#: A busy machine's worst, not a figure.
CAUGHT_UP_WITHIN_S = 600.0


@dataclass
class Asked:
    """What was asked while something lasted."""

    answers: int = 0
    empty: int = 0
    errors: int = 0
    elapsed_ms: list[float] = field(default_factory=list)


class TailAsker(threading.Thread):
    """Asks until `end` is set; keeps the answers' times under `phase`."""

    def __init__(self, worker: LocalWorker) -> None:
        super().__init__(daemon=True)
        self.end = threading.Event()
        self.phase = "before"
        self.asked = {name: Asked() for name in ("before", "going away", "away", "after")}
        self._worker = worker

    def run(self) -> None:
        while not self.end.wait(ASK_EVERY_S):
            asked, began = self.asked[self.phase], time.monotonic()
            try:
                found = self._worker.get(QUESTION, within_s=60.0)
            except OSError as error:
                asked.errors += 1
                print(f"  {self.phase}: {error}", flush=True)
                continue
            asked.answers += 1
            asked.empty += not found["data"]
            asked.elapsed_ms.append((time.monotonic() - began) * 1e3)


def run(seconds: float = 180.0, rate: float = 10_000, open_s: float = 60.0) -> dict[str, float]:
    """Unreachable for so many seconds, at so many messages per second."""
    with stage() as at:
        worker = at.start(K2_BREAKER_OPEN_S=str(open_s)).wait_ready()
        truth = at.directory / "truth.jsonl.gz"
        producer = at.start_produce(
            truth, "--rate", str(rate), "--duration", str(WARM_UP_S + seconds + AFTER_S),
            "--seed", "1", "--start", "now", *FAULTS,
        )  # fmt: skip
        asker = TailAsker(worker)
        asker.start()
        time.sleep(WARM_UP_S)
        away, figures = Away(at.directory), {"rate": rate, "away s": seconds}
        wait_until(lambda: lake_rows(worker) > 0, "rows in the lake", 120)
        try:
            away.take()
            asker.phase = "going away"
            time.sleep(WINDOW_S)
            asker.phase = "away"
            figures |= _watch(worker, seconds - WINDOW_S)
        finally:
            away.give_back()
        asker.phase, back = "after", time.monotonic()
        figures |= _catch_up(worker, back)
        code = producer.wait()
        asker.end.set()
        asker.join()
        for phase, asked in asker.asked.items():
            figures[f"{phase}: answers"] = float(asked.answers)
            figures[f"{phase}: errors"] = float(asked.errors)
            figures[f"{phase}: answers without a row"] = float(asked.empty)
            if asked.elapsed_ms:
                figures[f"{phase}: p50 ms"] = percentile(asked.elapsed_ms, 0.5)
                figures[f"{phase}: p99 ms"] = percentile(asked.elapsed_ms, 0.99)
        figures["producer's exit code"] = float(code)
        figures["verifier's exit code"] = float(at.verify(truth, options=VERIFY_OPTIONS))
        worker.stop()
    return figures


def _watch(worker: LocalWorker, seconds: float) -> dict[str, float]:
    """Memory in five equal parts of the time, and what the tail held at the end."""
    process = process_of(worker)
    samples: list[tuple[float, float]] = []
    states: list[str] = []
    began = time.monotonic()
    status: dict[str, Any] = {}
    while time.monotonic() - began < seconds:
        time.sleep(1.0)
        samples.append((time.monotonic() - began, process.memory_info().rss / 2**20))
        status = worker.get("/v1/status")
        states.append(status["breaker"]["state"])
    for state, looks in itertools.groupby(states):
        print(f"  breaker {state} for about {len(list(looks))} s", flush=True)
    figures = {
        f"memory MiB, part {part + 1} of 5": percentile(
            [mib for at, mib in samples if part <= 5 * at / seconds < part + 1] or [0.0], 0.5
        )
        for part in range(5)
    }
    tail = status["tail"]
    return figures | {
        "tail rows at the end": float(tail["rows"]),
        "tail in memory MiB": tail["memory_bytes"] / 2**20,
        "tail on disk MiB": tail["spilled_bytes"] / 2**20,
        "sink rows at the end": float(status["sink"]["buffered_rows"]),
    }


def _catch_up(worker: LocalWorker, back: float) -> dict[str, float]:
    """From the lake's return until it holds all that was in the log then."""
    marks = {p: part["end"] for p, part in worker.get("/v1/status")["tail"]["partitions"].items()}

    def tried() -> bool:
        return bool(worker.get("/v1/status")["breaker"]["state"] != "open")

    def caught_up() -> bool:
        parts = worker.get("/v1/status")["tail"]["partitions"]
        return all(parts[partition]["evicted"] >= end for partition, end in marks.items())

    first_try = wait_until(tried, "the first trial", CAUGHT_UP_WITHIN_S, 0.25)
    done = wait_until(caught_up, "caught up", CAUGHT_UP_WITHIN_S, 0.25)
    return {
        "back to first trial s": first_try - back,
        "first trial to caught up s": done - first_try,
        "back to caught up s": done - back,
    }
