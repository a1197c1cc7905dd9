"""The topics K2 owns: what they must be, created and checked at start."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import structlog
from aiokafka.admin import NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.client import CoordinationType
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    TopicAlreadyExistsError,
    TransactionalIdAuthorizationFailed,
    for_code,
)
from aiokafka.structs import TopicPartition as ClientPartition

from k2_streams.core.records.source import TRADES_INPUT, RawInput
from k2_streams.kafka.acls import Acl, Operation, Resource, lacking, refusal
from k2_streams.kafka.admin import AdminConnection
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.metadata import TopicIdsRequest
from k2_streams.kafka.tls import BrokerSecurityError, security_problem

log = structlog.get_logger(__name__)

RAW = TRADES_INPUT.raw
TRADES = TRADES_INPUT.stream.log
EVENTS = TRADES_INPUT.events
DEAD_LETTER = TRADES_INPUT.dead_letter

DAY_MS = 24 * 3600 * 1000
WEEK_MS = 7 * DAY_MS
#: A record of a log holds up to some ten thousand rows: more than Kafka's default of 1 MiB.
MAX_RECORD_BYTES = 8 * 1024 * 1024
#: How long a new topic may take until every broker knows its leader, and one that is deleted until
#: none knows it any more.
CREATED_WITHIN_S = 30.0

_UNKNOWN_TOPIC = 3
_TOPIC_NOT_PERMITTED = 29
_NOT_PERMITTED = (GroupAuthorizationFailedError, TransactionalIdAuthorizationFailed)
_COORDINATORS = {
    Resource.GROUP: CoordinationType.GROUP,
    Resource.TRANSACTIONAL_ID: CoordinationType.TRANSACTION,
}
#: Whether the broker dates records, or their producer.
APPEND_TIME = "message.timestamp.type"

#: What remains where topics, state and lake do not fit together any more.
START_AFRESH = "start afresh as docs/how-to/start-afresh.md says"


class TopicConfigurationError(Exception):
    """A topic is not what K2 can work with; the text says what was expected and found."""


class NotPermittedError(TopicConfigurationError):
    """Kafka does not permit what K2 needs; the text says what is to be granted."""


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


@dataclass(frozen=True, slots=True)
class TopicProblem:
    """What is wrong with a topic, and what to do."""

    topic: str
    setting: str  # "partitions", "id", or the name of a topic's configuration
    text: str
    stops_start: bool = False  # whether a worker refuses to start with it


def changelog_topic(app_id: str, table: str) -> str:
    """`<app>-<table>-changelog`, as Kafka Streams and Faust name it."""
    return f"{app_id}-{table}-changelog"


_WEEK = {"cleanup.policy": "delete", "retention.ms": str(WEEK_MS)}
_UNLIMITED = {"cleanup.policy": "delete", "retention.ms": "-1"}
_LARGE = {"max.message.bytes": str(MAX_RECORD_BYTES)}


def log_topic(log: str, partitions: int) -> TopicSpec:
    """The log of a stream. The app that writes it and those that read it ask for the same."""
    return TopicSpec(log, partitions, _WEEK | _LARGE)


def dead_letter_topic(name: str, partitions: int) -> TopicSpec:
    """Records that could not be processed."""
    return TopicSpec(name, partitions, _UNLIMITED | _LARGE)


def redrives_topic(name: str, partitions: int) -> TopicSpec:
    """Which dead letters were sent again."""
    return TopicSpec(name, partitions, _UNLIMITED)


def repairs_topic(name: str, partitions: int) -> TopicSpec:
    """What repairs asked for and what came of it."""
    return TopicSpec(name, partitions, _UNLIMITED)


def levels_topic(name: str, partitions: int) -> TopicSpec:
    """Changes of the degradation level."""
    return TopicSpec(name, partitions, _UNLIMITED)


def table_topic(app_id: str, table: str, partitions: int) -> TopicSpec:
    """The changelog of a table whose rows are replaced and deleted by their keys."""
    config = {"cleanup.policy": "compact", "delete.retention.ms": str(WEEK_MS)}
    return TopicSpec(changelog_topic(app_id, table), partitions, config)


def stream_topics(
    of: RawInput, app_id: str, partitions: int, *, ids_ttl_ms: int = DAY_MS
) -> list[TopicSpec]:
    """The topics of a raw topic's app.

    An id is looked for as long as the raw topic can still hold a record that is less than the time
    to live away from it, plus the width of its bucket: so long its changelog is kept, and a day.
    """
    ids_ms = WEEK_MS + 2 * ids_ttl_ms + DAY_MS
    ids = {"cleanup.policy": "delete", "retention.ms": str(ids_ms)} | _LARGE
    sequence, dedup = of.tables
    return [
        TopicSpec(of.raw, partitions, {APPEND_TIME: "LogAppendTime"} | _WEEK),
        *answered_topics(of, partitions),
        levels_topic(of.levels, partitions),
        redrives_topic(of.redrives, partitions),
        repairs_topic(of.repairs, partitions),
        table_topic(app_id, sequence, partitions),
        TopicSpec(changelog_topic(app_id, dedup), partitions, ids),
    ]


def answered_topics(of: RawInput, partitions: int) -> list[TopicSpec]:
    """Those topics of a raw topic's app that its rows are answered from."""
    return [
        log_topic(of.stream.log, partitions),
        TopicSpec(of.events, partitions, _UNLIMITED),
        dead_letter_topic(of.dead_letter, partitions),
        TopicSpec(of.deferred, partitions, _UNLIMITED | _LARGE),
    ]


