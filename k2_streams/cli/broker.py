"""`k2 broker`: the local Kafka, for a machine without one."""

import os
from pathlib import Path

import click

from k2_streams.testing.local.broker import LocalBroker
from k2_streams.testing.local.broker_errors import BrokerError
from k2_streams.testing.local.installed import DEFAULT_JARS, java_program

DEFAULT_PORT = 9092
#: What `status` says to a script: the same as systemctl's for a unit that is not running.
EXIT_NOT_RUNNING = 3


def data_directory(option: Path | None = None) -> Path:
    """The local broker's directory: the option, else `broker` in `K2_DATA_DIR` (.k2)."""
    return option or Path(os.environ.get("K2_DATA_DIR") or ".k2") / "broker"


_directory_option = click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where its data, logs and process id are.  [default: $K2_DATA_DIR/broker]",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def broker() -> None:
    """The local Kafka: one process on loopback, its data in K2_DATA_DIR.

    \b
    Examples:
      k2 broker start                 on 127.0.0.1:9092, in .k2/broker
      k2 broker start --port 0        on any free port
      k2 broker status                exit code 3 when it is not running
      k2 broker stop                  data stay; start again to go on
    """  # noqa: D301 - \b is click's mark for "do not wrap"


@broker.command()
@_directory_option
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    envvar="K2_BROKER_PORT",
    show_envvar=True,
    help="Port on 127.0.0.1; 0 takes any free one.",
)
@click.option(
    "--jars",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_JARS,
    envvar="K2_KAFKA_JARS",
    show_envvar=True,
    help="Folder of Kafka's jars, as `make jars` fills it.",
)
def start(directory: Path | None, port: int, jars: Path) -> None:
    """Start it unless it runs, wait until it is ready, and print its address.

    \b
    Examples:
      k2 broker start
      export K2_BOOTSTRAP=$(k2 broker start --port 0)
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    local = LocalBroker(
        data_directory(directory), jars, port=port, java=java_program(), detached=True
    )
    try:
        click.echo(local.start())
    except BrokerError as error:
        raise click.ClickException(str(error)) from error


@broker.command()
@_directory_option
def stop(directory: Path | None) -> None:
    """Stop it by its process id; its data stay.

    \b
    Example:
      k2 broker stop
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    where = data_directory(directory)
    stopped = LocalBroker(where, DEFAULT_JARS).stop()
    click.echo("stopped" if stopped else f"no broker was running in {where}")


@broker.command()
@_directory_option
@click.pass_context
def status(context: click.Context, directory: Path | None) -> None:
    """Say whether it runs, where, and where its log is.

    \b
    Example:
      k2 broker status || k2 broker start
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    where = data_directory(directory)
    found = LocalBroker(where, DEFAULT_JARS).status()
    if not found.running:
        click.echo(f"not running in {where}")
        context.exit(EXIT_NOT_RUNNING)
    state = "ready" if found.ready else "starting, or not answering"
    click.echo(f"{state} at {found.bootstrap}, process {found.pid}, log {found.log_file}")
