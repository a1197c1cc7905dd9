"""`k2 dead-letters show`: one record that could not be processed, with all its bytes."""

from collections.abc import Iterator
from typing import Any

import click
import msgspec

from k2_streams.cli.dead_letters_read import read_into
from k2_streams.cli.errors import CannotError
from k2_streams.cli.text_table import printable
from k2_streams.core.records.source import INPUTS
from k2_streams.testing.oracle.dead_letters import (
    MAX_SHOWN,
    Letter,
    LetterFilter,
    LetterSelection,
)

_EXAMPLES = """\b
Examples:
  k2 dead-letters show 0:1234
  k2 dead-letters show 0:1234 --json | jq -r .value

Exit codes: 0 shown; 2 there is none, or it could not be read."""


class _PlaceType(click.ParamType):
    """`PARTITION:OFFSET` of the raw topic, as `list` shows it."""

    name = "partition:offset"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """The two numbers."""
        partition, _, offset = str(value).partition(":")
        if not (partition.isdecimal() and offset.isdecimal()):
            self.fail(f"expected PARTITION:OFFSET, as 0:1234, found {value!r}", param, ctx)
        return int(partition), int(offset)


@click.command(
    name="show", epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.argument("place", type=_PlaceType(), metavar="PARTITION:OFFSET")
@click.option("--stream", type=click.Choice(list(INPUTS)), default="trades", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="A JSON object.")
@click.option("--bootstrap", help="Broker.  [default: $K2_BOOTSTRAP or 127.0.0.1:9092]")
def show(place: tuple[int, int], stream: str, *, as_json: bool, bootstrap: str | None) -> None:
    """Show the dead letter of the raw record at PARTITION:OFFSET."""
    partition, offset = place
    source = INPUTS[stream]
    wanted = LetterFilter(partition=partition, first_offset=offset, last_offset=offset)
    selection = LetterSelection(wanted, MAX_SHOWN)
    read_into(selection, source.dead_letter, bootstrap)
    letters = selection.letters()
    if not letters:
        raise CannotError(
            f"{source.dead_letter}: expected a dead letter of {source.raw} {partition}:{offset}, "
            "found none: `k2 dead-letters list` shows those there are"
        )
    for letter in letters:
        for line in [msgspec.json.encode(letter).decode()] if as_json else lines_of_letter(letter):
            click.echo(line)


def lines_of_letter(letter: Letter) -> Iterator[str]:
    """Each field that a letter has, then its own headers, then its value."""
    fields: dict[str, Any] = msgspec.to_builtins(letter)
    value = fields.pop("value") or fields.pop("value_base64")
    headers = fields.pop("headers")
    for name, content in fields.items():
        if content is not None:
            yield f"{name:<17} {printable(str(content))}"
    for header in headers:
        content = header["value"] or header.get("value_base64") or ""
        yield f"{'header':<17} {header['name']}={printable(content)}"
    yield f"{'value':<17} {printable(value or '')}"
