"""`k2 changelog` shows what a table's changelog topic holds, decoded, and nothing uncommitted."""

import json

import pytest
from click.testing import CliRunner

from k2_streams.cli.changelog import changelog
from k2_streams.core.dedup.ids import hashes_of, to_bytes
from k2_streams.core.sequence import codec as sequence_codec
from k2_streams.core.sequence.sessions import SessionRule
from k2_streams.core.sequence.step import ScopeMessage, step
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.sender import Sender, prepare_topic
from k2_streams.kafka.topics import TopicSpec, changelog_topic
from k2_streams.state.codec import POSITION_KEY
from k2_streams.state.ids_codec import encode_ids
from k2_streams.state.position import Position, RowSum, encode_position

pytestmark = pytest.mark.integration

BUCKET_MS = 1_700_000_000_000
NEW = hashes_of([b"a", b"b", b"c", b"d", b"e"])


def state_of(number: int) -> bytes:
    stepped = step(None, ScopeMessage(number, None, 1, "X:A", 0, 0), SessionRule.NEVER)
    assert stepped.state is not None
    return sequence_codec.encode(stepped.state)


@pytest.fixture
async def app_id(broker: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An app whose table `sequence` has a few records."""
    monkeypatch.setenv("K2_APP_ID", topic_prefix)
    config, topic = KafkaConfig(broker), changelog_topic(topic_prefix, "sequence")
    append_time = {"message.timestamp.type": "LogAppendTime"}
    partitions = await prepare_topic(config, TopicSpec(topic, 2, append_time))
    position = Position(
        source_id="id",
        partitions=2,
        next_offset=9,
        checkpoint=1,
        accepted_time_us=5,
        tables={"sequence": RowSum(2, 3)},
    )
    async with Sender(config, topic, partitions) as sender:
        first = [(b"X:A", state_of(1), []), (b"X:B", state_of(2), [])]
        await sender.send(0, [*first, (POSITION_KEY, encode_position(position), [])], 0)
        await sender.send(0, [(b"X:A", state_of(3), []), (b"X:B", None, [])], 0)
        await sender.send(1, [(b"X:C", state_of(4), [])], 0)
        await sender.finish()
    ids = changelog_topic(topic_prefix, "dedup")
    partitions = await prepare_topic(config, TopicSpec(ids, 2, append_time))
    async with Sender(config, ids, partitions) as sender:
        for buckets in ({BUCKET_MS: NEW[:2], BUCKET_MS + 1_000: NEW[2:3]}, {BUCKET_MS: NEW[3:]}):
            await sender.send(1, [(b"", value, []) for value in encode_ids(buckets)], 0)
        await sender.finish()
    return topic_prefix


def shown(broker: str, *options: str, table: str = "sequence") -> list[dict]:
    result = CliRunner().invoke(changelog, [table, "--bootstrap", broker, *options])
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.output.splitlines() if line.startswith("{")]


def test_all_of_it(broker, app_id):
    entries = shown(broker)
    of_first = [entry["key"] for entry in entries if entry["partition"] == 0]
    assert of_first == ["X:A", "X:B", "@position", "X:A", "X:B"]
    assert [entry["key"] for entry in entries if entry["partition"] == 1] == ["X:C"]


def test_one_key_one_partition_the_newest_and_a_limit(broker, app_id):
    assert [entry["offset"] for entry in shown(broker, "--key", "X:A")] == [0, 3]
    assert [entry["key"] for entry in shown(broker, "--partition", "1")] == ["X:C"]
    newest = shown(broker, "--newest", "--partition", "0")
    assert [(entry["key"], entry["offset"]) for entry in newest] == [
        ("@position", 2),
        ("X:A", 3),
        ("X:B", 4),
    ]
    assert newest[-1]["value"] is None, "the row was removed"
    assert len(shown(broker, "--partition", "0", "--limit", "2")) == 2


def test_values_are_decoded(broker, app_id):
    (position,) = shown(broker, "--key", "@position")
    assert position["value"]["next_offset"] == 9
    (state,) = shown(broker, "--key", "X:C")
    (session,) = state["value"]["sessions"]
    assert (session["id"], session["first"], session["expected"]) == ("0", 4, 5)


def test_packed_ids_are_decoded(broker, app_id):
    """By bucket, and found by the first digits of a hash."""
    digits = [to_bytes(NEW[at : at + 1]).hex() for at in range(len(NEW))]
    first, second = shown(broker, table="dedup")
    assert (first["partition"], first["offset"], first["key"]) == (1, 0, "@ids")
    assert first["value"] == [
        {"bucket_end": "2023-11-14T22:13:20.000+00:00", "ids": 2, "hashes": digits[:2]},
        {"bucket_end": "2023-11-14T22:13:21.000+00:00", "ids": 1, "hashes": digits[2:3]},
    ]
    assert [bucket["hashes"] for bucket in second["value"]] == [digits[3:]]
    (found,) = shown(broker, "--key", digits[2][:12].upper(), table="dedup")
    assert [bucket["hashes"] for bucket in found["value"]] == [[], [digits[2]]]
    assert shown(broker, "--key", "0" * 32, table="dedup") == []
    assert [entry["offset"] for entry in shown(broker, "--newest", table="dedup")] == [1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["nothing"], "found none"),
        (["sequence", "--partition", "7"], "found 2"),
        (["sequence", "--key", "X:Z"], "found none"),
    ],
)
def test_what_is_not_there_ends_with_2(broker, app_id, options, said):
    result = CliRunner().invoke(changelog, ["--bootstrap", broker, *options])
    assert result.exit_code == 2
    assert said in result.output
