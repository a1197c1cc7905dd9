"""What the web needs of the rest of the process: given once, at `install`."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import msgspec

from k2_streams.clock import SYSTEM_CLOCK, Clock
from k2_streams.core.lines.stats import LineReport
from k2_streams.core.records.stream import Stream
from k2_streams.query.answer import Answer, GapsAnswer, SnapshotRow, SymbolsAnswer
from k2_streams.query.request import (
    GapsRequest,
    RowsRequest,
    SnapshotsRequest,
    SymbolsRequest,
)
from k2_streams.web.http.connections import Connections
from k2_streams.web.http.room import DEFAULT_TOTAL_BYTES
from k2_streams.web.http.telemetry import Telemetry

#: Requests per second of each caller.
RATE_LIMIT_PER_S = 60.0
#: Of one request: the longest wait that a caller may ask for (5 s) and the longest query, twice.
ANSWER_TIMEOUT_S = 30.0


class Readiness(msgspec.Struct, frozen=True):
    """Whether queries should be sent to this node now, and if not, why and until when."""

    ok: bool
    reason: str = ""
    retry_after_s: int = 1


class Queries(Protocol):
    """Answers every query about one log: `k2_streams.query.hybrid.HybridQuery`."""

    async def rows(self, request: RowsRequest) -> Answer:
        """Rows of lake and tail."""
        ...

    async def gaps(self, request: GapsRequest) -> GapsAnswer:
        """What is known to be missing."""
        ...

    async def symbols(self, request: SymbolsRequest) -> SymbolsAnswer:
        """What is known of each symbol."""
        ...

    async def snapshots(self, request: SnapshotsRequest) -> list[SnapshotRow]:
        """The lake's snapshots."""
        ...


class Relation(NamedTuple):
    """A log whose rows can be queried, and what answers the queries."""

    stream: Stream
    query: Queries


def sequenced(streams: Iterable[Stream]) -> Stream | None:
    """The stream that gaps, symbols and lines are about; None: no served rows were sequenced."""
    return next((stream for stream in streams if stream.is_sequenced), None)


class LinesFound(NamedTuple):
    """How the redundant lines do, and of which partitions of how many."""

    lines: list[LineReport]
    partitions: list[int]
    of_partitions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The web's connections to the process.

    `status`, `lines` and `ready` are called on the event loop and must not block. The keys are not
    kept beyond `install`, which keeps their hashes; they are not shown in this object's text.

    Attributes:
        logs: every log that is served, each under `/v1/<name>`; their names differ.
        answers_bytes: what all answers that are being sent may hold in memory together.
        answer_timeout_s: the time limit of one request.
    """

    logs: tuple[Relation, ...]
    status: Callable[[], dict[str, Any]]
    lines: Callable[[], LinesFound]
    ready: Callable[[], Readiness]
    telemetry: Telemetry
    keys: tuple[str, ...] = field(default=(), repr=False)
    rate_limit_per_s: float = RATE_LIMIT_PER_S
    connections: Connections = field(default_factory=Connections)
    answers_bytes: int = DEFAULT_TOTAL_BYTES
    answer_timeout_s: float = ANSWER_TIMEOUT_S
    clock: Clock = SYSTEM_CLOCK

    @property
    def streams(self) -> tuple[Stream, ...]:
        """What is served."""
        return tuple(log.stream for log in self.logs)

    @property
    def relations(self) -> Mapping[str, Relation]:
        """Everything whose rows can be queried, by name."""
        return {log.stream.name: log for log in self.logs}

    @property
    def sequenced(self) -> Relation:
        """The log that gaps, symbols and lines are about.

        Raises:
            LookupError: there is none, so that no endpoint asks for it.
        """
        stream = sequenced(self.streams)
        if stream is None:
            raise LookupError("no log that is served has sequenced rows")
        return self.relations[stream.name]
