"""`k2 changelog`: what a table's changelog topic holds, decoded."""

import asyncio
import logging
from typing import Any

import click
import msgspec
from rich.console import Console

from k2_streams.cli.errors import CannotError
from k2_streams.cli.text_table import lines_of, printable
from k2_streams.core.records.source import INPUTS
from k2_streams.kafka.log_reader import LogError
from k2_streams.kafka.sender import UNREACHABLE
from k2_streams.kafka.topics import changelog_topic
from k2_streams.runtime.settings.app_defaults import AppDefaults
from k2_streams.runtime.settings.kafka import with_bootstrap
from k2_streams.runtime.settings.worker import SettingsError, from_environment
from k2_streams.state.codec import StateFormatError
from k2_streams.testing.oracle.changelog import (
    IDS_TABLE,
    TABLES,
    BucketIds,
    ChangelogEntry,
    read_changelog,
)
from k2_streams.testing.oracle.topic_records import NotReachedError

#: Hashes of a bucket in the table for people; JSON has all.
SHOWN_HASHES = 3

_EXAMPLES = """\b
Examples:
  k2 changelog sequence --limit 20
  k2 changelog sequence --key SIM:S0001           every state of it that was written
  k2 changelog sequence --key @position           the position of each checkpoint
  k2 changelog sequence --key @deferred:SIM:S0001 how many of its records were deferred
  k2 changelog sequence --newest --json | jq .value
  k2 changelog dedup --limit 20                   new trade ids of each checkpoint, by bucket
  k2 changelog dedup --key 3f2a                   those with an id whose hash begins so
  k2 changelog open-bars --app bars --newest      a table that the app `bars` declares
  k2 changelog position-trades --app bars         its position in k2.trades, and its timers

Exit codes: 0 shown; 2 it could not be read, or there is no such table or key."""


@click.command(epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("table")
@click.option(
    "--key",
    help="Only of this row; `@position` is the task's own position. Of `dedup`: the hexadecimal "
    "digits that an id's hash begins with.",
)
@click.option("--partition", type=click.IntRange(0), help="Only of this partition.")
@click.option("--limit", type=click.IntRange(1), help="Records shown at most.")
@click.option("--newest", is_flag=True, help="Only the last record of each key.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="One JSON object per record.  [default: where the output is no terminal]",
)
@click.option(
    "--stream",
    type=click.Choice(list(INPUTS)),
    default="trades",
    show_default=True,
    help="The stream whose table it is.",
)
@click.option("--app", "app_id", help="Of this app: its name, or its K2_APP_ID.")
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
    app_id: str | None,
    bootstrap: str | None,
) -> None:
    """Show the committed records of a TABLE's changelog, oldest first.

    The tables of trades and quotes are `sequence` and `dedup`; those of an app are what it
    declares, as `k2 app describe` shows them. Of ids the changelog holds their hashes only.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        settings = from_environment(defaults=AppDefaults.of_input(INPUTS[stream]))
        if table not in TABLES and app_id is None:
            raise CannotError(
                f"table {table!r}: expected {' or '.join(TABLES)}, found none of that name: of a "
                "table that an app declares name the app with --app"
            )
        kafka = with_bootstrap(settings.kafka, bootstrap)
        topic = changelog_topic(app_id or settings.app_id, table)
        entries = asyncio.run(
            read_changelog(
                kafka, topic, table, key=key, partition=partition, newest=newest, limit=limit
            )
        )
    except (*UNREACHABLE, LogError) as error:
        raise CannotError(f"the changelog cannot be read: {error}") from error
    except (SettingsError, NotReachedError, StateFormatError) as error:
        raise CannotError(str(error)) from error
    if key is not None and not entries and table != IDS_TABLE:
        raise CannotError(
            f"{topic}: expected records of key {key!r}, found none: keys are EXCHANGE:SYMBOL or "
            "the agent's own, @position, @deferred:EXCHANGE:SYMBOL or @timer:AGENT:KEY"
        )
    if as_json or not Console().is_terminal:
        for entry in entries:
            click.echo(msgspec.json.encode(entry))
    else:
        _print(entries)


def shown(value: Any) -> str:
    """A value in a table's line: the names of its fields; of many ids how many, and the first."""
    if value is None:
        return "removed"
    if isinstance(value, list) and value and isinstance(value[0], BucketIds):
        value = [
            {"bucket_end": one.bucket_end, "ids": one.ids, "hashes": one.hashes[:SHOWN_HASHES]}
            for one in value
        ]
    if isinstance(value, dict):
        return " ".join(
            f"{name}={msgspec.json.encode(one).decode()}" for name, one in value.items()
        )
    return msgspec.json.encode(value).decode()


def _print(entries: list[ChangelogEntry]) -> None:
    rows = (
        (str(one.partition), str(one.offset), one.time, printable(one.key), shown(one.value))
        for one in entries
    )
    for line in lines_of(("partition", "offset", "time", "key", "value"), rows):
        click.echo(line)
    click.echo(f"{len(entries):,} records", err=True)
