"""Whatever happens to the process: nothing lost, nothing twice, and queries never see otherwise."""

import random
import signal
import time
import urllib.request

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from conftest import Cluster, eventually  # type: ignore[import-not-found]

from bench.asker import Asking, Ledger
from k2_streams.core.records.stream import TRADES
from k2_streams.core.records.vector import SUMMARY_OFFSETS
from k2_streams.lake.table import Lake

pytestmark = pytest.mark.integration

FAULTS = [
    "--gaps", "0.001", "--duplicates", "0.001", "--disorder", "0.001", "--late", "0.001",
    "--invalid", "0.001", "--resets", "20",
]  # fmt: skip
#: Between two questions: some ten a second, and time for what they are asked about.
ASK_PAUSE_S = 0.05


def test_kill_minus_nine_under_load(k2: Cluster) -> None:
    """Killed at random moments: no difference to the truth, and no answer with a hole or double."""
    worker = k2.worker()
    worker.start().wait_ready()
    rng = random.Random(5)
    truth = k2.directory / "truth.jsonl"
    producer = k2.spawn(
        "produce", "--rate", "2500", "--messages", "32500", "--seed", "5", "--symbols", "200",
        *FAULTS, "--truth", str(truth),
    )  # fmt: skip
    with Asking("S0002", [worker], pause_s=ASK_PAUSE_S) as answers:
        for _ in range(3):
            time.sleep(rng.uniform(0.3, 2.5))
            worker.kill()
            worker.start().wait_ready()
        output, _ = producer.communicate(timeout=240)
        assert producer.returncode == 0, output
        k2.verify(worker, truth)
        _enough(answers)
    _agree(answers)
    assert worker.stop() == 0, worker.last_words()


def test_hybrid_answers_have_no_hole_and_no_double_while_workers_die(k2: Cluster) -> None:
    """Asked all the time during load, commits, a take-over: all answers agree."""
    first, second = k2.worker(0), k2.worker(1)
    first.start().wait_ready()
    second.start().wait_ready()
    truth = k2.directory / "truth.jsonl"
    with Asking("S0000", [first, second], pause_s=ASK_PAUSE_S) as answers:
        producer = k2.spawn(
            "produce", "--rate", "2000", "--messages", "24000", "--seed", "9", "--symbols", "20",
            "--truth", str(truth),
        )  # fmt: skip
        eventually(lambda: answers.answers > 10, what="answers")
        owned = [worker.running_partitions() for worker in (first, second)]
        assert not owned[0] & owned[1], "a partition worked twice"
        first.kill()
        output, _ = producer.communicate(timeout=240)
        assert producer.returncode == 0, output
        k2.verify(second, truth)
        eventually(
            lambda: len(second.get("/v1/status")["partitions"]) == 4, what="take-over by the other"
        )
        _enough(answers)
    _agree(answers)


def test_a_worker_stopped_past_its_session_cannot_write_what_counts(k2: Cluster) -> None:
    """SIGSTOP, take-over by the other, SIGCONT: the zombie is fenced, and nothing is twice.

    Both are asked all the while: the zombie's answers are old when it wakes, and never wrong.
    """
    zombie, heir = k2.worker(0), k2.worker(1)
    zombie.start().wait_ready()
    truth = k2.directory / "truth.jsonl"
    with Asking("S0002", [zombie, heir], pause_s=ASK_PAUSE_S) as answers:
        producer = k2.spawn(
            "produce", "--rate", "2000", "--messages", "36000", "--seed", "4", *FAULTS,
            "--truth", str(truth),
        )  # fmt: skip
        eventually(lambda: zombie.get("/v1/status")["watermark"]["0"] > 0, what="work begun")
        heir.start()
        zombie.signal(signal.SIGSTOP)
        try:
            heir.wait_ready()
            eventually(
                lambda: len(heir.running_partitions()) == 4,
                within_s=90,
                what="the heir owns everything",
            )
        finally:
            zombie.signal(signal.SIGCONT)
        output, _ = producer.communicate(timeout=240)
        assert producer.returncode == 0, output
        k2.verify(heir, truth)
        # The zombie, too, ends up with all of it.
        k2.verify(zombie, truth)
        _enough(answers)
    _agree(answers)


def _enough(answers: Ledger) -> None:
    """Until answers were got, by token too."""
    eventually(lambda: answers.answers > 30 and answers.again > 0, what="answers")


def _agree(answers: Ledger) -> None:
    """No two answers contradict each other."""
    assert answers.wrong == []


def test_a_stop_and_a_restart_replay_nothing(k2: Cluster) -> None:
    """A worker stopped in order commits what is open: the next one starts where it ended."""
    worker = k2.worker()
    worker.start().wait_ready()
    truth = k2.produce("--messages", "20000", "--seed", "2", "--symbols", "50")
    eventually(lambda: k2.has_answered_all(worker), what="no lag")
    k2.verify(worker, truth)
    assert worker.stop() == 0, worker.last_words()
    worker.start().wait_ready()
    k2.verify(worker, truth)
    assert "replayed=0" in worker.last_words(200)


def test_snapshots_carry_the_vector_and_another_engine_reads_the_table(k2: Cluster) -> None:
    """Each snapshot's summary has the offsets it holds, and they never go back.

    polars, which shares no code with K2, reads the same count and the same exact sums.
    """
    with k2.worker() as worker:
        truth = k2.produce("--rate", "4000", "--messages", "20000", "--seed", "8")
        k2.verify(worker, truth)
        url = f"{worker.url}/v1/trades?limit=100000&format=arrow"
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - loopback
            rows = pa.ipc.open_stream(answer.read()).read_all()
    lake = Lake(k2.lake, stream=TRADES)
    files = [file.path for file in lake.plan(lake.head().snapshot_id or 0)]
    columns = ["price", "quantity", "source_offset"]
    scan = pl.scan_parquet(files, storage_options=_as_polars_says(k2.lake.properties))
    read = scan.select(columns).sum().collect().row(0)
    assert scan.select(pl.len()).collect().item() == rows.num_rows
    assert read == tuple(pc.sum(rows[name]).as_py() for name in columns)
    seen: dict[int, int] = {}
    for snapshot in sorted(lake.snapshots(), key=lambda one: one.timestamp_ms):
        assert snapshot.vector is not None, SUMMARY_OFFSETS
        for partition, end in snapshot.vector.topics["k2.trades"].next.items():
            assert end >= seen.get(partition, 0)
            seen[partition] = end


def _as_polars_says(properties: dict[str, str]) -> dict[str, str] | None:
    """The settings of an object store."""
    if "s3.endpoint" not in properties:
        return None
    return {
        "aws_endpoint_url": properties["s3.endpoint"],
        "aws_access_key_id": properties["s3.access-key-id"],
        "aws_secret_access_key": properties["s3.secret-access-key"],
        "aws_region": properties["s3.region"],
        "aws_allow_http": "true",
    }
