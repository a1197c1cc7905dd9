"""`k2 app acls`: what Kafka must permit an app."""

import click

from k2_streams.cli.loaded_app import argument, checked_topology, load_app
from k2_streams.runtime.acls import acls_of, creating

_EXAMPLES = """\b
Examples:
  k2 app acls topologies.trades
  k2 app acls topologies.trades --principal User:CN=k2 --create
  k2 app acls topologies.trades | xargs -L 1 kafka-acls.sh --bootstrap-server kafka:9093

Exit codes: 0 listed; 2 there is no such app, or its declarations do not fit together."""


@click.command(epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@argument
@click.option(
    "--principal",
    default="User:k2",
    show_default=True,
    help="Who the app is to Kafka: its user name, or the subject of its certificate.",
)
@click.option("--create", is_flag=True, help="Permit it to create its topics, too.")
def acls(*, module: str, principal: str, create: bool) -> None:
    """List the ACLs that the app of a module needs, as arguments of kafka-acls.

    No broker is needed. They are the least with which a worker runs. Names depend on the settings
    of the environment.
    """
    app = load_app(module)
    needed = acls_of(checked_topology(app), app.settings)
    for acl in [*needed, *(creating(needed) if create else [])]:
        click.echo(acl.command(principal))
