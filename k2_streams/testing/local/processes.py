"""Processes that tools and tests start beside workers and brokers."""

import subprocess


def end_process(process: subprocess.Popen[bytes], within_s: float) -> None:
    """End it in order, or at once if it has not by then; it is gone afterwards."""
    process.terminate()
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
