"""`k2 changelog`: what a table's changelog topic holds, decoded."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import click
import msgspec
from rich.console import Console

from k2_streams.cli.errors import CannotError
from k2_streams.cli.letter_list import printable
from k2_streams.cli.lines import lines_of
from k2_streams.core.dedup.bloom import Hashes
from k2_streams.core.dedup.ids import HASH_BYTES, to_bytes
from k2_streams.core.records.source import INPUTS
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import LogError
from k2_streams.kafka.sender import UNREACHABLE
from k2_streams.kafka.topics import changelog_topic
from k2_streams.runtime.settings.kafka import with_bootstrap
from k2_streams.runtime.settings.worker import SettingsError, from_environment
from k2_streams.runtime.task.tables import decode_entry, with_typed_sections
from k2_streams.state.codec import COUNT_PREFIX, POSITION_KEY, StateFormatError
from k2_streams.state.ids_codec import decode_ids
from k2_streams.state.position import Position
from k2_streams.testing.oracle.observed import NotReachedError, read_topic


class Entry(msgspec.Struct, frozen=True):
    """A changelog record, decoded."""

    partition: int
    offset: int
    time: str
    key: str
    value: Any  # None: the row was removed


class IdsEntry(msgspec.Struct, frozen=True):
    """New ids of one bucket."""

    bucket_end: str
    ids: int
    hashes: list[str]  # with `--key` those asked for


#: The table whose records are packed ids, not rows.
IDS_TABLE = "dedup"
TABLES = ("sequence", IDS_TABLE)
#: Hashes of a bucket in the table for people; JSON has all.
SHOWN_HASHES = 3

_EXAMPLES = """\b
Examples:
  k2 changelog sequence --limit 20
  k2 changelog sequence --key SIM:S0001           every state that was kept of it
  k2 changelog sequence --key @position           how far each checkpoint came
  k2 changelog sequence --key @deferred:SIM:S0001 how many of its records waited
  k2 changelog sequence --newest --json | jq .value
  k2 changelog dedup --limit 20                   new trade ids of each checkpoint, by bucket
  k2 changelog dedup --key 3f2a                   those that hold an id whose hash begins so

Exit codes: 0 shown; 2 it could not be read, or there is no such table or key."""


@click.command(epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("table")
@click.option(
    "--key",
    help="Of this row alone; `@position` is the task's own position. Of `dedup`: the hexadecimal "
    "digits that an id's hash begins with.",
)
@click.option("--partition", type=click.IntRange(0), help="Of this partition alone.")
@click.option("--limit", type=click.IntRange(1), help="Records shown at most.")
@click.option("--newest", is_flag=True, help="Only the last record of each key.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="One JSON object a record.  [default: where the output is no terminal]",
)
@click.option(
    "--stream",
    type=click.Choice(list(INPUTS)),
    default="trades",
    show_default=True,
    help="Whose table.",
)
@click.option("--bootstrap", help="Broker.  [default: $K2_BOOTSTRAP or 127.0.0.1:9092]")
def changelog(
    *,
    table: str,
    key: str | None,
    partition: int | None,
    limit: int | None,
    newest: bool,
    as_json: bool,
    stream: str,
    bootstrap: str | None,
) -> None:
    """Show the committed records of a TABLE's changelog, oldest first.

    The tables are `sequence` and `dedup`. Of ids their hashes are kept, and nothing else.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        settings = from_environment(source=INPUTS[stream])
        if table not in TABLES:
            raise CannotError(
                f"table {table!r}: expected {' or '.join(TABLES)}, found none of that name"
            )
        kafka = with_bootstrap(settings.kafka, bootstrap)
        topic = changelog_topic(settings.app_id, table)
        read = _ids if table == IDS_TABLE else _rows
        entries = asyncio.run(_collect(read(kafka, topic, key, partition), newest, limit))
    except (*UNREACHABLE, LogError) as error:
        raise CannotError(f"the changelog cannot be read: {error}") from error
    except (SettingsError, NotReachedError, StateFormatError) as error:
        raise CannotError(str(error)) from error
    if key is not None and not entries and table != IDS_TABLE:
        raise CannotError(
            f"{topic}: expected records of key {key!r}, found none: keys are EXCHANGE:SYMBOL, "
            "@position, or @deferred:EXCHANGE:SYMBOL"
        )
    if as_json or not Console().is_terminal:
        for entry in entries:
            click.echo(msgspec.json.encode(entry))
    else:
        _print(entries)


async def _collect(entries: AsyncIterator[Entry], newest: bool, limit: int | None) -> list[Entry]:
    """The records asked for."""
    found: list[Entry] = []
    last: dict[tuple[int, str], Entry] = {}
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


async def _rows(
    kafka: KafkaConfig, topic: str, key: str | None, partition: int | None
) -> AsyncIterator[Entry]:
    """The records of a table of rows."""
    async for number, records in read_topic(kafka, topic, partition):
        for record in records:
            raw = record.key or b""
            if key is not None and _name(raw) != key:
                continue
            try:
                value = named(decode_entry(raw, record.value))
            except ValueError as error:
                where = f"{topic} {number}:{record.offset}"
                raise StateFormatError(f"{where}, key {_name(raw)!r}: {error}") from error
            yield Entry(number, record.offset, _time(record.timestamp), _name(raw), value)


async def _ids(
    kafka: KafkaConfig, topic: str, key: str | None, partition: int | None
) -> AsyncIterator[Entry]:
    """The records of the table of ids: of each bucket the hashes that were new."""
    async for number, records in read_topic(kafka, topic, partition):
        for record in records:
            value = [
                IdsEntry(_time(bucket), len(hashes), _hexadecimal(hashes, key or ""))
                for bucket, hashes in decode_ids(record.value or b"")
            ]
            if key is not None and not any(bucket.hashes for bucket in value):
                continue
            yield Entry(number, record.offset, _time(record.timestamp), "@ids", value)


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


def shown(value: Any) -> str:
    """A value in a table's line: the names of its fields; of many ids how many, and the first."""
    if value is None:
        return "removed"
    if isinstance(value, list) and value and isinstance(value[0], IdsEntry):
        value = [
            {"bucket_end": one.bucket_end, "ids": one.ids, "hashes": one.hashes[:SHOWN_HASHES]}
            for one in value
        ]
    if isinstance(value, dict):
        return " ".join(
            f"{name}={msgspec.json.encode(one).decode()}" for name, one in value.items()
        )
    return msgspec.json.encode(value).decode()


def _print(entries: list[Entry]) -> None:
    rows = (
        (str(one.partition), str(one.offset), one.time, printable(one.key), shown(one.value))
        for one in entries
    )
    for line in lines_of(("partition", "offset", "time", "key", "value"), rows):
        click.echo(line)
    click.echo(f"{len(entries):,} records", err=True)
