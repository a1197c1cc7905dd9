"""A Faust transport whose unit of work is the record batch, and whose positions are K2's.

Stock Faust delivers an event at a time (6-7 thousand a second) and commits by acknowledgements it
counts itself. Here a message is a `Fetched`: all records that one fetch gave of one partition, with
the range of positions they stand for. It may hold no record: markers and aborted records move the
position, too, and an owner has to reach the end of its partition. Faust takes neither
acknowledgements nor commits of them:

1. After an assignment, before the flow resumes, Faust calls `perform_seek`. It asks the worker to
   take the partitions over; the worker seeks to where its own state says.
2. Every fetch is chained to the one before: `start` is where the last one of this partition ended,
   or where the last seek went. Whoever works on it sees at once if a batch was lost on the way (a
   cancelled delivery, a rebalance) and asks for a seek, instead of passing over records.
3. A partition that has enough to do is paused, so that nothing ever waits in a delivery.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import faust
import structlog
from faust.auth import OAuthCredentials, SASLCredentials, SSLCredentials
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode import Service

from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.core.types import TopicPartition
from k2_streams.failpoints import failpoint_in_loop
from k2_streams.kafka import header_keys
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import LogError, ReaderStoppedError
from k2_streams.kafka.one_join import join_once
from k2_streams.kafka.partition_faults import (
    FetchAnswers,
    PartitionFault,
    PartitionFaults,
    ProducerTimeError,
    drain,
    go_on,
    producer_timed,
    stand_still,
    without_producer_times,
)
from k2_streams.kafka.record_columns import APPEND_TIME
from k2_streams.kafka.static_member import is_fenced_instance, send_static_heartbeats
from k2_streams.kafka.topics_assignor import for_topics
from k2_streams.runtime.control.library_tasks import LibraryTasks
from k2_streams.runtime.fetched import Fetched

log = structlog.get_logger(__name__)

SCHEME = "k2"
#: One call into the consumer's thread waits this long for records, and a pause or a seek waits for
#: the call before it: short, or a resumed partition starts late.
FETCH_WAIT_S = 0.05
#: After a fetch of less than this many records the next one waits a little: each costs the same.
SMALL_FETCH_RECORDS = 1_000
SMALL_FETCH_PAUSE_S = 0.01
#: The broker holds an empty fetch this long.
FETCH_MAX_WAIT_MS = 100
#: How often the group's errors are looked for.
GROUP_ERRORS_EVERY_S = 1.0
#: Of one partition a fetch: bounds what the fetcher buffers, must exceed the largest record.
PARTITION_FETCH_BYTES = 9 * 1024 * 1024


class BatchConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """The thread that talks to Kafka: its own options, and the chain of positions."""

    def __post_init__(self) -> None:
        """Start without any chain: nothing is delivered that was not sought to."""
        super().__post_init__()
        self._chain: dict[TopicPartition, int] = {}
        self.faults = PartitionFaults()
        self._answers: FetchAnswers | None = None
        self._producer_timed_since: dict[TopicPartition, float] = {}

    async def on_start(self) -> None:
        """Connect; heartbeats carry the instance id from the first on, and each join is one."""
        await super().on_start()
        self._answers = FetchAnswers(self._ensure_consumer()._client)  # noqa: SLF001 - nothing public
        if self._coordinator is not None:
            send_static_heartbeats(self._coordinator)
            join_once(self._coordinator)

    @Service.task  # type: ignore[untyped-decorator] # mode has no types
    async def _hear_group_errors(self) -> None:
        """Take what went wrong between the client and its group, so that it tries again.

        After an error of which it knows no cure (a coordinator that could not write what it was
        sent) the client waits for its user to hear of it, in a poll. Without an assignment, or
        while the flow is stopped, nobody polls.

        Raises:
            KafkaError: the client has given its group up; the worker ends.
        """
        while not self.should_stop:
            await asyncio.sleep(GROUP_ERRORS_EVERY_S)
            if self._coordinator is not None:
                with self._ends_if_fenced():
                    hear_group_error(self._coordinator)

    @contextlib.contextmanager
    def _ends_if_fenced(self) -> Iterator[None]:
        """Another process has this worker's id: whatever the group says now is not for this one."""
        try:
            yield
        except LogError as error:
            if is_fenced_instance(error):
                self.app.end_fenced_instance()
            raise

    def request_rejoin(self) -> None:
        """Make the client join its group again. From any thread."""
        if self._coordinator is not None:
            self.thread_loop.call_soon_threadsafe(self._coordinator.request_rejoin)

    @property
    def is_heartbeat_lost(self) -> bool:
        """Whether the heartbeats have ended by nobody's will.

        The client ends them itself before it joins the group anew, and then forgets their task.
        """
        coordinator = self._coordinator
        task = coordinator and coordinator._heartbeat_task  # noqa: SLF001 - nothing public
        if task is None or not task.done() or not coordinator.member_id:
            return False
        failed = not task.cancelled() and task.exception() is not None  # told as the group's error
        return not failed and not coordinator._rejoin_needed_fut.done()  # noqa: SLF001 - as above

    @property
    def knows_group(self) -> bool:
        """Whether a coordinator of the group answered, and nothing was wrong with it since."""
        return self._coordinator is not None and self._coordinator.coordinator_id is not None

    @property
    def _coordinator(self) -> Any:
        """The client's side of the group; None until the client has found a broker."""
        return self._consumer and self._consumer._coordinator  # noqa: SLF001 - as Faust's own driver

    def _create_worker_consumer(self, transport: Any) -> Any:
        header_keys.install()
        consumer = super()._create_worker_consumer(transport)
        # Faust fixes these without a setting; the consumer has not been started yet.
        # A restarted worker may subscribe to other topics than the process before it.
        consumer._partition_assignment_strategy = for_topics(  # noqa: SLF001 - Faust fixes one
            self._assignor, self.app.delivered_topics
        )
        consumer._isolation_level = "read_committed"  # noqa: SLF001 - no setting reaches it
        consumer._auto_offset_reset = "none"  # noqa: SLF001 - nothing may reset by itself
        consumer._fetch_max_wait_ms = FETCH_MAX_WAIT_MS  # noqa: SLF001 - Faust fixes 1500
        consumer._max_partition_fetch_bytes = PARTITION_FETCH_BYTES  # noqa: SLF001 - as above
        return consumer

    async def seek_chain(self, positions: Mapping[TopicPartition, int]) -> None:
        """Seek, and start the chain anew, in one step of the thread."""
        await self.call_thread(self._seek_chain, positions)

    async def _seek_chain(self, positions: Mapping[TopicPartition, int]) -> None:
        consumer = self._ensure_consumer()
        for tp, offset in positions.items():
            if tp in self.assignment():
                if self.faults.clear(tp.topic, tp.partition):
                    go_on(consumer, tp, offset)
                else:
                    consumer.seek(tp, offset)
                self._chain[tp] = offset

    async def give_back(self, batches: Sequence[Fetched]) -> None:
        """Batches that nobody was handed: they are fetched again.

        A fetch that was asked for before a rebalance may answer after the seek that followed it.
        Dropped, it would leave the chain ahead of its owner, who notices with the next batch: where
        no more records come, never.
        """
        await self.call_thread(self._give_back, batches)

    async def _give_back(self, batches: Sequence[Fetched]) -> None:
        for batch in batches:
            if self._chain.get(batch.tp) == batch.end:  # else somebody has sought since
                await self._seek_chain({batch.tp: batch.start})

    async def reject(self, tp: TopicPartition, offset: int, error: Exception) -> None:
        """Records from this offset on cannot be used: the partition stands still before them."""
        await self.call_thread(self._reject, tp, offset, error)

    async def _reject(self, tp: TopicPartition, offset: int, error: Exception) -> None:
        if tp in self.assignment() and tp in self._chain:
            self._chain[tp] = offset
            self._stop(tp, error)

    def _stop(self, tp: TopicPartition, error: Exception) -> None:
        """Leave a partition where its chain ends, until it is tried again."""
        consumer, offset = self._ensure_consumer(), self._chain[tp]
        stand_still(consumer, tp, offset)
        self.faults.add(tp.topic, tp.partition, offset, error)

    def _readable(self, active: set[TopicPartition]) -> set[Any]:
        """All but those that cannot be read and are not to be tried again yet."""
        consumer = self._ensure_consumer()
        readable, again = self.faults.split(active)
        for tp, offset in again.items():
            go_on(consumer, tp, offset)
        return readable

    def _stop_unreadable(self, errors: Mapping[Any, Exception]) -> None:
        answers = self._answers
        found = {**errors, **(answers.take() if answers else {})}
        for tp in answers.take_empty() if answers else ():
            self.faults.answered(*tp)
        for tp, error in found.items():
            if tp in self._chain and tp in self.assignment():
                self._stop(TopicPartition(*tp), error)

    async def is_member(self, generation: int) -> bool:
        """Whether the group, asked now, counts this consumer in and has decided nothing since."""
        member: bool = await self.call_thread(self._is_member, generation)
        return member

    async def _is_member(self, generation: int) -> bool:
        coordinator = self._ensure_consumer()._coordinator  # noqa: SLF001 - as Faust's own driver

        def is_current() -> bool:
            rejoins = coordinator._rejoin_needed_fut.done()  # noqa: SLF001 - nothing else says so
            return coordinator.generation == generation and not rejoins

        if not is_current():
            return False
        try:
            with self._ends_if_fenced():
                alive = await coordinator._do_heartbeat()  # noqa: SLF001 - the group's own answer
        except LogError as error:
            log.warning("the group does not answer", error=f"{type(error).__name__}: {error}")
            return False
        return alive and is_current()

    async def fetch(self, active: set[TopicPartition], wait_s: float) -> list[Fetched]:
        """What has come of the active partitions."""
        fetched: list[Fetched] = await self.call_thread(self._fetch, active, wait_s)
        return fetched

    async def _fetch(self, active: set[TopicPartition], wait_s: float) -> list[Fetched]:
        if not self.consumer.flow_active:
            return []
        consumer = self._ensure_consumer()
        fetcher = consumer._fetcher  # noqa: SLF001 - as Faust's own driver does
        if consumer._closed or fetcher._closed:  # noqa: SLF001 - as Faust's own driver does
            raise ReaderStoppedError
        try:
            with self._ends_if_fenced(), fetcher._subscriptions.fetch_context():  # noqa: SLF001 - as Faust's own driver
                records, errors = await drain(
                    fetcher,
                    self._readable(active),
                    wait_s,
                    consumer._max_poll_records,  # noqa: SLF001
                    self.app.worker.native,
                )
        except LogError:
            if consumer.assignment():
                raise
            # The group's, told to whoever waits for an assignment: `_hear_group_errors` hears it.
            return []
        self._stop_unreadable(errors)
        batches = [await self._batch(tp, found) for tp, found in records.items()]
        return [batch for batch in batches if batch is not None]

    async def _batch(self, tp: Any, records: Sequence[Any]) -> Fetched | None:
        """What was fetched of a partition, chained to what was before; None: nothing of use."""
        start = self._chain.get(tp)
        if start is None:
            log.warning("records of a partition nobody sought", tp=str(tp))
            return None
        consumer = self._ensure_consumer()
        self._chain[tp] = position = await consumer.position(tp)
        highwater = consumer.highwater(tp) or position
        batch = Fetched(TopicPartition(*tp), start, position, records, highwater)
        if tp.topic in self._append_time_seen_s:
            batch = self._broker_timed(batch)
        if batch.end == position:
            self.faults.clear(tp.topic, tp.partition)
        return batch if batch.end > batch.start else None

    @property
    def _append_time_seen_s(self) -> Mapping[str, float]:
        """Of each topic whose records the broker must date: when it was last seen to do so."""
        seen_s: Mapping[str, float] = self.app.worker.topics.append_time_seen_s
        return seen_s

    def _broker_timed(self, batch: Fetched) -> Fetched:
        """The records up to the first that its producer dated, in front of which it stands still.

        Once the topic dates records again, those that are there count without a time of their own:
        it could be any, and gaps are abandoned by it.
        """
        tp, first = batch.tp, producer_timed(batch.records)
        if first is None:
            self._producer_timed_since.pop(tp, None)
            return batch
        since_s = self._producer_timed_since.setdefault(tp, SYSTEM_CLOCK.monotonic())
        if self._append_time_seen_s[tp.topic] > since_s:
            return replace(batch, records=without_producer_times(batch.records))
        record = batch.records[first]
        # In front of nothing there may be markers, which nobody needs: the chain begins where it
        # did.
        end = record.offset if first else batch.start
        self._chain[tp] = end
        self._stop(tp, ProducerTimeError(tp.topic, record.offset, record.timestamp))
        return replace(batch, end=end, records=batch.records[:first])


