"""One request to join a group, with all the protocols that a member offers.

aiokafka 0.14.0 sends a JoinGroup after each assignor that it has listed: first with one, then with
two. The broker takes each for a change of what the member offers, and begins another rebalance. Two
members that join at the same time so end each other's generations, for minutes.
"""

from dataclasses import dataclass
from typing import Any

from aiokafka.protocol.group import JoinGroupRequest


@dataclass(frozen=True, slots=True)
class _NotSent:
    """Stands for the answer to a request that lists a part: its error is all that is looked at."""

    error_code: int = 0


def join_once(coordinator: Any) -> None:
    """Make a consumer's group coordination send the JoinGroup that lists all assignors alone."""
    send = coordinator._send_req  # noqa: SLF001 - nothing public
    offered = len(coordinator._assignors)  # noqa: SLF001 - as above

    async def whole(request: Any) -> Any:
        is_join = isinstance(request, JoinGroupRequest)
        if is_join and len(request._group_protocols) < offered:  # noqa: SLF001 - as above
            return _NotSent()
        return await send(request)

    coordinator._send_req = whole  # noqa: SLF001 - as above
