"""Ten times the capacity, with kill -9 during deferral and drain; then the comparison."""

import random
import time

from rich.console import Console

from bench.stage import VERIFY_OPTIONS, stage
from k2_streams.demo.load_picture import for_terminal
from k2_streams.demo.overload import freshness
from k2_streams.demo.overload_run import Load, OverloadPhase, OverloadRun
from k2_streams.testing.local.load_watch import LoadSample
from k2_streams.testing.local.workers import LocalWorker

#: From when a killed worker is ready again to the next kill, at least.
REST_S = 3.0


def run(
    kills: int = 20,
    seconds: float = 60.0,
    capacity: int = 1_000,
    times: float = 10.0,
    seed: int = 1,
) -> dict[str, float]:
    """Kills spread over the deferral and the drain; the verifier's exit code (0: no difference)."""
    load = Load(capacity=capacity, times=times, overload_s=seconds, seed=seed)
    console = Console(highlight=False)
    with stage() as at:
        tiers_file, truth = at.directory / "tiers.csv", at.directory / "truth.jsonl.gz"
        load.tiers.write(tiers_file, [f"SIM:{name}" for name in load.names()])
        settings = load.settings(tiers_file)
        worker = at.start(
            0, **settings, K2_COOL_DOWN_S="5", K2_LAKE_COMMIT_INTERVAL_S="2"
        ).wait_ready()
        producer = at.start_produce(truth, *load.arguments(tiers_file), settings=settings)
        killer = Killer(worker, kills, seconds + load.drain_s, random.Random(seed))
        story = OverloadRun(load, load.watched(worker.url), producer)
        try:
            story.follow(killer.see)
        finally:
            producer.terminate()
            producer.wait()
        console.print(for_terminal(story))
        console.print(freshness(story))
        code = at.verify(truth, options=VERIFY_OPTIONS)
        worker.stop()
    return {
        "kills": float(killer.killed),
        "of them while records were being deferred": float(killer.in_deferral),
        "of them in the drain": float(killer.in_drain),
        "records deferred at the most": float(max(s.deferred for s in story.samples)),
        "seconds until NORMAL": story.at_s(story.samples[-1]) - story.overload[1],
        "verifier's exit code": float(code),
    }


class Killer:
    """Kills at random moments, as often as asked, spread over deferral and drain."""

    def __init__(self, worker: LocalWorker, kills: int, over_s: float, rng: random.Random) -> None:
        self.killed = self.in_deferral = self.in_drain = 0
        self._worker = worker
        self._kills = kills
        self._every_s = over_s / kills
        self._rng = rng
        self._next_s = 0.0

    def see(self, run: OverloadRun, sample: LoadSample | None) -> None:
        """After each look: kill if it is time, and something waits."""
        if sample is None or not sample.deferred or self.killed >= self._kills:
            return
        if time.monotonic() < self._next_s:
            return
        self._worker.kill()
        self.killed += 1
        self.in_deferral += run.phase is OverloadPhase.OVERLOAD
        self.in_drain += run.phase is OverloadPhase.DRAIN
        self._worker.start().wait_ready()
        wait_s = self._rng.uniform(0.2, 1.2) * max(self._every_s - REST_S, 0.0)
        self._next_s = time.monotonic() + REST_S + wait_s
