"""`k2 demo-overload`: ten times the capacity: what is deferred, what stays fresh, nothing lost."""

from pathlib import Path

import click

from k2_streams.cli.story import run_story
from k2_streams.demo.overload import tell
from k2_streams.demo.overload_run import Load

_EXAMPLES = """\b
Examples:
  k2 demo-overload                        a minute of overload; about a quarter of an hour
  k2 demo-overload --seconds 15           the drain takes about ten times as long as the overload
  k2 demo-overload --picture load.png     where the picture goes

It has a Kafka, ports and a directory of its own, as `k2 demo` has.

Exit codes: 0 every number agrees; 1 one does not, or the story broke off; 2 it could not begin."""


@click.command(
    name="demo-overload",
    epilog=_EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--seconds",
    type=click.FloatRange(5, 600),
    default=60.0,
    show_default=True,
    help="Of overload.",
)
@click.option(
    "--times",
    type=click.FloatRange(2, 50),
    default=10.0,
    show_default=True,
    help="The load, as a multiple of the worker's capacity.",
)
@click.option(
    "--capacity",
    type=click.IntRange(100, 100_000),
    default=1_000,
    show_default=True,
    help="Records per second to which the worker is limited.",
)
@click.option(
    "--cool-down",
    type=click.FloatRange(1),
    default=10.0,
    show_default=True,
    help="Seconds until the worker leaves a level (K2_COOL_DOWN_S).",
)
@click.option("--seed", type=click.IntRange(0), default=7, show_default=True, help="Of the faults.")
@click.option(
    "--picture",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("overload.png"),
    show_default=True,
    help="Where it is drawn.",
)
@click.pass_context
def demo_overload(
    context: click.Context,
    seconds: float,
    times: float,
    capacity: int,
    cool_down: float,
    seed: int,
    picture: Path,
) -> None:
    """Show K2 under ten times the load of its capacity: deferred, never lost."""
    load = Load(capacity=capacity, times=times, overload_s=seconds, seed=seed)
    absolute = picture.absolute()
    run_story(context, lambda console, stage: tell(console, stage, load, cool_down, absolute))
