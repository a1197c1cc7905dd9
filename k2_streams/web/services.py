"""What the web needs of the rest of the process: given once, at `install`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import msgspec

from k2_streams.clock import SYSTEM_CLOCK, Clock
from k2_streams.core.lines.stats import LineReport
from k2_streams.core.query.entitlement import Entitlement
from k2_streams.core.records.stream import Stream
from k2_streams.core.subscription.limits import STREAMS_MAX
from k2_streams.query.entitlement import entitled
from k2_streams.query.relations import Relation, ServedLog, relations_of, sequenced
from k2_streams.query.sql.sandbox import Sandbox
from k2_streams.web.http.api_keys import KeyRing
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


class LinesFound(NamedTuple):
    """How the redundant lines do, and of which partitions of how many."""

    lines: list[LineReport]
    partitions: list[int]
    of_partitions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The web's connections to the process.

    `status`, `lines` and `ready` are called on the event loop and must not block.

    Attributes:
        logs: every log that is served, each under `/v1/<name>`; their names differ.
        keys: that a request must carry one of, if there are any.
        answers_bytes: what all answers that are being sent may hold in memory together.
        answer_timeout_s: the time limit of one request.
        streams_max: streams that may be open at a time.
        sandbox: where statements of callers run; its owner closes it.
    """

    logs: tuple[ServedLog, ...]
    status: Callable[[], dict[str, Any]]
    lines: Callable[[], LinesFound]
    ready: Callable[[], Readiness]
    telemetry: Telemetry
    keys: KeyRing = field(default_factory=KeyRing)
    rate_limit_per_s: float = RATE_LIMIT_PER_S
    connections: Connections = field(default_factory=Connections)
    answers_bytes: int = DEFAULT_TOTAL_BYTES
    answer_timeout_s: float = ANSWER_TIMEOUT_S
    streams_max: int = STREAMS_MAX
    sandbox: Sandbox = field(default_factory=Sandbox)
    clock: Clock = SYSTEM_CLOCK

    @property
    def streams(self) -> tuple[Stream, ...]:
        """What is served."""
        return tuple(log.stream for log in self.logs)

    @property
    def by_name(self) -> Mapping[str, ServedLog]:
        """The logs by the names of their streams."""
        return {log.stream.name: log for log in self.logs}

    @property
    def relations(self) -> Mapping[str, Relation]:
        """Everything that can be asked for by a name."""
        return relations_of(self.streams)

    @property
    def sequenced(self) -> ServedLog:
        """The log that gaps, symbols and lines are about.

        Raises:
            LookupError: there is none, so that no endpoint asks for it.
        """
        stream = sequenced(self.streams)
        if stream is None:
            raise LookupError("no log that is served has sequenced rows")
        return self.by_name[stream.name]

    def entitled_to(self, entitlement: Entitlement) -> "Services":
        """The same, as a caller sees them who may not read everything."""

        def lines() -> LinesFound:
            found = self.lines()
            seen = [one for one in found.lines if entitlement.is_permitted(one.exchange)]
            return found._replace(lines=seen)

        logs = tuple(entitled(log, entitlement) for log in self.logs)
        return replace(self, logs=logs, lines=lines)
