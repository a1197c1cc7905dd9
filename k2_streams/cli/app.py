"""`k2 app`: the app of a module, described or started anew."""

import click

from k2_streams.cli.app_acls import acls
from k2_streams.cli.app_describe import describe
from k2_streams.cli.app_reset import reset


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def app() -> None:
    """Look at the app of a module, or start it anew.

    \b
    Examples:
      k2 app describe topologies.trades
      k2 app acls topologies.trades
      k2 app reset topologies.trades --outputs --dry-run
    """  # noqa: D301 - \b is click's mark for "do not wrap"


app.add_command(describe)
app.add_command(acls)
app.add_command(reset)