#: A topic's own value must be at least the specified one; -1 is unlimited.
_AT_LEAST = ("retention.ms", "max.message.bytes")
_EXACTLY = (APPEND_TIME, "cleanup.policy")


def problems_of(
    spec: TopicSpec, found: TopicInfo | None, config: Mapping[str, str], known_id: str | None = None
) -> list[TopicProblem]:
    """What of a topic is not as K2 needs it.

    Args:
        spec: what it must be.
        found: what it is; None: it is not there.
        config: its configuration, by name.
        known_id: the topic's id when the worker started.
    """
    if found is None:
        text = f"topic {spec.name} is not there: put it back, or {START_AFRESH}"
        return [TopicProblem(spec.name, "partitions", text)]
    problems = []
    if known_id is not None and found.id != known_id:
        text = (
            f"topic {spec.name}: expected topic id {known_id}, found {found.id}: it was created "
            f"anew; put it back, or {START_AFRESH}"
        )
        problems.append(TopicProblem(spec.name, "id", text))
    if found.partitions != spec.partitions:
        text = _partitions(spec, found)
        problems.append(TopicProblem(spec.name, "partitions", text, stops_start=True))
    for name in _EXACTLY:
        wanted, is_ = spec.config.get(name), config.get(name)
        if wanted is not None and is_ is not None and is_ != wanted:
            text = (
                f"topic {spec.name}: expected {name}={wanted}, found {is_}; {_WHY[name]}; set it "
                "on the topic (kafka-configs --alter), and work goes on by itself"
            )
            stops_start = name == APPEND_TIME
            problems.append(TopicProblem(spec.name, name, text, stops_start=stops_start))
    for name in _AT_LEAST:
        wanted, is_ = spec.config.get(name), config.get(name)
        if wanted is not None and is_ is not None and _rank(is_) < _rank(wanted):
            text = (
                f"topic {spec.name}: expected {name} of at least {wanted}, found {is_}; "
                f"{_WHY[name]}; set it on the topic (kafka-configs --alter)"
            )
            problems.append(TopicProblem(spec.name, name, text))
    return problems


def _partitions(spec: TopicSpec, found: TopicInfo) -> str:
    more = found.partitions > spec.partitions
    unread = f"records in partitions {spec.partitions} to {found.partitions - 1} are not read; "
    return (
        f"topic {spec.name}: expected {spec.partitions} partitions (K2_PARTITIONS), found "
        f"{found.partitions}; {unread if more else ''}the number is part of the state and Kafka "
        f"cannot take partitions away: {START_AFRESH}, with topics of one number "
        f"of partitions and K2_PARTITIONS={found.partitions} if the state is empty"
    )


def _rank(value: str) -> float:
    number = int(value)
    return float("inf") if number < 0 else float(number)


#: Why a setting is what it is.
_WHY = {
    APPEND_TIME: "K2 measures times by the broker's clock, not the producer's",
    "cleanup.policy": "records that are still needed would be removed",
    "retention.ms": "records may be removed before they are processed or in the lake",
    "max.message.bytes": "larger records of K2 are refused by the broker",
}


