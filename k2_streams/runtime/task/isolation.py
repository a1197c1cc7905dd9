"""A task's records on their way to their processing: where that fails on one, it is found.

See `core.records.record_failures` for when. Verdicts do not depend on how records are cut into
batches, so halving a batch that failed until one record is left changes nothing for the others.
"""

from collections.abc import Sequence

import structlog

from k2_streams.core.records.record_failures import RecordFailures
from k2_streams.runtime.fetched import Record
from k2_streams.runtime.task.epoch import Epoch
from k2_streams.runtime.task.processing_error import ProcessingError
from k2_streams.runtime.task.program import Processing

log = structlog.get_logger(__name__)

#: Records processed at once while the one at fault is looked for: if all are at fault, a second or
#: so of the tasks' thread.
ISOLATED_BATCH_RECORDS = 1_024


class Isolation:
    """Of one task.

    Args:
        processing: of the task.
        failures: of its partition; they outlive it.
    """

    def __init__(self, processing: Processing, failures: RecordFailures) -> None:
        self._processing = processing
        self._failures = failures

    @property
    def batch_records(self) -> int | None:
        """The most records to process at once; None: no limit of its own."""
        return ISOLATED_BATCH_RECORDS if self._failures.is_isolating else None

    def process(self, topic: str, records: Sequence[Record], end: int, epoch: Epoch) -> None:
        """As `Processing.process`; `topic` is where the records were read.

        Raises:
            ProcessingError: not for the third time at this position, so the task is to end.
            StateReadError: the state's store could not be read.
            AgentStoppedError: an agent's partition stops on this record.
        """
        failures = self._failures
        try:
            self._processing.process(records, end, epoch, probe=failures.is_isolating)
        except ProcessingError as error:
            failures.failed(topic, error.start, error.end, error.feed, error.error)
            if not failures.is_isolating:
                raise
            self._separate(records, error, end, epoch)
        if records:
            failures.passed(topic, len(records), max(records[0].offset, records[-1].offset))

    def _separate(
        self, records: Sequence[Record], error: ProcessingError, end: int, epoch: Epoch
    ) -> None:
        """Process records, of which one or more fail; these become dead letters."""
        if len(records) == 1:
            self._processing.refuse(records[0], error, end, epoch)
            self._failures.refuse(records[0].offset, error.feed, error.error)
            log.error(
                "record refused",
                topic=error.topic,
                partition=error.partition,
                offset=records[0].offset,
                feed=error.feed,
                error=error.error,
            )
            return
        half = len(records) // 2
        for part, position in ((records[:half], epoch.position), (records[half:], end)):
            try:
                self._processing.process(part, position, epoch, probe=True)
            except ProcessingError as found:
                self._separate(part, found, position, epoch)
