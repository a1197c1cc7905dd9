"""A Prometheus of its own, as `make prometheus` fetches it, that scrapes one worker."""

import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

from k2_streams.testing.client import fetch_json
from k2_streams.testing.local.loopback import HOST, free_port, listens
from k2_streams.testing.local.processes import end_process
from k2_streams.testing.waiting import StuckError, wait_until

FETCHED = Path(__file__).parents[2] / ".cache" / "prometheus" / "usr" / "bin" / "prometheus"
SCRAPE_S = 1
STOP_WITHIN_S = 20.0
QUERY_WITHIN_S = 30.0


class NoPrometheusError(Exception):
    """It is not on this machine."""


class Prometheus:
    """Use as a context manager.

    Args:
        directory: its configuration, data and log.
        target: the address of what it scrapes, under the job `k2`.

    Raises:
        NoPrometheusError: there is none.
    """

    def __init__(self, directory: Path, target: str) -> None:
        program = str(FETCHED) if FETCHED.exists() else shutil.which("prometheus")
        if program is None:
            raise NoPrometheusError("no Prometheus: `make prometheus` fetches it")
        self._port = free_port()
        directory.mkdir(parents=True, exist_ok=True)
        configuration = directory / "prometheus.yml"
        configuration.write_text(
            f"global: {{scrape_interval: {SCRAPE_S}s}}\n"
            "scrape_configs:\n"
            "  - job_name: k2\n"
            f"    static_configs: [{{targets: ['{urlsplit(target).netloc}']}}]\n"
        )
        with (directory / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    program,
                    f"--config.file={configuration}",
                    f"--storage.tsdb.path={directory / 'data'}",
                    f"--web.listen-address={HOST}:{self._port}",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an expression now.

        Raises:
            StatusError: it is no expression.
        """
        asked = urlencode({"query": expression})
        url = f"http://{HOST}:{self._port}/api/v1/query?{asked}"
        answer = fetch_json(url, QUERY_WITHIN_S)
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            raise StuckError(f"Prometheus ended with {self._process.returncode}")
        return listens(self._port)

    def __enter__(self) -> Self:
        """Returns once it answers."""
        try:
            wait_until(self._answers, "Prometheus answers")
        except StuckError:
            self._process.kill()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""
        end_process(self._process, STOP_WITHIN_S)
