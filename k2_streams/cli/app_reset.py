"""`k2 app reset`: an app is started anew."""

import asyncio
import logging
from collections.abc import Iterable

import click

from k2_streams.cli.errors import CannotError
from k2_streams.cli.loaded_app import argument, checked_topology, load_app
from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.kafka.log_reader import LogError
from k2_streams.kafka.sender import UNREACHABLE
from k2_streams.lake.errors import LakeError
from k2_streams.runtime.app import App
from k2_streams.runtime.reset.deleting import (
    ResetIncompleteError,
    ResetRefusedError,
    carry_out,
    group_of,
    in_use,
    require_free,
    wait_until_unused,
)
from k2_streams.runtime.reset.found import look
from k2_streams.runtime.reset.plan import Deleted, Deletion, Found, ResetPlan, plan_of

EXIT_INCOMPLETE = 1
_EXAMPLES = """\b
Examples:
  k2 app reset surveillance --outputs --dry-run    what would be deleted
  k2 app reset surveillance --outputs --yes        the app begins at the start of what it reads
  k2 app reset surveillance --keep-outputs         state only; the app then refuses to start

Exit codes: 0 deleted, or with --dry-run shown; 1 a part was deleted: run it again before the app is
started; 2 nothing was deleted."""


@click.command(epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@argument
@click.option(
    "--outputs/--keep-outputs",
    default=None,
    help="Delete what the app wrote, too: logs, sequence events, dead letters, level changes and "
    "Iceberg tables. Or keep it: the app then does not start while its logs hold records, as it "
    "would write the same rows again. One of the two is needed where something was written.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be deleted, and delete nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def reset(*, module: str, outputs: bool | None, dry_run: bool, yes: bool) -> None:
    """Start the app of a module anew: it forgets what it has read.

    Deletes the changelogs of its tables, its backlog, its consumer group with the offsets, and the
    state folders on this machine; with --outputs what it wrote as well. What it reads, and the
    topics of other apps, are never deleted. Apps that read its outputs must be reset too: they
    refuse a topic that was created anew. Refuses while a worker of the app is alive.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    app = load_app(module)
    checked_topology(app)
    try:
        kept = asyncio.run(_reset(app, outputs=outputs, dry_run=dry_run, yes=yes))
    except (*UNREACHABLE, LogError) as error:
        raise CannotError(f"the broker does not answer: {error}") from error
    except (LakeError, ResetRefusedError) as error:
        raise CannotError(str(error)) from error
    except ResetIncompleteError as error:
        click.echo(f"Error: {error}", err=True)
        raise SystemExit(EXIT_INCOMPLETE) from error
    if kept:
        command = f"k2 app reset {module} --outputs"
        click.echo(f"the app does not start while its outputs are there: `{command}` deletes them")


async def _reset(app: App, *, outputs: bool | None, dry_run: bool, yes: bool) -> bool:
    """Whether outputs were kept that the app will not start with."""
    topology, settings = app.topology, app.settings
    group = await (group_of(settings) if dry_run else wait_until_unused(settings, SYSTEM_CLOCK))
    found = await look(topology, settings, group)
    plan = plan_of(topology, settings.app_id, found, outputs=bool(outputs))
    for line in shown(plan, "would be deleted" if dry_run else "to delete"):
        click.echo(line)
    if not dry_run:
        require_free(found.folders)
    refusal = refused(plan, found, outputs)
    if dry_run:
        for text in (in_use(group, settings) if group.members else None, refusal):
            if text is not None:
                click.echo(f"refused without --dry-run: {text}")
        return False
    if refusal is not None:
        raise ResetRefusedError(refusal)
    if plan.deletions and not yes:
        _confirm()
    await carry_out(plan, topology, settings, lambda one: click.echo(f"deleted {_line(one)}"))
    return bool(plan.kept)


def _confirm() -> None:
    """Ask a person.

    Raises:
        CannotError: the answer is no, or nobody is there to ask.
    """
    try:
        agreed = click.confirm("Delete all of it?", err=True)
    except click.Abort:
        agreed = False
    if not agreed:
        raise CannotError("not confirmed, so nothing was deleted: confirm, or pass --yes")


def refused(plan: ResetPlan, found: Found, outputs: bool | None) -> str | None:
    """Why what was asked for is not done; None: it is."""
    if outputs is None and plan.kept:
        return (
            f"{len(plan.kept)} outputs hold something: choose --outputs (delete them, too) or "
            "--keep-outputs (the app then refuses to start while its logs hold records)"
        )
    if plan.kept and found.unguarded:
        return (
            f"{', '.join(found.unguarded)}: written, and their logs hold no record any more: "
            "without its state the app would start and write the same rows again: choose --outputs"
        )
    return None


def shown(plan: ResetPlan, what: str) -> Iterable[str]:
    """The plan, one line per topic, table, folder and group."""
    for heading, found in ((what, plan.deletions), ("kept", plan.kept)):
        yield f"{heading}:" if found else f"{heading}: nothing"
        yield from (f"  {_line(one)}" for one in found)
    yield f"read, never deleted: {', '.join(plan.read)}"


def _line(one: Deletion) -> str:
    name = f"k2.{one.name}, with its files" if one.kind is Deleted.TABLE else one.name
    return f"{one.kind.value:<17} {name}"
