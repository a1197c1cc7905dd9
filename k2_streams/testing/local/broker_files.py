"""How the local broker is configured: its properties, its logging and its Java options, as text.

Paths in them are relative to the broker's directory, in which its process runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from k2_streams.testing.local.loopback import HOST

PROPERTIES_NAME = "server.properties"
LOGGING_NAME = "log4j2.properties"
DATA_NAME = "data"
LOG_NAME = "logs/broker.log"
CONSOLE_NAME = "logs/console.log"  # what the Java process itself prints: almost always nothing

#: A broker for one machine: enough for a million small records per second, and no more.
HEAP_MB = 512

_PROPERTIES = """\
process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}

# A mistyped topic is an error, not a new topic.
auto.create.topics.enable=false
num.partitions=4
# The broker's time counts. With the producer's, a recording of 2014 would be past its retention.
log.message.timestamp.type=LogAppendTime

# As many copies as nodes: alone, a single one. Few partitions to create and to load.
min.insync.replicas={in_sync}
offsets.topic.replication.factor={copies}
offsets.topic.num.partitions=4
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr={in_sync}
transaction.state.log.num.partitions=4
# Every checkpoint writes to both. A coordinator that starts reads its partition from the beginning,
# and the group's (Kafka 4.3.1) can come out wrong of it if its leadership changes meanwhile, which
# a restart does: after 0.1 s. All but the newest segment is compacted, so let that be small.
offsets.topic.segment.bytes=1048576
transaction.state.log.segment.bytes=1048576
share.coordinator.state.topic.replication.factor={copies}
share.coordinator.state.topic.min.isr={in_sync}
share.coordinator.state.topic.num.partitions=1

# A worker waits for nobody when it joins.
group.initial.rebalance.delay.ms=0
# Committed readers wait for an open transaction: end a dead producer's soon after its timeout.
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
# After a kill the next start waits for the killed one's session to end (9 s by default); much
# shorter, and a machine that is busy for a moment loses its only broker.
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=500

# Two cores and a small heap: the cleaner alone would take 128 MiB.
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=4
background.threads=4
"""

#: At most 4 x 10 MB.
_LOGGING = """\
status = error
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = {log}
appender.file.filePattern = {log}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{{ISO8601}} %-5p %c{{1}} %m%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 10MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 3
# The settings are in server.properties: 300 lines of them a start hide the rest.
logger.config.name = org.apache.kafka.common.config.AbstractConfig
logger.config.level = warn
rootLogger.level = info
rootLogger.appenderRef.file.ref = file
"""


@dataclass(frozen=True, slots=True)
class Member:
    """A node's place in a cluster on this machine, each node a broker and a controller.

    Attributes:
        cluster: a name that its nodes share; the id of their storage is made of it.
        node: from 1 on.
        controller_ports: of all nodes, node 1 first; each node is told all of them, so they stay.
    """

    cluster: str
    node: int
    controller_ports: tuple[int, ...]

    @property
    def controller_port(self) -> int:
        """This node's own."""
        return self.controller_ports[self.node - 1]


@dataclass(frozen=True, slots=True)
class SecuredListeners:
    """Listeners beside the plain one, on which everyone is a superuser.

    Attributes:
        ports: by the security protocol, as `SASL_SSL`.
        properties: what they need, and what is permitted to whom.
        users: of SCRAM, as the storage tool takes them: `SCRAM-SHA-256=[name=a,password=b]`.
    """

    ports: Mapping[str, int]
    properties: Mapping[str, str]
    users: tuple[str, ...] = ()

    def text(self, host: str, port: int, controller_port: int) -> str:
        """Lines that stand behind the others, and so take their place."""
        named = {name: f"{name}://{HOST}:{one}" for name, one in self.ports.items()}
        clients = ",".join([f"PLAINTEXT://{host}:{port}", *named.values()])
        protocols = ["CONTROLLER:PLAINTEXT", *(f"{name}:{name}" for name in ("PLAINTEXT", *named))]
        given = {
            "listeners": f"{clients},CONTROLLER://{HOST}:{controller_port}",
            "advertised.listeners": clients,
            "listener.security.protocol.map": ",".join(protocols),
            **self.properties,
        }
        return "".join(f"{name}={value}\n" for name, value in given.items())


def server_properties(
    port: int,
    controller_port: int,
    host: str = HOST,
    member: Member | None = None,
    secured: SecuredListeners | None = None,
) -> str:
    """The text of `server.properties` for a broker on these ports.

    Args:
        port: of the clients.
        controller_port: of the quorum, on loopback.
        host: where clients connect.
        member: its place in a cluster; None: it is alone.
        secured: its other listeners; None: it has none.
    """
    ports = member.controller_ports if member else (controller_port,)
    text = _PROPERTIES.format(
        node=member.node if member else 1,
        voters=",".join(f"{node}@{HOST}:{one}" for node, one in enumerate(ports, start=1)),
        host=host,
        port=port,
        controller_port=controller_port,
        copies=len(ports),
        in_sync=len(ports) // 2 + 1,
        data=DATA_NAME,
    )
    return text if secured is None else text + secured.text(host, port, controller_port)


def logging_properties() -> str:
    """The text of `log4j2.properties`: everything from INFO on, in one rolling file."""
    return _LOGGING.format(log=LOG_NAME)


def java_options(heap_mb: int) -> list[str]:
    """The options of the broker's Java process."""
    return [
        f"-Xms{heap_mb // 2}m",
        f"-Xmx{heap_mb}m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:+ExitOnOutOfMemoryError",
        "-Djava.awt.headless=true",
        "-Djava.net.preferIPv4Stack=true",
        f"-Dlog4j2.configurationFile={LOGGING_NAME}",
    ]
