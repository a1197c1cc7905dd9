"""What the web needs of the rest of the process: given once, at `install`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import msgspec
from prometheus_client import CollectorRegistry

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

#: Requests a second for each caller.
RATE_LIMIT_PER_S = 60.0


class Readiness(msgspec.Struct, frozen=True):
    """Whether this node should be sent queries now, and if not, why and until when."""

    ok: bool
    reason: str = ""
    retry_after_s: int = 1


class Queries(Protocol):
    """The questions that the views ask: `k2_streams.query.hybrid.HybridQuery` answers them."""

    async def rows(self, request: RowsRequest) -> Answer:
        """Lake and tail as one."""
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
    `answers_bytes` is what all answers on their way may hold in memory together.
    """

    stream: Stream
    query: Queries
    status: Callable[[], dict[str, Any]]
    lines: Callable[[], LinesFound]
    ready: Callable[[], Readiness]
    metrics_registry: CollectorRegistry
    keys: tuple[str, ...] = field(default=(), repr=False)
    rate_limit_per_s: float = RATE_LIMIT_PER_S
    connections: Connections = field(default_factory=Connections)
    answers_bytes: int = DEFAULT_TOTAL_BYTES
    clock: Clock = SYSTEM_CLOCK
