"""`k2 dead-letters`: the records that could not be processed, with reason, position and bytes."""

from typing import Any

import click
import msgspec
from rich.console import Console

from k2_streams.cli.dead_letters_read import read_into
from k2_streams.cli.dead_letters_show import show
from k2_streams.cli.option_types import InstantType, OffsetRangeType
from k2_streams.cli.text_table import lines_of, printable
from k2_streams.core.records.source import INPUTS
from k2_streams.importing import import_when_used
from k2_streams.testing.oracle.dead_letters import (
    MAX_SHOWN,
    Letter,
    LetterFilter,
    LetterSelection,
)

_EXAMPLES = """\b
Examples:
  k2 dead-letters list                                    the oldest 100
  k2 dead-letters list --newest --limit 20
  k2 dead-letters list --reason stale --key 'BINANCE:*'
  k2 dead-letters list --partition 2 --offsets 1000:1999
  k2 dead-letters list --since 2026-11-30T09:00:00Z --json | jq .value
  k2 dead-letters list --stream quotes --feed asx.quotes.csv

Exit codes: 0 shown, also where none matches; 2 they could not be read."""


#: Of a value in the table; `--json` has all of it.
_SHOWN_VALUE_CHARACTERS = 80
COLUMNS = ("append time", "reason", "field", "source", "feed", "key", "detail", "value")


def row_of(letter: Letter) -> tuple[str, ...]:
    """A letter's line in the table, by `COLUMNS`; `-` where there is nothing."""
    value = printable(letter.value or letter.value_base64 or "")
    cells = (
        letter.append_time,
        letter.reason,
        letter.field,
        f"{letter.topic} {letter.partition}:{letter.offset}",
        letter.feed,
        letter.key or letter.key_base64,
        letter.detail,
        value if len(value) <= _SHOWN_VALUE_CHARACTERS else f"{value[:_SHOWN_VALUE_CHARACTERS]}...",
    )
    return tuple(printable(cell or "-") for cell in cells)


class _WithRedrive(click.Group):
    """Imports what a redrive takes, which is the worker's own, when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), "redrive"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name != "redrive":
            return super().get_command(ctx, cmd_name)
        module = import_when_used("k2_streams.cli.dead_letters_redrive")
        command: click.Command = module.redrive
        return command


@click.group(
    name="dead-letters",
    cls=_WithRedrive,
    context_settings={"help_option_names": ["-h", "--help"]},
)
def dead_letters() -> None:
    """Look at records that could not be processed, and send them again.

    \b
    Examples:
      k2 dead-letters list --newest
      k2 dead-letters show 0:1234
      k2 dead-letters redrive --dry-run
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
@click.option(
    "--offsets", type=OffsetRangeType(), default=":", help="At these offsets of the raw topic."
)
@click.option(
    "--since", type=InstantType(), help="Appended at or after this time (with an offset)."
)
@click.option("--until", type=InstantType(), help="Appended at or before this time.")
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
    wanted = LetterFilter.of_options(options)
    selection = LetterSelection(wanted, options["limit"], newest=options["newest"])
    read_into(selection, INPUTS[options["stream"]].dead_letter, options["bootstrap"])
    letters = selection.letters()
    if options["as_json"] or not Console().is_terminal:
        for letter in letters:
            click.echo(msgspec.json.encode(letter))
    else:
        for line in lines_of(COLUMNS, map(row_of, letters)):
            click.echo(line)
    click.echo(selection.summary(), err=True)


dead_letters.add_command(show)
