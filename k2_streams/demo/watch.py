"""The middle of the demo: watch the flow, kill the worker in it, and see it come back.

flowing --kill -9--> down --ready--> answering --first new records--> flowing --all processed--> end
"""

import enum
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console

from k2_streams.demo.dial import FlowDial, FlowSample
from k2_streams.demo.input import FLOW_S
from k2_streams.demo.web import DemoError
from k2_streams.testing.local.workers import READY_WITHIN_S, LocalWorker, WorkerError

#: Between two looks at the status: three requests each, far below the web's limit of a caller.
LOOK_EVERY_S = 0.3
#: A worker that is killed answers later: the next look sees.
LOOK_WITHIN_S = 5.0
#: Of the flow, before the worker is killed.
KILL_AFTER_S = 0.4 * FLOW_S
#: From the last message sent until it is processed, on a busy machine.
PROCESSED_TIMEOUT_S = 90.0


class FlowPhase(enum.Enum):
    """Of the worker's life; see the drawing above."""

    FLOWING = "flowing"
    DOWN = "down"
    ANSWERING = "answering"
    BACK = "flowing again"


@dataclass(slots=True)
class Recovery:
    """The kill, and what came after; seconds since the kill."""

    at_s: float = 0.0  # of the story
    processed: int = 0  # records that had been processed, as far as anybody could see
    ready_s: float = 0.0  # it answers queries again
    new_s: float = 0.0  # the first answer that holds more than before
    backlog: int = 0  # records that had waited in Kafka, as far as anybody could see


@dataclass(slots=True)
class Watch:
    """Watches until all that was sent has been processed.

    Attributes:
        samples: what was seen, in order; None where the worker did not answer.
        recovery: of the kill.
    """

    console: Console
    worker: LocalWorker
    samples: list[FlowSample] = field(default_factory=list)
    recovery: Recovery = field(default_factory=Recovery)
    _phase: FlowPhase = FlowPhase.FLOWING
    _began: float = field(default_factory=time.monotonic)
    _flow_began: float | None = None

    def run(
        self,
        producers: Sequence[subprocess.Popen[bytes]],
        ends: Callable[[], Mapping[int, int]],
        when_back: Callable[[], bool],
    ) -> None:
        """Watch, kill, and watch on.

        Args:
            producers: of the messages; each must end with 0.
            ends: asked once they have: per raw partition the offset after the last one sent.
            when_back: called at each look after the recovery until it gives True.

        Raises:
            DemoError: a producer failed, or not all was processed in time.
            WorkerError: the worker ended by itself, or did not come back.
        """
        asked = False
        wanted: Mapping[int, int] | None = None
        deadline = float("inf")
        with FlowDial(self.console) as dial:
            while True:
                sample = self._look()
                dial.show(self.samples, self._phase.value, time.monotonic() - self._began)
                self._step(sample, dial, sending=wanted is None)
                if self._phase is FlowPhase.BACK and not asked:
                    asked = when_back()
                if wanted is None and all(one.poll() is not None for one in producers):
                    wanted = ends()
                    deadline = time.monotonic() + PROCESSED_TIMEOUT_S
                if wanted is not None and self._phase is FlowPhase.BACK and sample is not None:
                    if all(sample.watermark.get(p, 0) >= end for p, end in wanted.items()):
                        return
                    if time.monotonic() > deadline:
                        raise DemoError(
                            f"expected raw offsets {dict(wanted)} to be processed within "
                            f"{PROCESSED_TIMEOUT_S:.0f} s, found {sample.watermark}"
                        )
                time.sleep(LOOK_EVERY_S)

    def _look(self) -> FlowSample | None:
        """Ask the worker; its answer is added to the samples."""
        if self.worker.process is None or self.worker.process.poll() is not None:
            raise WorkerError(f"the worker ended by itself\n{self.worker.last_words()}")
        at_s = time.monotonic() - self._began
        try:
            sample = look_at(self.worker, at_s, self.samples[-1] if self.samples else None)
        except OSError:
            return None
        self.samples.append(sample)
        if self._phase in {FlowPhase.ANSWERING, FlowPhase.BACK}:
            self.recovery.backlog = max(self.recovery.backlog, sample.lag)
        return sample

    def _step(self, sample: FlowSample | None, dial: FlowDial, *, sending: bool) -> None:
        """Go on to the next phase if it is time."""
        now = time.monotonic()
        since_s = now - self._began - self.recovery.at_s
        match self._phase:
            case FlowPhase.FLOWING if sample is not None and sample.processed:
                self._flow_began = self._flow_began or now
                over = not sending or now - self._flow_began >= KILL_AFTER_S
                if over and sample.lake_rows:
                    self._kill(dial)
            case FlowPhase.DOWN:
                if self.worker.is_ready():
                    self.recovery.ready_s = time.monotonic() - self._began - self.recovery.at_s
                    self._phase = FlowPhase.ANSWERING
                elif since_s > READY_WITHIN_S:
                    raise WorkerError(f"not back after {since_s:.0f} s\n{self.worker.last_words()}")
            case FlowPhase.ANSWERING if sample is not None:
                if sample.processed > self.recovery.processed or not (sending or sample.lag):
                    self.recovery.new_s = since_s
                    # A short backlog is worked before anybody sees it as lag.
                    worked = sample.processed - self.recovery.processed
                    self.recovery.backlog = max(self.recovery.backlog, worked + sample.lag)
                    self._phase = FlowPhase.BACK
                    dial.print_event(
                        f"back: queries answered after {self.recovery.ready_s:.1f} s, new records "
                        f"processed after {self.recovery.new_s:.1f} s"
                    )
            case _:
                pass

    def _kill(self, dial: FlowDial) -> None:
        """Power off, power on: the worker is given no chance to finish anything."""
        pid = self.worker.process.pid if self.worker.process else 0
        self.worker.kill()
        self.recovery.at_s = time.monotonic() - self._began
        self.recovery.processed = self.samples[-1].processed
        self.worker.start()
        self._phase = FlowPhase.DOWN
        dial.print_event(
            f"kill -9 {pid}   with {self.recovery.processed:,} records processed; "
            "started again at once"
        )


def look_at(worker: LocalWorker, at_s: float, before: FlowSample | None = None) -> FlowSample:
    """A look as numbers. What was processed stays processed while a new process reads up to it.

    Raises:
        OSError: no answer.
    """
    status = worker.get("/v1/status", LOOK_WITHIN_S)
    newest = worker.get("/v1/snapshots?limit=1", LOOK_WITHIN_S)["data"]
    known = before.watermark if before is not None else {}
    marks = {int(p): next_offset or 0 for p, next_offset in status["watermark"].items()}
    return FlowSample(
        at_s=at_s,
        watermark={p: max(marks.get(p, 0), known.get(p, 0)) for p in {*marks, *known}},
        lag=status["lag_records"],
        tail_rows=status["tail"]["rows"],
        lake_rows=newest[0]["rows_total"] if newest else 0,
        level=status["level"],
    )
