"""What the stations share: the stage, a flow of trades, commands, and what was asserted."""

import subprocess
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from k2_client import Client, QuestionRefusedError, connect
from k2_streams.demo.input import SYMBOLS
from k2_streams.demo.web import DemoError
from k2_streams.testing.local.stage import Stage, log_file_of
from k2_streams.testing.local.workers import LocalWorker
from k2_streams.testing.waiting import StuckError, wait_until

#: Trades per second of the flow: the page moves, and a laptop has time for the rest.
FLOW_RATE = 1_000
#: Of the faults that the flow has; the truth file knows each.
FAULTS = ("--gaps", "0.1%", "--duplicates", "0.2%", "--disorder", "0.2%", "--late", "0.1%")
#: For anything that the platform does within a second or two, on a busy machine.
SOON_S = 60.0
#: A producer acknowledges what it has sent, and writes its truth.
FLOW_END_WITHIN_S = 60.0
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a station says, and what was found."""

    what: str
    found: str
    holds: bool


@dataclass(slots=True)
class Tour:
    """One run of the stations.

    Attributes:
        expectations: of the station that is shown.
    """

    console: Console
    stage: Stage
    with_browser: bool = False
    expectations: list[Expectation] = field(default_factory=list)
    _flow: tuple[Path, "subprocess.Popen[bytes]"] | None = None

    @property
    def worker(self) -> LocalWorker:
        """The first one."""
        return self.stage.workers[0]

    def expect(self, what: str, found: object, *, holds: bool) -> None:
        """Assert, and show what was found; a station goes on behind one that does not hold."""
        self.expectations.append(Expectation(what, str(found), holds))
        mark = "[green]holds[/]" if holds else "[bold red]does not hold[/]"
        self.console.print(f"  {mark}  {what}: {found}", soft_wrap=True)

    def say(self, text: str) -> None:
        """Something to read."""
        self.console.print(text, markup=False, soft_wrap=True)

    def page(self, view: str) -> None:
        """Point at a view of the page; the first time the browser opens it."""
        address = f"{self.worker.url}/#/{view}"
        self.console.print(f"the page  {address}", style="cyan", markup=False, soft_wrap=True)
        if self.with_browser:
            webbrowser.open(address)
            self.with_browser = False

    # -- what is asked ---------------------------------------------------------------------------

    def client(self, node: int = 0) -> Client:
        """Of a worker; to be closed."""
        return connect(self.stage.workers[node].url)

    def json(self, path: str, node: int = 0, **parameters: Any) -> Any:
        """The JSON at a path of a worker.

        Raises:
            ClientError: it was refused, or nobody answered in time.
        """
        with self.client(node) as client:
            return client.json(path, **parameters)

    def rows(self, path: str, node: int = 0, **parameters: Any) -> list[dict[str, Any]]:
        """The rows at a path of a worker; none where it does not know the symbol yet.

        Raises:
            ClientError: it was refused, or nobody answered in time.
        """
        try:
            rows: list[dict[str, Any]] = self.json(path, node, **parameters)["data"]
        except QuestionRefusedError as error:
            if error.code == "unknown_symbol":
                return []
            raise
        return rows

    def wait(self, what: str, condition: Callable[[], object], timeout_s: float = SOON_S) -> float:
        """Until a condition is true; the moment (`time.monotonic`) at which it was.

        Raises:
            DemoError: it was not in time.
        """
        try:
            return wait_until(condition, what, timeout_s, _POLL_S)
        except StuckError as error:
            raise DemoError(str(error)) from error

    # -- what is run -----------------------------------------------------------------------------

    def command(self, *arguments: str, shown_lines: int | None = None) -> tuple[int, str]:
        """A `k2` command, with its first lines (None: all) shown; exit code and all it printed."""
        quoted = (f'"{one}"' if " " in one else one for one in arguments)
        self.console.print(f"$ k2 {' '.join(quoted)}", style="cyan", markup=False, soft_wrap=True)
        file = self.stage.directory / "command.txt"
        with file.open("w") as output:
            code = self.stage.run(*arguments, output=output)
        text = file.read_text()
        for line in text.splitlines()[:shown_lines]:
            self.say(f"  {line}")
        return code, text

    def verify(self, truth: Path, *options: str, node: int | None = None) -> int:
        """`k2 verify` of a flow that has ended; its exit code."""
        self.console.print(
            f"$ k2 verify --truth {truth.name} {' '.join(options)}", style="cyan", markup=False
        )
        file = self.stage.directory / "verify.txt"
        with file.open("w") as output:
            code = self.stage.verify(truth, options=options, output=output, node=node)
        if code:
            self.say(file.read_text())
        return code

    def start_flow(self, exchange: str) -> None:
        """Synthetic trades with known faults, until `end_flow`."""
        truth = self.stage.directory / f"truth-{exchange.lower()}.jsonl.gz"
        producer = self.stage.start_produce(
            truth,
            *("--exchange", exchange, "--rate", str(FLOW_RATE), "--symbols", str(SYMBOLS)),
            *("--start", "now", *FAULTS),
        )
        self._flow = truth, producer
        self.wait(f"rows of {exchange}", lambda: self.rows("/v1/symbols", exchange=exchange))

    def end_flow(self) -> Path:
        """End it in order; the file that has what must come of it.

        Raises:
            DemoError: the producer failed.
        """
        if self._flow is None:
            raise DemoError("no flow was started")
        truth, producer = self._flow
        self._flow = None
        producer.terminate()
        code = producer.wait(FLOW_END_WITHIN_S)
        if code:
            raise DemoError(f"k2 produce ended with {code}\n{log_file_of(truth).read_text()}")
        return truth
