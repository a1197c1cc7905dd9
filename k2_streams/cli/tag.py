"""`k2 tag`: snapshots that stay, by name."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import click
import msgspec

from k2_streams.cli.errors import CannotError
from k2_streams.cli.option_types import DurationType
from k2_streams.cli.settings import settings_of
from k2_streams.cli.tables import chosen_lakes, table_options
from k2_streams.cli.text_table import lines_of
from k2_streams.lake.errors import LakeError
from k2_streams.lake.maintenance.tags import (
    NothingTaggedError,
    Tag,
    create_tag,
    delete_tag,
    list_tags,
    release_tag,
)
from k2_streams.lake.table import Lake

_CONTEXT = {"help_option_names": ["-h", "--help"]}
_Done = TypeVar("_Done")
_CREATE_EXAMPLES = """\b
Examples:
  k2 tag create eod-2026-11-24
  k2 tag create eod-2026-11-24 --retain 7y
  k2 tag create audit-17 --hold --table trades

Exit codes: 0 created; 2 not: the name is taken, or a table could not be changed. Tables before it
have the tag then."""
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


@tag.command(epilog=_CREATE_EXAMPLES, context_settings=_CONTEXT)
@click.argument("name")
@click.option(
    "--retain", "retain_s", type=DurationType(),
    help="How long it is kept: 30d, 7y.  [default: until it is deleted]",
)  # fmt: skip
@click.option("--hold", is_flag=True, help="It cannot be deleted until it is released.")
@table_options
def create(
    *, name: str, retain_s: float | None, hold: bool, names: Sequence[str], module: str | None
) -> None:
    """Name the newest snapshot of each table that has one."""
    if hold and retain_s is not None:
        raise CannotError("--retain and --hold: choose one, as a hold has no end")

    def act(lake: Lake) -> Tag:
        return create_tag(lake, name, retain_s=retain_s, is_held=hold)

    for table, created in _each(module, names, act):
        click.echo(f"{table}: {created.name} is snapshot {created.snapshot_id}")


@tag.command(name="list", epilog=_LIST_EXAMPLES, context_settings=_CONTEXT)
@table_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object per tag.")
def list_all(*, names: Sequence[str], module: str | None, as_json: bool) -> None:
    """Show the tags of the tables, with their snapshots."""
    found = [(table, one) for table, tags in _each(module, names, list_tags) for one in tags]
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
    for table, _ in _each(module, names, lambda lake: delete_tag(lake, name)):
        click.echo(f"{table}: deleted {name}")


@tag.command(epilog=_RELEASE_EXAMPLES, context_settings=_CONTEXT)
@click.argument("name")
@table_options
def release(*, name: str, names: Sequence[str], module: str | None) -> None:
    """End the hold on a tag of each table that has it; the tag stays."""
    for table, _ in _each(module, names, lambda lake: release_tag(lake, name)):
        click.echo(f"{table}: released {name}")


def _each(
    module: str | None, names: Sequence[str], act: Callable[[Lake], _Done]
) -> list[tuple[str, _Done]]:
    """What came of each table, by its name; without names of those that it concerns.

    Raises:
        CannotError: it concerns none, or one of them could not be read or changed.
    """
    done, absent = [], None
    try:
        for lake in chosen_lakes(settings_of(), module, names):
            try:
                done.append((lake.stream.name, act(lake)))
            except NothingTaggedError as error:
                if names:
                    raise
                absent = error
    except LakeError as error:
        raise CannotError(str(error)) from error
    if absent is not None and not done:
        raise CannotError(str(absent)) from absent
    return done
