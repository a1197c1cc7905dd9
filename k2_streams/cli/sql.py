"""`k2 sql`: one SELECT over the relations of running nodes, with the proof of its rows."""

from pathlib import Path
from typing import TextIO

import click

import k2_client
from k2_streams.cli.errors import CannotError
from k2_streams.cli.settings import settings_of
from k2_streams.cli.sql_answers import FORMATS, Asker, Proof, SqlChoices
from k2_streams.cli.sql_prompt import Prompt

EXIT_INCOMPLETE = 1
#: While no node answers: a person waits.
PATIENCE_S = 10.0

_EXAMPLES = """\b
Examples:
  k2 sql "SELECT symbol, count(*) FROM trades WHERE exchange_time >= '2026-11-23' GROUP BY symbol"
  k2 sql -p who=S0001 'SELECT max(price) FROM trades WHERE symbol = $who AND exchange_time_ns >= 0'
  k2 sql -f report.sql --format parquet -o report.parquet --require-complete
  echo 'SELECT * FROM gaps' | k2 sql --format csv
  k2 sql --as-of TOKEN "SELECT ..."     the same rows as the answer that named the token
  k2 sql --local "SELECT ..."           of the lake's tables, where no worker runs
  k2 sql                                a prompt; \\d lists the relations, \\q ends it

The proof is on standard error: whether anything is known to be missing, and the token.

Exit codes: 0 answered; 1 not complete, with --require-complete; 2 no answer, or it was refused."""


class ParameterType(click.ParamType):
    """`NAME=VALUE`."""

    name = "name=value"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """The two."""
        name, equals, text = str(value).partition("=")
        if not equals or not name.isidentifier():
            self.fail(f"expected NAME=VALUE, found {value!r}", param, ctx)
        return name, text


@click.command(epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("statement", required=False)
@click.option("-f", "--file", type=click.File(), help="Read the statement from it; - is stdin.")
@click.option(
    "-p",
    "--param",
    "params",
    type=ParameterType(),
    multiple=True,
    help="The value of $NAME in the statement; may be repeated.",
)
@click.option("--as-of", help="The token of an earlier answer: the same rows.")
@click.option("--known-at", help="Rows as they were known at this accepted time.")
@click.option("--tz", help="The zone of a time without an offset, as Australia/Sydney.")
@click.option("--full", is_flag=True, help="Read logs without a condition on their time, too.")
@click.option("--limit", type=click.IntRange(1), help="Rows at most.  [default: 100,000]")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True,
    help="How rows are written.",
)  # fmt: skip
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the rows here."
)
@click.option("--require-complete", is_flag=True, help="Exit with 1 if the rows are not complete.")
@click.option(
    "--url",
    "urls",
    multiple=True,
    help="A node; if it does not answer the next one is asked.  [default: http://127.0.0.1 and "
    "$K2_WEB_PORT]",
)
@click.option("--key", help="The API key.  [default: the first of $K2_API_KEYS]")
@click.option(
    "--local",
    "is_local",
    is_flag=True,
    help="Ask no node: read the lake's tables here, up to their newest snapshots.",
)
@click.option(
    "--app", "module", metavar="MODULE[:APP]",
    help="With --local: tables that this app writes.  [default: trades, quotes and their ledgers]",
)  # fmt: skip
@click.pass_context
def sql(  # noqa: PLR0913, PLR0917 - click passes options by name
    context: click.Context,
    statement: str | None,
    file: TextIO | None,
    params: tuple[tuple[str, str], ...],
    as_of: str | None,
    known_at: str | None,
    tz: str | None,
    full: bool,
    limit: int | None,
    form: str,
    output: Path | None,
    require_complete: bool,
    urls: tuple[str, ...],
    key: str | None,
    is_local: bool,
    module: str | None,
) -> None:
    """Answer STATEMENT, one SELECT over the relations that running nodes serve, or the lake has.

    Without one it is read from standard input; on a terminal there is a prompt for statements.
    """
    if statement is not None and file is not None:
        raise CannotError("a statement and --file: give one of them")
    if is_local and (urls or known_at is not None):
        raise CannotError("--local asks no node: --url and --known-at are of one")
    settings = settings_of()
    key = key or next(iter(settings.api_keys), None)
    choices = SqlChoices(
        dict(params),
        {"as_of": as_of, "known_at": known_at, "tz": tz, "full": full, "limit": limit},
        form,
        output,
    )
    stdin = click.get_text_stream("stdin")

    def ask(nodes: str | tuple[str, ...], key: str | None) -> Proof:
        with k2_client.connect(nodes, key, patience_s=PATIENCE_S) as client:
            asker = Asker(client, choices)
            if statement is None and file is None and stdin.isatty():
                Prompt(asker).run()
                return {"complete": True}  # each answer has shown its own
            return asker.answer((file or stdin).read() if statement is None else statement)

    try:
        if is_local:
            # Half a second, of those who want it.
            from k2_streams.cli.local_node import with_local_node  # noqa: PLC0415

            proof = with_local_node(settings, module, ask)
        else:
            proof = ask(urls or f"http://127.0.0.1:{settings.web_port}", key)
    except (k2_client.ClientError, ValueError) as error:
        raise CannotError(str(error)) from error
    if require_complete and not proof.get("complete"):
        context.exit(EXIT_INCOMPLETE)
