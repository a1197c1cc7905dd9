"""kill -9 of the worker at random moments under load, then the comparison with the truth.

Hybrid answers are asked of it all the while, and compared with one another.
"""

import random
import time

from bench.asker import Asking
from bench.stage import VERIFY_OPTIONS, percentile, stage

FAULTS = [
    "--gaps", "0.001", "--duplicates", "0.001", "--disorder", "0.001", "--late", "0.001",
    "--invalid", "0.001", "--resets", "0.0005",
]  # fmt: skip
#: A symbol in the middle of the skew: some thousand rows, so that an answer takes little.
ASKED = "S0020"


def run(kills: int = 30, rate: int = 5_000, seed: int = 1) -> dict[str, float]:
    """Recovery from the kill to ready again, and the verifier's exit code (0: no difference)."""
    rng, recovery = random.Random(seed), []
    with stage() as at:
        worker = at.start(K2_LAKE_COMMIT_INTERVAL_S="1").wait_ready()
        truth = at.directory / "truth.jsonl.gz"
        producer = at.start_produce(truth, "--rate", str(rate), "--seed", str(seed), *FAULTS)
        with Asking(ASKED, [worker]) as answers:
            for _ in range(kills):
                time.sleep(rng.uniform(0.2, 4.0))
                worker.kill()
                began = time.monotonic()
                worker.start().wait_ready()
                recovery.append(time.monotonic() - began)
            producer.terminate()
            producer.wait()
            differences = at.verify(truth, options=VERIFY_OPTIONS)
        worker.stop()
    for finding in answers.wrong:
        print(finding)
    return {
        "kills": float(kills),
        "recovery p50 s": percentile(recovery, 0.5),
        "recovery worst s": max(recovery),
        "verifier's exit code": float(differences),
        "answers": float(answers.answers),
        "answers asked again by token": float(answers.again),
        "answers with a hole or a double": float(len(answers.wrong)),
    }
