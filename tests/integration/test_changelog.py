"""`k2 changelog` shows what a table's changelog topic holds, decoded, and nothing uncommitted."""

import json

import pytest
from click.testing import CliRunner

from k2_streams.cli.changelog import changelog
from k2_streams.core import sequence_codec
from k2_streams.core.sequence import Message, step
from k2_streams.core.sessions import SessionRule
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.sender import Sender, prepare_topic
from k2_streams.kafka.topics import TopicSpec, changelog_topic
from k2_streams.state.codec import POSITION_KEY, Position, encode_position

pytestmark = pytest.mark.integration


def state_of(number: int) -> bytes:
    stepped = step(None, Message(number, None, 1, "X:A", 0, 0), SessionRule.NEVER)
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
        epoch=1,
        events=4,
        accepted_time_us=5,
        rows=2,
        checksum=3,
    )
    async with Sender(config, topic, partitions) as sender:
        first = [(b"X:A", state_of(1), []), (b"X:B", state_of(2), [])]
        await sender.send(0, [*first, (POSITION_KEY, encode_position(position), [])], 0)
        await sender.send(0, [(b"X:A", state_of(3), []), (b"X:B", None, [])], 0)
        await sender.send(1, [(b"X:C", state_of(4), [])], 0)
        await sender.finish()
    return topic_prefix


def shown(broker: str, *options: str) -> list[dict]:
    result = CliRunner().invoke(changelog, ["sequence", "--bootstrap", broker, *options])
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
    assert state["value"][0][0][:3] == ["0", 4, 5], "session, first, expected"


@pytest.mark.parametrize(
    ("options", "said"),
    [(["nothing"], "found none"), (["sequence", "--partition", "7"], "found 2")],
)
def test_what_is_not_there_ends_with_2(broker, app_id, options, said):
    result = CliRunner().invoke(changelog, ["--bootstrap", broker, *options])
    assert result.exit_code == 2
    assert said in result.output
