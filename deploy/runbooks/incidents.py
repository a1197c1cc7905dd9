"""The incidents: how alerts are caused, and what of a remedy no command of a runbook does."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from pyiceberg.table import Table

from deploy.runbooks.scene import Scene
from k2_streams.kafka.topics import RAW
from k2_streams.lake.catalog import open_catalog
from k2_streams.runtime.settings.worker import from_environment
from k2_streams.testing.load import by_hand

#: What a new feed handler sends before the workers have its decoder.
OF_UNKNOWN_FEED: by_hand.KeyedRecord = (b"NEW:A", b"{}", [("feed", b"nobody.v9")])
#: Between two rounds of what goes on for as long as an incident lasts.
_ROUND_S = 0.25
#: Messages of a load that has faults: in a second or two.
_MESSAGES = ("--messages", "4000", "--symbols", "20", "--rate", "4000")


@dataclass(frozen=True, slots=True)
class Incident:
    """What goes wrong.

    Attributes:
        alerts: that it raises; the runbook of each is followed.
        cause: in a few words.
        happening: begins it, and ends what a runbook tells people to end outside of K2.
        remedy: what that is, in a few words; empty: the runbook's commands are all.
    """

    alerts: tuple[str, ...]
    cause: str
    happening: Callable[[Scene], AbstractContextManager[None]]
    remedy: str = ""


# -- the worker ------------------------------------------------------------------------------------


@contextmanager
def _killed(scene: Scene) -> Iterator[None]:
    scene.worker.kill()
    yield
    scene.stage.start(0).wait_ready()


# -- what is sent ----------------------------------------------------------------------------------


def _load(scene: Scene, *options: str) -> None:
    """Some thousand messages of an exchange of their own; their truth is compared later."""
    exchange = f"R{len(scene.stage.truths):03}"
    scene.stage.produce(
        "--exchange", exchange, "--seed", "1", "--start", "now", *_MESSAGES, *options
    )


def _sent(*options: str) -> Callable[[Scene], AbstractContextManager[None]]:
    @contextmanager
    def happening(scene: Scene) -> Iterator[None]:
        _load(scene, *options)
        yield

    return happening


@contextmanager
def _again_and_again(once: Callable[[int], None]) -> Iterator[None]:
    """In a thread of its own, until the block ends."""
    ended = threading.Event()

    def work() -> None:
        number = 0
        while not ended.wait(_ROUND_S):
            once(number)
            number += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _sending(record: by_hand.KeyedRecord) -> Callable[[Scene], AbstractContextManager[None]]:
    """Sends a record again and again, for as long as the incident lasts."""

    @contextmanager
    def happening(scene: Scene) -> Iterator[None]:
        def once(_number: int) -> None:
            by_hand.send(scene.stage.bootstrap, [record])

        with _again_and_again(once):
            yield

    return happening


@contextmanager
def _unanswerable(scene: Scene) -> Iterator[None]:
    """A client asks for rows that are not there yet, again and again."""

    def once(_number: int) -> None:
        for _ in range(4):
            with contextlib.suppress(OSError):
                scene.worker.get("/v1/trades?min_offsets=0:999999999&wait_ms=0")

    with _again_and_again(once):
        yield


# -- topics and tables -----------------------------------------------------------------------------


@contextmanager
def _topic_altered(scene: Scene) -> Iterator[None]:
    async def alter() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=scene.stage.bootstrap)
        await admin.start()
        try:
            changed = {"message.timestamp.type": "CreateTime"}
            await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, RAW, changed)])
        finally:
            await admin.close()

    asyncio.run(alter())
    yield


@contextmanager
def _store_away(scene: Scene) -> Iterator[None]:
    """The folder of the tables' files cannot be written to: a file lies in its place."""
    folder = _warehouse(scene)
    aside = folder.with_name("aside")
    folder.rename(aside)
    folder.write_text("")
    with _again_and_again(lambda number: _trickle(scene, number)):
        yield
    folder.unlink()
    aside.rename(folder)


def _trickle(scene: Scene, number: int) -> None:
    one = by_hand.trade("TRICKLE", "A", number)
    by_hand.send(scene.stage.bootstrap, [by_hand.record_of(one)])


@contextmanager
def _table_changed(scene: Scene) -> Iterator[None]:
    """Another engine renames a column."""
    with _table(scene).update_schema() as update:
        update.rename_column("price", "last_price")
    _load(scene)
    yield
    with _table(scene).update_schema() as update:
        update.rename_column("last_price", "price")


def _table(scene: Scene) -> Table:
    lake = from_environment(scene.stage.environment()).lake
    return open_catalog(lake).load_table("k2.trades")


def _warehouse(scene: Scene) -> Path:
    return scene.stage.directory / "warehouse"


INCIDENTS = (
    Incident(("K2WorkerDown",), "kill -9 of the worker", _killed, "the worker is started again"),
    Incident(("K2TopicAltered",), "the raw topic's timestamp type is altered", _topic_altered),
    Incident(
        ("K2DeadLetters",), "a feed handler sends invalid records", _sent("--invalid", "0.05"),
        "the feed handler is repaired",
    ),
    Incident(
        ("K2GapsOpening",), "a feed handler loses messages", _sent("--gaps", "0.1"),
        "the feed handler is restarted",
    ),
    Incident(
        ("K2UnknownFeed",), "records name a feed that is not installed",
        _sending(OF_UNKNOWN_FEED), "the feed handler is repaired",
    ),
    Incident(
        ("K2HttpUnavailable",), "a client asks for what is not there yet", _unanswerable,
        "the client is stopped",
    ),
    Incident(
        ("K2LakeBreakerOpen", "K2LakeCommitFailing", "K2MaintenanceFailing"),
        "the tables' folder cannot be written to", _store_away, "the folder is repaired",
    ),
    Incident(
        ("K2SinkRefused",), "another engine renames a column", _table_changed,
        "the column is renamed again",
    ),
)  # fmt: skip
