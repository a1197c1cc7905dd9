"""`k2 demo-tour`: ten minutes from the first record to a second worker, station by station."""

import click

from k2_streams.cli.story import run_story
from k2_streams.demo.stations.ten_minutes import tell

_EXAMPLES = """\b
Examples:
  k2 demo-tour                  to watch, with the page open in a browser
  k2 demo-tour --check          without pauses and browser; ends with the clock

It has a Kafka, ports and a directory of its own, as `k2 demo` has. Where there is no Prometheus
(`make prometheus`) the station of the alert is left out, and the clock says so; with --check that
is a failure.

Exit codes: 0 all that the stations assert holds; 1 something does not, a station broke off or,
with --check, was left out, and its name is printed; 2 it could not begin."""


@click.command(
    name="demo-tour",
    epilog=_EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("--check", is_flag=True, help="For a machine: no pauses, no browser.")
@click.pass_context
def demo_tour(context: click.Context, *, check: bool) -> None:
    """Show each part of K2 in ten minutes, and assert what it claims."""
    run_story(context, lambda console, stage: tell(console, stage, is_live=not check))
