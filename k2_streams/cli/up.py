"""`k2 up`: a local Kafka and a worker that go on running after the command."""

import logging
import shutil
import sys

import click

from k2_streams.cli.errors import CannotError
from k2_streams.cli.settings import settings_of
from k2_streams.runtime.settings.worker import Settings, SettingsError
from k2_streams.testing.local.broker_errors import BrokerError
from k2_streams.testing.local.up import UpError, bring_up, worker_of
from k2_streams.testing.local.up_state import UpState
from k2_streams.testing.local.workers import WorkerError

_EXAMPLES = """\b
Examples:
  k2 up                                        Kafka on 9092, the page on 6066, data in .k2
  K2_WEB_PORT=7000 K2_BROKER_PORT=9192 k2 up   on other ports
  K2_BOOTSTRAP=kafka:9092 k2 up                a worker alone, on a Kafka that is already there
  k2 down                                      stop them; the data stay

Run again it starts what has ended, and prints where the rest is.

Exit codes: 0 both run and answer; 2 not, and nothing that this call started was left running."""


@click.command(epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
def up() -> None:
    """Start a local Kafka and a worker, wait until they answer, and leave them running.

    With K2_BOOTSTRAP the worker uses that Kafka, and no other is started.
    """
    # aiokafka's warnings about an unreachable broker repeat the text of the error.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    settings = settings_of()
    try:
        state, started = bring_up(settings)
    except (UpError, BrokerError, WorkerError, SettingsError) as error:
        raise CannotError(str(error)) from error
    _print(settings, state, "started" if started else "was running")


def program() -> str:
    """How the reader calls this program."""
    return "k2" if shutil.which("k2") else sys.argv[0]


def _print(settings: Settings, state: UpState, what: str) -> None:
    k2 = program()
    here = f"K2_DATA_DIR={settings.data_dir} " if settings.is_set("data_dir") else ""
    to_this = "" if state.bootstrap == "127.0.0.1:9092" else f"K2_BOOTSTRAP={state.bootstrap} "
    key = " -H 'X-API-Key: ...'" if settings.api_keys or settings.keys_file else ""
    broker = "the data directory's" if state.own_broker else "K2_BOOTSTRAP's"
    click.echo(
        f"Kafka    {state.bootstrap}, {broker}\n"
        f"worker   {what}, process {state.pid}, log {worker_of(settings, '').log_file}\n"
        f"data     {settings.data_dir}\n"
        f"page     {state.url}/\n"
        "\n"
        "Thirty seconds of trades, a question, the end:\n"
        f"  {to_this}{k2} produce --rate 1000 --duration 30\n"
        f"  curl -s{key} '{state.url}/v1/trades?symbol=S0000&window=15m&order=desc&limit=3'\n"
        f"  {here}{k2} down"
    )
