"""`k2 demo`: a story to follow in a terminal: trades, faults, a kill, and what K2 finds."""

import click
from rich.console import Console

from k2_streams.cli.story import run_story
from k2_streams.cli.up import program
from k2_streams.demo.tour import tell
from k2_streams.testing.local.stage import Stage

#: Below, a few kinds of faults do not occur; above, an answer of one symbol takes long to print.
MESSAGES_MIN, MESSAGES_MAX = 5_000, 2_000_000

_EXAMPLES = """\b
Examples:
  k2 demo
  k2 demo --messages 1000000 --seed 42     more trades, and other faults
  k2 demo --keep                           leave Kafka and the worker running, for more queries

It has a Kafka, ports and a directory of its own; it ignores settings (K2_...) of the environment
except K2_KAFKA_JARS. Ctrl-C ends it at any time, and all that it started.

Exit codes: 0 every number agrees; 1 one does not, or the story broke off; 2 it could not begin."""


@click.command(epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--messages",
    type=click.IntRange(MESSAGES_MIN, MESSAGES_MAX),
    default=200_000,
    show_default=True,
    help="Synthetic trades to send, within about 20 s.",
)
@click.option("--seed", type=click.IntRange(0), default=7, show_default=True, help="Of the faults.")
@click.option("--keep", is_flag=True, help="Leave it running, and print how to stop it.")
@click.pass_context
def demo(context: click.Context, messages: int, seed: int, keep: bool) -> None:
    """Show K2 at work: trades with known faults, and every number compared with the truth."""

    def story(console: Console, stage: Stage) -> bool:
        agreed = tell(console, stage, messages, seed)
        if keep:
            stage.keep()
            _print_how_to_stop(console, stage)
        return agreed

    run_story(context, story)


def _print_how_to_stop(console: Console, stage: Stage) -> None:
    console.print(
        f"\nStill running: {stage.workers[0].url}/\nTo stop it and remove its data:\n"
        f"  K2_DATA_DIR={stage.directory} {program()} down && rm -r {stage.directory}",
        soft_wrap=True,
    )
