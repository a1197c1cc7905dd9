"""`k2 down`: the end of what `k2 up` left running."""

import click

from k2_streams.cli.settings import settings_of
from k2_streams.testing.local.up import DownResult, bring_down

_EXAMPLES = """\b
Examples:
  k2 down
  K2_DATA_DIR=/data/k2 k2 down

Exit code: 0, also where nothing ran."""


@click.command(epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
def down() -> None:
    """Stop the processes and the Kafka that `k2 up` started, by their process ids; data stay."""
    directory = settings_of().data_dir
    stopped = bring_down(directory)
    show_stopped(stopped)
    if not stopped.members and not stopped.broker:
        click.echo(f"nothing was running in {directory}")


def show_stopped(stopped: DownResult) -> None:
    """Print what was stopped, and how."""
    alone = len(stopped.members) == 1
    for member in stopped.members:
        late = member.worker_id in stopped.killed
        how = "killed: it did not stop in time" if late else "stopped"
        click.echo(f"worker   {how}" if alone else f"{member.name:14}{how}")
    if stopped.broker:
        click.echo("Kafka    stopped")
