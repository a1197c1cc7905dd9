"""`k2 keys`: API keys for the file that K2_API_KEYS_FILE names."""

import click

from k2_streams.cli.errors import CannotError
from k2_streams.runtime.settings.api_keys import ApiKeysError, table_of
from k2_streams.web.http.api_keys import digest_of, new_text

_EXAMPLES = """\b
Examples:
  k2 keys new research >> keys.toml
  k2 keys new desk --exchange XASX --relation trades --relation gaps --rate 20 >> keys.toml
  k2 keys new prometheus --relation metrics >> keys.toml

Exit codes: 0 made; 2 an argument cannot be used."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def keys() -> None:
    """Make API keys.

    \b
    Example:
      k2 keys new research >> keys.toml
    """  # noqa: D301 - \b is click's mark for "do not wrap"


@keys.command(epilog=_EXAMPLES)
@click.argument("name")
@click.option("--exchange", "exchanges", multiple=True, help="May be read; none: all may be.")
@click.option("--relation", "relations", multiple=True, help="May be read; none: all may be.")
@click.option("--rate", type=float, help="Requests per second.  [default: K2_RATE_LIMIT_PER_S]")
def new(
    *, name: str, exchanges: tuple[str, ...], relations: tuple[str, ...], rate: float | None
) -> None:
    """Make an API key, and print its table for the file of keys.

    The key itself goes to standard error, once. The file holds its hash alone.
    """
    text = new_text()
    try:
        table = table_of(name, digest_of(text), exchanges=exchanges, relations=relations, rate=rate)
    except ApiKeysError as error:
        raise CannotError(str(error)) from error
    click.echo(table)
    click.echo(f"API key {name}, shown once: {text}", err=True)
