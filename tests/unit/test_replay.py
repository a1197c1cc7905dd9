"""`k2 replay`: lines and Arrow from a served node, checked at the end, and a topic written once."""

import json
from typing import ClassVar

import pyarrow as pa
import pytest
import requests
from click.testing import CliRunner
from web_node import ROWS, served
from web_support import application

import k2_client
from k2_streams.cli.main import main
from k2_streams.core.records.partitioner import partition_of
from k2_streams.core.records.stream import LOG_PLACE
from k2_streams.core.subscription.tally import Tally
from k2_streams.kafka.hanging_transactions import UnsettledError
from k2_streams.kafka.log_reader import Chunk, Record, StableOffsets
from k2_streams.kafka.replayed_topic import HEADER, ReplayedTopic, ReplayPlace
from k2_streams.query.subscription.frames import FrameSizes
from k2_streams.replay import topic as replay_topic
from k2_streams.replay.checked import CheckedRows
from k2_streams.replay.lines import json_lines
from k2_streams.replay.topic import ReplayError, to_topic
from k2_streams.testing.memory.clients import MemoryKafka, MemoryNetwork
from k2_streams.testing.memory.cluster import MemoryCluster
from k2_streams.testing.memory.faults import NoFaults, seeded
from k2_streams.testing.memory.loop import VirtualLoop
from k2_streams.web.http import streaming
from k2_streams.web.http.frames import FrameFormat


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("node")
    with served(folder, lambda query: application(query, rate_limit_per_s=10_000)) as url:
        yield url


def replayed(address, *arguments):
    found = CliRunner().invoke(main, ["replay", "--url", address, *arguments])
    assert found.exit_code == 0, found.output
    return found


def test_lines_are_the_rows_as_their_path_writes_them(address):
    found = replayed(address, "--symbol", "AAA", "--order", "event")
    lines = [json.loads(line) for line in found.stdout.splitlines()]
    answer = requests.get(f"{address}/v1/trades?symbol=AAA", timeout=10).json()
    assert lines == answer["data"]
    assert found.stderr.startswith(f"{len(lines)} rows; --as-of ")
    as_of = found.stderr.split()[-1]
    again = replayed(address, "--symbol", "AAA", "--order", "event", "--as-of", as_of)
    assert again.stdout == found.stdout


def test_an_arrow_stream_has_all_rows(address):
    found = replayed(address, "--format", "arrow")
    assert pa.ipc.open_stream(found.stdout_bytes).read_all().num_rows == ROWS


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--resume",), "--to-topic"),
        (("--speed", "-1"), "speed"),
        (("nothing",), "there is no such path"),
    ],
)
def test_what_cannot_be_replayed_is_refused(address, arguments, said):
    found = CliRunner().invoke(main, ["replay", "--url", address, *arguments])
    assert (found.exit_code, said in found.output) == (2, True)


class KeptTopic:
    """What a topic has, and where its replay stands: a transaction is all or nothing."""

    kept: ClassVar[dict] = {}

    def __init__(self, config, topic, partitions, name):
        self.fails_after = config
        self.place = self.kept.get("place", ReplayPlace())

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass

    async def write(self, records, token):
        if self.fails_after and self.place.number == self.fails_after:
            raise ConnectionError("killed")
        self.place = ReplayPlace(self.place.number + 1, token)
        self.kept["place"] = self.place
        self.kept.setdefault("records", []).extend(records)


class OneTopic:
    """Knows the topic `backtest`, of four partitions."""

    def __init__(self, _config):
        pass

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass

    async def describe(self, _names):
        class Info:
            partitions = 4

        return {"backtest": Info()}


@pytest.fixture
def kept(monkeypatch):
    monkeypatch.setattr(KeptTopic, "kept", {})
    monkeypatch.setattr(replay_topic, "ReplayedTopic", KeptTopic)
    monkeypatch.setattr(replay_topic, "TopicAdmin", OneTopic)
    return KeptTopic.kept


async def replay_once(address, *, fails_after=None, resumes=True, topic="backtest", begin="begin"):
    async with k2_client.AsyncClient(address) as client:
        return await to_topic(
            fails_after,
            topic,
            "replay",
            lambda start: client.stream("trades", start=start, end="end"),
            begin,
            resumes=resumes,
        )


async def test_a_topic_has_each_row_once_through_crashes(address, kept, monkeypatch):
    monkeypatch.setitem(streaming.FRAME_SIZES, FrameFormat.ARROW, FrameSizes(7))
    for fails_after in (1, 3, 4):
        with pytest.raises(ConnectionError):
            await replay_once(address, fails_after=fails_after)
    with pytest.raises(ReplayError, match="--resume"):
        await replay_once(address, resumes=False)
    assert await replay_once(address) == ROWS
    assert await replay_once(address) == ROWS  # nothing is left
    rows = [json.loads(value) for _, value in kept["records"]]
    found = [tuple(row[name] for name in LOG_PLACE) for row in rows]
    assert (len(found), len(set(found))) == (ROWS, ROWS)
    assert {key.split(b":")[0] for key, _ in kept["records"]} == {b"SYN"}


