"""The faults: each function makes one happen, waits for the recovery, and returns its seconds.

What is measured is the time from the fault until every worker is ready, every partition is worked
by one of them, and all that had been sent by then is in the answers.
"""

import signal
import time

from faults.stage import FaultStage
from k2_streams.failpoints import WORKER_POINTS
from k2_streams.testing.waiting import wait_until

#: The session: then the group gives the partitions to somebody else.
PAST_THE_SESSION_S = 6.0
#: So often one worker is killed; else all at once.
ONE_ALONE = 0.4


def recovered(stage: FaultStage, began: float) -> float:
    """Wait for the recovery; seconds since it `began`."""
    stage.all_ready()
    stage.caught_up()
    return time.monotonic() - began


def _victim(stage: FaultStage) -> int:
    return stage.random.choice(sorted(stage.workers))


def kill_at_random(stage: FaultStage, _number: int) -> float:
    """Kill -9 of one worker, or of all of them, at any moment."""
    time.sleep(stage.random.uniform(0.1, 2.0))
    victims = sorted(stage.workers)
    if stage.random.random() < ONE_ALONE:
        victims = [stage.random.choice(victims)]
    began = time.monotonic()
    for victim in victims:
        stage.kill(victim)
    for victim in victims:
        stage.start(victim)
    return recovered(stage, began)


def _provoke(stage: FaultStage, victim: int, point: str) -> None:
    """Make the points be reached that a plain flow does not reach."""
    if point.startswith("shutdown"):
        stage.workers[victim].signal(signal.SIGTERM)
    if point in {"rebalance.revoked", "rebalance.released"}:
        stage.start(9)  # a new member: everybody else's partitions are revoked
        stage.counts["joins"] += 1


def _nth(stage: FaultStage, point: str) -> int:
    """At which of its hits a point does something."""
    if point.startswith(("checkpoint", "source")):
        return stage.random.randint(1, 20)
    if point.startswith(("lake", "tail")) and point != "lake.expiring":
        return stage.random.randint(1, 3)
    if point.startswith("take-over"):
        return stage.random.randint(1, 2)  # of the first or the second partition
    # The first release is of no partition: a worker that is no member yet.
    return 2 if point.startswith("rebalance.re") else 1


#: A worker that compacts, lets snapshots expire and deletes their files all the time.
_MAINTAINED = {
    "K2_MAINTENANCE": "1", "K2_MAINTENANCE_INTERVAL_S": "0.5", "K2_DELETE_DELAY_S": "0",
}  # fmt: skip


def _settings(point: str) -> dict[str, str]:
    """With which a worker reaches the point within seconds."""
    more = {}
    if point == "lake.expiring" or point.startswith("maintenance"):
        more["K2_LAKE_COMMIT_INTERVAL_S"] = "0.2"
    return more | _MAINTAINED if point.startswith("maintenance") else more


def _others(stage: FaultStage, victim: int, point: str) -> list[int]:
    """Workers that must not run: maintenance is the work of who owns the first partition."""
    if not point.startswith("maintenance"):
        return []
    return [worker_id for worker_id in sorted(stage.workers) if worker_id != victim]


def _at_point(stage: FaultStage, point: str, action: str) -> float:
    victim = min(stage.workers)
    nth = _nth(stage, point)
    stage.stop(victim)
    hits = stage.points_hit()[point, action]
    others = _others(stage, victim, point)
    for other in others:
        stage.stop(other)
    worker = stage.start_at(victim, f"{point}={action}@{nth}", **_settings(point))

    def is_hit() -> bool:
        return stage.points_hit()[point, action] > hits

    if point.startswith(("shutdown", "rebalance.re")):
        wait_until(lambda: worker.is_ready() or is_hit(), "ready for the point")
        if not is_hit():
            _provoke(stage, victim, point)
    wait_until(is_hit, f"{point}={action}@{nth} reached")
    began = time.monotonic()
    if action == "crash":
        wait_until(lambda: not stage.alive(victim), f"dead at {point}")
        stage.counts["kill -9 of a worker"] += 1
        stage.start(victim)
    elif action == "stop":
        _past_the_session(stage)
        worker.signal(signal.SIGCONT)
        began = time.monotonic()
    if point.startswith("shutdown") and action != "crash":
        wait_until(lambda: not stage.alive(victim), "the worker ended")
    if 9 in stage.workers:
        stage.leave(9)
    for other in others:
        stage.start(other)
    return recovered(stage, began)


def crash_at_points(stage: FaultStage, number: int) -> float:
    """Kill -9 at a failpoint, each in its turn."""
    return _at_point(stage, WORKER_POINTS[number % len(WORKER_POINTS)], "crash")


def raise_at_points(stage: FaultStage, number: int) -> float:
    """An error at a failpoint, each in its turn."""
    return _at_point(stage, WORKER_POINTS[number % len(WORKER_POINTS)], "raise")


#: Where a stopped process holds something: a transaction, a take-over, a commit.
_HOLDING = (
    "checkpoint.begun", "checkpoint.acknowledged", "checkpoint.offsets-sent",
    "checkpoint.committed", "lake.files-written", "lake.manifests-written", "lake.committing",
    "lake.committed", "take-over.replayed", "rebalance.released",
)  # fmt: skip


def stop_at_points(stage: FaultStage, number: int) -> float:
    """SIGSTOP past the session in mid-transaction, mid-commit, mid-take-over; then SIGCONT."""
    return _at_point(stage, _HOLDING[number % len(_HOLDING)], "stop")


def _past_the_session(stage: FaultStage) -> None:
    """Wait until the group has given a stopped worker's partitions away, and a little longer."""
    generations = stage.generations()
    time.sleep(PAST_THE_SESSION_S)
    wait_until(lambda: stage.generations() > generations, "the stopped worker's session ended")
    time.sleep(stage.random.uniform(0.0, 3.0))
    stage.counts["SIGSTOP past the session"] += 1


def stop_at_random(stage: FaultStage, _number: int) -> float:
    """SIGSTOP of a worker past its session at any moment, then SIGCONT: a zombie."""
    victim = _victim(stage)
    stage.workers[victim].signal(signal.SIGSTOP)
    _past_the_session(stage)
    began = time.monotonic()
    stage.workers[victim].signal(signal.SIGCONT)
    return recovered(stage, began)


def kill_broker(stage: FaultStage, number: int) -> float:
    """Kill -9 of the broker, at any moment or in the middle of a transaction; then its restart."""
    victim = min(stage.workers)
    if number % 2:
        stage.stop(victim)
        point = ("checkpoint.begun", "checkpoint.sent", "checkpoint.acknowledged")[number // 2 % 3]
        point += f"=delay:2@{stage.random.randint(5, 20)}"
        hits = sum(stage.points_hit().values())
        stage.start_at(victim, point)
        wait_until(lambda: sum(stage.points_hit().values()) > hits, f"{point} reached")
        stage.counts["broker killed in mid-transaction"] += 1
    else:
        time.sleep(stage.random.uniform(0.1, 2.0))
    began = time.monotonic()
    stage.kill_broker()
    stage.brokers.start()
    return recovered(stage, began)


def storm(stage: FaultStage, number: int) -> float:
    """A worker joins or leaves every few seconds."""
    guest = 10 + number % 40
    began = time.monotonic()
    stage.start(guest)
    stage.counts["joins"] += 1
    time.sleep(stage.random.uniform(2.0, 6.0))
    stage.leave(guest)
    return recovered(stage, began)