def hear_group_error(coordinator: Any) -> None:
    """Take an error that a consumer's group coordination waits to tell.

    Raises:
        KafkaError: the coordination has ended, or another process has this one's instance id.
    """
    try:
        coordinator.check_errors()
    except LogError as error:
        ended = coordinator._coordination_task.done()  # noqa: SLF001 - nothing public
        if ended or is_fenced_instance(error):
            raise
        log.warning("the group's error", error=f"{type(error).__name__}: {error}")


class BatchConsumer(driver.Consumer):  # type: ignore[misc]
    """Delivers a `Fetched` per message; takes positions from the `Owner`."""

    #: From the start, or a rebalance's begin, until the group has assigned its partitions.
    is_unassigned = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._library_tasks = LibraryTasks(
            lambda: {"main": self.loop, "consumer": self.loop_of_thread},
            lambda: self.is_heartbeat_lost,
            lambda: self.flow_active,
            SYSTEM_CLOCK,
        )

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Faust stops the flow; then the worker finishes what is open."""
        self.is_unassigned = True
        await super().on_partitions_revoked(revoked)
        await self.app.worker.revoke()

    async def on_partitions_assigned(
        self, assigned: set[TopicPartition], generation_id: int = 0
    ) -> None:
        """The group has decided; what is this worker's may be nothing."""
        self.is_unassigned = False
        await super().on_partitions_assigned(assigned, generation_id)

    @property
    def faults(self) -> list[PartitionFault]:
        """Assigned partitions that cannot be read; none before the consumer has started."""
        if not self._thread.faults.now:
            return []
        assigned = self.assignment()
        return [
            f for f in self._thread.faults.now if TopicPartition(f.topic, f.partition) in assigned
        ]

    async def reject(self, tp: TopicPartition, offset: int, error: Exception) -> None:
        """Records from this offset on cannot be used: the partition stands still before them."""
        await self._thread.reject(tp, offset, error)

    @property
    def loop_of_thread(self) -> asyncio.AbstractEventLoop:
        """The loop that talks to Kafka."""
        loop: asyncio.AbstractEventLoop = self._thread.thread_loop
        return loop

    @property
    def is_heartbeat_lost(self) -> bool:
        """Whether the heartbeats have ended by nobody's will."""
        lost: bool = self._thread.is_heartbeat_lost
        return lost

    @property
    def waits_for_group(self) -> bool:
        """Whether the group's coordinator is known, and has not assigned partitions yet."""
        waits: bool = self.is_unassigned and self._thread.knows_group
        return waits

    async def perform_seek(self) -> None:
        """Take the assigned partitions over and seek to where their state says."""
        assigned = {TopicPartition(tp.topic, tp.partition) for tp in self.assignment()}
        await self.app.worker.assign(assigned, self.app.consumer_generation_id)

    async def is_member(self, generation: int) -> bool:
        """Whether the group, asked now, counts this worker in and has decided nothing since."""
        member: bool = await self._thread.is_member(generation)
        return member

    def pause_partitions(self, tps: Iterable[TopicPartition]) -> None:
        """Deliver nothing more of these. Faust's own sets hold its own type, and assert it."""
        super().pause_partitions({TP(*tp) for tp in tps})

    def resume_partitions(self, tps: Iterable[TopicPartition]) -> None:
        """Deliver these again."""
        super().resume_partitions({TP(*tp) for tp in tps})

    async def seek_to(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read these partitions on from here, once they are resumed."""
        await self._thread.seek_chain(positions)
        for tp, offset in positions.items():
            self._read_offset[tp] = offset
            self._committed_offset[tp] = offset

    def request_rejoin(self, reason: str) -> None:
        """Ask the group for a new assignment; the client's routine joins within a heartbeat."""
        log.info("consumer rejoins its group", reason=reason)
        self._thread.request_rejoin()

    def lost_task(self) -> str | None:
        """A task of Faust or of the client that has ended although the worker needs it."""
        return self._library_tasks.look()

    async def getmany(
        self,
        timeout: float,  # noqa: ARG002, ASYNC109 - Faust passes 1 s, too long for a pause
    ) -> AsyncIterator[tuple[TopicPartition, ConsumerMessage]]:
        """One message a partition and fetch."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        generation = self.app.consumer_generation_id
        self.not_waiting_next_records.clear()
        try:
            active = set(self._get_active_partitions())
            if active:
                batches = await self._thread.fetch(active, FETCH_WAIT_S)
                if sum(len(batch.records) for batch in batches) < SMALL_FETCH_RECORDS:
                    await asyncio.sleep(SMALL_FETCH_PAUSE_S)
            else:
                batches = []
                await asyncio.sleep(FETCH_WAIT_S)
        finally:
            self.not_waiting_next_records.set()
        if batches:
            await failpoint_in_loop("source.fetched")
        for number, batch in enumerate(batches):
            moved = self.app.consumer_generation_id != generation
            if self.should_stop or not self.flow_active or moved:
                await self._thread.give_back(batches[number:])
                return
            message = _message(batch, generation)
            self._read_offset[batch.tp] = message.offset
            yield batch.tp, message

    async def _add_gap(self, *_: Any) -> None:
        """Gaps in the offsets are markers of transactions: nothing follows from them."""

    async def wait_empty(self) -> None:
        """Faust waits here for acknowledgements and commits. Its agents' topics have neither."""

    def verify_event_path(self, now: float, tp: TopicPartition) -> None:
        """Faust's livelock detector reads its own commits. The watchdog reads ours."""


def _message(batch: Fetched, generation: int) -> ConsumerMessage:
    """A batch as Faust's message. Of its time and its key Faust makes nothing here."""
    return ConsumerMessage(
        topic=batch.tp.topic,
        partition=batch.tp.partition,
        offset=batch.end - 1,
        timestamp=0.0,
        timestamp_type=APPEND_TIME,
        headers=(),
        key=b"",
        value=batch,
        checksum=None,
        serialized_key_size=0,
        serialized_value_size=0,
        tp=batch.tp,
        generation_id=generation,
    )


class Transport(driver.Transport):  # type: ignore[misc]
    """Faust's aiokafka transport with K2's consumer."""

    Consumer = BatchConsumer


class BatchSchema(faust.Schema):  # type: ignore[misc]
    """A message's value is the batch as it is: decoding is the task's."""

    def compile(  # the parameters are Faust's
        self,
        app: Any,
        *,
        on_key_decode_error: Any = None,  # noqa: ARG002 - nothing is decoded here
        on_value_decode_error: Any = None,  # noqa: ARG002 - nothing is decoded here
        default_propagate: bool = False,
    ) -> Any:
        """Faust's protocol: a coroutine from message to event."""

        async def decode(message: Any, *, propagate: bool = default_propagate) -> Any:  # noqa: ARG001
            return app.create_event(None, message.value, message.headers, message)

        return decode


def register() -> None:
    """Make `k2://host:port` a broker URL that Faust understands."""
    TRANSPORTS.aliases[SCHEME] = f"{__name__}:Transport"


def broker_url(bootstrap: str) -> list[str]:
    """A bootstrap list as Faust's broker URLs."""
    return [f"{SCHEME}://{server.strip()}" for server in bootstrap.split(",")]


def credentials(kafka: KafkaConfig) -> dict[str, Any]:
    """The cluster's security in Faust's words."""
    options = kafka.security_options()
    context = options.get("ssl_context")
    if not kafka.uses_login:
        return {} if context is None else {"broker_credentials": SSLCredentials(context)}
    token = options.get("sasl_oauth_token_provider")
    if token is not None:
        return {"broker_credentials": OAuthCredentials(oauth_cb=token, ssl_context=context)}
    return {
        "broker_credentials": SASLCredentials(
            mechanism=kafka.sasl_mechanism,
            username=kafka.sasl_username,
            password=kafka.sasl_password,
            ssl_context=context,
        )
    }
