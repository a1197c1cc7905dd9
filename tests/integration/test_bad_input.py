"""What cannot be used goes to the dead letter topic with bytes, reason and place; alone."""

import asyncio
import itertools
import json
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from click.testing import CliRunner
from conftest import PARTITIONS, Cluster, eventually  # type: ignore[import-not-found]
from record_batches import CONTROL, GZIP, batch, record

from k2_streams.cli.main import main
from k2_streams.core.records.partitioner import partition_of
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import LogReader, Record
from k2_streams.kafka.topics import DEAD_LETTER, RAW

pytestmark = pytest.mark.integration

KEY = b"X:A"
HOME = partition_of(KEY, PARTITIONS)


def trade(sequence: int, **changes: Any) -> bytes:
    fields = {
        "exchange": "X",
        "symbol": "A",
        "price": "1.5",
        "quantity": "2",
        "exchange_time_ns": 1_700_000_000_000_000_000 + sequence,
        "sequence": sequence,
    } | changes
    return json.dumps({k: v for k, v in fields.items() if v is not None}).encode()


BAD: list[tuple[str, bytes | None, bytes | None, str | None]] = [
    ("not-json", KEY, b'{"exchange":', None),
    ("not-utf8", KEY, b'{"exchange":"\xff\xfe"}', None),
    ("nan", KEY, trade(101).replace(b'"1.5"', b"NaN"), None),
    ("infinite", KEY, trade(102, price="Infinity"), None),
    ("negative", KEY, trade(103, price="-1"), None),
    ("zero", KEY, trade(104, quantity="0"), None),
    ("too precise", KEY, trade(105, price="1.0000000000000000001"), None),
    ("missing field", KEY, trade(106, price=None), None),
    ("wrong type", KEY, trade(107, price=[1]), None),
    ("sequence over 2^63", KEY, trade(2**63), None),
    ("empty", KEY, b"", None),
    ("null value", KEY, None, None),
    ("null key", None, trade(108), None),
    ("contradicting key", KEY, trade(109, symbol="B"), None),
    ("oversized", KEY, trade(110, vendor={"x": "y" * 900_000}), None),
    ("unknown feed", KEY, trade(111), "no.such.feed"),
    ("far time", KEY, trade(112, exchange_time_ns=2**62), None),
    ("old time", KEY, trade(113, exchange_time_ns=1), None),
]


async def send(
    bootstrap: str, records: list[tuple[bytes | None, bytes | None, str | None]]
) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, compression_type="zstd")
    await producer.start()
    try:
        for key, value, feed in records:
            headers = [("feed", feed.encode())] if feed else []
            await producer.send_and_wait(RAW, value, key, partition=HOME, headers=headers)
    finally:
        await producer.stop()


async def read(bootstrap: str, topic: str) -> list[Record]:
    found: list[Record] = []
    ats = [(topic, partition) for partition in range(PARTITIONS)]
    async with LogReader(KafkaConfig(bootstrap=bootstrap)) as reader:
        ends = (await reader.settled_offsets(ats)).stable
        reader.assign(dict.fromkeys(ats, 0))
        while any(reader.position(*at) < ends[at] for at in ats):
            for chunk in await reader.poll():
                found += chunk.records
    return found


@pytest.mark.parametrize("decoder", ["auto", "off"])
def test_every_kind_of_bad_record_and_its_neighbours(k2: Cluster, decoder: str) -> None:
    """Each bad record between two good ones: the good ones are rows, the bad one a dead letter."""
    records: list[tuple[bytes | None, bytes | None, str | None]] = []
    for number, (_, key, value, feed) in enumerate(BAD):
        records += [(KEY, trade(number), None), (key, value, feed)]
    records.append((KEY, trade(len(BAD)), None))
    with k2.worker(K2_NATIVE=decoder) as worker:
        asyncio.run(send(k2.bootstrap, records))
        eventually(
            lambda: worker.get("/v1/status")["watermark"][str(HOME)] == len(records),
            what="all worked",
        )
        answer = eventually(lambda: worker.get("/v1/trades?symbol=A"))
        letters = asyncio.run(read(k2.bootstrap, DEAD_LETTER))
        metrics = eventually(lambda: worker.get("/v1/status")["dead_letters"] == len(BAD))
    assert [row["sequence"] for row in answer["data"]] == list(range(len(BAD) + 1))
    assert metrics
    assert len(letters) == len(BAD)
    for (name, key, value, feed), letter in zip(BAD, letters, strict=True):
        headers = dict(letter.headers)
        assert (letter.key, letter.value) == (key, value), name
        assert headers["k2.reason"], name
        assert headers["k2.topic"] == RAW.encode(), name
        assert int(headers["k2.partition"]) == HOME, name
        source = records[int(headers["k2.offset"])]
        assert source == (key, value, feed), name
    listed = ["dead-letters", "list", "--json", "--bootstrap", k2.bootstrap]
    shown = [json.loads(line) for line in CliRunner().invoke(main, listed).stdout.splitlines()]
    assert [(one["key"] or "").encode() or None for one in shown] == [key for _, key, _, _ in BAD]
    assert [one["offset"] for one in shown] == [2 * number + 1 for number in range(len(BAD))]
    done = CliRunner().invoke(main, [*listed, "--feed", "no.such.feed"])
    assert [json.loads(line)["reason"] for line in done.stdout.splitlines()] == ["unknown-feed"]


