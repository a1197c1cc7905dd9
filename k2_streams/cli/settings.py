"""A command's settings."""

from k2_streams.cli.errors import CannotError
from k2_streams.runtime.settings.worker import Settings, SettingsError, from_environment


def settings_of() -> Settings:
    """Of this environment.

    Raises:
        CannotError: some cannot be used.
    """
    try:
        return from_environment()
    except SettingsError as error:
        raise CannotError(str(error)) from error
