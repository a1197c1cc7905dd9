"""`k2 repair`: what is missing is asked of a source, and sent as one more line."""

import asyncio
import getpass
import logging
import socket
from collections.abc import Callable, Mapping
from typing import Any

import click
import msgspec

from k2_streams.cli.option_types import InstantType
from k2_streams.cli.repair_report import lines_of_plan, lines_of_repair, tell_what_stays
from k2_streams.cli.repair_source import cannot, platform_of, selection_of, source_of
from k2_streams.core.records.source import INPUTS
from k2_streams.runtime.repair.missing import MAX_NUMBERS, RepairPlan
from k2_streams.runtime.repair.platform import RepairBy, Repaired, RepairRequest

EXIT_STILL_MISSING = 1
_CONTEXT = {"help_option_names": ["-h", "--help"]}
_EXAMPLES = """\b
Examples:
  k2 repair plan
  k2 repair plan --exchange BINANCE --symbol BTCUSDT --json

Exit codes: 0 shown; 2 it could not be read."""
_RUN_EXAMPLES = """\b
Examples:
  k2 repair run --source file:BTCUSDT.gz --feed binance.spot --dry-run
  k2 repair run --source file:trades.jsonl --exchange SIM
  k2 repair run --source kafka:other:9092/k2.trades.raw --since 2026-11-30T09:00:00Z
  k2 repair run --source lake:sqlite:////mnt/other/catalog.db --rate 5000
  k2 repair run --source my-vendor --max-numbers 10000
  k2 repair run --by trade-id --source file:trades.jsonl --dry-run

Run it again, also after a kill: what is there is not asked for, what comes twice is a duplicate.
Exit codes: 0 all that was asked for is filled; 1 some is still missing, and listed; 2 it could not
be done."""


def _selection(command: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.option("--stream", type=click.Choice(list(INPUTS)), default="trades",
                     show_default=True),
        click.option("--exchange", help="Gaps of this exchange.  [default: all]"),
        click.option("--symbol", help="Of this symbol, or @connection: the scope's name."),
        click.option("--since", type=InstantType(), help="Of numbers traded then or later."),
        click.option("--until", type=InstantType(), help="Of numbers traded before."),
        click.option("--max-numbers", type=click.IntRange(1), default=MAX_NUMBERS,
                     show_default=True, help="Asked for at most."),
        click.option("--json", "as_json", is_flag=True, help="JSON, with all ranges."),
        click.option("--bootstrap", help="Broker.  [default: $K2_BOOTSTRAP or 127.0.0.1:9092]"),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.group(context_settings=_CONTEXT)
def repair() -> None:
    """Fill gaps from a recording, a topic, another lake or a plug-in.

    \b
    Examples:
      k2 repair plan
      k2 repair run --source file:BTCUSDT.gz --feed binance.spot
    """  # noqa: D301 - \b is click's mark for "do not wrap"


@repair.command(epilog=_EXAMPLES, context_settings=_CONTEXT)
@_selection
def plan(**options: Any) -> None:
    """Show which numbers a repair would ask for, and which cannot be filled any more."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    with cannot():
        found = asyncio.run(_plan(options))
    if options["as_json"]:
        click.echo(msgspec.json.encode(found))
        return
    for line in lines_of_plan(found):
        click.echo(line)
    tell_what_stays(found)


@repair.command(epilog=_RUN_EXAMPLES, context_settings=_CONTEXT)
@click.option(
    "--source",
    required=True,
    metavar="SOURCE",
    help="file:PATH, kafka:BOOTSTRAP/TOPIC, lake:CATALOG, or an installed plug-in's name.",
)
@click.option(
    "--by",
    type=click.Choice([*RepairBy]),
    default=RepairBy.SEQUENCE,
    show_default=True,
    help="Fill missing numbers; or, of a feed without numbers, send what no row has the id of.",
)
@click.option("--feed", default="canonical", show_default=True, help="Of a file's records.")
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    help="Records per second.  [default: as fast as possible]",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0, min_open=True),
    default=120.0,
    show_default=True,
    help="Seconds until what was sent is processed.",
)
@click.option("--dry-run", is_flag=True, help="Ask the source, and send nothing.")
@_selection
def run(**options: Any) -> None:
    """Ask a source for exactly what is missing, and send it to the raw topic as one more line."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    with cannot():
        done = asyncio.run(_run(options))
    if options["as_json"]:
        click.echo(msgspec.json.encode(done.ranges))
    else:
        for line in lines_of_repair(done, dry_run=options["dry_run"]):
            click.echo(line)
    tell_what_stays(done.plan, by_what=options["by"])
    if done.is_missing and not options["dry_run"]:
        raise click.exceptions.Exit(EXIT_STILL_MISSING)


async def _plan(options: Mapping[str, Any]) -> RepairPlan:
    platform = await platform_of(options, writes=False)
    return await platform.plan(selection_of(options))


async def _run(options: Mapping[str, Any]) -> Repaired:
    platform = await platform_of(options, writes=not options["dry_run"])
    request = RepairRequest(
        RepairBy(options["by"]),
        selection_of(options),
        source_of(options["source"], options["feed"], platform),
        options["source"],
        f"{getpass.getuser()}@{socket.gethostname()}",
        options["rate"],
        options["timeout_s"],
        options["dry_run"],
    )
    return await platform.run(request)
