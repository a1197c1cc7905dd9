"""`k2 up`: a local Kafka, workers and query nodes, in the background or in front."""

import logging
import shutil
import sys

import click

from k2_streams.cli.down import show_stopped
from k2_streams.cli.errors import CannotError
from k2_streams.cli.settings import settings_of
from k2_streams.runtime.settings.worker import Settings, SettingsError
from k2_streams.testing.local import up_state
from k2_streams.testing.local.broker_errors import BrokerError
from k2_streams.testing.local.interrupts import interruptible, uninterruptible
from k2_streams.testing.local.up import Platform, UpError, UpResult, bring_down, bring_up
from k2_streams.testing.local.up_state import PlatformMember
from k2_streams.testing.local.up_watch import EndedError, log_file_of, watch
from k2_streams.testing.local.workers import WorkerError

#: Far more than one machine runs well; ids end at 999.
MEMBERS_MAX = 100
EXIT_ENDED = 1

_EXAMPLES = """\b
Examples:
  k2 up                                        Kafka on 9092, the page on 6066, data in .k2
  K2_WEB_PORT=7000 K2_BROKER_PORT=9192 k2 up   on other ports
  K2_BOOTSTRAP=kafka:9092 k2 up                a worker alone, on a Kafka that is already there
  k2 down                                      stop them; the data stay
  k2 up --workers 2 --query-nodes 2            a platform in front, on 6066 to 6069; Ctrl-C ends it
  K2_ROLE=work k2 up --workers 2 --query-nodes 1   workers that leave all answers to the query node
  K2_BROKER_PORT=0 k2 up --workers 3 --free-ports  on ports that nobody uses

Without --workers and --query-nodes the command ends and everything goes on running. Run again it
starts what has ended, and prints where the rest is. With one of them it stays in front until
Ctrl-C or `k2 down`, and ends everything when a process ends by itself or the terminal is closed.

Exit codes: 0 all run and answer, or were stopped as asked; 1 a process ended by itself while the
command was in front; 2 not started, and nothing that this call started was left running."""


@click.command(epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--workers",
    type=click.IntRange(0, MEMBERS_MAX),
    help="Workers to run, with the ids from K2_WORKER_ID on; 1 if --query-nodes alone is given.",
)
@click.option(
    "--query-nodes",
    type=click.IntRange(0, MEMBERS_MAX),
    help="Query nodes (K2_ROLE=query) to run, with the ids after the workers'.",
)
@click.option("--free-ports", is_flag=True, help="Listen on free ports instead of K2_WEB_PORT.")
def up(workers: int | None, query_nodes: int | None, *, free_ports: bool) -> None:
    """Start a local Kafka, workers and query nodes, and wait until they answer.

    With K2_BOOTSTRAP they use that Kafka, and no other is started. Logs are in the data directory.
    """
    # aiokafka's warnings about an unreachable broker repeat the text of the error.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    settings = settings_of()
    platform = Platform(1 if workers is None else workers, query_nodes or 0, free_ports)
    if workers is None and query_nodes is None:
        _print(settings, _bring_up(settings, platform))
    elif platform.workers + platform.query_nodes == 0:
        raise CannotError("--workers 0 and no query nodes: nothing to run")
    else:
        _run_in_front(settings, platform)


def program() -> str:
    """How the reader calls this program."""
    return "k2" if shutil.which("k2") else sys.argv[0]


def _bring_up(settings: Settings, platform: Platform) -> UpResult:
    try:
        return bring_up(settings, platform)
    except (UpError, BrokerError, WorkerError, SettingsError) as error:
        raise CannotError(str(error)) from error


def _run_in_front(settings: Settings, platform: Platform) -> None:
    """Run it until a signal, `k2 down`, or the end of one of its processes."""
    directory = settings.data_dir
    if directory.is_dir() and up_state.running(directory, up_state.recall(directory)):
        raise CannotError(f"workers of {directory} run already: `k2 down` first")
    ended: EndedError | None = None
    try:
        with interruptible():
            found = _bring_up(settings, platform)
            _print(settings, found)
            click.echo("\nCtrl-C stops all of it.")
            watch(directory, found.state)
    except KeyboardInterrupt:
        click.echo()
    except EndedError as error:
        ended = error
    finally:
        # Whatever ended the watch, nothing may go on running: also a closed pipe or terminal.
        with uninterruptible():
            stopped = bring_down(directory)
    show_stopped(stopped)
    if ended is not None:
        click.echo(f"Error: {ended}", err=True)
        sys.exit(EXIT_ENDED)


def _print(settings: Settings, found: UpResult) -> None:
    k2, state = program(), found.state
    here = f"K2_DATA_DIR={settings.data_dir} " if settings.is_set("data_dir") else ""
    to_this = "" if state.bootstrap == "127.0.0.1:9092" else f"K2_BOOTSTRAP={state.bootstrap} "
    key = " -H 'X-API-Key: ...'" if settings.api_keys or settings.keys_file else ""
    broker = "the data directory's" if state.own_broker else "K2_BOOTSTRAP's"
    click.echo(f"Kafka    {state.bootstrap}, {broker}")
    if len(state.members) == 1:
        click.echo(f"worker   {_where(settings, found, state.members[0])}")
    else:
        for member in state.members:
            click.echo(f"{member.name:14}{member.url}/, {_where(settings, found, member)}")
    answering = [one for one in state.members if one.role != "work"]
    click.echo(f"data     {settings.data_dir}")
    if not answering:
        return
    url = answering[0].url
    click.echo(
        f"page     {url}/\n"
        "\n"
        "Thirty seconds of trades, a question, the end:\n"
        f"  {to_this}{k2} produce --rate 1000 --duration 30\n"
        f"  curl -s{key} '{url}/v1/trades?symbol=S0000&window=15m&order=desc&limit=3'\n"
        f"  {here}{k2} down"
    )


def _where(settings: Settings, found: UpResult, member: PlatformMember) -> str:
    what = "started" if member.worker_id in found.started else "was running"
    return f"{what}, process {member.pid}, log {log_file_of(settings.data_dir, member)}"
