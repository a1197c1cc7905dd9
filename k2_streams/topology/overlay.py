"""Changes to a table that are not taken yet: read as if they were, applied or dropped as one."""

from collections.abc import Iterator
from typing import Protocol


class KeyedRows(Protocol):
    """Keyed bytes in the order of their keys: a table's partition, or changes above one."""

    def get(self, key: str) -> bytes | None:
        """The newest value."""
        ...

    def put(self, key: str, value: bytes) -> None:
        """Change a row."""
        ...

    def delete(self, key: str) -> None:
        """Delete a row, if there is one."""
        ...

    def items(self, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """All rows whose keys begin so, in the order of their keys."""
        ...


class Overlay:
    """`KeyedRows` above others, which stay as they are until `apply`."""

    def __init__(self, below: KeyedRows) -> None:
        self._below = below
        self._changes: dict[str, bytes | None] = {}  # None: deleted

    def get(self, key: str) -> bytes | None:
        """The newest value."""
        if key in self._changes:
            return self._changes[key]
        return self._below.get(key)

    def put(self, key: str, value: bytes) -> None:
        """Change a row here."""
        self._changes[key] = value

    def delete(self, key: str) -> None:
        """Delete a row here."""
        self._changes[key] = None

    def items(self, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """All rows whose keys begin so, in the order of their keys."""
        found = dict(self._below.items(prefix))
        for key, value in self._changes.items():
            if not key.startswith(prefix):
                continue
            if value is None:
                found.pop(key, None)
            else:
                found[key] = value
        yield from sorted(found.items())

    def apply(self) -> None:
        """Take the changes into the rows beneath."""
        for key, value in self._changes.items():
            if value is None:
                self._below.delete(key)
            else:
                self._below.put(key, value)
        self._changes = {}
