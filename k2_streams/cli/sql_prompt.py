"""The prompt of `k2 sql`: statements of several lines up to `;`, and a few commands."""

import contextlib
import json
import readline
from collections.abc import Callable, Iterator
from pathlib import Path

import click

import k2_client
from k2_streams.cli.errors import CannotError
from k2_streams.cli.sql_answers import Asker, Proof
from k2_streams.cli.text_table import lines_of

#: Lines that are kept from one prompt to the next.
HISTORY_LINES = 1_000
_HISTORY = Path("~/.k2_sql_history")
_FIRST, _NEXT = "k2> ", "..> "
_HELP = """\
SELECT ... ;  ask; a statement may have several lines
\\d            the relations; \\d NAME its columns
\\proof        the whole proof of the last answer, as JSON
\\q            end"""


class Prompt:
    """Reads statements and commands until the end of input.

    Args:
        asker: asks the statements.
        read_line: shows a prompt and gives the line; raises `EOFError` at the end of input.
    """

    def __init__(self, asker: Asker, read_line: Callable[[str], str] = input) -> None:
        self._asker = asker
        self._read_line = read_line
        self._proof: Proof | None = None

    def run(self) -> None:
        """Until its end is asked for, or that of the input; what is refused is shown."""
        with _history():
            click.echo("A SELECT ends with ;   \\? shows the commands.", err=True)
            while (text := self._read()) is not None:
                if text == "\\q":
                    return
                try:
                    self._follow(text)
                except (k2_client.ClientError, CannotError, OSError) as error:
                    click.echo(f"Error: {error}", err=True)

    def _read(self) -> str | None:
        """A command, or a statement with its lines; None: the end of input."""
        lines: list[str] = []
        while True:
            try:
                line = self._read_line(_NEXT if lines else _FIRST)
            except EOFError:
                return None
            except KeyboardInterrupt:
                click.echo(err=True)
                lines.clear()
                continue
            if not lines and line.startswith("\\"):
                return line.strip()
            if line.strip() or lines:
                lines.append(line)
            if line.rstrip().endswith(";"):
                return "\n".join(lines)

    def _follow(self, text: str) -> None:
        command, _, name = text.partition(" ")
        if not text.startswith("\\"):
            self._proof = self._asker.answer(text)
        elif command == "\\d":
            self._describe(name.strip())
        elif command == "\\proof" and self._proof is not None:
            click.echo(json.dumps(self._proof, indent=2))
        else:
            click.echo(_HELP)

    def _describe(self, name: str) -> None:
        relations = self._asker.client.relations()
        if name:
            if name not in relations:
                known = ", ".join(relations)
                raise CannotError(f"there is no relation {name}: expected one of {known}")
            rows = list(relations[name].items())
            heads = ("column", "type")
        else:
            rows = [(one, ", ".join(columns)) for one, columns in relations.items()]
            heads = ("relation", "columns")
        for line in lines_of(heads, rows):
            click.echo(line)


@contextlib.contextmanager
def _history() -> Iterator[None]:
    """The lines of earlier prompts, and of this one for later ones, as far as there is a file."""
    file = _HISTORY.expanduser()
    with contextlib.suppress(OSError):
        readline.read_history_file(file)
    try:
        yield
    finally:
        readline.set_history_length(HISTORY_LINES)
        with contextlib.suppress(OSError):
            readline.write_history_file(file)
