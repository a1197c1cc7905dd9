"""`k2 maintain status` and `k2 maintain compact`: small files are shown, and merged."""

import dataclasses
import datetime as dt
from collections.abc import Iterator, Sequence

import click
import msgspec

from k2_streams.cli.errors import CannotError
from k2_streams.cli.settings import settings_of
from k2_streams.cli.tables import chosen_lakes, table_options
from k2_streams.cli.text_table import lines_of
from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.lake.errors import InputsGoneError, LakeError
from k2_streams.lake.maintenance.compaction import Compacted, Compactor
from k2_streams.lake.maintenance.report import TableReport, report_of
from k2_streams.lake.table import Lake

_CONTEXT = {"help_option_names": ["-h", "--help"]}
#: Groups of one table in one run; a table with more is a mistake, or the command is run again.
MAX_GROUPS = 10_000
#: In a row, for another writer that compacts the same table.
MAX_CONFLICTS = 5

_STATUS_EXAMPLES = """\b
Examples:
  k2 maintain status
  k2 maintain status --table trades --json | jq .small_files

Exit codes: 0 shown; 2 a table could not be read."""
_COMPACT_EXAMPLES = """\b
Examples:
  k2 maintain compact --dry-run                  which files would be merged first
  k2 maintain compact
  k2 maintain compact --app topologies.examples.vwap

Exit codes: 0 compacted, also where there was nothing to do; 2 a table could not be read, or is one
that K2 must not write to. What was compacted until then stays."""

_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")


@click.command(epilog=_STATUS_EXAMPLES, context_settings=_CONTEXT)
@table_options
@_as_json
def status(*, names: Sequence[str], module: str | None, as_json: bool) -> None:
    """Show rows, files and snapshots of the tables. Changes nothing."""
    settings = settings_of()
    try:
        found = [
            report_of(lake, settings.compaction) for lake in chosen_lakes(settings, module, names)
        ]
    except LakeError as error:
        raise CannotError(str(error)) from error
    if as_json:
        for one in found:
            click.echo(msgspec.json.encode(one))
        return
    columns = [field.name for field in dataclasses.fields(TableReport)]
    rows = [[str(getattr(one, name)) for name in columns] for one in found]
    for line in lines_of([name.replace("_", " ") for name in columns], rows):
        click.echo(line)


@click.command(epilog=_COMPACT_EXAMPLES, context_settings=_CONTEXT)
@table_options
@click.option("--dry-run", is_flag=True, help="Show what would be merged first, and merge nothing.")
@_as_json
def compact(*, names: Sequence[str], module: str | None, dry_run: bool, as_json: bool) -> None:
    """Merge the small files of each day, sorted as the sink sorts them.

    Rows do not change: their number and a checksum are proven before each commit. Tokens and
    cursors stay answerable.
    """
    settings = settings_of()
    try:
        for lake in chosen_lakes(settings, module, names):
            compactor = Compactor(lake, SYSTEM_CLOCK, settings.compaction)
            lines = _planned(compactor) if dry_run else _compacted(lake, compactor)
            for line in lines:
                click.echo(
                    msgspec.json.encode({"table": lake.stream.name, **line})
                    if as_json
                    else f"{lake.stream.name}: {_text(line)}"
                )
            for path, reason in compactor.unfit.items():
                click.echo(f"{path}: not compacted: {reason}", err=True)
    except LakeError as error:
        raise CannotError(str(error)) from error


def _planned(compactor: Compactor) -> Iterator[dict[str, int | str]]:
    for group in compactor.planned():
        yield {
            "day": _date(group[0].day),
            "files": len(group),
            "rows": sum(one.rows for one in group),
            "read_bytes": sum(one.size_bytes for one in group),
        }


def _compacted(lake: Lake, compactor: Compactor) -> Iterator[dict[str, int | str]]:
    conflicts = 0
    for _ in range(MAX_GROUPS):
        try:
            done = compactor.run_once()
        except InputsGoneError:  # a worker compacts this table: plan anew
            conflicts += 1
            if conflicts == MAX_CONFLICTS:
                raise
            continue
        if done is None:
            return
        conflicts = 0
        yield _shown(done)
    raise CannotError(f"{lake.stream.name}: more than {MAX_GROUPS} groups: run it again")


def _shown(done: Compacted) -> dict[str, int | str]:
    return {**dataclasses.asdict(done), "day": _date(done.day)}


def _text(line: dict[str, int | str]) -> str:
    return " ".join(f"{name}={value}" for name, value in line.items())


def _date(day: int) -> str:
    return (dt.date(1970, 1, 1) + dt.timedelta(day)).isoformat()
