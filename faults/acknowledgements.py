"""A real REST catalog whose answers get lost, or that stands still.

The workers commit through a proxy. A commit lands, or lands late, and the client is told something
else: a conflict, an error, nothing at all.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from faults import object_store
from faults.catalog import KINDS, LossyProxy, RestCatalog
from faults.object_store import ObjectStore
from faults.segment import Group, Segment
from faults.stage import Stage, wait_until
from faults.waits import lake_recovered

#: Around the time a client waits for an answer (30 s).
STILL_S = (15.0, 45.0)


class RestStage(Stage):
    """The lake's catalog is a process of its own, behind a proxy."""

    catalog: RestCatalog
    proxy: LossyProxy


@contextmanager
def _rest(directory: Path, seed: int, *, on_s3: bool = False) -> Iterator[RestStage]:
    stage = RestStage(directory, seed)
    with ExitStack() as on:
        store = None
        if on_s3:
            store = ObjectStore(directory / "s3", stage.port())
            on.callback(store.close)
            stage.settings |= object_store.settings(store.url)
        stage.catalog = RestCatalog(directory / "rest", stage.port(), store)
        on.callback(stage.catalog.close)
        stage.proxy = LossyProxy(stage.catalog.port, stage.port())
        on.callback(stage.proxy.close)
        stage.settings |= {
            "K2_CATALOG_URI": stage.proxy.url,
            "K2_WAREHOUSE": stage.catalog.warehouse,
            "K2_LAKE_COMMIT_INTERVAL_S": "0.5",
        }
        on.enter_context(stage.running())
        yield stage


def lose(stage: RestStage, number: int) -> float:
    """The acknowledgement of the next commit is lost, each kind in its turn."""
    kind = KINDS[number % len(KINDS)]
    stage.proxy.lose(kind)
    wait_until(
        lambda: stage.proxy.lost[kind] > number // len(KINDS), f"a commit answered by {kind}"
    )
    stage.counts[f"acknowledgement lost as {kind}"] += 1
    return lake_recovered(stage, time.monotonic())


def stand_still(stage: RestStage, _number: int) -> float:
    """SIGSTOP of the catalog: connections are taken, nothing is answered; then all at once."""
    with stage.catalog.standing_still():
        time.sleep(stage.random.uniform(*STILL_S))
    return lake_recovered(stage, time.monotonic())


GROUP = Group(
    "REST catalog",
    _rest,
    (
        Segment("lost acknowledgement", lose, 9, {"long": 60}),
        Segment("REST catalog stands still", stand_still, 45, {"long": 2}),
    ),
)
ON_S3 = Group(
    "REST catalog, warehouse in an object store",
    partial(_rest, on_s3=True),
    (Segment("lost acknowledgement, S3", lose, 9, {"long": 12}),),
)
