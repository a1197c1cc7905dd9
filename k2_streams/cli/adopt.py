"""`k2 adopt`: an app whose broker was lost goes on, on another one, from the lake."""

import asyncio
import logging

import click

from k2_streams.cli.errors import CannotError
from k2_streams.cli.loaded_app import argument, checked_topology, load_app
from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.core.records.source import RawInput
from k2_streams.kafka.log_reader import LogError
from k2_streams.kafka.sender import UNREACHABLE, NotAcknowledgedError
from k2_streams.kafka.topics import TopicConfigurationError
from k2_streams.kafka.transactions import REQUEST_FAILED
from k2_streams.lake.errors import LakeError
from k2_streams.lake.registration import register
from k2_streams.runtime.adoption.evidence import read_evidence
from k2_streams.runtime.adoption.found import (
    AdoptionRefusedError,
    FoundApp,
    look,
    lost_catalogs,
    source_of,
)
from k2_streams.runtime.adoption.plan import AdoptionPlan, plan_of
from k2_streams.runtime.adoption.run import Adoption, AdoptionIncompleteError
from k2_streams.runtime.settings.worker import Settings
from k2_streams.runtime.task.market import window_of

EXIT_INCOMPLETE = 1
_EXAMPLES = """\b
Examples:
  k2 adopt topologies.trades --dry-run
  k2 adopt topologies.trades

Exit codes: 0 adopted, or with --dry-run shown, or there was nothing to do; 1 a part was done: run
it again before producers and workers start; 2 nothing was changed."""


@click.command(epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@argument
@click.option("--dry-run", is_flag=True, help="Show what would be made, and change nothing.")
def adopt(*, module: str, dry_run: bool) -> None:
    """Rebuild the topics and the state of an app from the lake.

    For when the broker was lost, or the app moves to another one without its topics: the tables of
    the app's rows and of its ledger are read, and topics, changelogs and position are made of them
    at the offsets that they had. Rows that had not reached the lake are lost, and are accepted when
    they are sent again. A table that the catalog has lost is registered by its newest file.

    Refuses while a worker of the app is alive, and where a topic of it holds records.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    app = load_app(module)
    topology = checked_topology(app)
    try:
        source = source_of(topology)
        asyncio.run(_adopt(source, app.settings, dry_run=dry_run))
    except (AdoptionRefusedError, LakeError, TopicConfigurationError) as error:
        raise CannotError(str(error)) from error
    except (*UNREACHABLE, *REQUEST_FAILED, LogError) as error:
        raise CannotError(f"the broker does not do it: {error}") from error
    except _IncompleteError as error:
        click.echo(f"Error: {error.__cause__}: run the command again", err=True)
        raise SystemExit(EXIT_INCOMPLETE) from error


class _IncompleteError(Exception):
    """Something was done; what went wrong is the cause."""


async def _adopt(source: RawInput, settings: Settings, *, dry_run: bool) -> None:
    lost = await asyncio.to_thread(lost_catalogs, source, settings)
    for one in lost:
        click.echo(f"k2.{one.stream.name}: not in the catalog, found {one.metadata_file}")
        if not dry_run:
            await asyncio.to_thread(register, settings.lake, one.stream, one.metadata_file)
    if lost and dry_run:
        click.echo("these tables would be registered; without them nothing more is known")
        return
    found = await look(source, settings)
    if found.is_adopted:
        click.echo("nothing to do: the tables go on from the topics that are there")
        return
    evidence = await asyncio.to_thread(
        read_evidence,
        settings.lake,
        source,
        found.vectors[source.stream],
        settings.partitions,
        window_of(settings),
        click.echo,
    )
    plan = plan_of(source, found.vectors, evidence)
    _show(found, plan)
    if dry_run:
        return
    try:
        await Adoption(found, plan, settings, SYSTEM_CLOCK, click.echo).run()
    except (
        *UNREACHABLE, *REQUEST_FAILED, LakeError, LogError, NotAcknowledgedError,
        AdoptionIncompleteError, TimeoutError,
    ) as error:  # fmt: skip
        raise _IncompleteError from error
    click.echo("adopted: start the workers, then let producers send again what they sent last")


def _show(found: FoundApp, plan: AdoptionPlan) -> None:
    for topic in plan.topics:
        ends = ", ".join(f"{at}:{end}" for at, end in enumerate(topic.ends))
        click.echo(f"{topic.name} goes on at {ends}")
    parts = plan.partitions
    click.echo(
        f"{sum(len(one.states) for one in parts)} scopes, "
        f"{sum(one.missing for one in parts)} numbers missing, "
        f"{sum(len(hashes) for one in parts for hashes in one.ids.values())} trade ids, "
        f"{sum(len(one.events) for one in parts)} events that the ledger lacks"
    )
    if plan.deferred:
        click.echo(f"{plan.deferred} deferred records are lost: they have to be sent again")
    unfinished = [name for name in found.topics if found.is_ours(name)]
    if unfinished:
        click.echo(f"an adoption was not finished: it begins again ({', '.join(unfinished)})")
