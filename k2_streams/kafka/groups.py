"""Consumer groups as an operator sees them: who is in one, and the end of one.

aiokafka does not speak DeleteGroups (KIP-229), so version 1 is described here in its own terms.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from aiokafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    GroupIdNotFound,
    NonEmptyGroup,
    NotCoordinatorError,
    for_code,
)
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int16, Int32, Schema, String

from k2_streams.kafka.admin import AdminConnection

#: The first group of a cluster has its coordinator's topic created; one that moves is loaded.
TRIES = 100
PAUSE_S = 0.1
_SOON = (CoordinatorNotAvailableError, CoordinatorLoadInProgressError, NotCoordinatorError)
#: The broker's word for a group that it does not know.
_UNKNOWN_GROUP = "Dead"
_TEXT = String("utf-8")

T = TypeVar("T")


class GroupInUseError(Exception):
    """A group that has members cannot be deleted."""


@dataclass(frozen=True, slots=True)
class GroupInfo:
    """A consumer group.

    Attributes:
        name: of the group.
        exists: whether the broker knows it.
        members: id and host of each; the id of a static member begins with its instance id.
    """

    name: str
    exists: bool
    members: tuple[str, ...]


class DeleteGroupsResponseV1(Response):  # type: ignore[misc]
    """A code per group."""

    API_KEY = 42
    API_VERSION = 1
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("results", Array(("group_id", _TEXT), ("error_code", Int16))),
    )


class DeleteGroupsRequestV1(RequestStruct):  # type: ignore[misc]
    """Delete groups by name."""

    API_KEY = 42
    API_VERSION = 1
    RESPONSE_TYPE = DeleteGroupsResponseV1
    SCHEMA = Schema(("groups", Array(_TEXT)))


class DeleteGroupsRequest(Request[DeleteGroupsRequestV1]):  # type: ignore[misc]
    """Of one group."""

    API_KEY = 42

    def __init__(self, group: str) -> None:
        self._group = group

    def build(self, request_struct_class: type[Any]) -> Any:
        """The request of the version agreed on."""
        return request_struct_class([self._group])


class GroupAdmin(AdminConnection):
    """Describes and deletes groups. Use as an async context manager."""

    async def describe(self, group: str) -> GroupInfo:
        """A group as its coordinator knows it.

        Raises:
            KafkaError: no coordinator says it within some seconds.
        """
        return await _patiently(lambda: self._describe(group))

    async def delete(self, group: str) -> None:
        """Delete a group with its offsets; one that does not exist is none.

        Raises:
            GroupInUseError: it has members; nothing was deleted.
            KafkaError: no coordinator answers within some seconds.
        """
        await _patiently(lambda: self._delete(group))

    async def _describe(self, group: str) -> GroupInfo:
        (answer,) = await self._admin.describe_consumer_groups([group])
        ((code, _, state, _, _, members, *_),) = answer.groups
        if code:
            raise for_code(code)(group)
        return GroupInfo(
            group,
            state != _UNKNOWN_GROUP,
            tuple(f"{member_id} ({host})" for member_id, _, host, *_ in members),
        )

    async def _delete(self, group: str) -> None:
        node = await self._admin.find_coordinator(group)
        answer = await self._admin._send_request(DeleteGroupsRequest(group), node)  # noqa: SLF001 - aiokafka has no public way to delete a group
        ((_, code),) = answer.results
        error = for_code(code) if code else None
        if error is NonEmptyGroup:
            raise GroupInUseError(f"group {group} has members")
        if error is not None and error is not GroupIdNotFound:
            raise error(group)


async def _patiently(call: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The call's answer, tried again while the group's coordinator is on its way."""
    for _ in range(TRIES - 1):
        try:
            return await call()
        except _SOON:
            await asyncio.sleep(PAUSE_S)
    return await call()
