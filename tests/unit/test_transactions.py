"""The producer of a task, and what a coordinator refuses before there is a record."""

import asyncio
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import ProducerFenced, TopicAuthorizationFailedError
from aiokafka.producer.transaction_manager import TransactionManager
from aiokafka.structs import TopicPartition as ClientPartition

from k2_streams.core.types import TopicPartition
from k2_streams.kafka.transactions import FencedError, OutputRecord, TransactionalProducer


class _Refusing:
    """aiokafka's producer, whose coordinator refuses the partitions of a transaction."""

    def __init__(self, refuse: Any) -> None:
        self._refuse = refuse
        self._txn_manager: Any = None
        self.client = SimpleNamespace(_conns={})

    async def begin_transaction(self) -> None:
        if self._txn_manager is None:
            self._txn_manager = TransactionManager("task", 60_000)
            self._txn_manager.set_pid_and_epoch(1, 0)
        self._txn_manager.begin_transaction()
        asyncio.get_running_loop().call_soon(self._refuse, self._txn_manager)

    async def commit_transaction(self) -> None:
        self._txn_manager.committing_transaction()
        await self._txn_manager.wait_for_transaction_end()

    async def abort_transaction(self) -> None:
        self._txn_manager.aborting_transaction()
        await self._txn_manager.wait_for_transaction_end()


def _fenced(manager: TransactionManager) -> None:
    manager.fatal_error(ProducerFenced())


def _unauthorised(manager: TransactionManager) -> None:
    manager.error_transaction(TopicAuthorizationFailedError({"raw"}))


@pytest.mark.parametrize(
    "refused", [(_fenced, FencedError), (_unauthorised, TopicAuthorizationFailedError)]
)
@pytest.mark.parametrize("call", ["commit", "mark committed", "mark aborted"])
async def test_what_the_coordinator_says_to_partitions_is_what_is_raised(call, refused):
    refuse, error = refused
    config: Any = SimpleNamespace(producer=lambda **_: _Refusing(refuse))
    asked: Coroutine[Any, Any, object]
    producer = TransactionalProducer(config, "task", 0)
    # A broker was started anew behind the last transaction, and has closed its connection.
    producer._last_connections = (SimpleNamespace(connected=lambda: False),)
    producer._last_places = frozenset([ClientPartition("log", 0)])
    if call == "commit":
        asked = producer.commit([OutputRecord("log", None, b"")], [], "group", {})
    else:
        asked = producer.mark([TopicPartition("log", 0)], committed=call == "mark committed")
    with pytest.raises(error):
        await asked
