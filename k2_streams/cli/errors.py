"""How a command fails: one line, and an exit code that scripts can rely on."""

import click

EXIT_CANNOT = 2


class CannotError(click.ClickException):
    """The options or the surroundings do not allow it: nothing was done, or nothing compared."""

    exit_code = EXIT_CANNOT
