"""TLS contexts that follow their files: a renewed certificate needs no restart.

Each new connection is made with the files as they are then; open connections stay as they are.
Files that cannot be used change nothing: the last good ones serve on, and the log says why.
"""

import functools
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import structlog

log = structlog.get_logger(__name__)

#: A process has two: for Kafka and for its own server. Tests have more.
_MAX_CONTEXTS = 32


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of one side of TLS.

    Attributes:
        ca_file: authorities that the other side's certificate is checked against; None: a client
            takes the system's, a server asks for no certificate.
        cert_file: this side's certificate with its chain; None: it shows none.
        key_file: the key of that certificate, not encrypted.
    """

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    def problems(self) -> Iterator[tuple[str, str]]:
        """What of the files cannot be used: the attribute, and what is wrong with its file."""
        if self.ca_file is not None:
            try:
                ssl.create_default_context(cafile=self.ca_file)
            except ssl.SSLError as error:
                yield "ca_file", f"expected certificates as PEM in {self.ca_file}: {error}"
            except (OSError, ValueError) as error:
                yield "ca_file", f"{self.ca_file} cannot be read: {error}"
        if self.cert_file is None or self.key_file is None:
            return
        unreadable = False
        for name, file in (("cert_file", self.cert_file), ("key_file", self.key_file)):
            try:
                Path(file).read_bytes()
            except (OSError, ValueError) as error:
                unreadable = True
                yield name, f"{file} cannot be read: {error}"
        if unreadable:
            return
        try:
            _show(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self)
        except ssl.SSLError as error:
            name = "key_file" if "KEY" in str(error) else "cert_file"
            file = self.key_file if name == "key_file" else self.cert_file
            yield (
                name,
                f"expected a certificate and its key, unencrypted, as PEM in {file}: {error}",
            )

    def stamp(self) -> tuple[object, ...]:
        """Differs once one of the files has been written or replaced."""
        return tuple(map(_stamp, (self.ca_file, self.cert_file, self.key_file)))

    def load(self, *, server_side: bool) -> ssl.SSLContext:
        """A context of the files as they are now.

        Raises:
            OSError: one cannot be read, or is not what it should be.
        """
        if not server_side:
            return _show(ssl.create_default_context(cafile=self.ca_file), self)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.ca_file)
        return _show(context, self)


class FollowingContext(ssl.SSLContext):
    """Makes each connection with a context of the files as they are at that moment. Thread-safe."""

    def __new__(cls, files: TlsFiles, *, server_side: bool = False) -> Self:  # noqa: ARG004 - of `__init__`
        """As the base class has it: the protocol belongs to the object's making."""
        protocol = ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT
        return super().__new__(cls, protocol)

    def __init__(self, files: TlsFiles, *, server_side: bool = False) -> None:
        """Read the files.

        Raises:
            OSError: one cannot be read, or is not what it should be.
        """
        super().__init__()
        self._files = files
        self._server_side = server_side
        self._lock = threading.Lock()
        self._error: str | None = None
        self._stamp = files.stamp()
        self._latest = files.load(server_side=server_side)

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """As the base class, of asyncio's connections."""
        return self.latest().wrap_bio(*args, **kwargs)

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        """As the base class, of blocking connections."""
        return self.latest().wrap_socket(*args, **kwargs)

    def latest(self) -> ssl.SSLContext:
        """The context of the newest files that could be used.

        Files that cannot be used are tried again at each connection, as what is wrong with them may
        be mended without a trace in the stamp (a permission); the same error is logged once.
        """
        with self._lock:
            # Before the files are read: what is written meanwhile is seen at the next connection.
            stamp = self._files.stamp()
            if stamp != self._stamp or self._error is not None:
                self._read(stamp)
            return self._latest

    def _read(self, stamp: tuple[object, ...]) -> None:
        try:
            self._latest = self._files.load(server_side=self._server_side)
        except OSError as error:  # ssl.SSLError is one
            if str(error) != self._error:
                self._error = str(error)
                log.error(  # noqa: TRY400 - a person reads the text
                    "certificates not read", error=self._error, files=str(self._files)
                )
            return
        self._stamp, self._error = stamp, None
        log.info("certificates read", files=str(self._files))


@functools.lru_cache(_MAX_CONTEXTS)
def client_context(files: TlsFiles) -> FollowingContext:
    """The one context of a process for these files.

    Raises:
        OSError: one cannot be read, or is not what it should be.
    """
    return FollowingContext(files)


def _show(context: ssl.SSLContext, files: TlsFiles) -> ssl.SSLContext:
    """The context, showing the certificate if there is one. A key that is encrypted is refused."""
    if files.cert_file is not None:
        # Without a password OpenSSL would ask for one at the terminal.
        context.load_cert_chain(files.cert_file, files.key_file, password=lambda: b"none")
    return context


def _stamp(file: str | None) -> tuple[int, int, int] | None:
    if file is None:
        return None
    try:
        found = Path(file).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
