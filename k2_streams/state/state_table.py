"""What a take-over and a checkpoint ask of every table, whatever it holds.

    open ---> replay ... replay ---> finish        take-over: the store, then its changelog's rest
    seal ---> (transaction) ---> written           checkpoint

A table is a changelog and a store on this machine. Several small ones may share both. What a task
processes with is made of it after `finish`.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from k2_streams.core.types import SourceRecord, TopicPartition
from k2_streams.kafka.transactions import ChangelogRows
from k2_streams.state.position import Position, RowSum, Section

#: Figures by metric and labels, which the worker's metrics add up or show.
Figures = Mapping[tuple[str, tuple[str, ...]], float]


class SealedTable(Protocol):
    """What an epoch changed in a table, ready to be committed."""

    @property
    def rows(self) -> ChangelogRows:
        """Changelog records in their order. Of none, nothing is sent and nothing written."""

    @property
    def sums(self) -> Mapping[str, RowSum]:
        """Of each table of the changelog, by the name that the position has: what it now is."""

    @property
    def sections(self) -> Mapping[str, Section]:
        """What the position says of the tables beyond their sums."""

    @property
    def counts(self) -> Figures:
        """What is counted once the epoch is committed."""

    @property
    def gauges(self) -> Figures:
        """What is shown once the epoch is committed."""


class StateTable(Protocol):
    """A table, or tables that share a changelog, of one partition.

    Steps of a take-over block, and run in the tasks' thread.
    """

    @property
    def changelog(self) -> TopicPartition:
        """Where it is restored from."""

    @property
    def poll_records(self) -> int:
        """Changelog records to replay at once."""

    def open(self, begin: int) -> int:
        """Open or create the store, and check it; where its changelog is read on from.

        Args:
            begin: the first offset that the changelog still holds.

        Raises:
            StoreUnusableError: it cannot be trusted.
            StoreUnavailableError: the disk cannot be used now.
        """

    def expect(self, position: Position | None, time_ms: int) -> None:
        """What the position says that the table must hold.

        Args:
            position: the newest that was committed; None: there is none.
            time_ms: no record to come was appended before it.
        """

    def replay(self, records: Sequence[SourceRecord]) -> None:
        """Take records of the changelog, in their order.

        Raises:
            StoreUnusableError: they are none of this table.
        """

    def finish(self, end: int) -> None:
        """All below `end` was replayed: compare with what was expected, and write the store.

        Raises:
            StoreUnusableError: it does not hold what it should. Nothing is written then.
        """

    def wipe(self) -> None:
        """Leave nothing of the store, nor of what was replayed."""

    def close(self) -> None:
        """Close the store."""

    def seal(self) -> SealedTable:
        """End the epoch: what it changed. The next one may begin at once."""

    def written(self, sealed: SealedTable, changelog_offset: int, position: bytes) -> None:
        """Write the store, in one batch; called once the transaction has been committed.

        Args:
            sealed: what `seal` gave.
            changelog_offset: the changelog's next record after those of the transaction.
            position: the position record's value that was committed with them.
        """
