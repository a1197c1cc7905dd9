"""How `k2 sql` writes an answer: rows where they are wanted, the proof on standard error."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import click

from k2_client import Client
from k2_client.errors import reasons_of
from k2_client.options import SqlFormat, SqlOptions
from k2_streams.cli.errors import CannotError
from k2_streams.cli.text_table import lines_of, printable

FORMATS = ("table", "json", "arrow", "csv", "parquet", "markdown")
#: Bytes that a terminal shows nothing of.
_BINARY = {"arrow", "parquet"}

Proof = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SqlChoices:
    """What the options of the command choose, for every statement.

    Attributes:
        params: the values of the statement's parameters.
        options: of the read point and the limit.
        form: how rows are written: one of `FORMATS`.
        output: where; None: standard output.
    """

    params: Mapping[str, str]
    options: SqlOptions
    form: str
    output: Path | None


class Asker:
    """Asks statements and writes their answers."""

    def __init__(self, client: Client, choices: SqlChoices) -> None:
        self.client = client
        self._choices = choices

    def answer(self, statement: str) -> Proof:
        """Ask, write the rows and the proof; the proof.

        Raises:
            k2_client.ClientError: there is no answer.
            CannotError: the rows would be written to a terminal that cannot show them.
            OSError: the output cannot be written.
        """
        chosen = self._choices
        stdout = click.get_binary_stream("stdout")
        if chosen.form in _BINARY and chosen.output is None and stdout.isatty():
            raise CannotError(f"--format {chosen.form} is not for a terminal: give --output FILE")
        form = cast("SqlFormat", "json" if chosen.form == "table" else chosen.form)
        found = self.client.sql_document(statement, chosen.params, form=form, **chosen.options)
        body = _table(found.body) if chosen.form == "table" else found.body
        if chosen.output is None:
            stdout.write(body)
            stdout.flush()
        else:
            chosen.output.write_bytes(body)
        for line in _proof_lines(found.proof):
            click.echo(line, err=True)
        return found.proof


def _table(body: bytes) -> bytes:
    """Rows in columns, each on one line."""
    rows = json.loads(body)["data"]
    if not rows:
        return b""
    lines = lines_of(
        [printable(name) for name in rows[0]],
        ([_cell(value) for value in row.values()] for row in rows),
    )
    return "".join(f"{line}\n" for line in lines).encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | dict | list):
        value = json.dumps(value, ensure_ascii=False)
    return printable(str(value))


def _proof_lines(proof: Proof) -> Iterator[str]:
    rows = proof.get("rows", 0)
    more = ", and there are more" if proof.get("truncated") else ""
    state = "complete" if proof.get("complete") else "NOT complete"
    yield f"{rows:,} rows{more}, {state}, in {proof.get('elapsed_ms', 0):.0f} ms"
    if not proof.get("complete"):
        yield from reasons_of(proof)
    if proof.get("token"):
        yield f"token {proof['token']}"
