"""What checkpoints publish beside their rows, counted: how far into the log it has been read.

A checkpoint's record of the log says how many records of another topic were published with it and
before it. They are in one transaction, but come by another fetch.
"""

from collections import Counter


class Published:
    """Records of one topic, per partition: those that were read, and those that are expected."""

    def __init__(self) -> None:
        self._read: Counter[int] = Counter()
        self._expected: dict[int, tuple[int, int]] = {}  # so many, up to a position of the log
        self._reached: dict[int, int] = {}

    @property
    def total(self) -> int:
        """Records read, of all partitions."""
        return self._read.total()

    def read(self, partition: int, records: int) -> None:
        """So many more were read."""
        self._read[partition] += records

    def expect(self, partition: int, records: int | None, log_next: int) -> None:
        """Below this offset of the log so many are expected; None: a version that did not count."""
        if records is not None:
            self._expected[partition] = (records, log_next)

    def expect_none(self, partition: int, start: int, end: int) -> None:
        """The log has no committed record in `[start, end)`: none of this topic belongs to it.

        So what is expected below `start` is all that is expected below `end`. If that is not known
        (the records before are of a version that did not count, or of a checkpoint whose last
        record is still to come), it stays so.
        """
        records, log_next = self._expected.get(partition, (0, -1))
        if start <= log_next < end:
            self._expected[partition] = (records, end)

    def has(self, partition: int) -> bool:
        """Whether all that are expected were read."""
        expected, _ = self._expected.get(partition, (0, 0))
        return self._read[partition] >= expected

    def reached(self) -> dict[int, int]:
        """Per partition the offset of the log below which all were read; it never goes back."""
        for partition, (_, log_next) in self._expected.items():
            if self.has(partition):
                self._reached[partition] = max(log_next, self._reached.get(partition, 0))
        return dict(self._reached)
