"""DescribeTransactions (KIP-664): what a coordinator last did with a transactional id.

aiokafka does not speak it, so version 0 is described here in its own terms.
"""

import asyncio
from typing import Any, NamedTuple

from aiokafka.client import CoordinationType
from aiokafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    NotCoordinatorError,
    for_code,
)
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

_TEXT = CompactString("utf-8")
_UNKNOWN_ID = 105  # TRANSACTIONAL_ID_NOT_FOUND

#: The first producer of a cluster has its coordinator's topic created; one that moves is loaded.
TRIES = 100
PAUSE_S = 0.1
_SOON = (CoordinatorNotAvailableError, CoordinatorLoadInProgressError, NotCoordinatorError)

#: The last transaction was committed, or is being; of every other state it was not.
COMMITTED = frozenset({"PrepareCommit", "CompleteCommit"})
#: No transaction since a producer with the id was started.
EMPTY = "Empty"


class LastTransaction(NamedTuple):
    """What a coordinator last did with a transactional id, and who may use it: the last started."""

    state: str
    producer_id: int = -1
    producer_epoch: int = -1


class DescribeTransactionsResponseV0(Response):  # type: ignore[misc]
    """One state per id."""

    API_KEY = 65
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "transaction_states",
            CompactArray(
                ("error_code", Int16),
                ("transactional_id", _TEXT),
                ("transaction_state", _TEXT),
                ("transaction_timeout_ms", Int32),
                ("transaction_start_time_ms", Int64),
                ("producer_id", Int64),
                ("producer_epoch", Int16),
                (
                    "topics",
                    CompactArray(
                        ("topic", _TEXT),
                        ("partitions", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class DescribeTransactionsRequestV0(RequestStruct):  # type: ignore[misc]
    """Ask by transactional ids."""

    API_KEY = 65
    API_VERSION = 0
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = DescribeTransactionsResponseV0
    SCHEMA = Schema(("transactional_ids", CompactArray(_TEXT)), ("tags", TaggedFields))


class DescribeTransactionsRequest(Request[DescribeTransactionsRequestV0]):  # type: ignore[misc]
    """Of one id."""

    API_KEY = 65

    def __init__(self, transactional_id: str) -> None:
        self._transactional_id = transactional_id

    def build(self, request_struct_class: type[Any]) -> Any:
        """The request of the version agreed on."""
        no_tags: dict[int, bytes] = {}
        return request_struct_class([self._transactional_id], no_tags)


async def last_transaction(admin: Any, transactional_id: str) -> LastTransaction:
    """With the state in Kafka's words; of an id that was never used, `EMPTY`.

    Args:
        admin: an admin client that is not started; it is closed afterwards.
        transactional_id: whose.

    Raises:
        KafkaError: no coordinator says it within some seconds.
    """
    try:
        await admin.start()  # where it fails, what it opened is closed, too
        for _ in range(TRIES - 1):
            try:
                return await _asked(admin, transactional_id)
            except _SOON:
                await asyncio.sleep(PAUSE_S)
        return await _asked(admin, transactional_id)
    finally:
        await admin.close()


async def _asked(admin: Any, transactional_id: str) -> LastTransaction:
    client = admin._client  # noqa: SLF001 - aiokafka has no public way to ask a coordinator
    node = await client.coordinator_lookup(CoordinationType.TRANSACTION, transactional_id)
    request = DescribeTransactionsRequest(transactional_id)
    answer = await admin._send_request(request, node)  # noqa: SLF001 - the same
    ((code, _, state, _, _, producer_id, epoch, *_),) = answer.transaction_states
    if code == _UNKNOWN_ID:
        return LastTransaction(EMPTY)
    if code:
        raise for_code(code)(transactional_id)
    return LastTransaction(state, producer_id, epoch)
