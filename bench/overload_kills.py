"""Ten times too much, and kill -9 all the while: in deferral, in the drain, and the truth after."""

import random
import time

from rich.console import Console

from bench.stage import stage
from k2_streams.cli.demo_overload import freshness
from k2_streams.demo.load_picture import for_terminal
from k2_streams.demo.overload_run import Load, OverloadRun, Phase
from k2_streams.testing.local.load_watch import LoadSample
from k2_streams.testing.local.workers import LocalWorker

#: A worker that has just been killed is left alone until it is back, and so much longer.
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
        worker = at.worker(0, **settings, K2_COOL_DOWN_S="5", K2_LAKE_COMMIT_INTERVAL_S="2")
        worker.start().wait_ready()
        producer = at.spawn_produce(truth, *load.arguments(tiers_file), **settings)
        killer = Killer(worker, kills, seconds + load.drain_s, random.Random(seed))
        story = OverloadRun(load, load.watched(worker.url), producer)
        try:
            story.follow(killer.see)
        finally:
            producer.terminate()
            producer.wait()
        console.print(for_terminal(story))
        console.print(freshness(story))
        code = at.verify(worker, truth)
        worker.stop()
    return {
        "kills": float(killer.killed),
        "of them while records were being put off": float(killer.in_deferral),
        "of them in the drain": float(killer.in_drain),
        "records put off at the most": float(max(s.deferred for s in story.samples)),
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
        self.in_deferral += run.phase is Phase.TOO_MUCH
        self.in_drain += run.phase is Phase.DRAIN
        self._worker.start().wait_ready()
        wait_s = self._rng.uniform(0.2, 1.2) * max(self._every_s - REST_S, 0.0)
        self._next_s = time.monotonic() + REST_S + wait_s
