"""What more workers cost, and what happens while they join and leave.

`run`: the same messages through one, two and four workers (`K2_ROLE=work`), in processor seconds
per million: more of them on the same processors are no faster, the question is what each adds. Then
with one worker of the role `all`, and with a query node beside a worker: what a tail costs.

`changes`: under load workers join, one leaves in order, one is killed. A query node is asked all
the while, and in the end the platform is compared with the truth: nothing lost, nothing doubled.
"""

import time
from collections.abc import Mapping, Sequence

import psutil

from bench.asker import Asking
from bench.stage import (
    STAYS_NORMAL,
    VERIFY_OPTIONS,
    cpu_s,
    lake_of,
    metric_of,
    process_of,
    stage,
)
from k2_streams.testing.local.stage import Stage
from k2_streams.testing.local.workers import LocalWorker
from k2_streams.testing.waiting import wait_until

MESSAGES, PARTITIONS, RATE = 300_000, 60, 2_000
WORKERS = (1, 2, 4)
#: Under load, between two changes of the group.
BETWEEN_S = 8.0
#: Of the take-over of all partitions, on a busy machine.
TAKEN_WITHIN_S = 240.0
FAULTS = (
    "--gaps", "0.001", "--duplicates", "0.001", "--disorder", "0.001", "--late", "0.001",
)  # fmt: skip
#: As many rows as an answer holds without taking much.
ASKED = "S0020"
#: The id of the query node: the lowest, so that the verifier asks it.
NODE = 0


def run(messages: int = MESSAGES, partitions: int = PARTITIONS) -> dict[str, float]:
    """Figures by the processes that ran."""
    found: dict[str, float] = {}
    for workers in WORKERS:
        cost = _cost(messages, partitions, ["work"] * workers)
        found |= {f"{workers} workers: {name}": value for name, value in cost.items()}
    each = [found[f"{workers} workers: CPU s/M"] for workers in WORKERS]
    found["CPU s/M, most by least"] = max(each) / min(each)
    for name, roles in (("role all", ["all"]), ("worker and query node", ["work", "query"])):
        cost = _cost(messages, partitions, roles)
        found |= {f"{name}: {figure}": value for figure, value in cost.items()}
    return found


def _platform(at: Stage, roles: Sequence[str], partitions: int) -> list[LocalWorker]:
    """Processes of these roles that are ready, each partition with a task."""
    started = [at.start(number, K2_ROLE=role) for number, role in enumerate(roles, start=1)]
    for one in started:
        one.wait_ready(TAKEN_WITHIN_S)
    _wait_owned(started, partitions)
    return started


def _wait_owned(workers: Sequence[LocalWorker], partitions: int) -> None:
    wait_until(
        lambda: sum(map(_running, workers)) == partitions, "every partition owned", TAKEN_WITHIN_S
    )


def _running(worker: LocalWorker) -> int:
    """Partitions that a worker processes now; none if it does not answer."""
    try:
        return len(worker.running_partitions(10.0))
    except OSError:
        return 0


def _settings(partitions: int, more: Mapping[str, str]) -> dict[str, str]:
    return {
        "K2_PARTITIONS": str(partitions),
        "K2_LEDGER": "0",
        "K2_LAKE_COMMIT_INTERVAL_S": "5",
        **STAYS_NORMAL,
        **more,
    }


def _cost(messages: int, partitions: int, roles: Sequence[str]) -> dict[str, float]:
    """The messages from the producer to the lake, by processes that are there already."""
    with stage() as at:
        at.settings |= _settings(partitions, {})
        platform = _platform(at, roles, partitions)
        (broker,) = (psutil.Process(node.status().pid) for node in at.brokers.nodes)
        processes = [process_of(one) for one in platform]
        lake, before = lake_of(at), [cpu_s(one) for one in (*processes, broker)]
        began = time.monotonic()
        at.produce("--messages", str(messages), "--seed", "1")
        wait_until(lambda: lake.head().rows >= messages, "all rows in the lake", 900, 0.5)
        elapsed_s = time.monotonic() - began
        used = [cpu_s(one) - cpu for one, cpu in zip((*processes, broker), before, strict=True)]
        millions = messages / 1e6
        commits = sum(metric_of(one, "k2_lake_commit_seconds_count") for one in platform)
        took_s = sum(metric_of(one, "k2_lake_commit_seconds_sum") for one in platform)
        figures = {
            "CPU s/M": sum(used[:-1]) / millions,
            "broker CPU s/M": used[-1] / millions,
            "msg/s": messages / elapsed_s,
            "checkpoints per s": sum(
                metric_of(one, "k2_checkpoint_seconds_count") for one in platform
            ) / elapsed_s,
            "lake commits": commits,
            "s per lake commit": took_s / max(commits, 1),
        }  # fmt: skip
        if "query" in roles:
            figures["CPU s/M of the query node"] = used[roles.index("query")] / millions
        for one in platform:
            one.stop()
    return figures


def changes(partitions: int = PARTITIONS, rate: int = RATE) -> dict[str, float]:
    """Seconds until every partition has an owner again, and the verifier's exit code."""
    found: dict[str, float] = {}
    with stage() as at:
        at.settings |= _settings(partitions, {"K2_LAKE_COMMIT_INTERVAL_S": "2"})
        (first,) = _platform(at, ["work"], partitions)
        node = at.start(NODE, K2_ROLE="query").wait_ready(TAKEN_WITHIN_S)
        truth = at.next_truth()
        producer = at.start_produce(truth, "--rate", str(rate), "--seed", "1", *FAULTS)
        with Asking(ASKED, [node], pause_s=0.2) as answers:
            time.sleep(BETWEEN_S)
            began = time.monotonic()
            others = [at.start(number, K2_ROLE="work") for number in (2, 3, 4)]
            everyone = [first, *others]
            wait_until(lambda: all(map(_running, others)), "all have partitions", TAKEN_WITHIN_S)
            _wait_owned(everyone, partitions)
            found["three join: s until each has its share"] = time.monotonic() - began
            time.sleep(BETWEEN_S)
            for what, leaving in (("one leaves", others[0]), ("one is killed", others[1])):
                began = time.monotonic()
                if what == "one leaves":
                    leaving.stop()
                else:
                    leaving.kill()
                everyone.remove(leaving)
                _wait_owned(everyone, partitions)
                found[f"{what}: s until all partitions have an owner"] = time.monotonic() - began
                time.sleep(BETWEEN_S)
            producer.terminate()
            producer.wait()
            difference = at.verify(truth, options=VERIFY_OPTIONS)
        take_overs = sum(metric_of(one, "k2_take_over_seconds_count") for one in everyone)
        took_s = sum(metric_of(one, "k2_take_over_seconds_sum") for one in everyone)
    for finding in answers.wrong:
        print(finding)
    return found | {
        "take-overs of those that stayed": take_overs,
        "s per take-over of a partition": took_s / max(take_overs, 1),
        "verifier's exit code": float(difference),
        "answers of the query node": float(answers.answers),
        "answers with a hole or a double": float(len(answers.wrong)),
    }
