"""The `k2` command. A subcommand's module is imported when it is asked for, and not before."""

import logging
import sys
from typing import NamedTuple

import click
import structlog

from k2_streams.cli.errors import CannotError
from k2_streams.importing import import_when_used


class _Command(NamedTuple):
    """Where a subcommand is defined, and the line that `k2 --help` shows."""

    target: str  # module:attribute
    summary: str


_COMMANDS = {
    "up": _Command("k2_streams.cli.up:up", "Start a local Kafka and a worker."),
    "down": _Command("k2_streams.cli.down:down", "Stop what `k2 up` started."),
    "app": _Command("k2_streams.cli.app:app", "Describe an app, or start it anew."),
    "adopt": _Command("k2_streams.cli.adopt:adopt", "Rebuild topics and state from the lake."),
    "broker": _Command("k2_streams.cli.broker:broker", "Start, stop or look at the local Kafka."),
    "produce": _Command("k2_streams.cli.produce:produce", "Send synthetic or recorded trades."),
    "replay": _Command(
        "k2_streams.cli.replay:replay", "Give rows again: as lines, as Arrow, or to a topic."
    ),
    "verify": _Command("k2_streams.cli.verify:verify", "Compare the answers with a truth file."),
    "changelog": _Command(
        "k2_streams.cli.changelog:changelog", "Show what a table's changelog holds."
    ),
    "dead-letters": _Command(
        "k2_streams.cli.dead_letters:dead_letters", "List unprocessed records, or send them again."
    ),
    "sql": _Command("k2_streams.cli.sql:sql", "Ask running nodes in SQL, with the proof."),
    "repair": _Command(
        "k2_streams.cli.repair:repair", "Fill gaps from a recording, a topic or another lake."
    ),
    "maintain": _Command(
        "k2_streams.cli.maintain:maintain", "Compact the Iceberg tables, or look at their files."
    ),
    "tag": _Command("k2_streams.cli.tag:tag", "Name snapshots that stay, with their files."),
    "cost": _Command("k2_streams.cli.cost:cost", "Compute what a rate of messages costs."),
    "keys": _Command("k2_streams.cli.keys:keys", "Make API keys."),
    "demo": _Command("k2_streams.cli.demo:demo", "Show K2 at work, and check it."),
    "demo-tour": _Command(
        "k2_streams.cli.demo_tour:demo_tour", "Show K2 in ten minutes, station by station."
    ),
    "demo-overload": _Command(
        "k2_streams.cli.demo_overload:demo_overload", "Show K2 under ten times its load."
    ),
}


class _LazyGroup(click.Group):
    """Imports nothing for `--help` and one module for a subcommand: pyarrow alone takes 0.3 s."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the subcommand; a file that cannot be read or written is one line, and code 2."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # click ends quietly: nobody reads the output any more
        except OSError as error:
            what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            raise CannotError(f"{what} (local files are in K2_DATA_DIR)") from error

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        entry = _COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        command = getattr(import_when_used(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.target}: expected a click command, found {type(command)}")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in _COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="k2-streams", prog_name="k2")
def main() -> None:
    """K2 Streams: market trades, complete and provably so.

    \b
    Examples:
      k2 up                                    a local Kafka, a worker and the page
      k2 produce --rate 1000 --duration 30     thirty seconds of trades
      k2 broker status                         where the local Kafka is
      k2 COMMAND --help                        more of each
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    # What a command prints is for a pipe or a person; what the libraries log goes beside it.
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    )


if __name__ == "__main__":
    main()
