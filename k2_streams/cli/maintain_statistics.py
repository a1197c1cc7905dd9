"""`k2 maintain statistics`: what other engines plan by."""

import dataclasses
from collections.abc import Sequence

import click
import msgspec

from k2_streams.cli.errors import CannotError
from k2_streams.cli.settings import settings_of
from k2_streams.cli.tables import chosen_lakes, table_options
from k2_streams.lake.errors import LakeError
from k2_streams.lake.maintenance.statistics import write_statistics

_EXAMPLES = """\b
Examples:
  k2 maintain statistics
  k2 maintain statistics --table trades --json | jq .distinct

Exit codes: 0 written, also where the newest snapshot has them; 2 a table could not be read or
changed, or the extra `statistics` is not installed."""


@click.command(epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@table_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object per table.")
def statistics(*, names: Sequence[str], module: str | None, as_json: bool) -> None:
    """Estimate how many distinct values the columns of text have, for Trino and Spark.

    They are written as a Puffin file of the newest snapshot. Data files that were read for an
    earlier snapshot are not read again.
    """
    settings = settings_of()
    try:
        for lake in chosen_lakes(settings, module, names):
            done = write_statistics(lake)
            if done is None:
                continue
            if as_json:
                line = {"table": lake.stream.name, **dataclasses.asdict(done)}
                click.echo(msgspec.json.encode(line))
            else:
                counts = " ".join(f"{name}={count}" for name, count in done.distinct.items())
                click.echo(f"{lake.stream.name}: {counts} (files read: {done.files_read})")
    except LakeError as error:
        raise CannotError(str(error)) from error
