"""Another engine works on the table while a worker writes to it; pyiceberg is the other engine."""

import json
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from conftest import Cluster, eventually  # type: ignore[import-not-found]
from metric_values import samples
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import StringType

from k2_streams.lake.catalog import open_catalog
from k2_streams.testing.client import StatusError
from k2_streams.testing.local.workers import LocalWorker

pytestmark = pytest.mark.integration

#: How often another engine begins anew because the sink was first.
TRIES = 50
#: The one that `k2 produce` makes.
SYMBOL = "S0000"


def table_of(k2: Cluster) -> Table:
    """The table as it is now, through pyiceberg alone."""
    return open_catalog(k2.lake).load_table(("k2", "trades"))


def change(k2: Cluster, act: Callable[[Table], None]) -> None:
    """Another engine's commit, begun anew where the sink's came first."""
    for _ in range(TRIES):
        try:
            act(table_of(k2))
        except CommitFailedException:
            continue
        return
    pytest.fail(f"the sink was first {TRIES} times")


def partition(act: Callable[[Any], Any]) -> Callable[[Table], None]:
    def commit(table: Table) -> None:
        with table.update_spec() as update:
            act(update)

    return commit


def evolve(act: Callable[[Any], Any]) -> Callable[[Table], None]:
    def commit(table: Table) -> None:
        with table.update_schema() as update:
            act(update)

    return commit


def readiness(worker: LocalWorker) -> str:
    """Why it is not ready; empty: it is, or it does not answer yet."""
    try:
        worker.get("/health/ready")
    except StatusError as error:
        message: str = json.loads(error.body)["error"]["message"]
        return message
    except OSError:
        assert worker.process is not None
        assert worker.process.poll() is None, worker.last_words()
    return ""


def newest(k2: Cluster) -> int:
    snapshot = table_of(k2).current_snapshot()
    return snapshot.sequence_number or 0 if snapshot else 0


def commits_go_on(k2: Cluster) -> None:
    seen = newest(k2)
    eventually(lambda: newest(k2) > seen, what="another commit")


def is_refused(worker: LocalWorker, says: str) -> bool:
    """Readiness and status name the cause and the way back."""
    if says not in readiness(worker):
        return False
    return says in worker.get("/v1/status")["sink"]["error"]


def failed_commits(worker: LocalWorker) -> float:
    """How many commits of the sink the table has not taken."""
    with urllib.request.urlopen(worker.url + "/metrics", timeout=10) as answer:  # noqa: S310 - loopback
        return samples(answer.read().decode())["k2_lake_commit_failures_total"]


def goes_on(k2: Cluster, worker: LocalWorker) -> None:
    """What was changed is changed back: the sink finds out by itself."""
    eventually(worker.is_ready, what="ready again")
    assert worker.get("/v1/status")["sink"]["error"] is None
    commits_go_on(k2)


def test_changes_of_schema_and_partitions_under_load(k2: Cluster) -> None:
    """What would be wrong is refused until it is undone; what is only more is accepted."""
    truth = k2.directory / "truth.jsonl"
    worker = k2.worker().start()
    sending = k2.spawn(
        "produce", "--rate", "500", "--duration", "300", "--symbols", "20", "--seed", "29",
        "--truth", str(truth),
    )  # fmt: skip
    worker.wait_ready()
    commits_go_on(k2)

    change(k2, partition(lambda u: u.add_field("symbol", IdentityTransform(), "symbol_id")))
    eventually(lambda: is_refused(worker, "DROP PARTITION FIELD symbol_id"))
    before = newest(k2)
    worker.stop()
    worker.start()  # it waits for the same, and answers meanwhile
    eventually(lambda: is_refused(worker, "DROP PARTITION FIELD symbol_id"), what="up, not ready")
    assert newest(k2) == before
    change(k2, partition(lambda u: u.remove_field("symbol_id")))
    goes_on(k2, worker)

    change(k2, evolve(lambda u: u.rename_column("vendor", "supplier")))
    eventually(lambda: is_refused(worker, "RENAME COLUMN supplier TO vendor"))
    before = newest(k2)
    tried = failed_commits(worker)
    eventually(lambda: failed_commits(worker) > tried, what="another commit is refused")
    assert newest(k2) == before
    change(k2, evolve(lambda u: u.rename_column("supplier", "vendor")))
    goes_on(k2, worker)

    change(k2, evolve(lambda u: u.add_column("desk", StringType(), doc="whose trade it is")))
    change(k2, evolve(lambda u: u.update_column("price", doc="of one unit")))
    goes_on(k2, worker)
    worker.stop()
    worker.start().wait_ready()
    goes_on(k2, worker)

    sending.terminate()
    assert sending.wait(120) == 0
    k2.verify(worker, truth)
    desks = table_of(k2).scan(selected_fields=("desk",)).to_arrow()["desk"]
    assert desks.null_count == len(desks) > 0
    worker.stop()


def test_a_roll_back_to_a_snapshot_without_offsets_loses_no_row(k2: Cluster) -> None:
    """The sink reads again what the lake lost; until then no complete answer lacks rows."""
    worker = k2.worker().start().wait_ready()
    truths = [send(k2, 1)]
    eventually(lambda: rows_in_lake(k2) == 1000)
    foreign = overwrite(k2)
    truths.append(send(k2, 2))
    eventually(lambda: rows_in_lake(k2) == 2000)
    change(k2, lambda table: roll_back(table, foreign))
    assert rows_in_lake(k2) == 1000
    has_all(worker, 2000)
    truths.append(send(k2, 3))
    eventually(lambda: has_all(worker, 2000) and rows_in_lake(k2) == 3000, what="read again")
    assert worker.is_ready()
    k2.verify(worker, *truths)
    worker.stop()
    change(k2, lambda table: roll_back(table, foreign))  # while no worker runs
    assert rows_in_lake(k2) == 1000
    worker.start().wait_ready()
    eventually(lambda: has_all(worker, 3000) and rows_in_lake(k2) == 3000, what="read again")
    k2.verify(worker, *truths)
    worker.stop()


def has_all(worker: LocalWorker, count: int) -> bool:
    """An answer that says it is complete has at least these rows."""
    try:
        found = worker.get(f"/v1/trades?symbol={SYMBOL}&limit=100000")
    except StatusError as error:
        if error.status != HTTPStatus.SERVICE_UNAVAILABLE:
            raise
        return False
    if found["meta"]["complete"]:
        assert len(found["data"]) >= count
    return bool(found["meta"]["complete"])


def send(k2: Cluster, seed: int) -> Path:
    """1,000 trades of an exchange of their own; the truth of them."""
    of_one = ("--messages", "1000", "--symbols", "1", "--exchange", f"E{seed}")
    return Path(k2.produce(*of_one, "--seed", str(seed)))


def rows_in_lake(k2: Cluster) -> int:
    return int(table_of(k2).scan().count())


def overwrite(k2: Cluster) -> int:
    """Write every row anew and expire what was before; the snapshot, which has no offsets."""
    change(k2, lambda table: table.overwrite(table.scan().to_arrow()))
    table = table_of(k2)
    head = table.current_snapshot()
    assert head is not None
    older = [s.snapshot_id for s in table.snapshots() if s.snapshot_id != head.snapshot_id]
    change(k2, lambda table: table.maintenance.expire_snapshots().by_ids(older).commit())
    return head.snapshot_id


def roll_back(table: Table, snapshot_id: int) -> None:
    with table.manage_snapshots() as manage:
        manage.rollback_to_snapshot(snapshot_id)
