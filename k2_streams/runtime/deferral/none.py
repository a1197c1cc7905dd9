"""The deferral of a source of which nothing is deferred: the rows of a log are in order already."""

from collections.abc import Mapping, Sequence
from typing import Any

from k2_streams.core.load.backlog import Backlog, Split
from k2_streams.runtime.task.epoch import Epoch
from k2_streams.state.position import Section


class NoDeferral:
    """A `TaskDeferral` whose backlog is always empty."""

    def __init__(self) -> None:
        self.backlog = Backlog({}, None)

    def triage(self, records: Sequence[Any], epoch: Epoch, budget: int) -> Split[Any]:  # noqa: ARG002 - nothing is added to it
        """All that the budget allows is processed now."""
        return Split(records[:budget], (), min(budget, len(records)))

    def holds_source(self) -> bool:
        """Never."""
        return False

    def is_ready(self) -> bool:
        """Never: there is nothing to drain."""
        return False

    def take(self, at_most: int) -> tuple[list[Any], int]:
        """Is not asked."""
        raise AssertionError(f"{at_most} deferred records asked for, and none is deferred")

    def drained(self, found: Sequence[Any], end: int, epoch: Epoch) -> list[Any]:  # noqa: ARG002 - see `take`
        """Is not asked."""
        raise AssertionError(f"{len(found)} records drained, and none was deferred")

    def seal(self, epoch: Epoch) -> Mapping[str, Section]:  # noqa: ARG002 - it holds nothing deferred
        """The position says nothing of it."""
        return {}

    def committed(self) -> None:
        """Nothing follows from it."""

    async def rest(self) -> None:
        """There is no reader."""

    async def close(self) -> None:
        """There is no reader."""