async def send_batches(bootstrap: str, batches: list[bytes]) -> list[int]:
    """Hand the broker batches of `HOME` as they are; the code of each answer."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    try:
        codes = []
        for data in batches:
            request = ProduceRequest(None, -1, 10_000, [(RAW, [(HOME, data)])])
            answer = await client.send(client.get_random_node(), request)
            ((_, ((_, code, *_),)),) = answer.topics
            codes.append(code)
        return codes
    finally:
        await client.close()


def old_batch(magic: int) -> bytes:
    builder = LegacyRecordBatchBuilder(magic, 0, 1024)
    builder.append(0, 1000, KEY, trade(99), [])
    return bytes(builder.build())


def test_no_value_that_a_batch_may_hold_stops_its_partition(k2: Cluster) -> None:
    """What the broker accepts is read, with header keys that are no UTF-8; the rest never comes."""

    def one(value: bytes, *headers: tuple[bytes | None, bytes | None], delta: int = 0) -> bytes:
        return record(0, KEY, value, headers, timestamp=delta)

    mixed = [
        record(0, KEY, trade(3), [(b"\xff", b"x"), (b"line", b"a")]),
        record(1, KEY, b"no trade", [(b"\xff\xfe", None), (b"line", b"a")]),
        record(2, KEY, trade(4), [(b"line", b"b")]),
    ]
    accepted = [
        batch(one(trade(0), (b"\xff\xfe", b"x")), attributes=0),
        batch(one(trade(1), (b"", b"")), attributes=0),
        batch(one(trade(2), delta=-(2**62)), attributes=0),
        batch(*mixed, attributes=GZIP),
        batch(one(trade(5), delta=2**62), attributes=0),
    ]
    refused = {  # as INVALID_RECORD
        "a null header key": batch(one(trade(9), (None, b"x")), attributes=0),
        "no records": batch(attributes=0),
        "no records, compressed": batch(attributes=GZIP),
        "a control batch": batch(one(trade(9)), attributes=CONTROL),
        "version 0": old_batch(0),
        "version 1": old_batch(1),
    }
    with k2.worker() as worker:
        said = asyncio.run(send_batches(k2.bootstrap, list(refused.values())))
        assert dict(zip(refused, said, strict=True)) == dict.fromkeys(refused, 87)
        assert not any(asyncio.run(send_batches(k2.bootstrap, accepted)))
        eventually(lambda: worker.get("/v1/status")["watermark"][str(HOME)] == 7, what="processed")
        assert worker.get("/v1/status")["unreadable_partitions"] == []
        rows = eventually(lambda: worker.get("/v1/trades?symbol=A")["data"])
    (letter,) = asyncio.run(read(k2.bootstrap, DEAD_LETTER))
    assert [row["sequence"] for row in rows] == list(range(6))
    assert (letter.value, letter.headers[0]) == (b"no trade", ("\ufffd\ufffd", None))
    assert dict(letter.headers)["k2.offset"] == b"4"


def test_records_of_any_codec_are_read(k2: Cluster) -> None:
    """A producer chooses its compression; no worker ends by it."""
    with k2.worker() as worker:
        truths = []
        for codec in ("gzip", "snappy", "lz4", "zstd"):
            of_codec = ("--compression", codec, "--exchange", codec.upper())
            truths.append(k2.produce("--messages", "3000", "--seed", "1", *of_codec))
        k2.verify(worker, *truths)


def test_a_record_in_the_wrong_partition_is_a_dead_letter(k2: Cluster) -> None:
    """Two partitions with one scope would be two sequences: refused, unless told otherwise."""

    async def misplace() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=k2.bootstrap)
        await producer.start()
        try:
            away = (HOME + 1) % PARTITIONS
            await producer.send_and_wait(RAW, trade(1), KEY, partition=away)
        finally:
            await producer.stop()

    with k2.worker() as worker:
        asyncio.run(misplace())
        eventually(lambda: worker.get("/v1/status")["dead_letters"] == 1, what="a dead letter")
        (letter,) = asyncio.run(read(k2.bootstrap, DEAD_LETTER))
    assert dict(letter.headers)["k2.reason"] == b"wrong-partition"


def test_within_the_horizon_late_beyond_it_stale(k2: Cluster) -> None:
    """2 fills its gap; 4 comes when its gap was given up, and is set aside with its bytes."""

    async def batch(*numbers: int) -> None:
        """One batch, which has one append time."""
        producer = AIOKafkaProducer(bootstrap_servers=k2.bootstrap, linger_ms=500)
        await producer.start()
        for number in numbers:
            await producer.send(RAW, trade(number), KEY, partition=HOME)
        await producer.stop()

    def gaps() -> dict[int, tuple[str, str | None]]:
        found = worker.get("/v1/gaps?symbol=A")["data"]
        return {gap["first"]: (gap["state"], gap["reason"]) for gap in found}

    with k2.worker(K2_LATE_HORIZON_S="2") as worker:
        asyncio.run(batch(1, 3, 5, 2))
        eventually(lambda: gaps() == {2: ("filled", None), 4: ("open", None)}, what="late")
        following = itertools.count(6)

        def is_given_up() -> bool:
            """It takes a message of the scope to see how late it is."""
            asyncio.run(batch(next(following)))
            return gaps()[4] == ("abandoned", "horizon")

        eventually(is_given_up, what="given up")
        asyncio.run(batch(4))
        eventually(lambda: worker.get("/v1/status")["dead_letters"] == 1, what="stale")
        wanted = [1, 2, 3, *range(5, next(following))]
        path = "/v1/trades?symbol=A"
        rows = eventually(lambda: len(got := worker.get(path)["data"]) >= len(wanted) and got)
    (letter,) = asyncio.run(read(k2.bootstrap, DEAD_LETTER))
    assert (dict(letter.headers)["k2.reason"], letter.value) == (b"stale", trade(4))
    assert [row["sequence"] for row in rows] == wanted
    assert [row["sequence"] for row in rows if row["late"]] == [2]


def aggregate(number: int, seconds: int, price: str) -> bytes:
    """An aggregate trade of Binance; its numbers are one session for ever."""
    at_ms = 1_700_000_000_000 + 1_000 * seconds
    fields = {"e": "aggTrade", "E": at_ms, "s": "AB", "a": number, "p": price, "q": "824"}
    return json.dumps(fields | {"f": 1, "l": 1, "T": at_ms, "m": False, "M": True}).encode()


def test_a_number_used_twice_and_a_range_inside_a_gap_make_answers_incomplete(k2: Cluster) -> None:
    """Neither is a row; each is known, and `complete` says where something may be missing."""
    key, at_ns = b"BINANCE:AB@aggTrade", 1_700_000_000_000_000_000
    home = partition_of(key, PARTITIONS)

    async def send_all() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=k2.bootstrap)
        await producer.start()
        try:
            # With a tolerance of 30 s the last one is a duplicate, and the second one is not.
            for seconds, price in ((0, "0.1"), (46, "0.2"), (0, "0.1"), (20, "0.1")):
                value, headers = aggregate(7, seconds, price), [("feed", b"binance.spot")]
                await producer.send_and_wait(RAW, value, key, partition=home, headers=headers)
            for number, minutes in ((1, 0), (2, 5), (1_203, 25), (1_204, 26)):
                time_ns = at_ns + minutes * 60 * 10**9
                value = trade(number, exchange_time_ns=time_ns, session="s")
                await producer.send_and_wait(RAW, value, KEY, partition=HOME)
        finally:
            await producer.stop()

    def is_complete(symbol: str, start_s: int, end_s: int) -> bool:
        start, end = (at_ns + seconds * 10**9 for seconds in (start_s, end_s))
        meta = worker.get(f"/v1/trades?symbol={symbol}&start={start}&end={end}")["meta"]
        assert meta["gaps_complete"]
        complete: bool = meta["complete"]
        return complete

    with k2.worker(K2_CONFLICT_TOLERANCE_MS="30000") as worker:
        asyncio.run(send_all())
        eventually(
            lambda: sum(worker.get("/v1/status")["watermark"].values()) == 8, what="all processed"
        )
        eventually(lambda: worker.get("/v1/trades?symbol=A")["meta"]["gaps_complete"], what="gaps")
        assert not is_complete("A", 600, 1_200)
        assert not is_complete("A", 1_000, 9_000)
        assert is_complete("A", -60, 200)
        assert is_complete("A", 1_501, 9_000)
        (gap,) = worker.get("/v1/gaps?symbol=A")["data"]
        assert gap["previous_time_ns"] == at_ns + 300 * 10**9
        assert gap["next_time_ns"] == gap["opened_time_ns"] == at_ns + 1_500 * 10**9
        assert is_complete("AB%40aggTrade", -60, 46)
        assert not is_complete("AB%40aggTrade", 46, 47)
        (row,) = worker.get("/v1/trades?symbol=AB%40aggTrade")["data"]
        assert row["price"] == "0.1"
    (letter,) = asyncio.run(read(k2.bootstrap, DEAD_LETTER))
    headers = dict(letter.headers)
    assert headers["k2.reason"] == b"conflicting-duplicate"
    assert headers["k2.offset"] == b"1"
    assert letter.value == aggregate(7, 46, "0.2")
