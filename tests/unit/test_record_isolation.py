"""A record that K2 or a feed fails on costs itself: the others come out as if it were not there."""

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sequencer_world import Raw, World, canonical, spot, world

from k2_streams.core.error_text import MAX_ERROR_CHARS
from k2_streams.core.records.events import Dead
from k2_streams.core.records.record_failures import FAILURES_MAX, RecordFailures
from k2_streams.failpoints import arm, parse
from k2_streams.feeds.canonical.feed import Canonical
from k2_streams.feeds.feed import FEEDS, Decoded, RawBatch
from k2_streams.runtime.task.isolation import Isolation
from k2_streams.runtime.task.processing_error import (
    ProcessingError,
)
from k2_streams.topology.errors import StateReadError


class Fragile(Canonical):
    """A plug-in that raises on a record of which it did not think."""

    name = "fragile"

    def decode(self, batch: RawBatch) -> Decoded:
        if any(value is not None and b"poison" in value for value in batch.values):
            raise KeyError("poison" * 1_000)
        return super().decode(batch)


FEEDS_WITH_PLUGIN = {**FEEDS, "fragile": Fragile()}
FRAGILE = (("feed", b"fragile"),)


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    arm(())


def poison(offset: int, sequence: int) -> Raw:
    return canonical(offset, sequence, headers=FRAGILE, vendor={"x": "poison"})


def isolated(at: World, records: list[Raw], size: int) -> RecordFailures:
    """The records in batches, from the third failure on; each failure before ends a task."""
    failures = RecordFailures()
    isolation = Isolation(at.sequencer, failures)
    for start in range(0, len(records), size):
        part = records[start : start + size]
        for _ in range(FAILURES_MAX):
            try:
                isolation.process("raw", part, part[-1].offset + 1, at.epoch)
            except ProcessingError:
                continue
            break
    return failures


def test_a_plug_in_that_raises_on_a_record_costs_that_record_alone(tmp_path: Path) -> None:
    """With exception and feed in the dead letter, both bounded."""
    records = [canonical(n, n, headers=FRAGILE) for n in range(20)]
    records += [spot(20, 5), poison(21, 20), spot(22, 6), canonical(23, 21)]
    with world(tmp_path, FEEDS_WITH_PLUGIN) as at:
        failures = isolated(at, records, len(records))
        assert at.epoch.row_count == 23
        (letter,) = at.epoch.dead_letters
        assert at.epoch.reasons == {"processing-error": 1}
        assert at.epoch.position == 24
        assert at.epoch.records == 24
        assert sum(at.epoch.feeds.values()) == 24
    said = dict(letter.headers)
    assert letter.value == records[21].value
    assert said["k2.reason"] == b"processing-error"
    assert said["k2.offset"] == b"21"
    assert said["k2.detail"].startswith(b"KeyError: 'poisonpoison")
    assert said["k2.detail"].endswith(b"(feed fragile)")
    assert len(said["k2.detail"]) < MAX_ERROR_CHARS + 50
    assert failures.refused == 1
    assert failures.last is not None
    assert failures.last.start == 21
    assert failures.last.feed == "fragile"


def test_a_failure_in_k2s_own_code_costs_that_record_alone(tmp_path: Path) -> None:
    """Its number was read and counts, as dead: no gap is told of it."""
    arm(parse("source.rows=raise-on:0/7"))
    with world(tmp_path) as at:
        isolated(at, [canonical(n, n) for n in range(12)], 12)
        assert at.epoch.row_count == 11
        assert [(type(one), one.source_offset) for one in at.epoch.events] == [(Dead, 7)]
        assert at.epoch.reasons == {"processing-error": 1}


def test_ids_of_a_batch_that_failed_are_no_repeats_when_it_is_tried_again(tmp_path: Path) -> None:
    """What was not taken is not remembered."""
    arm(parse("source.rows=raise-on:0/3"))
    records = [canonical(n, None, trade_id=str(n)) for n in range(6)]
    with world(tmp_path) as at:
        isolated(at, records, 6)
        assert at.epoch.row_count == 5
        assert not at.epoch.duplicates


