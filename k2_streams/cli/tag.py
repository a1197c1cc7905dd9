"""`k2 tag`: snapshots that stay, by name."""

from collections.abc import Sequence

import click
import msgspec

from k2_streams.cli.settings import settings_of
from k2_streams.cli.tables import each_table, table_options
from k2_streams.cli.tag_create import create
from k2_streams.cli.text_table import lines_of
from k2_streams.lake.maintenance.tags import delete_tag, list_tags, release_tag

_CONTEXT = {"help_option_names": ["-h", "--help"]}
_LIST_EXAMPLES = """\b
Examples:
  k2 tag list
  k2 tag list --json | jq .snapshot_id

Exit codes: 0 shown; 2 a table could not be read."""
_DELETE_EXAMPLES = """\b
Example:
  k2 tag delete eod-2026-11-24

Exit codes: 0 deleted; 2 not: there is no such tag, or it is held."""
_RELEASE_EXAMPLES = """\b
Example:
  k2 tag release audit-17

Exit codes: 0 released; 2 not: it is not held."""


@click.group(context_settings=_CONTEXT)
def tag() -> None:
    """Name snapshots of the Iceberg tables, so that they and their files stay.

    An answer as of a tag is asked for by as_of=tag:NAME.

    \b
    Example:
      k2 tag create eod-2026-11-24 --retain 7y
    """  # noqa: D301 - \b is click's mark for "do not wrap"


@tag.command(name="list", epilog=_LIST_EXAMPLES, context_settings=_CONTEXT)
@table_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object per tag.")
def list_all(*, names: Sequence[str], module: str | None, as_json: bool) -> None:
    """Show the tags of the tables, with their snapshots."""
    found = [
        (table, one)
        for table, tags in each_table(settings_of(), module, names, list_tags)
        for one in tags
    ]
    if as_json:
        for table, one in found:
            click.echo(msgspec.json.encode({"table": table, **msgspec.to_builtins(one)}))
        return
    rows = [
        (
            table,
            one.name,
            str(one.snapshot_id),
            str(one.rows),
            "held" if one.is_held else "kept" if one.retain_ms is None else f"{one.retain_ms} ms",
        )
        for table, one in found
    ]
    for line in lines_of(("table", "tag", "snapshot", "rows", "retained"), rows):
        click.echo(line)


@tag.command(epilog=_DELETE_EXAMPLES, context_settings=_CONTEXT)
@click.argument("name")
@table_options
def delete(*, name: str, names: Sequence[str], module: str | None) -> None:
    """Delete a tag of each table that has it; its snapshots expire as others do."""
    for table, _ in each_table(settings_of(), module, names, lambda lake: delete_tag(lake, name)):
        click.echo(f"{table}: deleted {name}")


@tag.command(epilog=_RELEASE_EXAMPLES, context_settings=_CONTEXT)
@click.argument("name")
@table_options
def release(*, name: str, names: Sequence[str], module: str | None) -> None:
    """End the hold on a tag of each table that has it; the tag stays."""
    for table, _ in each_table(settings_of(), module, names, lambda lake: release_tag(lake, name)):
        click.echo(f"{table}: released {name}")


tag.add_command(create)
