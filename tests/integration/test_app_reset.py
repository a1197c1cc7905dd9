"""`k2 app reset` on a real broker: refuses, shows, deletes what is the app's, and nothing else."""

import asyncio
import subprocess
from pathlib import Path

import pytest
from conftest import PARTITIONS, Cluster, create_topics, eventually

from faults.topics import truncate
from k2_streams.core.records.source import QUOTES_INPUT, TRADES_INPUT
from k2_streams.core.records.stream import TRADES
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.groups import GroupAdmin
from k2_streams.kafka.topics import TopicAdmin, stream_topics
from k2_streams.lake.removal import TableState, table_state

pytestmark = pytest.mark.integration

OWN = {spec.name for spec in stream_topics(TRADES_INPUT, "k2", PARTITIONS)} - {TRADES_INPUT.raw}
STATE = {"k2-sequence-changelog", "k2-dedup-changelog", TRADES_INPUT.deferred}
OTHERS = {spec.name for spec in stream_topics(QUOTES_INPUT, "k2-quotes", PARTITIONS)}
READ = {TRADES_INPUT.raw}


def topic_ids(k2: Cluster) -> dict[str, str]:
    async def ask() -> dict[str, str]:
        async with TopicAdmin(KafkaConfig(k2.bootstrap)) as admin:
            found = await admin.describe(sorted(OWN | OTHERS | READ))
        return {name: info.id for name, info in found.items()}

    return asyncio.run(ask())


def has_group(k2: Cluster) -> bool:
    async def ask() -> bool:
        async with GroupAdmin(KafkaConfig(k2.bootstrap)) as admin:
            return (await admin.describe("k2")).exists

    return asyncio.run(ask())


def reset(k2: Cluster, *options: str) -> subprocess.CompletedProcess[str]:
    return k2.k2("app", "reset", "topologies.trades", *options)


def folders(k2: Cluster) -> list[Path]:
    return [one for one in k2.directory.glob("worker-*") if one.is_dir()]


def data_files(k2: Cluster) -> list[Path]:
    return [one for one in (k2.directory / "warehouse").rglob("*") if one.is_file()]


def test_an_app_is_started_anew(k2: Cluster) -> None:
    create_topics(k2.bootstrap, QUOTES_INPUT)
    worker = k2.worker()
    with worker:
        truth = k2.produce("--rate", "2000", "--messages", "4000", "--symbols", "20")
        k2.verify(worker, truth)

        refused = reset(k2, "--outputs", "--yes")
        assert refused.returncode == 2, refused.stdout
        assert "group k2 has members: k2-0" in refused.stderr

    before = topic_ids(k2)
    assert set(before) == OWN | OTHERS | READ

    # A look changes nothing.
    shown = reset(k2, "--outputs", "--dry-run")
    assert shown.returncode == 0, shown.stderr
    for name in (*OWN, str(k2.directory / "worker-0"), "k2.trades, with its files"):
        assert f" {name}\n" in shown.stdout
    assert f"read, never deleted: {TRADES_INPUT.raw}" in shown.stdout

    # One has to choose, and to agree.
    undecided = reset(k2, "--yes")
    assert undecided.returncode == 2
    assert "choose --outputs" in undecided.stderr
    unanswered = reset(k2, "--outputs")
    assert unanswered.returncode == 2
    assert "nothing was deleted" in unanswered.stderr
    assert topic_ids(k2) == before
    assert has_group(k2)
    assert folders(k2)

    # State alone: the outputs stay, and a worker does not write them again.
    kept = reset(k2, "--keep-outputs", "--yes")
    assert kept.returncode == 0, kept.stderr
    assert "the app does not start while its outputs are there" in kept.stdout
    assert topic_ids(k2) == {name: one for name, one in before.items() if name not in STATE}
    assert not has_group(k2)
    assert folders(k2) == []
    orphan = k2.worker().start()
    eventually(lambda: "the state was lost" in orphan.last_words(400), 90, orphan.last_words)
    orphan.stop()

    # The rest: the next worker reads the source from its beginning, and comes to the same.
    deleted = reset(k2, "--outputs", "--yes")
    assert deleted.returncode == 0, deleted.stderr
    assert "deleted output            k2.trades\n" in deleted.stdout
    left = topic_ids(k2)
    assert left == {name: one for name, one in before.items() if name not in OWN}
    assert table_state(k2.lake, TRADES) is TableState.ABSENT
    assert [one for one in data_files(k2) if "trades" in str(one)] == []
    with k2.worker() as again:
        k2.verify(again, truth)
    assert {name: topic_ids(k2)[name] for name in OTHERS | READ} == left


def test_outputs_are_not_kept_without_a_record_that_would_stop_the_app(k2: Cluster) -> None:
    """The log's records are gone, as they are after a week; the table has the rows for ever."""
    with k2.worker() as worker:
        truth = k2.produce("--rate", "2000", "--messages", "2000", "--symbols", "20")
        k2.verify(worker, truth)
    asyncio.run(truncate(k2.bootstrap, TRADES_INPUT.stream.log, PARTITIONS))
    before = topic_ids(k2)
    refused = reset(k2, "--keep-outputs", "--yes")
    assert refused.returncode == 2
    assert "would start and write the same rows again: choose --outputs" in refused.stderr
    assert topic_ids(k2) == before
