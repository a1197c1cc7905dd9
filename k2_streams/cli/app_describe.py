"""`k2 app describe`: what an app reads, keeps and writes."""

import click
import msgspec

from k2_streams.cli.loaded_app import argument, checked_topology, load_app
from k2_streams.runtime.description.drawing import mermaid, text
from k2_streams.runtime.description.topology import describe as description_of

_EXAMPLES = """\b
Examples:
  k2 app describe topologies.trades
  k2 app describe surveillance:app --format mermaid
  k2 app describe topologies.quotes --format json | jq '.sources[].agents'

Exit codes: 0 described; 2 there is no such app, or its declarations do not fit together."""


@click.command(epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@argument
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "mermaid"]),
    default="text",
    show_default=True,
    help="A drawing for people, an object for programs, or a diagram for documents.",
)
def describe(*, module: str, form: str) -> None:
    """Describe the app of a module. No broker is needed.

    Sources, agents, tables and outputs, with the names of their topics, changelogs, Iceberg tables
    and HTTP paths. Names depend on the settings of the environment, as those of a worker do.
    """
    app = load_app(module)
    found = description_of(checked_topology(app), app.settings, [page.path for page in app.pages])
    if form == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(found)))
    else:
        click.echo(mermaid(found) if form == "mermaid" else text(found))
