"""The topics of a `StreamDriver`: what is sent to them, and what was committed to them."""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

import msgspec
import pyarrow as pa

from k2_streams.core.records import log_record
from k2_streams.core.records.columns import plain_type, table_as
from k2_streams.core.records.expand import in_log_columns
from k2_streams.core.records.log_record import CheckpointHeaders
from k2_streams.core.records.partitioner import partition_of
from k2_streams.core.records.stream import Stream
from k2_streams.testing.memory.cluster import Headers, MemoryCluster

#: When something is sent: a time, seconds since the driver's start, or None: now.
When = dt.datetime | float | None


class InputMessage(NamedTuple):
    """Something to send; see `InputTopic.send`."""

    value: Any
    key: str | bytes | None = None
    line: str | None = None
    feed: str | None = None
    at: When = None
    partition: int | None = None
    headers: Headers = ()  # of a raw record, beside those of feed and line


class SentRecord(NamedTuple):
    """Where a record is."""

    partition: int
    offset: int


class TopicRecord(NamedTuple):
    """A committed record of a topic."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers

    def json(self) -> Any:
        """The value, which is JSON."""
        return msgspec.json.decode(self.value or b"")


class EncodedRecord(NamedTuple):
    """A record as it is appended."""

    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class InputEncoder(Protocol):
    """Makes records of a source's topic."""

    def records(self, message: InputMessage, now_ns: int) -> list[EncodedRecord]:
        """The records of one message, sent at this time."""
        ...


