"""The topics K2 owns: what they must be, created and checked at start."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError, KafkaError, TopicAlreadyExistsError, for_code

from k2_streams.core import stream
from k2_streams.core.stream import Stream
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.metadata import TopicIdsRequest
from k2_streams.kafka.tls import BrokerSecurityError, tls_problem

log = structlog.get_logger(__name__)

RAW = stream.TRADES.raw
TRADES = stream.TRADES.log
EVENTS = stream.TRADES.events
DEAD_LETTER = stream.TRADES.dead_letter

DAY_MS = 24 * 3600 * 1000
WEEK_MS = 7 * DAY_MS
#: A record of a log holds up to some ten thousand rows: more than Kafka's default of 1 MiB.
MAX_RECORD_BYTES = 8 * 1024 * 1024
#: How long a new topic may take until every broker knows its leader.
CREATED_WITHIN_S = 30.0

_UNKNOWN_TOPIC = 3
_APPEND_TIME = "message.timestamp.type"


class TopicConfigurationError(Exception):
    """A topic is not what K2 can work with; the text says what was expected and found."""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """What a topic must be."""

    name: str
    partitions: int
    config: dict[str, str]


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """What a topic is."""

    name: str
    id: str
    partitions: int


def changelog_topic(app_id: str, table: str) -> str:
    """`<app>-<table>-changelog`, as Kafka Streams and Faust name it."""
    return f"{app_id}-{table}-changelog"


def stream_topics(
    of: Stream, app_id: str, partitions: int, *, ids_ttl_ms: int = DAY_MS
) -> list[TopicSpec]:
    """The topics of a stream's topology.

    An id is looked for as long as the raw topic can still hold a record that is less than the time
    to live away from it, plus the width of its bucket: so long its changelog is kept, and a day.
    """
    ids_ms = WEEK_MS + 2 * ids_ttl_ms + DAY_MS
    append_time = {_APPEND_TIME: "LogAppendTime"}
    large = {"max.message.bytes": str(MAX_RECORD_BYTES)}
    week = {"cleanup.policy": "delete", "retention.ms": str(WEEK_MS)}
    unlimited = {"cleanup.policy": "delete", "retention.ms": "-1"}
    return [
        TopicSpec(of.raw, partitions, append_time | week),
        TopicSpec(of.log, partitions, week | large),
        TopicSpec(of.events, partitions, unlimited),
        TopicSpec(of.dead_letter, partitions, unlimited | large),
        TopicSpec(of.deferred, partitions, unlimited | large),
        TopicSpec(of.levels, partitions, unlimited),
        TopicSpec(
            changelog_topic(app_id, "sequence"),
            partitions,
            {"cleanup.policy": "compact", "delete.retention.ms": str(WEEK_MS)},
        ),
        TopicSpec(
            changelog_topic(app_id, "dedup"),
            partitions,
            {"cleanup.policy": "delete", "retention.ms": str(ids_ms)} | large,
        ),
    ]


class TopicAdmin:
    """Creates, describes and checks topics. Use as an async context manager."""

    def __init__(self, config: KafkaConfig, replication: int = 1) -> None:
        self._config = config
        self._admin = AIOKafkaAdminClient(**config.options(), request_timeout_ms=10_000)
        self._replication = replication

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            KafkaConnectionError: no broker answers.
            BrokerSecurityError: one is there, and the settings of TLS are not its own.
        """
        try:
            await self._admin.start()
        except KafkaConnectionError as error:
            await self._admin.close()
            problem = await asyncio.to_thread(tls_problem, self._config)
            if problem is not None:
                raise BrokerSecurityError(problem) from error
            raise
        except BaseException:
            await self._admin.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect."""
        await self._admin.close()

    async def ensure(self, specs: Sequence[TopicSpec]) -> dict[str, TopicInfo]:
        """Create what is missing, check what is there, and say what all of them are.

        Raises:
            TopicConfigurationError: the number of partitions differs, or the raw topic's records
                would carry the producer's time.
        """
        there = await self.describe([spec.name for spec in specs])
        missing = [spec for spec in specs if spec.name not in there]
        for spec in missing:
            await self._create(spec)
        if missing:
            there = await self._wait_for([spec.name for spec in specs])
        for spec in specs:
            found = there[spec.name].partitions
            if found != spec.partitions:
                raise TopicConfigurationError(
                    f"topic {spec.name}: expected {spec.partitions} partitions (K2_PARTITIONS), "
                    f"found {found}; the number is part of the state and cannot be changed in "
                    "place: set K2_PARTITIONS to it, or start afresh as the README says"
                )
            if spec.config.get(_APPEND_TIME):
                await self._check_append_time(spec.name)
        return there

    async def describe(self, names: Sequence[str]) -> dict[str, TopicInfo]:
        """Those of the named topics that exist.

        Raises:
            KafkaError: the broker answered with an error other than "unknown topic".
        """
        answer = await self._admin._send_request(TopicIdsRequest(list(names)))  # noqa: SLF001 - aiokafka has no public way to ask for topic ids
        found = {}
        for code, name, topic_id, _, partitions, *_ in answer.topics:
            if code == _UNKNOWN_TOPIC:
                continue
            if code:
                raise for_code(code)(name)
            found[name] = TopicInfo(name, str(topic_id), len(partitions))
        return found

    async def _create(self, spec: TopicSpec) -> None:
        topic = NewTopic(spec.name, spec.partitions, self._replication, topic_configs=spec.config)
        try:
            answer = await self._admin.create_topics([topic])
        except TopicAlreadyExistsError:
            return  # another worker was quicker; what it made is checked like any other
        for _, code, message in answer.topic_errors:
            if code and for_code(code) is not TopicAlreadyExistsError:
                raise TopicConfigurationError(f"topic {spec.name} was not created: {message}")
        log.info("topic created", topic=spec.name, partitions=spec.partitions)

    async def _wait_for(self, names: Sequence[str]) -> dict[str, TopicInfo]:
        async with asyncio.timeout(CREATED_WITHIN_S):
            while True:
                there = await self.describe(names)
                if set(names) <= set(there):
                    return there
                await asyncio.sleep(0.05)

    async def _check_append_time(self, name: str) -> None:
        resource = ConfigResource(ConfigResourceType.TOPIC, name)
        (answer,) = await self._admin.describe_configs([resource])
        for *_, entries in answer.resources:
            for entry in entries:
                if entry[0] == _APPEND_TIME and entry[1] != "LogAppendTime":
                    raise TopicConfigurationError(
                        f"topic {name}: expected {_APPEND_TIME}=LogAppendTime, found {entry[1]}; "
                        "K2 judges times by the broker's clock, not the producer's"
                    )


async def ensure_topics(
    config: KafkaConfig, specs: Sequence[TopicSpec], *, replication: int = 1, attempts: int = 30
) -> dict[str, TopicInfo]:
    """`TopicAdmin.ensure`, patient with a broker that is still starting.

    Raises:
        KafkaConnectionError: no broker answered within `attempts` seconds.
        BrokerSecurityError: a broker is there, and the settings of TLS are not its own.
        TopicConfigurationError: a topic is not what K2 can work with.
    """
    for attempt in range(1, attempts + 1):
        try:
            async with TopicAdmin(config, replication) as admin:
                return await admin.ensure(specs)
        except (KafkaError, OSError) as error:
            if isinstance(error, BrokerSecurityError) and attempt > 1:
                raise  # of a broker that is just starting the first handshake may fail
            retriable = isinstance(error, OSError) or getattr(error, "retriable", False)
            if attempt == attempts or not (retriable or isinstance(error, KafkaConnectionError)):
                raise
            log.warning(
                "broker away", bootstrap=config.bootstrap, attempt=attempt, error=str(error)
            )
            await asyncio.sleep(1.0)
    raise AssertionError("unreachable: the last attempt raises")
