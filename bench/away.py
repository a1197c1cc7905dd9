"""Makes a lake unreachable, and reachable again with what it held.

The catalog: an exclusive transaction from outside, so that every call waits and fails, as it does
on a database that does not answer. The store: the warehouse is renamed and a file has its name, so
that nothing can be read there, nor written. A commit under way is waited for.
"""

import sqlite3
from pathlib import Path

#: A commit holds the catalog for milliseconds.
LOCK_WITHIN_S = 60.0


class Away:
    """Of the sqlite catalog and the local warehouse in a data directory."""

    def __init__(self, directory: Path) -> None:
        self._catalog = directory / "catalog.db"
        self._warehouse = directory / "warehouse"
        self._aside = directory / "warehouse.away"
        self._lock: sqlite3.Connection | None = None

    def take(self) -> None:
        """From now on it cannot be reached."""
        self._lock = sqlite3.connect(self._catalog, timeout=LOCK_WITHIN_S, isolation_level=None)
        self._lock.execute("BEGIN EXCLUSIVE")
        self._warehouse.rename(self._aside)
        self._warehouse.touch()

    def give_back(self) -> None:
        """It is there again, as it was."""
        if self._lock is None:
            raise RuntimeError("it is not away")
        self._warehouse.unlink()
        self._aside.rename(self._warehouse)
        self._lock.execute("ROLLBACK")
        self._lock.close()
