"""A reset that ends after any of its steps: the app refuses to start, or nothing was lost."""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from k2_streams.kafka.topics import TopicInfo
from k2_streams.runtime.reset.plan import (
    Deleted,
    Deletion,
    Found,
    owned_topics,
    plan_of,
    streams_of,
)
from k2_streams.testing import DriverError, StreamDriver
from k2_streams.testing.memory.cluster import PartitionLog
from topologies.examples.surveillance import app as surveillance
from topologies.trades import app as trades

pytestmark = pytest.mark.usefixtures("quiet_logs")

NOON_NS = 1_763_899_200_000_000_000
#: The changelogs that hold the positions.
POSITIONS = ("surveillance-position-trades-changelog", "k2-sequence-changelog")
REFUSAL = re.compile("state was lost|rebuilt from the changelog, and still")


def trade(number: int, **more: Any) -> dict[str, Any]:
    """Every second one is a wash trade with the one before."""
    return {
        "exchange": "X",
        "symbol": "AB"[number // 2 % 2],
        "price": Decimal(100),
        "quantity": Decimal(1 + number // 2),
        "side": "sell" if number % 2 else "buy",
        "exchange_time_ns": NOON_NS + number,
        **more,
    }


def message(number: int) -> dict[str, Any]:
    """With a sequence number or a trade id; a few are invalid, repeated or late."""
    row = trade(number) | {"price": "100", "quantity": "-1" if number % 11 == 5 else "1"}
    counted = {"sequence": number % 13} if number % 3 else {"trade_id": f"T{number // 6}"}
    return row | counted


CASES = {
    "surveillance": (surveillance, "trades", [trade(n) for n in range(24)]),
    "trades": (trades, "k2.trades.raw", [message(n) for n in range(40)]),
}


def deletions_of(driver: StreamDriver) -> tuple[Deletion, ...]:
    """Of an app that has run and written everything that it can."""
    topology, app_id = driver.topology, driver._run.settings.app_id
    tables = driver._run._fleet._lake._histories
    names = frozenset(name for name in streams_of(topology) if f"k2.{name}" in tables)
    there = frozenset(one.name for one in owned_topics(topology, app_id))
    folder = (driver._run.settings.worker_dir,)
    found = Found(topics=there, tables=names, folders=folder, has_group=True)
    return plan_of(topology, app_id, found, outputs=True).deletions


def delete(driver: StreamDriver, deletions: Sequence[Deletion]) -> None:
    """As `k2 app reset` does; a start makes the topics again.

    Of the group nobody but the driver itself reads the offsets: by them it knows that everything is
    processed, so they go with the position, and what is read again is waited for.
    """
    for number, one in enumerate(deletions):
        _delete(driver, one, number)
        if one.name in POSITIONS:
            driver._run.cluster.group_offsets.clear()


def _delete(driver: StreamDriver, one: Deletion, number: int) -> None:
    run = driver._run
    match one.kind:
        case Deleted.GROUP:
            pass
        case Deleted.FOLDER:
            run._fleet.empty_disks()
        case Deleted.TABLE:
            del run._fleet._lake._histories[f"k2.{one.name}"]
        case _:
            partitions = run.cluster.topics[one.name].partitions
            run.cluster.topics[one.name] = TopicInfo(one.name, f"another-{number}", partitions)
            for partition in range(partitions):
                run.cluster.partitions[one.name, partition] = PartitionLog()


def outputs(driver: StreamDriver) -> dict[str, list[Any]]:
    """All that the app has written, but for when and where."""
    found: dict[str, list[Any]] = {}
    for stream in driver.topology.streams:
        rows = driver.output(stream.name).read_all().to_pylist()
        answer = driver.rows(stream.name).to_pylist()
        own = [name for name in stream.log_schema.names if name != "ingest_time"]
        found[stream.log] = sorted(repr([row[name] for name in own]) for row in rows)
        keys = [name for name in stream.table_schema.names if name in own]
        found[f"/v1/{stream.name}"] = sorted(repr([row[name] for name in keys]) for row in answer)
    found["dead letters"] = sorted(
        f"{one.reason} {one.partition} {one.offset}" for one in driver.dead_letters()
    )
    found["gaps"] = sorted(repr((gap.first, gap.last)) for gap in driver.gaps())
    return found


def is_refused(driver: StreamDriver) -> bool:
    try:
        driver.restart()
        driver.checkpoint()
    except DriverError as error:
        if REFUSAL.search(str(error)) is None:
            raise
        return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_reset_that_ended_half_way_is_refused_or_has_changed_nothing(name: str) -> None:
    """And one that ended has the app write the same again, once."""
    app, topic, messages = CASES[name]
    refused: list[bool] = []
    steps = 1
    while len(refused) <= steps:
        with StreamDriver(app, partitions=1) as driver:
            driver.input(topic).send_many(messages)
            driver.commit_lake()
            expected = outputs(driver)
            assert expected[f"/v1/{driver.topology.streams[0].name}"]
            deletions = deletions_of(driver)
            steps = len(deletions)
            driver.crash()
            delete(driver, deletions[: len(refused)])
            refused.append(is_refused(driver))
            if not refused[-1]:
                driver.commit_lake()
                assert outputs(driver) == expected, deletions[: len(refused) - 1]
    assert not refused[0]
    assert not refused[-1], "a whole reset is none that is refused"
    position = max(at for at, one in enumerate(deletions) if one.kind is Deleted.CHANGELOG)
    assert all(refused[position + 1 : -1]), "without a position, until the last log is gone"
