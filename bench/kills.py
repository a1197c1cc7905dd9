"""kill -9 of the worker at random moments under load, then the comparison with the truth."""

import random
import time

from bench.stage import percentile, stage

FAULTS = [
    "--gaps", "0.001", "--duplicates", "0.001", "--disorder", "0.001", "--late", "0.001",
    "--invalid", "0.001", "--resets", "0.0005",
]  # fmt: skip


def run(kills: int = 30, rate: int = 5_000, seed: int = 1) -> dict[str, float]:
    """Recovery from the kill to ready again, and the verifier's exit code (0: no difference)."""
    rng, recovery = random.Random(seed), []
    with stage() as at:
        worker = at.worker(K2_COMMIT_EVERY_S="1").start().wait_ready()
        truth = at.directory / "truth.jsonl.gz"
        producer = at.spawn_produce(truth, "--rate", str(rate), "--seed", str(seed), *FAULTS)
        for _ in range(kills):
            time.sleep(rng.uniform(0.2, 4.0))
            worker.kill()
            began = time.monotonic()
            worker.start().wait_ready()
            recovery.append(time.monotonic() - began)
        producer.terminate()
        producer.wait()
        differences = at.verify(worker, truth)
        worker.stop()
    return {
        "kills": float(kills),
        "recovery p50 s": percentile(recovery, 0.5),
        "recovery worst s": max(recovery),
        "verifier's exit code": float(differences),
    }