def test_the_first_failures_end_the_task_and_name_the_place(tmp_path: Path) -> None:
    """Nothing of the batch is in epoch or state then."""
    failures = RecordFailures()
    with world(tmp_path, FEEDS_WITH_PLUGIN) as at:
        isolation = Isolation(at.sequencer, failures)
        records = [canonical(40, 1, trade_id="a", headers=FRAGILE), poison(41, 2)]
        for count in range(1, FAILURES_MAX):
            with pytest.raises(ProcessingError, match=r"raw-0 offsets 40 to 41, feed fragile: Key"):
                isolation.process("raw", records, 42, at.epoch)
            assert failures.last is not None
            assert failures.last.count == count
        found = at.found()
    assert found["rows"] == found["letters"] == []
    assert found["table"][1] == 0
    assert found["ids"] == ()


@pytest.mark.parametrize("error", [OSError("disk"), MemoryError("short")])
def test_what_no_record_is_at_fault_of_makes_no_dead_letter(
    tmp_path: Path, error: Exception
) -> None:
    """The state's disk, or memory: the task ends, however often."""
    with world(tmp_path) as at:
        at.table.get = Mock(side_effect=error)  # type: ignore[method-assign]
        failures = RecordFailures()
        isolation = Isolation(at.sequencer, failures)
        for _ in range(2 * FAILURES_MAX):
            with pytest.raises(StateReadError):
                isolation.process("raw", [canonical(0, 0)], 1, at.epoch)
        assert at.epoch.dead_letters == []
        assert failures.last is None


def test_what_only_its_checkpoint_could_not_encode_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a record is looked for, what each brings about is encoded on trial."""
    from k2_streams.core.records import log_record as trade_log  # noqa: PLC0415 - patched here alone

    encode = trade_log.encode

    def fragile(rows, *rest):
        if 3 in rows.column("source_offset").to_pylist():
            raise OverflowError("too large")
        return encode(rows, *rest)

    monkeypatch.setattr(trade_log, "encode", fragile)
    with world(tmp_path) as at:
        failures = RecordFailures()
        for _ in range(FAILURES_MAX):
            failures.failed("raw", 0, 6, None, "OverflowError: too large")  # at its checkpoint
        Isolation(at.sequencer, failures).process(
            "raw", [canonical(n, n) for n in range(6)], 6, at.epoch
        )
        assert at.epoch.row_count == 5
        assert at.epoch.reasons == {"processing-error": 1}


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Raw], set[int]]:
    """Records of three feeds, and which of those of the plug-in are poison."""
    records, poisoned = [], set()
    for offset in range(draw(st.integers(1, 24))):
        number = draw(st.integers(0, 12))
        match draw(st.sampled_from(["own", "spot", "id", "plug-in", "poison", "bad"])):
            case "own":
                records.append(canonical(offset, number))
            case "spot":
                records.append(spot(offset, number))
            case "id":
                records.append(canonical(offset, None, "C", trade_id=str(number)))
            case "plug-in":
                records.append(canonical(offset, number, headers=FRAGILE))
            case "bad":
                records.append(canonical(offset, number, price="-1"))
            case _:
                poisoned.add(offset)
                records.append(poison(offset, number))
    return records, poisoned


@settings(max_examples=40, deadline=None)
@given(cases(), st.integers(1, 24))
def test_the_others_come_out_as_if_each_record_had_come_alone(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[list[Raw], set[int]], size: int
) -> None:
    """Whatever the batches, and however many records are at fault in one."""
    records, poisoned = case
    with world(tmp_path_factory.mktemp("w"), FEEDS_WITH_PLUGIN) as at:
        failures = isolated(at, records, size)
        found = at.found()
    with world(tmp_path_factory.mktemp("w"), FEEDS_WITH_PLUGIN) as at:
        isolated(at, records, 1)
        expected = at.found()
    assert found == expected
    assert failures.refused == len(poisoned)
    refused = {
        int(dict(letter.headers)["k2.offset"] or b"")
        for letter in found["letters"]
        if dict(letter.headers)["k2.reason"] == b"processing-error"
    }
    assert refused == poisoned
