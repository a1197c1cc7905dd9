"""How a command fails: one line, and an exit code that scripts can rely on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

EXIT_CANNOT = 2


class CannotError(click.ClickException):
    """The options or the surroundings do not allow it: nothing was done, or nothing compared."""

    exit_code = EXIT_CANNOT


@contextmanager
def writing(file: Path) -> Iterator[None]:
    """Name the file that cannot be written: any other OSError is taken for a broker that is away.

    Raises:
        CannotError: the file and the cause.
    """
    try:
        yield
    except OSError as error:
        raise CannotError(f"{file}: cannot be written: {error.strerror or error}") from error
