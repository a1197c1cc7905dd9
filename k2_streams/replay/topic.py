"""A stream into a topic, each row once."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Protocol

import pyarrow as pa

from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.replayed_topic import ReplayedTopic
from k2_streams.kafka.topics import TopicAdmin
from k2_streams.replay.checked import CheckedRows
from k2_streams.replay.lines import json_lines


class ReplayError(Exception):
    """A replay that cannot begin, or did not give what it should; the text says what to change."""


class ReplayFrame(Protocol):
    """A frame of a stream: `k2_client.StreamFrame`."""

    @property
    def kind(self) -> str:
        """`rows`, `progress`, `gap` or `end`."""
        ...

    @property
    def token(self) -> str:
        """Goes on behind it."""
        ...

    @property
    def fields(self) -> Mapping[str, Any]:
        """What it says."""
        ...

    @property
    def rows(self) -> pa.Table:
        """Of a frame of rows."""
        ...


async def to_topic(
    config: KafkaConfig,
    topic: str,
    name: str,
    stream: Callable[[str], AsyncIterator[ReplayFrame]],
    begin: str,
    *,
    resumes: bool,
) -> int:
    """Write a stream's rows to a topic: one transaction per frame, with its token.

    Args:
        config: of the cluster.
        topic: exists.
        name: of the replay.
        stream: from a token, a time or a word on.
        begin: where the replay begins.
        resumes: whether it goes on from where a replay of this name has come.

    Returns:
        Rows of the replay so far, those before it was resumed included.

    Raises:
        ReplayError: there is no such topic, a replay of this name has written to it, or what came
            is not all of it.
        FencedError: another process writes under this name.
        UnsettledError: a transaction is open in the topic; try again when it has ended.
        KafkaError: the outcome of a transaction is unknown; resume.
    """
    async with TopicAdmin(config) as admin:
        known = await admin.describe([topic])
    if topic not in known:
        raise ReplayError(f"there is no topic {topic}: create it first")
    async with ReplayedTopic(config, topic, known[topic].partitions, name) as target:
        token = target.place.token
        if token is not None and not resumes:
            raise ReplayError(
                f"replay {name!r} has written to {topic}: go on with --resume, or take another "
                "--name"
            )
        start = token or begin
        checked = CheckedRows(start)
        async for frame in stream(start):
            if frame.kind == "rows":
                checked.take(frame.rows)
                await target.write(_records(frame.rows), frame.token)
            elif frame.kind == "end" and (difference := checked.difference(frame.fields)):
                raise ReplayError(f"rows are missing or came twice: {difference}")
    return checked.rows - CheckedRows(begin).rows


def _records(rows: pa.Table) -> list[tuple[bytes, bytes]]:
    """Keys, as the raw topics have them, and values of the records of rows."""
    names = [name for name in ("exchange", "symbol") if name in rows.column_names]
    keys = zip(*(rows.column(name).to_pylist() for name in names), strict=True)
    if not names:
        keys = zip(rows.column("log_partition").to_pylist(), strict=True)
    texts = (":".join(map(str, key)).encode() for key in keys)
    return list(zip(texts, json_lines(rows), strict=True))
