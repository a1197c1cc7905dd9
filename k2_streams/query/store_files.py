"""The lake's files in an object store, as DuckDB opens them: to be read, and nothing else.

DuckDB asks a file system for names, sizes and ranges of bytes, from threads of its own. What it is
told of a name costs no request: it is a file's, never a pattern, and the file never changes. So a
statement sends the store one request for each file that is opened for the first time, and one for
each range that it reads and DuckDB does not have in its memory.
"""

import datetime as dt
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from fsspec.spec import AbstractFileSystem

from k2_streams.clock import SYSTEM_CLOCK, Clock

_T = TypeVar("_T")

#: As paths in the lake begin. `s3a` is what Hadoop's engines call the same.
SCHEMES = ("s3", "s3a")
#: Failures kept until their statement asks for them.
MAX_FAILURES = 256
#: A file never changes, so it never changed later than this.
_UNCHANGED = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)


class Store(Protocol):
    """What is needed of `lake.store.DataFiles`."""

    def size(self, path: str) -> int:
        """Of a whole file."""
        ...

    def read(self, path: str, offset: int, size_bytes: int) -> bytes:
        """A range of it."""
        ...


class StoreFiles(AbstractFileSystem):  # type: ignore[misc]
    """A file system over a store. Its exceptions reach the asker as text: see `failure`."""

    protocol = SCHEMES
    cachable = False

    def __init__(self, store: Store, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__()
        self._store = store
        self._clock = clock
        self._failures: OrderedDict[str, OSError] = OrderedDict()
        self._waiting: dict[object, float] = {}
        self._lock = threading.Lock()

    def failure(self, paths: Sequence[str]) -> OSError | None:
        """Why one of these files could not be read, last time it was tried in vain."""
        with self._lock:
            return next((self._failures[path] for path in paths if path in self._failures), None)

    @property
    def waits_s(self) -> float:
        """How long the store has kept the oldest request waiting that it has not answered yet."""
        with self._lock:
            oldest = min(self._waiting.values(), default=None)
        return 0.0 if oldest is None else self._clock.monotonic() - oldest

    def read(self, path: str, offset: int, size_bytes: int) -> bytes:
        """A range of a file."""
        return self._asked(path, lambda: self._store.read(path, offset, size_bytes))

    def _asked(self, path: str, ask: Callable[[], _T]) -> _T:
        """What the store answers; what goes wrong is noted."""
        ticket = object()
        with self._lock:
            self._waiting[ticket] = self._clock.monotonic()
        try:
            found = ask()
        except OSError as error:
            with self._lock:
                self._failures[path] = error
                self._failures.move_to_end(path)
                if len(self._failures) > MAX_FAILURES:
                    self._failures.popitem(last=False)
            raise
        finally:
            with self._lock:
                del self._waiting[ticket]
        with self._lock:
            self._failures.pop(path, None)
        return found

    # -- what DuckDB calls -----------------------------------------------------------------------

    def glob(self, path: str, **_: Any) -> list[str]:
        """The name itself."""
        return [path]

    def exists(self, path: str, **_: Any) -> bool:
        """Whether it can be opened."""
        return self.size(path) >= 0

    def isfile(self, path: str) -> bool:  # noqa: ARG002 - every name is of a file
        """It is."""
        return True

    def isdir(self, path: str) -> bool:  # noqa: ARG002 - the same
        """It is not."""
        return False

    def size(self, path: str) -> int:
        """In bytes."""
        return self._asked(path, lambda: self._store.size(path))

    def modified(self, path: str) -> dt.datetime:  # noqa: ARG002 - the same of every file
        """Never."""
        return _UNCHANGED

    def open(self, path: str, mode: str = "rb", **_: Any) -> "_Handle":
        """For reading."""
        if mode != "rb":
            raise PermissionError(f"{path}: files of the lake are read here, not written")
        return _Handle(self, path)


class _Handle:
    """A place in a file. Belongs to one thread at a time."""

    def __init__(self, files: StoreFiles, path: str) -> None:
        self._files = files
        self._path = path
        self._at = 0

    def seek(self, offset: int) -> None:
        """Read on from there."""
        self._at = offset

    def read(self, size_bytes: int) -> bytes:
        """The next bytes."""
        found = self._files.read(self._path, self._at, size_bytes)
        self._at += len(found)
        return found

    def close(self) -> None:
        """Nothing is held."""
