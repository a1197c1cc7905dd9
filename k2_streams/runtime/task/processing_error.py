"""A failure of K2's own code, or of a feed's, on records: where it happened and what it was."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt

from k2_streams.core.error_text import described

#: The reason of a dead letter that K2's own code, or a feed's, failed on.
PROCESSING_ERROR = "processing-error"


class ProcessingError(Exception):
    """Records could not be processed, and nothing of them was taken into the epoch or the state.

    Attributes:
        topic: of the source.
        partition: of the source.
        start: the first offset of the records.
        end: the last one's, and one more.
        feed: whose records they are; None: of several feeds.
        error: the exception that was raised, as text.
    """

    def __init__(
        self, topic: str, partition: int, start: int, end: int, feed: str | None, error: str
    ) -> None:
        where = f"{topic}-{partition} offsets {start} to {end - 1}"
        super().__init__(f"{where}, feed {feed or 'several'}: {error}")
        self.topic = topic
        self.partition = partition
        self.start = start
        self.end = end
        self.feed = feed
        self.error = error

    @classmethod
    def of(
        cls,
        error: Exception,
        topic: str,
        partition: int,
        offsets: Sequence[int] | npt.NDArray[np.int64],
        feed: str | None,
    ) -> Self:
        """The error of records at these offsets."""
        start, end = int(min(offsets)), int(max(offsets)) + 1
        return cls(topic, partition, start, end, feed, described(error))
