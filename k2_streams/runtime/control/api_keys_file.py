"""The API keys of a worker, read again when their file changes."""

import asyncio
from pathlib import Path

import structlog

from k2_streams.runtime.settings.api_keys import FILE, ApiKeysError, load
from k2_streams.web.http.api_keys import KeyRing

log = structlog.get_logger(__name__)

#: A key that is taken out of the file is refused this much later, at the most.
LOOK_EVERY_S = 2.0


class ApiKeysFile:
    """Keeps the keys of a server as a file has them. A file that cannot be used changes nothing.

    Args:
        path: of the file.

    Raises:
        ApiKeysError: it cannot be used at the start.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = self._stamp_now()
        self._error: str | None = None
        self.ring = KeyRing(load(path))

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Read the file if it is another one than before; what is wrong with it is logged once."""
        # Before it is read: what is written meanwhile is seen at the next look.
        stamp = self._stamp_now()
        if stamp == self._stamp and self._error is None:
            return
        try:
            keys = load(self._path)
        except ApiKeysError as error:
            if str(error) != self._error:
                self._error = str(error)
                log.error(  # noqa: TRY400 - a person reads the text
                    "API keys not read", setting=FILE, file=str(self._path), error=self._error
                )
            return
        self._stamp, self._error = stamp, None
        self.ring.replace(keys)
        log.info("API keys read", file=str(self._path), keys=len(keys))

    def _stamp_now(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size
