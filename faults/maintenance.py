"""Maintenance that races the sinks' commits: snapshots expire, and another engine writes, too."""

import time
from contextlib import closing

from pyiceberg.exceptions import CommitFailedException
from sqlalchemy.exc import OperationalError

from faults.stage import FaultStage
from faults.waits import lake_recovered
from k2_streams.core.records.stream import TRADES
from k2_streams.lake.catalog import open_catalog
from k2_streams.lake.config import LakeConfig
from k2_streams.lake.errors import LakeUnavailableError
from k2_streams.lake.maintenance.expiry import expire_snapshots
from k2_streams.lake.schema import description_of
from k2_streams.lake.table import Lake
from k2_streams.runtime.settings.worker import from_environment

#: Of both sinks: as many commits to race as there can be.
COMMIT_EVERY_S = "0.2"
RACING_S = 12.0
#: What another engine writes to the table: its commits conflict, and have no snapshot.
FOREIGN = {"another-engine.touched": "yes"}


def racing(stage: FaultStage, _number: int) -> float:
    """All snapshots but one expire, and another engine commits, again and again for a while."""
    for worker in sorted(stage.workers):
        stage.stop(worker)
        stage.start(worker, K2_LAKE_COMMIT_INTERVAL_S=COMMIT_EVERY_S)
    stage.all_ready()
    config = from_environment(stage.environment()).lake
    began = time.monotonic()
    with closing(Lake(config, stream=TRADES)) as lake:
        while time.monotonic() < began + RACING_S:
            try:
                gone = expire_snapshots(lake, keep=1, older_than_ms=time.time_ns() // 1_000_000)
                stage.counts["snapshots expired beside the sinks"] += len(gone.snapshot_ids)
            except LakeUnavailableError:
                stage.counts["expiries that the sinks forestalled"] += 1
            stage.counts["commits of another engine beside the sinks"] += _another_engine(config)
    return lake_recovered(stage, time.monotonic())


def _another_engine(config: LakeConfig) -> bool:
    """A commit by pyiceberg alone; whether it was first."""
    try:
        table = open_catalog(config).load_table(description_of(TRADES).identifier)
        with table.transaction() as transaction:
            transaction.set_properties(FOREIGN)
    except (CommitFailedException, OperationalError):  # the sinks were first, or hold the lock
        return False
    return True
