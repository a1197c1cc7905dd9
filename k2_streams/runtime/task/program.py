"""What the tasks of one source run, as a task sees it: tables, processing, deferral."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from k2_streams.core.load.backlog import Backlog, Split
from k2_streams.kafka.topics import TopicInfo
from k2_streams.runtime.fetched import Record
from k2_streams.runtime.task.epoch import Epoch
from k2_streams.runtime.task.outputs import TaskOutputs
from k2_streams.runtime.task.processing_error import ProcessingError
from k2_streams.state.position import Position, Section
from k2_streams.state.state_table import StateTable

if TYPE_CHECKING:
    from k2_streams.runtime.task.context import TaskContext


class Processing(Protocol):
    """What becomes of the records of one partition. One thread at a time."""

    @property
    def stream_time_ms(self) -> int:
        """The largest append time processed, or that has passed since."""

    @property
    def next_deadline_ms(self) -> int | None:
        """The stream time at which something is decided if no record comes; None: nothing is."""

    def process(
        self, records: Sequence[Record], end: int, epoch: Epoch, *, probe: bool = False
    ) -> None:
        """Add what records bring about to the epoch and the tables, in their order.

        Args:
            records: the next ones.
            end: the position behind them.
            epoch: what they are added to.
            probe: whether what they bring about is encoded on trial, as its checkpoint will do.

        Raises:
            ProcessingError: they could not be processed. Nothing has anything of them.
            StateReadError: the state's store could not be read; the task is over.
        """

    def refuse(self, record: Record, error: ProcessingError, end: int, epoch: Epoch) -> None:
        """Add a record that `process` failed on, alone, as a dead letter.

        Raises:
            AgentStoppedError: the partition stops instead, as the agent declares it.
        """

    def expire(self, epoch: Epoch) -> None:
        """Decide what stream time has decided. Nothing older may be deferred."""

    def pass_time(self, time_ms: int, epoch: Epoch) -> None:
        """No record to come is older than this: stream time from now on."""

    def sections(self) -> Mapping[str, Section]:
        """What the position says of it."""


class TaskDeferral(Protocol):
    """A task's part in deferral; see `k2_streams.runtime.deferral.backlog.Deferral`."""

    backlog: Backlog

    def triage(self, records: Sequence[Any], epoch: Epoch, budget: int) -> Split[Any]:
        """Defer what has to wait, and say what is processed now, within the budget."""

    def holds_source(self) -> bool:
        """Whether the source has to wait for the last of the backlog."""

    def is_ready(self) -> bool:
        """Whether there is something to drain, and the level allows it."""

    def take(self, at_most: int) -> tuple[list[Any], int]:
        """The next deferred records, and the position behind them."""

    def drained(self, found: Sequence[Any], end: int, epoch: Epoch) -> list[Any]:
        """Those of the records that were deferred; they are no longer."""

    def seal(self, epoch: Epoch) -> Mapping[str, Section]:
        """Nothing more is added to the epoch: what the position says of the backlog."""

    def committed(self) -> None:
        """The sealed epoch is in Kafka."""

    async def rest(self) -> None:
        """Without a backlog nothing is read."""

    async def close(self) -> None:
        """Stop reading."""


class TaskTables(Protocol):
    """The tables of one partition, and what works with them once they are restored."""

    @property
    def all(self) -> tuple[StateTable, ...]:
        """In the order in which they are restored; the first one's changelog has the position."""

    @property
    def position(self) -> Position | None:
        """The newest one, once the first table is restored; None: there is none."""

    def processing(self, position: Position) -> Processing:
        """What goes on from a position. Called once, when all tables are restored."""

    def deferral(self, position: Position, on_ready: Callable[[], None]) -> TaskDeferral:
        """The same of the backlog; `on_ready` is called when there is something to drain."""

    def close(self) -> None:
        """Close all stores."""


class Program(Protocol):
    """What the tasks of one source run.

    Attributes:
        outputs: where they write to.
        deferred: where records are deferred to; None: nothing of this source is.
        versions: of the declared tables' state, by name.
        starts_in_lake: whether the source's records come from the lake as far as it has them.
    """

    @property
    def outputs(self) -> TaskOutputs: ...  # noqa: D102 - see above

    @property
    def deferred(self) -> TopicInfo | None: ...  # noqa: D102 - see above

    @property
    def versions(self) -> Mapping[str, int]: ...  # noqa: D102 - see above

    @property
    def starts_in_lake(self) -> bool: ...  # noqa: D102 - see above

    def new_tables(self, partition: int, context: "TaskContext") -> TaskTables:
        """Of a partition, not restored."""
