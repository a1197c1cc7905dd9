"""Two processes with the same static id: the older ends with a code, the newer works."""

import re
from pathlib import Path

import pytest
from conftest import Cluster, eventually  # type: ignore[import-not-found]

from k2_streams.runtime.control.watchdog import EXIT_FENCED_INSTANCE
from k2_streams.testing.local.workers import LocalWorker

pytestmark = pytest.mark.integration


def test_a_worker_that_restarts_with_other_topics_gets_partitions_of_these(k2: Cluster) -> None:
    """The broker gives a static member its last assignment back, whatever it subscribes to now."""

    def has_events_in_lake(worker: LocalWorker) -> bool:
        meta = worker.get("/v1/gap-events?limit=1")["meta"]
        return bool(meta["rows"]) and meta["rows_tail"] == 0

    options = ("--messages", "500", "--gaps", "5%")
    with k2.worker(K2_LEDGER="0") as without:
        truth = k2.produce(*options, "--seed", "3")
        eventually(lambda: without.get("/v1/trades?limit=1")["data"], what="rows")
        without.kill()
        with k2.worker(K2_LEDGER="1") as ledger:
            eventually(lambda: has_events_in_lake(ledger), what="gap events in the lake")
            ledger.kill()
        without.start().wait_ready()
        k2.verify(without, truth)


def test_of_two_workers_with_one_static_id_the_older_ends_and_the_newer_works(
    k2: Cluster, tmp_path: Path
) -> None:
    newer_place = Cluster(k2.bootstrap, tmp_path / "newer", k2.lake_settings)
    try:
        older = k2.worker().start().wait_ready()
        truth = k2.produce("--messages", "1000", "--seed", "3")
        eventually(lambda: len(older.get("/v1/status")["partitions"]) > 0)
        newer = newer_place.worker().start()
        assert older.process is not None
        assert older.process.wait(60) == EXIT_FENCED_INSTANCE
        newer.wait_ready()
        newer_place.verify(newer, truth, also=None)
        assert newer.process is not None
        assert newer.process.poll() is None
    finally:
        newer_place.close()
    ends = re.findall("event='worker ends'.*", older.log_file.read_text())
    assert len(ends) == 1, ends
    assert "give each worker its own K2_WORKER_ID" in ends[0]