async def test_a_replay_from_the_token_of_a_frame_is_the_rest(address, kept, monkeypatch):
    monkeypatch.setitem(streaming.FRAME_SIZES, FrameFormat.ARROW, FrameSizes(7))
    async with k2_client.AsyncClient(address) as client:
        frames = [frame async for frame in client.stream("trades", start="begin", end="end")]
    token = next(frame.token for frame in frames if frame.kind == "rows")
    lines = replayed(address, "--from", token).stdout.splitlines()
    assert len(lines) == ROWS - 7
    assert await replay_once(address, begin=token) == ROWS - 7
    assert [value.decode() for _, value in kept["records"]] == lines


async def test_a_topic_that_is_not_there_is_named(address, kept):
    with pytest.raises(ReplayError, match="no topic other"):
        await replay_once(address, topic="other")


def test_rows_that_are_missing_at_the_end_are_noticed():
    rows = pa.table({"log_partition": [0, 0], "log_offset": [1, 1], "log_row": [0, 1]})
    checked = CheckedRows()
    checked.take(rows.slice(0, 1))
    end = {"rows": 2, "checksum": Tally().text}
    assert "expected" in checked.difference(end)
    checked.take(rows.slice(1))
    assert checked.rows == 2


def test_the_place_of_another_replay_is_not_taken():
    mine = ReplayedTopic.__new__(ReplayedTopic)
    mine._name = "a replay"

    def record(text):
        return Record(0, None, b"", ((HEADER, text),), 0)

    assert mine._place_of(record(b"a replay 7 token")) == ReplayPlace(7, "token")
    assert mine._place_of(record(b"another 7 token")) is None
    assert mine._place_of(Record(0, None, b"", (), 0)) is None


class MarkedTopic:
    """Reads a partition: a place at offset 0, and another at 5 that committed readers see late.

    Args:
        stable: where committed readers come once what the coordinator has decided is marked.
    """

    def __init__(self, stable):
        self.stable = stable
        self.at = 0

    async def begin_offsets(self, tps):
        return dict.fromkeys(tps, 0)

    async def end_offsets(self, tps):
        return dict.fromkeys(tps, 5)

    async def settled_offsets(self, tps):
        return StableOffsets(dict.fromkeys(tps, self.stable), dict.fromkeys(tps, 7))

    def assign(self, starts):
        (self.at,) = starts.values()

    def position(self, _topic, _partition):
        return self.at

    async def poll(self):
        start, self.at = self.at, 5 if self.at < 5 else 7
        text = b"a replay 1 first" if start < 5 else b"a replay 2 second"
        record = Record(start, None, b"", ((HEADER, text),), 0)
        return [Chunk("backtest", 0, start, self.at, [record])]


@pytest.mark.parametrize(("stable", "place"), [(7, ReplayPlace(2, "second")), (5, None)])
async def test_a_place_behind_an_open_transaction_is_waited_for_and_never_passed(stable, place):
    """Rows behind it would be written twice."""
    mine = ReplayedTopic.__new__(ReplayedTopic)
    mine._name, mine._topic, mine._partitions = "a replay", "backtest", 1
    reader = MarkedTopic(stable)
    if place is None:
        with pytest.raises(UnsettledError, match=r"backtest:0.*try again"):
            await mine._newest(reader)
    else:
        assert await mine._newest(reader) == place


def test_what_a_broker_restarted_behind_a_commit_is_marked_and_goes_on():
    """Else nobody could read the frame, nor a replay resume, until the next one."""
    loop = VirtualLoop()
    cluster = MemoryCluster(loop, {"backtest": 2})
    kafka = MemoryKafka(cluster, MemoryNetwork(loop, NoFaults(seeded(0, "faults"))))

    async def main():
        async with ReplayedTopic(kafka, "backtest", 2, "a replay") as target:
            cluster.unmarked = frozenset(cluster.partitions)
            await target.write([(b"A", b"1"), (b"D", b"2")], "first")
            cluster.unmarked = frozenset()
            target._producer._producer.client.reconnect()
            await target.write([(b"A", b"3")], "second")
        readable = {at: log.stable == log.end for at, log in cluster.partitions.items()}
        async with ReplayedTopic(kafka, "backtest", 2, "a replay") as again:
            return readable, again.place

    try:
        readable, place = loop.run_until_complete(main())
    finally:
        loop.abandon()
    assert partition_of(b"A", 2) != partition_of(b"D", 2)
    assert all(readable.values()), "of the first frame's partitions the second has one alone"
    assert place == ReplayPlace(2, "second")
    values = [[one.value for one in log.committed()] for log in cluster.partitions.values()]
    assert sorted(values) == [[b"1", b"3"], [b"2"]]


def test_lines_are_single():
    table = pa.table({"text": ["a\nb", None], "number": [1, 2]})
    assert json_lines(table) == [b'{"text":"a\\nb","number":1}', b'{"text":null,"number":2}']
