"""`k2 maintain expire` and `k2 maintain orphans`: files that nothing needs any more are deleted."""

from collections.abc import Sequence
from typing import Any

import click
import msgspec

from k2_streams.cli.errors import CannotError
from k2_streams.cli.option_types import DurationType
from k2_streams.cli.settings import settings_of
from k2_streams.cli.tables import chosen_lakes, table_options
from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.lake.errors import LakeError
from k2_streams.lake.maintenance.deletions import delete_due
from k2_streams.lake.maintenance.expiry import expire_snapshots, expiring
from k2_streams.lake.maintenance.orphans import (
    OLDER_THAN_S,
    Orphans,
    delete_orphans,
    find_orphans,
)
from k2_streams.lake.table import Lake

_CONTEXT = {"help_option_names": ["-h", "--help"]}
#: As many as a worker keeps.
KEEP = 100
_EXPIRE_EXAMPLES = """\b
Examples:
  k2 maintain expire --dry-run
  k2 maintain expire --keep 10 --older-than 7d
  k2 maintain expire --table trades --json

Exit codes: 0 expired, also where there was nothing to do; 2 a table could not be read or changed.
What was done until then stays."""
_ORPHANS_EXAMPLES = """\b
Examples:
  k2 maintain orphans                     what would be deleted
  k2 maintain orphans --delete
  k2 maintain orphans --older-than 3d --json | jq .path

Exit codes: 0 shown, or deleted; 2 nothing was deleted of the table that the error names."""


@click.command(epilog=_EXPIRE_EXAMPLES, context_settings=_CONTEXT)
@table_options
@click.option(
    "--keep", type=click.IntRange(1), default=KEEP, show_default=True,
    help="So many of the newest snapshots stay.",
)  # fmt: skip
@click.option(
    "--older-than", "older_than_s", type=DurationType(), default="0s", show_default=True,
    help="Younger snapshots stay: 90s, 30m, 12h or 7d.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Show how many would expire, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per table.")
def expire(
    *,
    names: Sequence[str],
    module: str | None,
    keep: int,
    older_than_s: float,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Let old snapshots expire, and delete what only they reached.

    Tags, branches and the newest snapshots stay, and every file that one of them reaches. Files are
    deleted K2_DELETE_DELAY_S after their snapshots have expired: by a worker with K2_MAINTENANCE=1,
    or when this command is run again. Tokens stay answerable.
    """
    settings = settings_of()
    try:
        for lake in chosen_lakes(settings, module, names):
            line = _expired(lake, keep, older_than_s, settings.delete_delay_s, dry_run=dry_run)
            _show({"table": lake.stream.name, **line}, as_json=as_json)
    except LakeError as error:
        raise CannotError(str(error)) from error


def _expired(
    lake: Lake, keep: int, older_than_s: float, delay_s: float, *, dry_run: bool
) -> dict[str, int]:
    now_ms = SYSTEM_CLOCK.time_ns() // 1_000_000
    before_ms = now_ms - int(older_than_s * 1_000)
    if dry_run:
        return {"would_expire": len(expiring(lake, keep=keep, older_than_ms=before_ms))}
    done = expire_snapshots(lake, keep=keep, older_than_ms=before_ms, files_at_ms=now_ms)
    deleted = delete_due(lake, SYSTEM_CLOCK, delay_s=delay_s)
    return {
        "expired": len(done.snapshot_ids),
        "deleted_files": deleted.files,
        "waiting_deletions": deleted.waiting,
    }


@click.command(epilog=_ORPHANS_EXAMPLES, context_settings=_CONTEXT)
@table_options
@click.option(
    "--older-than", "older_than_s", type=DurationType(), default=f"{OLDER_THAN_S / 3_600:.0f}h",
    show_default=True, help="Younger files may belong to a commit under way: 12h, 3d; 1h at least.",
)  # fmt: skip
@click.option("--delete", is_flag=True, help="Delete them.  [default: only show them]")
@click.option("--force", is_flag=True, help="Also where they are more than 10 % of the table.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per file.")
def orphans(
    *,
    names: Sequence[str],
    module: str | None,
    older_than_s: float,
    delete: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Show the files in the tables' locations that nothing refers to, or delete them.

    They are left behind by commits that failed or were killed. Only the location of each table is
    looked at, and nothing that a snapshot, branch or tag reaches is touched.
    """
    settings = settings_of()
    try:
        for lake in chosen_lakes(settings, module, names):
            found = (
                delete_orphans(lake, SYSTEM_CLOCK, older_than_s=older_than_s, force=force)
                if delete
                else find_orphans(lake, SYSTEM_CLOCK, older_than_s=older_than_s)
            )
            _show_orphans(lake.stream.name, found, deleted=delete, as_json=as_json)
    except LakeError as error:
        raise CannotError(str(error)) from error


def _show_orphans(table: str, found: Orphans, *, deleted: bool, as_json: bool) -> None:
    for one in found.files:
        line = {"table": table, "path": one.path, "size_bytes": one.size_bytes}
        click.echo(msgspec.json.encode(line) if as_json else one.path)
    what = "deleted" if deleted else "orphan files"
    click.echo(f"{table}: {len(found.files)} {what}, {found.size_bytes} bytes", err=True)
    if found.refusal is not None and not deleted:
        click.echo(f"{table}: {found.refusal}", err=True)


def _show(line: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(line))
    else:
        table, *rest = (f"{name}={value}" for name, value in line.items())
        click.echo(f"{table.removeprefix('table=')}: {' '.join(rest)}")
