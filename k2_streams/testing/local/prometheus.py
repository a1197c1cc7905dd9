"""A Prometheus of its own, as `make prometheus` fetches it, that scrapes one worker."""

import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

from k2_streams.testing.client import fetch, fetch_json
from k2_streams.testing.local.loopback import HOST, free_port
from k2_streams.testing.local.processes import end_process
from k2_streams.testing.waiting import StuckError, wait_until

#: By `make prometheus`, in the checkout that this file is in.
FETCHED = (
    Path(__file__).resolve().parents[3] / ".cache" / "prometheus" / "usr" / "bin" / "prometheus"
)
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
        rules: a file of alerts; None: it evaluates none.

    Raises:
        NoPrometheusError: there is none.
    """

    def __init__(self, directory: Path, target: str, rules: Path | None = None) -> None:
        program = str(FETCHED) if FETCHED.exists() else shutil.which("prometheus")
        if program is None:
            raise NoPrometheusError("no Prometheus: `make prometheus` fetches it")
        self._port = free_port()
        self.url = f"http://{HOST}:{self._port}"
        directory.mkdir(parents=True, exist_ok=True)
        configuration = directory / "prometheus.yml"
        configuration.write_text(
            f"global: {{scrape_interval: {SCRAPE_S}s, evaluation_interval: {SCRAPE_S}s}}\n"
            + (f"rule_files: ['{rules}']\n" if rules else "")
            + "scrape_configs:\n"
            "  - job_name: k2\n"
            f"    static_configs: [{{targets: ['{urlsplit(target).netloc}']}}]\n"
        )
        with (directory / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - a program that was found, no shell
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
        found: list[dict[str, Any]] = self._ask(f"query?{urlencode({'query': expression})}")[
            "result"
        ]
        return found

    def alerts(self) -> dict[str, dict[str, Any]]:
        """The alerts that are pending or firing now, by name."""
        return {one["labels"]["alertname"]: one for one in self._ask("alerts")["alerts"]}

    def _ask(self, path: str) -> Any:
        return fetch_json(f"{self.url}/api/v1/{path}", QUERY_WITHIN_S)["data"]

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            raise StuckError(f"Prometheus ended with {self._process.returncode}")
        try:
            fetch(f"{self.url}/-/ready", QUERY_WITHIN_S)
        except OSError:
            return False
        return True

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