class RawEncoder:
    """Records of a raw topic: a message is one record, as a venue's connection sends it."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions

    def records(self, message: InputMessage, now_ns: int) -> list[EncodedRecord]:  # noqa: ARG002 - the broker has the time
        """One record."""
        key = _bytes(message.key)
        value = message.value
        if isinstance(value, Mapping) and key is None and message.feed is None:
            key = f"{value.get('exchange')}:{value.get('symbol')}".encode()
        headers = [
            (name, one.encode())
            for name, one in (("feed", message.feed), ("line", message.line))
            if one is not None
        ]
        partition = message.partition
        if partition is None:
            partition = 0 if key is None else partition_of(key, self._partitions)
        every = (*headers, *message.headers)
        return [EncodedRecord(partition, key, _value_bytes(value), every)]


class LogEncoder:
    """Records of a log: a message is rows, which are one checkpoint of the app that writes it."""

    def __init__(self, stream: Stream, partitions: int) -> None:
        self._stream = stream
        self._partitions = partitions
        self._rows: dict[int, int] = {}  # sent, by partition
        self._schema = pa.schema(
            [field.with_type(plain_type(field.type)) for field in stream.log_schema]
        )

    def records(self, message: InputMessage, now_ns: int) -> list[EncodedRecord]:
        """A record or more per partition that the rows belong to.

        Raises:
            ValueError: a row lacks a column that is not nullable.
        """
        by_partition: dict[int, list[dict[str, Any]]] = {}
        for row in _rows_of(message.value):
            partition = message.partition
            if partition is None:
                key = ":".join(str(row.get(name)) for name in self._stream.key)
                partition = partition_of(key.encode(), self._partitions)
            number = self._rows.get(partition, 0)
            self._rows[partition] = number + 1
            by_partition.setdefault(partition, []).append(self._whole(row, number, now_ns))
        found = []
        for partition, rows in by_partition.items():
            plain = pa.Table.from_pylist(rows, schema=self._schema)
            batches = table_as(plain, self._stream.log_schema).combine_chunks().to_batches()
            values = log_record.encode_checkpoint(
                self._stream.log_schema, batches, partition, now_ns // 1000
            )
            headers = CheckpointHeaders(self._rows[partition], None, 0, 0, 0, 0).encode()
            found += [
                EncodedRecord(partition, None, value, headers if value is values[-1] else ())
                for value in values
            ]
        return found

    def _whole(self, row: Mapping[str, Any], number: int, now_ns: int) -> dict[str, Any]:
        """A row with what the app that writes the log adds by itself."""
        time_ns = row.get(self._stream.time, now_ns)
        added = {
            "session": "",
            "late": False,
            "ingest_time": now_ns // 1000,
            "source_offset": number,
            "source_index": 0,
            "trading_date": dt.datetime.fromtimestamp(time_ns // 10**9, dt.UTC).date(),
        }
        names = self._schema.names
        whole = {name: value for name, value in added.items() if name in names} | dict(row)
        unknown = sorted(set(whole) - set(names))
        lacking = [
            field.name
            for field in self._schema
            if not field.nullable and whole.get(field.name) is None
        ]
        if unknown or lacking:
            raise ValueError(
                f"row of {self._stream.log}: "
                + "; ".join(
                    [f"{name} is missing" for name in lacking]
                    + [f"{name} is no column" for name in unknown]
                )
                + f" (columns: {', '.join(names)})"
            )
        return {
            name: Decimal(str(value))
            if value is not None and pa.types.is_decimal(self._schema.field(name).type)
            else value
            for name, value in whole.items()
        }


class InputTopic:
    """A topic that the app reads.

    Args:
        name: of the topic.
        cluster: the brokers.
        encoder: makes its records.
        until: lets time pass until a moment.
        now_ns: the time.
    """

    def __init__(
        self,
        name: str,
        cluster: MemoryCluster,
        encoder: InputEncoder,
        until: Callable[[When], None],
        now_ns: Callable[[], int],
    ) -> None:
        self.name = name
        self._cluster = cluster
        self._encoder = encoder
        self._until = until
        self._now_ns = now_ns

    def send(
        self,
        value: Any,
        key: str | bytes | None = None,
        *,
        line: str | None = None,
        feed: str | None = None,
        at: When = None,
        partition: int | None = None,
    ) -> list[SentRecord]:
        """Append to the topic. It is processed when time passes, or when an output is read.

        Args:
            value: of a raw topic bytes or text as they are, a mapping as JSON, None a tombstone; of
                a log one row or several, as mappings or as an Arrow table or batch. Columns that K2
                adds to accepted rows may be left out.
            key: of a raw record; None: `EXCHANGE:SYMBOL` of a mapping in the canonical format.
            line: the redundant line that the record comes from.
            feed: that decodes the record; None: the canonical one.
            at: lets time pass until then, and sends then.
            partition: None: where the key belongs.

        Returns:
            Where the records are: one, of a log one or more per partition.

        Raises:
            ValueError: `at` is over, there is no such partition, or a row does not fit the log.
        """
        return self.append(InputMessage(value, key, line, feed, at, partition))

    def send_many(self, messages: Iterable[Any] | pa.Table | pa.RecordBatch) -> list[SentRecord]:
        """Send several: rows of a log as one checkpoint, of a raw topic one record after another.

        Args:
            messages: `InputMessage`s, or what `send` takes as a value.
        """
        if isinstance(self._encoder, LogEncoder) and not _are_messages(messages):
            return self.send(messages)
        return [
            sent
            for one in _rows_of(messages)
            for sent in self.append(one if isinstance(one, InputMessage) else InputMessage(one))
        ]

    def append(self, message: InputMessage) -> list[SentRecord]:
        """`send`, of a message."""
        self._until(message.at)
        return [
            SentRecord(
                one.partition,
                self._cluster.append(self._at(one.partition), one.key, one.value, one.headers),
            )
            for one in self._encoder.records(message, self._now_ns())
        ]

    def _at(self, partition: int) -> tuple[str, int]:
        at = (self.name, partition)
        if at not in self._cluster.partitions:
            raise ValueError(f"{self.name} has no partition {partition}")
        return at


class OutputTopic:
    """A topic that the app writes.

    Args:
        name: of the topic.
        stream: whose log it is; None: it is no log.
        cluster: the brokers.
        settle: lets time pass until everything that was sent is processed.
    """

    def __init__(
        self,
        name: str,
        stream: Stream | None,
        cluster: MemoryCluster,
        settle: Callable[[], None],
    ) -> None:
        self.name = name
        self._stream = stream
        self._cluster = cluster
        self._settle = settle

    def read_all(self) -> Any:
        """All that was committed, partition by partition.

        The rows of a log as a `pa.Table`; the records of any other topic as `TopicRecord`s.
        """
        if self._stream is None:
            return self.records()
        stream = self._stream
        batches = [
            in_log_columns(stream, decoded.rows)
            for one in self.records()
            if (
                decoded := log_record.decode(one.value or b"", one.partition, one.offset)
            ).rows.num_rows
        ]
        plain = pa.schema([one.with_type(plain_type(one.type)) for one in stream.log_schema])
        return table_as(pa.Table.from_batches(batches, stream.log_schema), plain)

    def records(self) -> list[TopicRecord]:
        """All committed records, partition by partition, with their bytes."""
        self._settle()
        return committed_records(self._cluster, self.name)


def committed_records(cluster: MemoryCluster, topic: str) -> list[TopicRecord]:
    """The committed records of a topic, partition by partition."""
    return [
        TopicRecord(partition, one.offset, one.timestamp, one.key, one.value, one.headers)
        for partition in range(cluster.topics[topic].partitions)
        for one in cluster.partitions[topic, partition].committed()
    ]


def _are_messages(messages: Any) -> bool:
    return isinstance(messages, Sequence) and any(isinstance(one, InputMessage) for one in messages)


def _rows_of(value: Any) -> Iterable[Any]:
    if isinstance(value, pa.Table | pa.RecordBatch):
        rows: list[dict[str, Any]] = value.to_pylist()
        return rows
    return [value] if isinstance(value, Mapping) else value


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _value_bytes(value: Any) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else msgspec.json.encode(value)
