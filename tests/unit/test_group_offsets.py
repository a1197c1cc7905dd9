"""The group's offsets follow the committed positions: for lag tools, once per second."""

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from k2_streams.core.types import TopicPartition
from k2_streams.kafka import offsets as offsets_module
from k2_streams.kafka.log_reader import LogError
from k2_streams.kafka.offsets import commit_offsets
from k2_streams.runtime.control.group_offsets import GroupOffsets

FIRST, SECOND = (TopicPartition("raw", partition) for partition in range(2))


class _Group:
    """Takes what it is told, unless it has an error."""

    def __init__(self) -> None:
        self.assigned: set[TopicPartition] | None = {FIRST, SECOND}
        self.error: Exception | None = None
        self.told: list[Mapping[TopicPartition, int]] = []

    def assignment(self) -> set[TopicPartition]:
        assert self.assigned is not None, "the consumer has not started"
        return self.assigned

    async def commit_offsets(self, offsets: Mapping[TopicPartition, int]) -> None:
        if self.error is not None:
            raise self.error
        self.told.append(offsets)


@pytest.fixture
def group() -> Any:
    return _Group()


async def test_a_consumer_that_has_not_started_is_asked_nothing(group: Any) -> None:
    group.assigned = None
    await GroupOffsets(group).tell()
    assert group.told == []


async def test_all_partitions_are_told_in_one_request_if_any_has_moved(group: Any) -> None:
    offsets = GroupOffsets(group)
    offsets.reached(FIRST, 3)
    offsets.reached(SECOND, 5)
    offsets.reached(FIRST, 4)
    await offsets.tell()
    await offsets.tell()
    assert group.told == [{FIRST: 4, SECOND: 5}]
    offsets.reached(SECOND, 6)
    await offsets.tell()
    assert group.told[1:] == [{FIRST: 4, SECOND: 6}]


@pytest.mark.parametrize("error", [LogError("rebalance"), TimeoutError()])
async def test_what_the_group_did_not_take_is_told_again(group: Any, error: Exception) -> None:
    offsets = GroupOffsets(group)
    offsets.reached(FIRST, 3)
    group.error = error
    await offsets.tell()
    group.error = None
    await offsets.tell()
    assert group.told == [{FIRST: 3}]


async def test_a_partition_that_has_gone_is_told_by_its_new_owner_alone(group: Any) -> None:
    offsets = GroupOffsets(group)
    offsets.reached(FIRST, 3)
    offsets.reached(SECOND, 5)
    group.assigned = {SECOND}
    await offsets.tell()
    assert group.told == [{SECOND: 5}]
    group.assigned = {FIRST, SECOND}
    await offsets.tell()
    assert (group.told[1:], offsets.positions) == ([], {SECOND: 5})


async def test_a_coordinator_that_is_away_is_waited_for_within_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The client asks without end."""
    monkeypatch.setattr(offsets_module, "COMMIT_WITHIN_S", 0.01)

    async def commit(_offsets: object) -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(TimeoutError):
        await commit_offsets(SimpleNamespace(commit=commit), {FIRST: 1})
