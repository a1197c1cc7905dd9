"""`k2 produce` against a real Kafka: it sends what was made, and loses nothing in silence."""

import asyncio
import gzip
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from k2_streams.cli.produce import produce
from k2_streams.core.records.partitioner import partition_of
from k2_streams.kafka import sender as sender_module
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.sender import NotAcknowledgedError, Sender, prepare_topic
from k2_streams.kafka.topics import TopicConfigurationError, TopicSpec
from k2_streams.testing.load.job import SEEDED_START_NS
from k2_streams.testing.load.messages import Encoder, Names
from k2_streams.testing.load.synthetic import Plan, Synthetic
from k2_streams.testing.local.broker import LocalBroker
from k2_streams.testing.oracle import truth_file
from k2_streams.testing.oracle.topic_records import read_topic

pytestmark = pytest.mark.integration

RAW_CONFIG = {"message.timestamp.type": "LogAppendTime"}
FAULTS = [
    *("--gaps", "1%", "--duplicates", "1%", "--disorder", "1%", "--late", "1%"),
    *("--invalid", "1%", "--resets", "20"),
]


def run(broker: str, topic: str, *options: str):
    return CliRunner().invoke(produce, ["--bootstrap", broker, "--topic", topic, *options])


def records_of(broker: str, topic: str) -> dict[int, list[tuple]]:
    async def collect() -> dict[int, list[tuple]]:
        found: dict[int, list[tuple]] = {}
        async for partition, records in read_topic(KafkaConfig(broker), topic):
            found.setdefault(partition, []).extend(
                (record.key, record.value, list(record.headers)) for record in records
            )
        return found

    return asyncio.run(collect())


def test_the_topic_holds_exactly_what_the_plan_makes(broker, topic_prefix, tmp_path: Path):
    truth = tmp_path / "truth.jsonl.gz"
    options = ["--messages", "5000", "--symbols", "30", "--seed", "7", *FAULTS]
    result = run(broker, topic_prefix, *options, "--truth", str(truth))
    assert result.exit_code == 0, result.output

    plan = Plan(
        seed=7,
        start_ns=SEEDED_START_NS,
        messages=5_000,
        symbols=30,
        gaps=0.01,
        duplicates=0.01,
        disorder=0.01,
        late=0.01,
        invalid=0.01,
        resets=20,
    )
    names = Names("SIM", 30, "seed-7")
    encoder = Encoder(names, lambda key: partition_of(key, 4), 4)
    expected: dict[int, list[tuple]] = {}
    for partition, records in encoder.by_partition(np.concatenate(list(Synthetic(plan).chunks()))):
        expected.setdefault(partition, []).extend(records)
    found = records_of(broker, topic_prefix)
    # Records for a wrong partition lie somewhere among the others'.
    assert {p: sorted(map(str, r)) for p, r in found.items()} == {
        p: sorted(map(str, r)) for p, r in expected.items()
    }
    keys = [record[0] for record in found[0]]
    for key in set(keys) & set(names.keys):
        assert [r for r in found[0] if r[0] == key and b'"sequence"' in (r[1] or b"")] == [
            r for r in expected[0] if r[0] == key and b'"sequence"' in (r[1] or b"")
        ], "a key's records keep their order"

    written = truth_file.read(truth)
    assert written.alone
    assert {p: place.next for p, place in written.positions.items()} == {
        p: len(records) for p, records in found.items()
    }
    assert written.header.sent == sum(map(len, found.values()))


def test_a_second_run_goes_on_where_the_first_ended(broker, topic_prefix, tmp_path: Path):
    for number in (1, 2):
        truth = tmp_path / f"{number}.jsonl"
        result = run(broker, topic_prefix, "--messages", "100", "--truth", str(truth))
        assert result.exit_code == 0, result.output
    first, second = (truth_file.read(tmp_path / f"{number}.jsonl") for number in (1, 2))
    for partition, place in second.positions.items():
        assert place.first == first.positions[partition].next
    assert truth_file.merge([first, second]).rows == 200, "each run has sessions of its own"


def test_nobody_there_ends_with_2(topic_prefix, tmp_path: Path):
    truth = tmp_path / "truth.jsonl"
    result = run("127.0.0.1:1", topic_prefix, "--messages", "10", "--truth", str(truth))
    assert result.exit_code == 2
    assert "no broker answers at 127.0.0.1:1" in result.output
    assert not truth.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--gaps", "70%"], "0 to 0.5"),
        (["--feed", "binance.spot"], "recordings need both"),
        (["--feed", "no.such", __file__], "has the feeds canonical"),
        (["--exchange", "NOT ONE"], "--exchange NOT ONE: expected 1 to 32"),
        (["--resets", "5", "--rate", "0"], "needs a number of messages"),
        (["--start", "2025-06-02T09:30:00"], "time with an offset"),
        (["--invalid-kinds", "nothing"], "found nothing"),
        (["--truth", "no/such/folder/truth"], "expected a folder"),
    ],
)
def test_options_that_cannot_be_end_with_2(broker, topic_prefix, options, said):
    result = run(broker, topic_prefix, *options)
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())


