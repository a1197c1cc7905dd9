"""A table's rows go on from a new log, which begins where the lost one ended.

The adoption is a snapshot without rows. Its vector has the same offsets under the id of the new
topic, so that a sink goes on behind them; the table's property `k2.adopted` names the lost log and
how much of it is here, so that a token of before is still answered, as far as its rows are.
"""

import msgspec
from pyiceberg.io import FileIO
from pyiceberg.table import Table, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Operation, Snapshot
from pyiceberg.table.update import SetPropertiesUpdate, UpdatesAndRequirements
from pyiceberg.table.update.snapshot import _FastAppendFiles

from k2_streams.core.records.vector import (
    PROPERTY_ADOPTED,
    SUMMARY_COMMIT_ID,
    LostLog,
    Range,
    Vector,
)
from k2_streams.lake.catalog import lake_calls
from k2_streams.lake.commit import CheapTransaction, VectorCommit, commit
from k2_streams.lake.errors import VectorMovedError
from k2_streams.lake.history import EarlierMetadata
from k2_streams.lake.schema import TableDescription, description_of
from k2_streams.lake.snapshots import lost_logs
from k2_streams.lake.table import Lake
from k2_streams.lake.vectors import ancestry, summary_value

#: The topics that an adoption under way has created, by name their ids: those it may delete again.
PROPERTY_ADOPTING = "k2.adopting"
_TEXTS = msgspec.json.Decoder(dict[str, str])


class AdoptionCommit(VectorCommit, _FastAppendFiles):
    """The snapshot of an adoption: it lands only on the head whose vector was adopted."""

    def __init__(
        self,
        transaction: Transaction,
        io: FileIO,
        described: TableDescription,
        earlier: EarlierMetadata,
        *,
        commit_id: str,
        before: Vector,
        topic_id: str,
    ) -> None:
        """Of a table whose head has the vector `before`."""
        super().__init__(
            operation=Operation.APPEND,
            transaction=transaction,
            io=io,
            commit_id=commit_id,
            described=described,
            earlier=earlier,
        )
        self._before = before
        self._topic_id = topic_id

    def _vector_after(self, head: Vector) -> Vector:
        log = self._described.stream.log
        if head != self._before:
            ends = {} if log not in head.topics else head.topics[log].next
            held = self._before.topics.get(log)
            known = {p: Range(end, end) for p, end in (held.next if held else {}).items()}
            raise VectorMovedError(log, known, {p: ends.get(p, 0) for p in known})
        return head.adopted(log, self._topic_id)

    def _commit(self) -> UpdatesAndRequirements:
        updates, requirements = super()._commit()
        log = self._described.stream.log
        metadata = self._transaction._table.metadata  # noqa: SLF001 - as in `VectorCommit`
        lost = lost_logs(metadata)
        held = self._before.topics.get(log)
        if held is not None:
            lost = (*lost, LostLog(held.id, held.next))
        told = {PROPERTY_ADOPTED: msgspec.json.encode(lost).decode()}
        return (*updates, SetPropertiesUpdate(updates=told)), requirements


def adopt_log(lake: Lake, before: Vector, topic_id: str) -> None:
    """Let the table's rows go on from a topic of this id, at the offsets that it has.

    Args:
        lake: a handle on the table.
        before: the vector of its head, as the topic was made for it.
        topic_id: of the new topic.

    Raises:
        VectorMovedError: someone has committed meanwhile; nothing was changed.
        LakeUnavailableError: the catalog or the store does not answer; call it again.
        LakeConfigError: the table is not one that K2 can write to.
    """
    commit_id = f"adopt-{topic_id}"
    described, earlier = description_of(lake.stream), EarlierMetadata()

    def attempt(table: Table) -> int:
        transaction = CheapTransaction(table)
        made = AdoptionCommit(
            transaction, table.io, described, earlier,
            commit_id=commit_id, before=before, topic_id=topic_id,
        )  # fmt: skip
        return commit(transaction, made)

    lake.settle(lake.load(), commit_id, attempt, lambda found: _find(found, commit_id))


def _find(metadata: TableMetadata, commit_id: str) -> Snapshot | None:
    return next(
        (one for one in ancestry(metadata) if summary_value(one, SUMMARY_COMMIT_ID) == commit_id),
        None,
    )


def created_topics(lake: Lake) -> dict[str, str]:
    """The topics that an adoption has created, by name their ids; empty: none was begun.

    Raises:
        LakeUnavailableError: the catalog does not answer.
    """
    text = lake.load().metadata.properties.get(PROPERTY_ADOPTING, "{}")
    return _TEXTS.decode(text)


def write_created_topics(lake: Lake, ids: dict[str, str]) -> None:
    """Write down what an adoption has created.

    Raises:
        LakeUnavailableError: the catalog does not answer.
    """
    with lake_calls(f"change {lake.stream.log}"):
        transaction = lake.load().transaction()
        transaction.set_properties({PROPERTY_ADOPTING: msgspec.json.encode(ids).decode()})
        transaction.commit_transaction()
