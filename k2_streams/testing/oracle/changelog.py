"""A table's changelog topic, decoded: what `k2 changelog` shows."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from k2_streams.core.dedup.bloom import Hashes
from k2_streams.core.dedup.ids import HASH_BYTES, to_bytes
from k2_streams.kafka.client import KafkaConfig
from k2_streams.runtime.task.market import decode_entry, with_typed_sections
from k2_streams.state.codec import COUNT_PREFIX, POSITION_KEY, TIMER_PREFIX, StateFormatError
from k2_streams.state.ids_codec import decode_ids
from k2_streams.state.position import Position, decode_position
from k2_streams.testing.oracle.topic_records import read_topic

#: The table whose records are packed ids, not rows.
IDS_TABLE = "dedup"
#: Of the agent of a raw source; every other table is one that an app declares, or its position's.
TABLES = ("sequence", IDS_TABLE)


class ChangelogEntry(msgspec.Struct, frozen=True):
    """A changelog record, decoded."""

    partition: int
    offset: int
    time: str
    key: str
    value: Any  # None: the row was removed


class BucketIds(msgspec.Struct, frozen=True):
    """New ids of one bucket."""

    bucket_end: str
    ids: int
    hashes: list[str]  # those that begin with the key, if one was given


async def read_changelog(
    kafka: KafkaConfig,
    topic: str,
    table: str,
    *,
    key: str | None = None,
    partition: int | None = None,
    newest: bool = False,
    limit: int | None = None,
) -> list[ChangelogEntry]:
    """Committed records, oldest first.

    Args:
        kafka: the broker.
        topic: of the changelog.
        table: one of `TABLES`, or one of an app's.
        key: of rows their key as people write it, of ids the digits that a hash begins with; None:
            every record.
        partition: None: every partition.
        newest: the last record of each key only.
        limit: at most so many; None: all.

    Raises:
        NotReachedError: there is no such topic or partition.
        StateFormatError: a record cannot be decoded.
    """
    if table == IDS_TABLE:
        entries = _ids(kafka, topic, key, partition)
    else:
        decode = decode_entry if table in TABLES else _declared
        entries = _rows(kafka, topic, key, partition, decode)
    found: list[ChangelogEntry] = []
    last: dict[tuple[int, str], ChangelogEntry] = {}
    async for entry in entries:
        if newest:
            last[entry.partition, entry.key] = entry
        else:
            found.append(entry)
            if len(found) == limit:
                return found
    if newest:
        found = sorted(last.values(), key=lambda entry: (entry.partition, entry.offset))[:limit]
    return found


def _declared(key: bytes, value: bytes | None) -> Any:
    """A record of a table that an app declares, in plain objects.

    Raises:
        StateFormatError: bytes that no agent's table has.
    """
    if key == POSITION_KEY:
        return decode_position(value or b"")
    if value is None:
        return None
    if key.startswith(TIMER_PREFIX):
        return int.from_bytes(value, signed=True)
    try:
        return msgspec.msgpack.decode(value)
    except msgspec.MsgspecError as error:
        raise StateFormatError(str(error)) from error


async def _rows(
    kafka: KafkaConfig,
    topic: str,
    key: str | None,
    partition: int | None,
    decode: Callable[[bytes, bytes | None], Any],
) -> AsyncIterator[ChangelogEntry]:
    """The records of a table of rows."""
    async for number, records in read_topic(kafka, topic, partition):
        for record in records:
            raw = record.key or b""
            if key is not None and _name(raw) != key:
                continue
            try:
                value = named(decode(raw, record.value))
            except ValueError as error:
                where = f"{topic} {number}:{record.offset}"
                raise StateFormatError(f"{where}, key {_name(raw)!r}: {error}") from error
            yield ChangelogEntry(number, record.offset, _time(record.timestamp), _name(raw), value)


async def _ids(
    kafka: KafkaConfig, topic: str, key: str | None, partition: int | None
) -> AsyncIterator[ChangelogEntry]:
    """The records of the table of ids: of each bucket the hashes that were new."""
    async for number, records in read_topic(kafka, topic, partition):
        for record in records:
            value = [
                BucketIds(_time(bucket), len(hashes), _hexadecimal(hashes, key or ""))
                for bucket, hashes in decode_ids(record.value or b"")
            ]
            if key is not None and not any(bucket.hashes for bucket in value):
                continue
            yield ChangelogEntry(number, record.offset, _time(record.timestamp), "@ids", value)


def _hexadecimal(hashes: Hashes, begins: str) -> list[str]:
    """Hashes as people write them: those that begin so."""
    digits = to_bytes(hashes).hex()
    width = 2 * HASH_BYTES
    texts = (digits[at : at + width] for at in range(0, len(digits), width))
    return [text for text in texts if text.startswith(begins.lower())]


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, tz=UTC).isoformat(timespec="milliseconds")


def _name(key: bytes) -> str:
    """A row's key as people write it."""
    if key == POSITION_KEY:
        return "@position"
    if key.startswith(COUNT_PREFIX):
        return "@deferred:" + key.removeprefix(COUNT_PREFIX).decode(errors="replace")
    if key.startswith(TIMER_PREFIX):
        agent, _, name = key.removeprefix(TIMER_PREFIX).decode(errors="replace").partition("\0")
        return f"@timer:{agent}:{name}"
    return key.decode(errors="replace")


def named(value: Any) -> Any:
    """A value with the names of its fields, however compact its bytes are."""
    if isinstance(value, Position):
        value = with_typed_sections(value)
    if isinstance(value, msgspec.Struct):
        return {name: named(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return named(value._asdict())
    if isinstance(value, dict):
        return {name: named(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [named(one) for one in value]
    return value
