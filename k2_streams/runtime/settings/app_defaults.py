"""What an app's settings are where the environment does not set them."""

from dataclasses import dataclass

from k2_streams.core.records.source import TRADES_INPUT, RawInput

#: Of the first worker of an app: apps on one machine need a port each.
WEB_PORT = TRADES_INPUT.web_port


@dataclass(frozen=True, slots=True)
class AppDefaults:
    """Defaults that differ from app to app.

    Attributes:
        app_id: the consumer group, and the beginning of the changelogs' names.
        web_port: of the first worker.
        folder: stem of the folder of a worker's own state; None: `<app id>-worker`.
    """

    app_id: str
    web_port: int = WEB_PORT
    folder: str | None = None

    @classmethod
    def of_input(cls, source: RawInput) -> "AppDefaults":
        """Those of the app that K2 itself has for a raw topic."""
        return cls(source.app_id, source.web_port, source.folder)

    @property
    def state_folder(self) -> str:
        """Stem of the folder of a worker's own state, below the data directory."""
        return self.folder or f"{self.app_id}-worker"


TRADES_DEFAULTS = AppDefaults.of_input(TRADES_INPUT)
