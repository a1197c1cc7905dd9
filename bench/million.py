"""A million messages with faults of every kind, then the comparison with the truth."""

import time

from bench.stage import VERIFY_OPTIONS, stage

FAULTS = [
    "--gaps", "0.001", "--duplicates", "0.001", "--disorder", "0.001", "--late", "0.001",
    "--invalid", "0.001", "--resets", "50",
]  # fmt: skip


def run(messages: int = 1_000_000, symbols: int = 1_000, seed: int = 1) -> dict[str, float]:
    """From the first message sent to the verifier's last line; its exit code (0: no difference)."""
    with stage() as at:
        worker = at.start().wait_ready()
        started = time.monotonic()
        truth = at.produce(
            "--messages", str(messages), "--symbols", str(symbols), "--seed", str(seed), *FAULTS
        )  # fmt: skip
        differences = at.verify(truth, options=VERIFY_OPTIONS)
        seconds = time.monotonic() - started
        worker.stop()
    return {
        "messages": float(messages),
        "verifier's exit code": float(differences),
        "seconds in all": seconds,
    }
