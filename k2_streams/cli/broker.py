"""`k2 broker`: the local Kafka, for a machine without one."""

from pathlib import Path

import click

from k2_streams.cli.errors import CannotError
from k2_streams.cli.settings import settings_of
from k2_streams.runtime.settings.tools import LocalBrokerSettings, local_broker_settings
from k2_streams.runtime.settings.worker import SettingsError
from k2_streams.testing.local.broker import LocalBroker
from k2_streams.testing.local.broker_errors import BrokerError
from k2_streams.testing.local.installed import DEFAULT_JARS, java_program, kafka_jars
from k2_streams.testing.local.jars import fetch_jars

#: Of `status` where it does not run: the same as systemctl's for a unit that is not running.
EXIT_NOT_RUNNING = 3


def data_directory(option: Path | None = None) -> Path:
    """The local broker's directory: the option, else `broker` in `K2_DATA_DIR` (.k2).

    Raises:
        CannotError: a setting cannot be used.
    """
    return option or settings_of().data_dir / "broker"


def broker_settings() -> LocalBrokerSettings:
    """The local broker's port, jars and Java.

    Raises:
        CannotError: one of them cannot be used.
    """
    try:
        return local_broker_settings()
    except SettingsError as error:
        raise CannotError(str(error)) from error


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
      k2 broker fetch                 Kafka's jars, once
      k2 broker start                 on 127.0.0.1:9092, in .k2/broker
      k2 broker start --port 0        on any free port
      k2 broker status                exit code 3 when it is not running
      k2 broker stop                  data stay; start again to go on
    """  # noqa: D301 - \b is click's mark for "do not wrap"


_jars_option = click.option(
    "--jars",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of Kafka's jars.  [default: $K2_KAFKA_JARS or .cache/kafka/lib of the checkout; "
    "without one ~/.cache/k2-streams/kafka/lib]",
)


@broker.command()
@_jars_option
def fetch(jars: Path | None) -> None:
    """Fetch Kafka's jars with Maven, once: 54 MB.

    \b
    Examples:
      k2 broker fetch                  before the first `k2 up` or `k2 broker start`
      k2 broker fetch --jars /opt/kafka-jars

    Exit codes: 0 they are there; 2 there is no Maven, or it could not fetch them.
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    where = jars or kafka_jars(broker_settings())
    click.echo(f"fetching Kafka's jars into {where}", err=True)
    try:
        count = fetch_jars(where)
    except BrokerError as error:
        raise CannotError(str(error)) from error
    click.echo(f"{count} jars in {where}")


@broker.command()
@_directory_option
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Port on 127.0.0.1; 0 takes any free one.  [default: $K2_BROKER_PORT or 9092]",
)
@_jars_option
def start(directory: Path | None, port: int | None, jars: Path | None) -> None:
    """Start it unless it runs, wait until it is ready, and print its address.

    \b
    Examples:
      k2 broker start
      export K2_BOOTSTRAP=$(k2 broker start --port 0)

    Exit codes: 0 it runs; 2 it could not be started.
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    settings = broker_settings()
    local = LocalBroker(
        data_directory(directory),
        jars or kafka_jars(settings),
        port=settings.broker_port if port is None else port,
        java=java_program(),
        detached=True,
    )
    try:
        click.echo(local.start())
    except BrokerError as error:
        raise CannotError(str(error)) from error


@broker.command()
@_directory_option
def stop(directory: Path | None) -> None:
    """Stop it by its process id; its data stay.

    Example: k2 broker stop
    """
    where = data_directory(directory)
    stopped = LocalBroker(where, DEFAULT_JARS).stop()
    click.echo("stopped" if stopped else f"no broker was running in {where}")


@broker.command()
@_directory_option
@click.pass_context
def status(context: click.Context, directory: Path | None) -> None:
    """Say whether it runs, where, and where its log is.

    Example: k2 broker status || k2 broker start
    """
    where = data_directory(directory)
    found = LocalBroker(where, DEFAULT_JARS).status()
    if not found.running:
        click.echo(f"not running in {where}")
        context.exit(EXIT_NOT_RUNNING)
    state = "ready" if found.ready else "starting, or not answering"
    click.echo(f"{state} at {found.bootstrap}, process {found.pid}, log {found.log_file}")
