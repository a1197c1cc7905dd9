"""A static member of a group that learns when another process has taken its instance id.

aiokafka sends heartbeats of version 1, which carry no instance id: the broker answers the older of
two processes with "unknown member", and the older joins again and pushes the newer out, for as long
as both live. Version 3 carries it, and the answer is FENCED_INSTANCE_ID (KIP-345).
"""

from typing import Any

from aiokafka.errors import BrokerResponseError, kafka_errors
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.protocol.types import Int16, Int32, Schema, String


class FencedInstanceIdError(BrokerResponseError):  # type: ignore[misc]
    """Another process has joined the group with this worker's instance id."""

    errno = 82
    message = "FENCED_INSTANCE_ID"
    description = "Another consumer has joined with the same group instance id"


kafka_errors[FencedInstanceIdError.errno] = FencedInstanceIdError  # aiokafka 0.14.0 lacks it


class HeartbeatResponseV3(Response):  # type: ignore[misc]
    """As version 1."""

    API_KEY = 12
    API_VERSION = 3
    SCHEMA = Schema(("throttle_time_ms", Int32), ("error_code", Int16))


class HeartbeatRequestV3(RequestStruct):  # type: ignore[misc]
    """With the member's instance id."""

    API_KEY = 12
    API_VERSION = 3
    RESPONSE_TYPE = HeartbeatResponseV3
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("generation_id", Int32),
        ("member_id", String("utf-8")),
        ("group_instance_id", String("utf-8")),
    )


class StaticHeartbeatRequest(Request[HeartbeatRequestV3]):  # type: ignore[misc]
    """A static member's heartbeat."""

    API_KEY = 12

    def __init__(self, *fields: object) -> None:
        self._fields = fields

    def build(self, request_struct_class: type[Any]) -> Any:
        """The request of the version agreed on."""
        return request_struct_class(*self._fields)


def send_static_heartbeats(coordinator: Any) -> None:
    """Make a consumer's group coordination send its instance id with each heartbeat."""
    instance_id = coordinator._group_instance_id  # noqa: SLF001 - nothing public
    send = coordinator._send_req  # noqa: SLF001 - nothing public
    if instance_id is None:
        return

    async def with_instance_id(request: Any) -> Any:
        if isinstance(request, HeartbeatRequest):
            request = StaticHeartbeatRequest(
                coordinator.group_id, coordinator.generation, coordinator.member_id, instance_id
            )
        return await send(request)

    coordinator._send_req = with_instance_id  # noqa: SLF001 - nothing public


def is_fenced_instance(error: BaseException) -> bool:
    """Whether an error of the group says that the instance id has another owner.

    aiokafka wraps what it does not know: the answer's name is in the text alone.
    """
    return FencedInstanceIdError.__name__ in f"{error!r}"
