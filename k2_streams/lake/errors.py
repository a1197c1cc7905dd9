"""What can go wrong with the lake, grouped by what the reader of the error can do about it.

- wait and try again: `LakeUnavailableError`, and `CommitUnknownError` with the same commit id
- stop, or start again at the table's vector: `VectorMovedError`
- fix the configuration or the table, nothing resolves by itself: `LakeConfigError` and its kinds
- fix the question: `SnapshotNotFoundError`
"""

from k2_streams.core.records.vector import Range


class LakeError(Exception):
    """Anything the lake reports."""


class LakeUnavailableError(LakeError):
    """Catalog or store did not answer as it should; the same call may succeed later."""


class CommitUnknownError(LakeUnavailableError):
    """It is not known whether the commit landed.

    The rows are not lost and not doubled: call `append` again with the same commit id and it finds
    the commit, or makes it.
    """

    def __init__(self, commit_id: str, cause: BaseException) -> None:
        """Of this commit, because of this answer."""
        super().__init__(
            f"commit {commit_id}: expected to learn whether it landed, "
            f"found {type(cause).__name__}: {cause}"
        )
        self.commit_id = commit_id


class SpecChangedError(LakeUnavailableError):
    """The files of a batch were written for a partition spec that is no longer the table's.

    Nothing was appended. Call `append` again with the same commit id: it writes them anew.
    """


class VectorMovedError(LakeError):
    """The table does not end where the batch starts: another writer owns these partitions now."""

    def __init__(self, topic: str, expected: dict[int, Range], found: dict[int, int]) -> None:
        """The batch's ranges, and where the table ends in each of the partitions that differ."""
        differences = ", ".join(
            f"{topic}-{partition}: expected the table to end at {expected[partition].start}, "
            f"found {end}"
            for partition, end in sorted(found.items())
        )
        super().__init__(differences)
        self.topic = topic
        self.expected = expected
        self.found = found


class InputsGoneError(LakeError):
    """Files that a compaction would replace are no longer in the table: it is planned anew."""


class UnfitFileError(LakeError):
    """A data file that compaction leaves as it is: another engine wrote it otherwise than K2."""

    def __init__(self, path: str, reason: str) -> None:
        """Of this file."""
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class NotProvenError(LakeError):
    """The rows that a compaction wrote are not those that it read; nothing was committed."""


class LakeConfigError(LakeError):
    """The table is not what this configuration expects; a person has to look."""


class TopicChangedError(LakeConfigError):
    """The topic was created anew: its offsets do not mean what the table's vector means."""

    def __init__(self, topic: str, expected: str, found: str) -> None:
        """`expected` is the id in the table's vector, `found` the topic's."""
        super().__init__(
            f"{topic}: the table holds offsets of topic id {expected}, found topic id {found}"
        )
        self.topic = topic
        self.expected = expected
        self.found = found


class VectorMissingError(LakeConfigError):
    """The table has rows, and neither a snapshot nor its properties say which offsets they are."""


class VectorWentBackError(LakeConfigError):
    """A snapshot's vector is behind its parent's: a writer that does not know it set it back."""


class TableMissingError(LakeConfigError):
    """The catalog has no table `k2.trades`."""


class TableMismatchError(LakeConfigError):
    """The table's columns, partitions, properties or deletes are not what K2 reads and writes."""


class SnapshotNotFoundError(LakeError):
    """No such snapshot: it never was, or it has expired."""

    def __init__(self, snapshot_id: int) -> None:
        """The id that was asked for."""
        super().__init__(f"expected a snapshot {snapshot_id} of k2.trades, found none")
        self.snapshot_id = snapshot_id
