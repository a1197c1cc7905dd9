"""The least that Kafka must permit a worker. Documents and tests take it from here."""

from k2_streams.kafka.acls import Acl, Operation, Resource
from k2_streams.runtime.settings.worker import Settings
from k2_streams.runtime.topics import followed_inputs, topics_of
from k2_streams.topology.declarations import Topology

#: Its settings are watched while it runs.
_READ = (Operation.READ, Operation.DESCRIBE_CONFIGS)
_WRITTEN = (Operation.READ, Operation.WRITE, Operation.DESCRIBE_CONFIGS)


def acls_of(topology: Topology, settings: Settings) -> list[Acl]:
    """What a worker needs where its topics exist already; `creating` is what it needs otherwise.

    A query node writes nothing, and is in no group.
    """
    if not settings.processes:
        return [Acl(Resource.TOPIC, spec.name, _READ) for spec in topics_of(topology, settings)]
    own = {stream.log for stream in topology.streams}
    read = {source.topic for source in topology.sources} - own
    for followed in followed_inputs(topology, settings):
        beside = (followed.events, followed.dead_letter, followed.deferred)
        read |= {followed.stream.log, *beside}
    acls = [
        Acl(Resource.TOPIC, spec.name, _READ if spec.name in read else _WRITTEN)
        for spec in topics_of(topology, settings)
    ]
    app_id = settings.app_id
    transactional = Acl(Resource.TRANSACTIONAL_ID, f"{app_id}-", (Operation.WRITE,), is_prefix=True)
    return [*acls, Acl(Resource.GROUP, app_id, (Operation.READ,)), transactional]


def creating(acls: list[Acl]) -> list[Acl]:
    """What it needs to create its topics, beside the others."""
    return [
        Acl(Resource.TOPIC, acl.name, (Operation.CREATE,))
        for acl in acls
        if acl.resource is Resource.TOPIC
    ]
