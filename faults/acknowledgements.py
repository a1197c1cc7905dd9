"""A real REST catalog whose answers get lost, or that is stopped for a while.

The workers commit through a proxy. The catalog commits, or commits late, and the proxy answers
something else: HTTP 409, an error, nothing at all.
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
from faults.stage import FaultStage
from faults.waits import lake_recovered
from k2_streams.testing.local.loopback import free_port
from k2_streams.testing.waiting import wait_until

#: Around the time a client waits for an answer (30 s).
STOPPED_S = (15.0, 45.0)


class RestStage(FaultStage):
    """The lake's catalog is a process of its own, behind a proxy."""

    catalog: RestCatalog
    proxy: LossyProxy


@contextmanager
def _rest(directory: Path, seed: int, *, on_s3: bool = False) -> Iterator[RestStage]:
    stage = RestStage(directory, seed)
    with ExitStack() as on:
        store = None
        if on_s3:
            store = ObjectStore(directory / "s3", free_port())
            on.callback(store.close)
            stage.settings |= object_store.settings(store.url)
        stage.catalog = RestCatalog(directory / "rest", free_port(), store)
        on.callback(stage.catalog.close)
        stage.proxy = LossyProxy(stage.catalog.port, free_port())
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


def stop_catalog(stage: RestStage, _number: int) -> float:
    """SIGSTOP of the catalog: connections are taken, nothing is answered; then all at once."""
    with stage.catalog.stopped():
        time.sleep(stage.random.uniform(*STOPPED_S))
    return lake_recovered(stage, time.monotonic())


GROUP = Group(
    "REST catalog",
    _rest,
    (
        Segment("lost acknowledgement", lose, 9, {"long": 60}),
        Segment("REST catalog stopped", stop_catalog, 45, {"long": 2}),
    ),
)
ON_S3 = Group(
    "REST catalog, warehouse in an object store",
    partial(_rest, on_s3=True),
    (Segment("lost acknowledgement, S3", lose, 9, {"long": 12}),),
)
