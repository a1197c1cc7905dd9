"""A real Iceberg REST catalog, and a proxy before it that loses what it answers to a commit."""

import http.client
import itertools
import os
import socket
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from faults.stage import ROOT, StuckError, wait_until

#: How the acknowledgement of a commit is lost. The commit lands before, but for `late`: then after.
KINDS = ("conflict", "500", "502", "timeout", "reset", "late")
#: `timeout`: longer than a client waits; then nothing is answered.
SILENCE_S = 35.0
#: `late`: so long after the client was told that it failed.
LATE_S = 1.5
SERVER = ROOT / "deploy" / "rest-catalog" / "RestCatalog.java"

_CONFLICT = b'{"error":{"message":"lost","type":"CommitFailedException","code":409}}'
#: Headers of one connection, which the other makes itself.
_OWN_HEADERS = {"host", "connection", "transfer-encoding", "content-length"}

Answer = tuple[int, list[tuple[str, str]], bytes]


class RestCatalog:
    """Iceberg's own reference implementation over sqlite, as a Java process.

    Args:
        directory: its database, its log, and the warehouse.
        port: on loopback.
    """

    def __init__(self, directory: Path, port: int) -> None:
        jars = Path(os.environ.get("K2_REST_JARS") or ROOT / ".cache" / "rest-catalog" / "lib")
        if not any(jars.glob("iceberg-core-*.jar")):
            raise StuckError(f"no REST catalog in {jars}: run `make rest-jars`")
        directory.mkdir(parents=True, exist_ok=True)
        self.port = port
        self.warehouse = directory / "warehouse"
        command = ["java", "-Xmx256m", "-cp", f"{jars}/*", str(SERVER), str(port)]
        command += [str(directory / "rest.db"), f"file://{self.warehouse}"]
        with (directory / "rest.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        wait_until(self._answers, "the REST catalog answers")

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            raise StuckError(f"the REST catalog ended with {self._process.returncode}")
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0):
                return True
        except OSError:
            return False

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


class LossyProxy(ThreadingHTTPServer):
    """Forwards to the catalog; loses the answers to every other commit, each kind in its turn.

    Args:
        upstream: the catalog's port.
        port: the proxy's own.
    """

    daemon_threads = True

    def __init__(self, upstream: int, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.url = f"http://127.0.0.1:{port}"
        self.lost: Counter[str] = Counter()
        self.active = False
        self._upstream = upstream
        self._commits = itertools.count()
        self._kinds = itertools.cycle(KINDS)
        self._lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def fault(self, method: str, path: str) -> str | None:
        """What is to happen to this request's answer."""
        if not self.active or method != "POST" or not path.endswith("/tables/trades"):
            return None
        with self._lock:
            if next(self._commits) % 2 == 0:
                return None
            kind = next(self._kinds)
            self.lost[kind] += 1
            return kind

    def send_on(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """The catalog's own answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self._upstream, timeout=60.0)
        kept = {name: one for name, one in headers.items() if name.lower() not in _OWN_HEADERS}
        try:
            connection.request(method, path, body or None, kept)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def handle_error(self, *_: object) -> None:
        """A connection that was cut is what this is for."""

    def close(self) -> None:
        """Stop listening."""
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LossyProxy

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = (self.command, self.path, dict(self.headers), body)
        kind = self.server.fault(self.command, self.path)
        if kind == "late":
            self._answer(500, [], b"{}")
            time.sleep(LATE_S)
            self.server.send_on(*request)
            return
        answer = self.server.send_on(*request)
        if kind is None:
            self._answer(*answer)
        elif kind == "conflict":
            self._answer(409, [("Content-Type", "application/json")], _CONFLICT)
        elif kind in {"500", "502"}:
            self._answer(int(kind), [], b"{}")
        elif kind == "timeout":
            time.sleep(SILENCE_S)
            self.close_connection = True
        else:  # a reset: an end that does not linger
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    do_GET = do_POST = do_HEAD = do_DELETE = _forward  # noqa: N815 - http.server's names

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in _OWN_HEADERS:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
