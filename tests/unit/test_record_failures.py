"""When the record at fault is looked for: three failures at one position, whatever its batches."""

from k2_streams.core.records.record_failures import FAILURES_MAX, ISOLATED_RECORDS, RecordFailures

SOURCE, DEFERRED = "raw", "deferred"


def failed(failures: RecordFailures, start: int, end: int, topic: str = SOURCE) -> None:
    failures.failed(topic, start, end, "f", "E")


def test_the_third_failure_at_a_position_isolates() -> None:
    """Batches differ from task to task: what they share is what may be at fault."""
    failures = RecordFailures()
    for count, (start, end) in enumerate([(0, 900), (300, 700), (600, 2000)], 1):
        assert not failures.is_isolating
        failed(failures, start, end)
        assert failures.last is not None
        assert failures.last.count == count
    assert failures.last is not None
    assert (failures.last.start, failures.last.end) == (600, 700)
    assert failures.is_isolating
    assert count == FAILURES_MAX


def test_failures_elsewhere_are_no_further_ones_at_a_position() -> None:
    """Nor are those of records that waited, which are others of the same partition."""
    failures = RecordFailures()
    for turn in range(5):
        failed(failures, turn * 10, turn * 10 + 10)
    assert not failures.is_isolating
    failed(failures, 40, 50)
    failed(failures, 45, 46, DEFERRED)
    assert not failures.is_isolating
    failed(failures, 45, 46)
    assert failures.is_isolating


def test_what_passed_by_itself_is_forgotten() -> None:
    """A race, or memory that was short: the same offsets are not counted on."""
    failures = RecordFailures()
    for _ in range(5):
        failed(failures, 0, 10)
        failed(failures, 0, 10)
        failures.passed(SOURCE, 10, 9)
        assert failures.last is None
    assert not failures.is_isolating


def test_isolation_ends_some_way_behind_the_last_record_refused() -> None:
    """Until then each further one is found at once."""
    failures = RecordFailures()
    for _ in range(FAILURES_MAX):
        failed(failures, 5, 10)
    failures.refuse(7, "f", "E")
    failures.passed(SOURCE, ISOLATED_RECORDS - 1, 1_000_000)
    assert failures.is_isolating
    assert failures.last is not None
    assert failures.last.refused
    failures.refuse(1_000_001, "f", "E")
    failures.passed(SOURCE, ISOLATED_RECORDS - 1, 2_000_000)
    assert failures.is_isolating
    failures.passed(SOURCE, 1, 2_000_001)
    assert not failures.is_isolating
    assert failures.last is None
    assert failures.refused == 2
