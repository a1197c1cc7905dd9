"""A real Iceberg REST catalog, and a proxy before it that loses what it answers to a commit."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from faults import object_store
from faults.isolation import UnavailableError
from faults.object_store import ObjectStore
from faults.proxy import Answer, Handler, Proxy, Request
from faults.stage import ROOT
from k2_streams.runtime.settings.tools import development_settings
from k2_streams.testing.local.loopback import listens
from k2_streams.testing.waiting import StuckError, wait_until

#: How the acknowledgement of a commit is lost. The commit lands before, but for `late`: then after.
KINDS = ("conflict", "500", "502", "timeout", "reset", "late")
#: `timeout`: longer than a client waits; then nothing is answered.
SILENCE_S = 35.0
#: `late`: so long after the client was told that it failed.
LATE_S = 1.5
SERVER = ROOT / "deploy" / "rest-catalog" / "RestCatalog.java"

_CONFLICT = b'{"error":{"message":"lost","type":"CommitFailedException","code":409}}'


class RestCatalog:
    """Iceberg's own reference implementation over sqlite, as a Java process.

    Args:
        directory: its database, its log, and the warehouse.
        port: on loopback.
        store: where the warehouse is instead, at its own address.
        folder: of the warehouse in it.
    """

    def __init__(
        self,
        directory: Path,
        port: int,
        store: ObjectStore | None = None,
        folder: str = "warehouse",
    ) -> None:
        jars = development_settings().rest_jars or ROOT / ".cache" / "rest-catalog" / "lib"
        if not any(jars.glob("iceberg-core-*.jar")):
            raise UnavailableError(f"no REST catalog in {jars}: run `make rest-jars`")
        directory.mkdir(parents=True, exist_ok=True)
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.warehouse = f"file://{directory / 'warehouse'}"
        properties: list[str] = []
        environment = dict(os.environ)
        if store is not None:
            self.warehouse = object_store.settings(store.url, folder)["K2_WAREHOUSE"]
            properties = [
                "io-impl=org.apache.iceberg.aws.s3.S3FileIO",
                f"s3.endpoint={store.url}",
                "s3.path-style-access=true",
                "client.region=us-east-1",
            ]
            environment |= {
                "AWS_ACCESS_KEY_ID": object_store.KEY_ID,
                "AWS_SECRET_ACCESS_KEY": object_store.SECRET,
                "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            }
        command = ["java", "-Xmx256m", "-cp", f"{jars}/*", str(SERVER), str(port)]
        command += [str(directory / "rest.db"), self.warehouse, *properties]
        with (directory / "rest.log").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env=environment
            )
        wait_until(self._answers, "the REST catalog answers")

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            raise StuckError(f"the REST catalog ended with {self._process.returncode}")
        return listens(self.port)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """SIGSTOP; SIGCONT afterwards."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


class LossyProxy(Proxy):
    """Forwards to the catalog; loses the answer to a commit when asked to.

    Args:
        upstream: the catalog's port.
        port: the proxy's own.
    """

    def __init__(self, upstream: int, port: int) -> None:
        self.lost: Counter[str] = Counter()
        self._next: str | None = None
        self._lock = threading.Lock()
        super().__init__(upstream, port, _Handler)

    def lose(self, kind: str) -> None:
        """Lose the answer to the next commit, in this way."""
        with self._lock:
            self._next = kind

    def fault(self, method: str, path: str) -> str | None:
        """What is to happen to this request's answer."""
        if method != "POST" or not path.endswith("/tables/trades"):
            return None
        with self._lock:
            kind, self._next = self._next, None
            if kind is not None:
                self.lost[kind] += 1
            return kind


class _Handler(Handler):
    server: LossyProxy

    def handle_request(self, request: Request) -> None:
        kind = self.server.fault(request.method, request.path)
        if kind == "late":
            self.answer(Answer(500, [], b"{}"))
            time.sleep(LATE_S)
            self.server.send_on(request)
            return
        answer = self.server.send_on(request)
        if kind is None:
            self.answer(answer)
        elif kind == "conflict":
            self.answer(Answer(409, [("Content-Type", "application/json")], _CONFLICT))
        elif kind in {"500", "502"}:
            self.answer(Answer(int(kind), [], b"{}"))
        elif kind == "timeout":
            time.sleep(SILENCE_S)
            self.hang_up()
        else:
            self.reset()