def test_recordings_are_sent_as_the_exchange_that_is_asked_for(
    broker, topic_prefix, tmp_path: Path
):
    trade = b'{"exchange":"SIM","symbol":"A","price":"1","quantity":"1",'
    recorded, truth = tmp_path / "recorded.jsonl", tmp_path / "truth.jsonl"
    recorded.write_bytes(trade + b'"exchange_time_ns":%d,"sequence":1}\n' % SEEDED_START_NS)
    options = ["--feed", "canonical", str(recorded), "--exchange", "SISTER"]
    result = run(broker, topic_prefix, *options, "--truth", str(truth))
    assert result.exit_code == 0, result.output
    ((key, value, _),) = [
        one for records in records_of(broker, topic_prefix).values() for one in records
    ]
    assert key == b"SISTER:A"
    assert b'"exchange":"SISTER"' in value
    assert [line.scope for line in truth_file.read(truth).sessions] == ["SISTER:A"]


def test_a_recording_that_is_damaged_at_its_end_says_what_was_sent_and_writes_no_truth(
    broker, topic_prefix, tmp_path: Path
):
    trade = b'{"exchange":"SIM","symbol":"A","price":"1","quantity":"1",'
    lines = b"".join(
        trade + b'"exchange_time_ns":%d,"sequence":%d}\n' % (SEEDED_START_NS + n, n)
        for n in range(8_192 + 5)
    )
    packed, truth = tmp_path / "recorded.gz", tmp_path / "truth.jsonl"
    packed.write_bytes(gzip.compress(lines)[:-8] + bytes(8))  # a wrong checksum
    result = run(broker, topic_prefix, "--feed", "canonical", str(packed), "--truth", str(truth))
    assert result.exit_code == 2, result.output
    assert f"{packed}: cannot be read after line 8,197" in result.output
    assert "8,192 records before it were sent; no truth was written" in result.output
    assert [path.name for path in tmp_path.iterdir()] == [packed.name]
    assert sum(map(len, records_of(broker, topic_prefix).values())) == 8_192
    not_json = tmp_path / "recorded.jsonl"
    not_json.write_bytes(lines[:1_000].rstrip() + b"\n[]\n")
    result = run(broker, topic_prefix, "--feed", "canonical", str(not_json))
    assert result.exit_code == 2, result.output
    assert f"{not_json}:" in result.output
    assert "0 records before it were sent" in result.output


def test_a_topic_with_the_producers_time_is_refused(broker, topic_prefix):
    theirs = TopicSpec(topic_prefix, 2, {"message.timestamp.type": "CreateTime"})
    asyncio.run(prepare_topic(KafkaConfig(broker), theirs))
    with pytest.raises(TopicConfigurationError):
        asyncio.run(prepare_topic(KafkaConfig(broker), TopicSpec(topic_prefix, 2, RAW_CONFIG)))
    result = run(broker, topic_prefix, "--messages", "10")
    assert result.exit_code == 2
    assert "LogAppendTime" in result.output


async def test_records_that_are_not_acknowledged_are_an_error(
    kafka_jars, tmp_path, topic_prefix, monkeypatch
):
    monkeypatch.setattr(sender_module, "ACKNOWLEDGED_WITHIN_S", 2.0)
    local = LocalBroker(tmp_path / "kafka", kafka_jars)
    config = KafkaConfig(await asyncio.to_thread(local.start))
    try:
        partitions = await prepare_topic(config, TopicSpec(topic_prefix, 1, RAW_CONFIG))
        async with Sender(config, topic_prefix, partitions) as sender:
            await sender.send(0, [(b"k", b"arrives", [])], 0)
            await sender.finish()
            assert sender.acknowledged == 1
            await asyncio.to_thread(local.stop)
            await sender.send(0, [(b"k", b"does not", [])] * 3, 0)
            with pytest.raises(NotAcknowledgedError) as raised:
                await sender.finish()
            assert raised.value.records == 3
            monkeypatch.setattr(sender_module, "ACKNOWLEDGED_WITHIN_S", 0.5)
    finally:
        await asyncio.to_thread(local.stop)


async def test_a_record_too_large_for_the_topic_is_an_error(broker, topic_prefix):
    config = KafkaConfig(broker)
    partitions = await prepare_topic(config, TopicSpec(topic_prefix, 1, RAW_CONFIG))
    async with Sender(config, topic_prefix, partitions) as sender:
        await sender.send(0, [(b"k", b"x" * 900_000, [])], 0)
        await sender.finish()
        await sender.send(0, [(b"k", b"x" * 2_000_000, [])], 0)
        with pytest.raises(NotAcknowledgedError, match="1 records"):
            await sender.finish()


async def test_a_sender_goes_where_kafka_says(broker, topic_prefix):
    config = KafkaConfig(broker)
    partitions = await prepare_topic(config, TopicSpec(topic_prefix, 3, RAW_CONFIG))
    async with Sender(config, topic_prefix, partitions) as sender:
        for key in (b"SIM:S0001", b"BINANCE:BTCUSDT", b"", b"\xff\xfe"):
            assert sender.partition_of(key) == partition_of(key, 3)
