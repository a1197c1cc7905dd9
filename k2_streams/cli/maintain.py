"""`k2 maintain`: the Iceberg tables are kept small."""

import click

from k2_streams.cli.maintain_compact import compact, status
from k2_streams.cli.maintain_files import expire, orphans
from k2_streams.cli.maintain_statistics import statistics


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def maintain() -> None:
    """Keep the Iceberg tables small.

    Safe beside workers and queries: a sink never waits for it. A worker compacts and expires by
    itself with K2_MAINTENANCE=1; orphan files go by this command alone.

    \b
    Examples:
      k2 maintain status
      k2 maintain compact
      k2 maintain expire --keep 100
      k2 maintain orphans
      k2 maintain statistics
    """  # noqa: D301 - \b is click's mark for "do not wrap"


for _command in (status, compact, expire, orphans, statistics):
    maintain.add_command(_command)
