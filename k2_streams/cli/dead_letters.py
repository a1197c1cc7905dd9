"""`k2 dead-letters`: the records that could not be used, with reason, position and bytes."""

import asyncio
import logging
from typing import Any

import click
import msgspec
from rich.console import Console

from k2_streams.cli.errors import CannotError
from k2_streams.cli.letter_list import (
    COLUMNS,
    MAX_SHOWN,
    LetterFilter,
    LetterSelection,
    letter_of,
    row_of,
)
from k2_streams.cli.lines import lines_of
from k2_streams.cli.produce_options import Instant
from k2_streams.core.records.source import INPUTS
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import LogError
from k2_streams.kafka.sender import UNREACHABLE
from k2_streams.runtime.settings.kafka import with_bootstrap
from k2_streams.runtime.settings.worker import SettingsError, from_environment
from k2_streams.testing.oracle.observed import NotReachedError, read_topic

_NS_PER_MS = 1_000_000
_EXAMPLES = """\b
Examples:
  k2 dead-letters list                                    the oldest 100
  k2 dead-letters list --newest --limit 20
  k2 dead-letters list --reason stale --key 'BINANCE:*'
  k2 dead-letters list --partition 2 --offsets 1000:1999
  k2 dead-letters list --since 2026-11-30T09:00:00Z --json | jq .value
  k2 dead-letters list --stream quotes --feed asx.quotes.csv

Exit codes: 0 shown, also where none matches; 2 they could not be read."""


class Offsets(click.ParamType):
    """`FIRST:LAST`, both included; one of them may be left out."""

    name = "first:last"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int | None, int | None]:
        """The two bounds."""
        first, colon, last = str(value).partition(":")
        if not colon or not all(text == "" or text.isdecimal() for text in (first, last)):
            self.fail(f"expected FIRST:LAST, as 1000:1999 or 1000:, found {value!r}", param, ctx)
        return (int(first) if first else None, int(last) if last else None)


@click.group(name="dead-letters", context_settings={"help_option_names": ["-h", "--help"]})
def dead_letters() -> None:
    """Look at records that could not be used.

    \b
    Example:
      k2 dead-letters list --newest
    """  # noqa: D301 - \b is click's mark for "do not wrap"


@dead_letters.command(
    name="list", epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option("--stream", type=click.Choice(list(INPUTS)), default="trades", show_default=True)
@click.option("--reason", "reasons", multiple=True, help="With this reason; may be repeated.")
@click.option(
    "--feed", "feeds", multiple=True, help="Of this feed; `canonical` where no header names one."
)
@click.option(
    "--key",
    "keys",
    multiple=True,
    help="With this key (EXCHANGE:SYMBOL), or one that begins so: X:*",
)
@click.option("--partition", type=click.IntRange(0), help="Of this partition of the raw topic.")
@click.option("--offsets", type=Offsets(), default=":", help="At these offsets of the raw topic.")
@click.option("--since", type=Instant(), help="Appended at or after this time (with an offset).")
@click.option("--until", type=Instant(), help="Appended at or before this time.")
@click.option("--newest", is_flag=True, help="The newest first.  [default: the oldest first]")
@click.option(
    "--limit", type=click.IntRange(1, MAX_SHOWN), default=100, show_default=True,
    help="Dead letters shown at most.",
)  # fmt: skip
@click.option(
    "--json", "as_json", is_flag=True,
    help="One JSON object per dead letter, with all its bytes: text, or base64 where they are not "
    "UTF-8.  [default: where the output is no terminal]",
)  # fmt: skip
@click.option("--bootstrap", help="Broker.  [default: $K2_BOOTSTRAP or 127.0.0.1:9092]")
def list_letters(**options: Any) -> None:
    """List the dead letters of a stream that match all options."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    since, until = options["since"], options["until"]
    wanted = LetterFilter(
        reasons=frozenset(options["reasons"]),
        feeds=frozenset(options["feeds"]),
        keys=options["keys"],
        partition=options["partition"],
        first_offset=options["offsets"][0],
        last_offset=options["offsets"][1],
        since_ms=None if since is None else since // _NS_PER_MS,
        until_ms=None if until is None else until // _NS_PER_MS,
    )
    selection = LetterSelection(wanted, options["limit"], newest=options["newest"])
    try:
        kafka = with_bootstrap(from_environment().kafka, options["bootstrap"])
        asyncio.run(_read(kafka, INPUTS[options["stream"]].dead_letter, selection))
    except (*UNREACHABLE, LogError) as error:
        raise CannotError(f"the dead letters cannot be read: {error}") from error
    except (SettingsError, NotReachedError) as error:
        raise CannotError(str(error)) from error
    letters = selection.letters()
    if options["as_json"] or not Console().is_terminal:
        for letter in letters:
            click.echo(msgspec.json.encode(letter))
    else:
        for line in lines_of(COLUMNS, map(row_of, letters)):
            click.echo(line)
    click.echo(selection.summary(), err=True)


async def _read(kafka: KafkaConfig, topic: str, selection: LetterSelection) -> None:
    async for partition, records in read_topic(kafka, topic):
        for record in records:
            selection.add(letter_of(partition, record))
