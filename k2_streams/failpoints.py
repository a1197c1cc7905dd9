"""Named points in the code at which a fault can be made to happen. Off, and free, by default.

A plan, from the environment, names points and what happens there:

    checkpoint.committed=crash            the process ends at once, as by kill -9
    lake.files-written=delay:2.5@3        the third time it is reached, it takes 2.5 s longer
    take-over.replaying=raise@2;...       the second time, an error; more points after a semicolon
    source.rows=raise-on:0/1234           an error whenever the record at offset 1234 of partition 0
                                          is among those that are processed
    lake.committing=stop                  SIGSTOP: somebody else has to send SIGCONT

Each entry happens once, but for `raise-on`. What happened is appended to a file, before it happens,
so that a harness can count it even of a process that is gone.
"""

import asyncio
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path

#: Every point there is, in the order of the way of the data. Each is named in the code once.
POINTS = (
    "source.fetched",
    "source.decoded",
    "source.rows",
    "checkpoint.sealed",
    "checkpoint.encoded",
    "checkpoint.begun",
    "checkpoint.sent",
    "checkpoint.acknowledged",
    "checkpoint.offsets-sent",
    "checkpoint.committed",
    "checkpoint.handed-over",
    "checkpoint.written",
    "take-over.begun",
    "take-over.fenced",
    "take-over.store-opened",
    "take-over.replaying",
    "take-over.replayed",
    "take-over.recovered",
    "take-over.positioned",
    "lake.taken",
    "lake.loaded",
    "lake.files-written",
    "lake.manifests-written",
    "lake.committing",
    "lake.committed",
    "lake.acknowledged",
    "lake.expiring",
    "maintenance.planned",
    "maintenance.rewritten",
    "maintenance.proven",
    "maintenance.replaced",
    "maintenance.written-down",
    "maintenance.expired",
    "maintenance.deleting",
    "maintenance.deleted",
    "tail.taken",
    "tail.evicting",
    "tail.evicted",
    "rebalance.revoked",
    "rebalance.released",
    "rebalance.assigned",
    "rebalance.taken",
    "transfer.sent",
    "transfer.committed",
    "adopt.created",
    "adopt.restored",
    "adopt.positioned",
    "adopt.committed",
    "shutdown.begun",
    "shutdown.released",
    "shutdown.tasks-closed",
)
#: Those that a worker comes to: what transfers records or adopts a lake is a command.
WORKER_POINTS = tuple(one for one in POINTS if not one.startswith(("transfer.", "adopt.")))
#: Longer than every deadline that a delay could make pass.
DELAY_S_MAX = 600
_ACTIONS = ("crash", "delay", "raise", "raise-on", "stop")
_POINTS_OF_RECORDS = ("source.rows",)


class FailpointError(Exception):
    """The error that a plan asked for: stands for any that could have come from there."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to happen at a point, once: the `nth` time that it is reached.

    With a record, (partition, offset), it happens whenever that record comes to the point.
    """

    point: str
    action: str
    seconds: float
    nth: int
    record: tuple[int, int] | None = None


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class _Plan:
    def __init__(
        self, entries: tuple[Entry, ...], record: Path | None, crash: Callable[[], None]
    ) -> None:
        self.crash = crash
        self._entries = entries
        self._record = record
        self._reached: Counter[str] = Counter()
        self._lock = threading.Lock()

    def due(self, point: str, partition: int = -1, offsets: Container[int] = ()) -> Entry | None:
        """Count that a point is reached; what is to happen there now. Any thread may ask."""
        with self._lock:
            self._reached[point] += 1
            for entry in self._entries:
                if entry.point != point:
                    continue
                if entry.record is not None:
                    of, offset = entry.record
                    now = of == partition and offset in offsets
                else:
                    now = entry.nth == self._reached[point]
                if now:
                    self._note(entry)
                    return entry
        return None

    def _note(self, entry: Entry) -> None:
        if self._record is not None:
            line = f"{time.time_ns()} {os.getpid()} {entry.point} {entry.action}\n"
            with self._record.open("ab", buffering=0) as file:
                file.write(line.encode())


_plan: _Plan | None = None


def parse(text: str) -> tuple[Entry, ...]:
    """A plan's entries; an empty text has none.

    Raises:
        ValueError: not a plan; the text says what is wrong with it.
    """
    return tuple(_entry(part.strip()) for part in text.split(";") if part.strip())


def arm(
    entries: tuple[Entry, ...], record: Path | None = None, crash: Callable[[], None] = _kill
) -> None:
    """Follow a plan from now on, in this process; without entries none.

    Args:
        entries: as `parse` gives them.
        record: a file to append a line to for each thing that happens.
        crash: ends the process of who calls it, and does not return. A process in memory is another
            one than the operating system's.
    """
    global _plan  # noqa: PLW0603 - read at every point: a look at a name is all that it costs
    _plan = _Plan(entries, record, crash) if entries else None


def _entry(text: str) -> Entry:
    point, _, rest = text.partition("=")
    if point not in POINTS:
        raise ValueError(f"expected a failpoint ({', '.join(POINTS)}), found {point!r}")
    what, _, nth = rest.partition("@")
    action, _, seconds = what.partition(":")
    if action == "raise-on":
        return _of_record(point, seconds)
    if action not in _ACTIONS or (action == "delay") != bool(seconds):
        found = f"found {what!r}"
        raise ValueError(f"expected crash, delay:SECONDS, raise, raise-on or stop, {found}")
    entry = Entry(point, action, float(seconds or 0), int(nth or 1))
    if entry.nth < 1 or not 0 <= entry.seconds <= DELAY_S_MAX:
        raise ValueError(f"expected a time from 1 on and up to {DELAY_S_MAX} s, found {text!r}")
    return entry


def _of_record(point: str, record: str) -> Entry:
    partition, _, offset = record.partition("/")
    if point not in _POINTS_OF_RECORDS or not (partition.isdigit() and offset.isdigit()):
        names = ", ".join(_POINTS_OF_RECORDS)
        raise ValueError(f"expected {names}=raise-on:PARTITION/OFFSET, found {point}={record!r}")
    return Entry(point, "raise-on", 0, 1, (int(partition), int(offset)))


def failpoint_of_records(point: str, partition: int, offsets: Container[int]) -> None:
    """A point in code that may block, which these records of the source have come to."""
    plan = _plan
    if plan is not None:
        entry = plan.due(point, partition, offsets)
        if entry is not None and not _happens(entry, plan.crash):
            time.sleep(entry.seconds)


def failpoint(point: str) -> None:
    """A point in code that may block."""
    plan = _plan
    if plan is not None:
        entry = plan.due(point)
        if entry is not None and not _happens(entry, plan.crash):
            time.sleep(entry.seconds)


async def failpoint_in_loop(point: str) -> None:
    """A point in a coroutine: a delay holds up nothing else."""
    plan = _plan
    if plan is not None:
        entry = plan.due(point)
        if entry is not None and not _happens(entry, plan.crash):
            await asyncio.sleep(entry.seconds)


def _happens(entry: Entry, crash: Callable[[], None]) -> bool:
    """Do it, unless it is a delay."""
    if entry.action == "crash":
        crash()
    if entry.action in {"raise", "raise-on"}:
        raise FailpointError(entry.point)
    if entry.action == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
        return True
    return False
