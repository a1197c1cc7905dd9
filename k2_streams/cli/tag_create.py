"""`k2 tag create`: a snapshot gets a name, at once or when a day is over."""

import datetime as dt
from collections.abc import Sequence

import click

from k2_streams.cli.errors import CannotError
from k2_streams.cli.option_types import DurationType
from k2_streams.cli.settings import settings_of
from k2_streams.cli.tables import each_table, table_options
from k2_streams.cli.tag_date import DayWaiting, day_in_tables
from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.lake.maintenance.tags import Tag, create_tag
from k2_streams.lake.table import Lake

_EXAMPLES = """\b
Examples:
  k2 tag create eod-2026-11-24
  k2 tag create eod-2026-11-24 --date 2026-11-24 --retain 7y
  k2 tag create audit-17 --hold --table trades

Exit codes: 0 created; 2 not: the name is taken, a table could not be changed, or the day of --date
was not over and in the lake in time. Tables before it have the tag then."""


@click.command(epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name")
@click.option(
    "--date", type=click.DateTime(["%Y-%m-%d"]),
    help="Wait until the coverage of this trading date is not pending, and the lake has it.",
)  # fmt: skip
@click.option(
    "--within", "within_s", type=DurationType(), default=48 * 3_600.0, show_default="48h",
    help="How long to wait for --date.",
)  # fmt: skip
@click.option(
    "--url", help="A node, for --date.  [default: http://127.0.0.1 and $K2_WEB_PORT]"
)  # fmt: skip
@click.option(
    "--retain", "retain_s", type=DurationType(),
    help="How long it is kept: 30d, 7y.  [default: until it is deleted]",
)  # fmt: skip
@click.option("--hold", is_flag=True, help="It cannot be deleted until it is released.")
@table_options
def create(
    *,
    name: str,
    date: dt.datetime | None,
    within_s: float,
    url: str | None,
    retain_s: float | None,
    hold: bool,
    names: Sequence[str],
    module: str | None,
) -> None:
    """Name the newest snapshot of each table that has one."""
    if hold and retain_s is not None:
        raise CannotError("--retain and --hold: choose one, as a hold has no end")
    settings = settings_of()
    if date is not None:
        node = url or f"http://127.0.0.1:{settings.web_port}"
        waiting = DayWaiting(node, next(iter(settings.api_keys), None), SYSTEM_CLOCK, click.echo)
        waiting.wait(date.date(), within_s, lambda needed: day_in_tables(settings.lake, needed))

    def act(lake: Lake) -> Tag:
        return create_tag(lake, name, retain_s=retain_s, is_held=hold)

    for table, created in each_table(settings, module, names, act):
        click.echo(f"{table}: {created.name} is snapshot {created.snapshot_id}")