class TopicAdmin(AdminConnection):
    """Creates, describes and checks topics. Use as an async context manager."""

    def __init__(self, config: KafkaConfig, replication: int = 1) -> None:
        super().__init__(config)
        self._replication = replication

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            KafkaConnectionError: no broker answers.
            BrokerSecurityError: one is there, and refuses TLS or the login of the settings.
        """
        try:
            return await super().__aenter__()
        except KafkaError as error:
            problem = await security_problem(self._config)
            if problem is not None:
                raise BrokerSecurityError(problem) from error
            raise

    async def check_permitted(self, acls: Iterable[Acl]) -> None:
        """Ask the broker whether it permits all of this.

        Raises:
            NotPermittedError: it does not.
            KafkaError: it did not answer.
        """
        needed = tuple(acls)
        if not needed:
            return
        topics = {acl.name: acl for acl in needed if acl.resource is Resource.TOPIC}
        request = TopicIdsRequest(list(topics), operations=True)
        answer = await self._admin._send_request(request)  # noqa: SLF001 - as in `describe`
        missing: dict[Acl, Sequence[Operation]] = {}
        for code, name, *_, operations, _ in answer.topics:
            acl = topics[name]
            # Of a topic that is to be created nothing is known yet.
            bits = 0 if code == _TOPIC_NOT_PERMITTED else operations
            if code != _UNKNOWN_TOPIC and (found := lacking(acl, bits)):
                missing[acl] = found
        client = self._admin._client  # noqa: SLF001 - nothing public asks for a coordinator
        for acl in needed:
            if acl.resource in _COORDINATORS:
                try:
                    await client.coordinator_lookup(_COORDINATORS[acl.resource], acl.name)
                except _NOT_PERMITTED:
                    missing[acl] = acl.operations
                except KafkaError:
                    continue  # it is on its way, which is told to those alone who may use it
        if missing:
            raise NotPermittedError(refusal(missing))

    async def ensure(self, specs: Sequence[TopicSpec]) -> dict[str, TopicInfo]:
        """Create what is missing, check what is there, and say what all of them are.

        Other settings that are not as they should be are warnings here; a worker watches them.

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
        for problem in await self.problems(specs):
            if problem.stops_start:
                raise TopicConfigurationError(problem.text)
            log.warning("topic is not as it should be", topic=problem.topic, problem=problem.text)
        return there

    async def problems(
        self, specs: Sequence[TopicSpec], known: Mapping[str, TopicInfo] | None = None
    ) -> list[TopicProblem]:
        """What of these topics is not as K2 needs it, in their order.

        Args:
            specs: what they must be.
            known: what they were when the worker started.

        Raises:
            KafkaError: the broker did not answer.
        """
        names = [spec.name for spec in specs]
        there, configs = await self.describe(names), await self._configs(names)
        return [
            problem
            for spec in specs
            for problem in problems_of(
                spec,
                there.get(spec.name),
                configs.get(spec.name, {}),
                known[spec.name].id if known else None,
            )
        ]

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

    async def delete(self, names: Sequence[str]) -> None:
        """Delete topics, and wait until the brokers know them no more; one that is absent is none.

        Raises:
            KafkaError: the broker does not delete one.
            TimeoutError: a broker still knows one.
        """
        answer = await self._admin.delete_topics(list(names))
        for topic, code in answer.topic_error_codes:
            if code and code != _UNKNOWN_TOPIC:
                raise for_code(code)(topic)
        async with asyncio.timeout(CREATED_WITHIN_S):
            while await self.describe(names):  # noqa: ASYNC110 - the broker tells nobody
                await asyncio.sleep(0.05)

    async def delete_before(self, topic: str, offsets: Mapping[int, int]) -> None:
        """Let the partitions of a topic begin at these offsets.

        Raises:
            KafkaError: the broker does not delete what is before them.
        """
        wanted = {
            ClientPartition(topic, partition): RecordsToDelete(before_offset=offset)
            for partition, offset in offsets.items()
            if offset
        }
        if wanted:
            await self._admin.delete_records(wanted)

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

    async def _configs(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        return {
            name: {entry[0]: entry[1] for entry in entries}
            for answer in await self._admin.describe_configs(resources)
            for _, _, _, name, entries in answer.resources
        }


async def ensure_topics(
    config: KafkaConfig,
    specs: Sequence[TopicSpec],
    *,
    replication: int = 1,
    acls: Sequence[Acl] = (),
    attempts: int = 30,
) -> dict[str, TopicInfo]:
    """`TopicAdmin.ensure`, patient with a broker that is still starting.

    Args:
        config: the cluster.
        specs: what the topics must be.
        replication: of those that are created.
        acls: what Kafka must permit; it is asked first.
        attempts: one per second, at the most.

    Raises:
        KafkaConnectionError: no broker answered within `attempts` seconds.
        BrokerSecurityError: a broker is there, and refuses TLS or the login of the settings.
        TopicConfigurationError: a topic is not what K2 can work with, or Kafka does not permit it.
    """
    for attempt in range(1, attempts + 1):
        try:
            async with TopicAdmin(config, replication) as admin:
                await admin.check_permitted(acls)
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
