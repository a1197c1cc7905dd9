"""An S3-compatible server over a folder, and a proxy before it that makes it a bad one."""

import random
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

from faults.isolation import UnavailableError
from faults.proxy import Answer, Handler, Proxy, Request
from faults.stage import ROOT
from k2_streams.runtime.settings.tools import development_settings
from k2_streams.testing.local.loopback import listens
from k2_streams.testing.waiting import StuckError, wait_until

#: What the store does to a share of the requests, or to all of them.
KINDS = ("slow-down", "slow", "half", "lost", "late", "away")
#: Of the requests that a kind is about. The client tries three times and a commit takes a dozen of
#: them: with this share some three commits in four succeed.
SHARE = 0.3
#: `slow`: up to so long. The client waits for 3 s, then asks again.
SLOW_S = 4.0
#: `late`: a write lands so long after the client was told that it failed.
LATE_S = 1.5
#: How a `lost` acknowledgement is lost.
LOST_AS = ("500", "reset", "silence")
SILENCE_S = 5.0
BUCKET = "lake"
KEY_ID, SECRET = "k2-key-id-5f3a", "k2-secret-key-91c7"

_SLOW_DOWN = (
    b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)
_XML = [("Content-Type", "application/xml")]


class ObjectStore:
    """S3Proxy, as a Java process; it checks signatures.

    Args:
        directory: its objects, its configuration, its log.
        port: on loopback.
    """

    def __init__(self, directory: Path, port: int) -> None:
        jars = development_settings().store_jars or ROOT / ".cache" / "object-store" / "lib"
        if not any(jars.glob("s3proxy-*.jar")):
            raise UnavailableError(f"no object store in {jars}: run `make store-jars`")
        (directory / "objects" / BUCKET).mkdir(parents=True, exist_ok=True)
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.objects = directory / "objects" / BUCKET
        configuration = directory / "s3proxy.properties"
        configuration.write_text(
            f"s3proxy.endpoint={self.url}\n"
            "s3proxy.authorization=aws-v2-or-v4\n"
            f"s3proxy.identity={KEY_ID}\n"
            f"s3proxy.credential={SECRET}\n"
            "s3proxy.ignore-unknown-headers=true\n"
            "jclouds.provider=filesystem-nio2\n"
            "jclouds.identity=none\n"
            "jclouds.credential=none\n"
            f"jclouds.filesystem.basedir={directory / 'objects'}\n"
        )
        logs = ROOT / "deploy" / "object-store" / "logback.xml"
        command = ["java", "-Xmx256m", f"-Dlogback.configurationFile={logs}", "-cp", f"{jars}/*"]
        command += ["org.gaul.s3proxy.Main", "--properties", str(configuration)]
        with (directory / "store.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        wait_until(self._answers, "the object store answers")

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            raise StuckError(f"the object store ended with {self._process.returncode}")
        return listens(self.port)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


def settings(url: str, folder: str = "warehouse") -> dict[str, str]:
    """The environment of a worker whose warehouse is a folder of the store at this address."""
    return {
        "K2_WAREHOUSE": f"s3://{BUCKET}/{folder}",
        "K2_S3_ENDPOINT": url,
        "K2_S3_ACCESS_KEY_ID": KEY_ID,
        "K2_S3_SECRET_ACCESS_KEY": SECRET,
        # The SDK's own: without it parts are sent in a form that this server does not take.
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
    }


class StoreProxy(Proxy):
    """Forwards to the store; while `kind` is one of `KINDS`, that happens.

    Args:
        upstream: the store's port.
        port: the proxy's own.
        seed: of which requests it happens to.
    """

    def __init__(self, upstream: int, port: int, seed: int) -> None:
        self.kind: str | None = None
        self.done: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        super().__init__(upstream, port, _Handler)

    def fault(self, request: Request) -> tuple[str | None, float]:
        """What is to happen to this request, and a number from 0 to 1 that says how."""
        kind = self.kind
        writes = request.method in {"PUT", "POST"}
        about = {"half": request.method == "GET", "lost": writes, "late": writes}
        if kind is None or not about.get(kind, True):
            return None, 0.0
        with self._lock:
            if kind != "away" and self._random.random() >= SHARE:
                return None, 0.0
            self.done[kind] += 1
            return kind, self._random.random()


class _Handler(Handler):
    server: StoreProxy

    def handle_request(self, request: Request) -> None:
        kind, how = self.server.fault(request)
        if kind == "away":
            self.reset()
        elif kind == "slow-down":
            self.answer(Answer(503, _XML, b"" if request.method == "HEAD" else _SLOW_DOWN))
        elif kind == "late":
            self.answer(Answer(500, _XML, b""))
            time.sleep(LATE_S)
            self.server.send_on(request)
        elif kind == "slow":
            time.sleep(how * SLOW_S)
            self.answer(self.server.send_on(request))
        elif kind == "half":
            found = self.server.send_on(request)
            self.answer(found, len(found.body) // 2)
            self.reset()
        elif kind == "lost":
            self.server.send_on(request)
            self._lose(LOST_AS[int(how * len(LOST_AS))])
        else:
            self.answer(self.server.send_on(request))

    def _lose(self, lost_as: str) -> None:
        """The service did what it was asked; its answer does not arrive."""
        if lost_as == "500":
            self.answer(Answer(500, _XML, b""))
        elif lost_as == "reset":
            self.reset()
        else:
            time.sleep(SILENCE_S)
            self.hang_up()
