"""The limit of open files and sockets (`RLIMIT_NOFILE`): raised, and checked, at start."""

import resource

from k2_streams.state.spill import MAX_OPEN_FILES
from k2_streams.topology.declarations import RawSource, Source, Topology

#: The libraries, log files, catalog, Kafka's connections, data files that are written and read by
#: queries, and all of the first log: 25 when idle; a query of many files opens one per thread. And
#: what RocksDB opens of the rows that tails have spilled.
PROCESS_DESCRIPTORS = 64 + MAX_OPEN_FILES
#: A store of RocksDB, 7 when idle; and some more table files.
STORE_DESCRIPTORS = 8
#: Of each further log, 6 when idle: two readers of Kafka, two handles of the catalog; and a file
#: of data that is written.
LOG_DESCRIPTORS = 12
#: More than any worker needs, and few enough for what walks all possible descriptors.
RAISED_TO = 65_536


class DescriptorLimitError(Exception):
    """The limit of open files is below what the worker needs."""


def needed(topology: Topology, partitions: int, logs: int = 1) -> int:
    """What a worker that owns all partitions needs, without its web server's connections.

    Args:
        topology: of the worker.
        partitions: of each source.
        logs: that it answers from.
    """
    stores = sum(_stores(topology, source) for source in topology.sources)
    return (
        PROCESS_DESCRIPTORS + STORE_DESCRIPTORS * stores * partitions + LOG_DESCRIPTORS * (logs - 1)
    )


def _stores(topology: Topology, source: Source) -> int:
    """Of one partition of a source: of a raw one's both tables of K2, of another the position's."""
    if isinstance(source, RawSource):
        return 2
    return 1 + sum(len(agent.tables) for agent in topology.agents_of(source))


def raise_limit(least: int) -> int:
    """Raise the soft limit as far as it may be.

    Args:
        least: that the worker can do with: what it needs, and the fewest connections.

    Returns:
        The limit.

    Raises:
        DescriptorLimitError: it is less than that.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = RAISED_TO if hard == resource.RLIM_INFINITY else min(hard, RAISED_TO)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    limit = RAISED_TO if soft == resource.RLIM_INFINITY else soft
    if limit < least:
        raise DescriptorLimitError(
            f"RLIMIT_NOFILE is {limit}, and the partitions, tables and logs of this worker need "
            f"{least} open files: raise it (ulimit -n {least}, LimitNOFILE= of systemd, ulimits of "
            "Docker), lower K2_PARTITIONS, or keep no ledger (K2_LEDGER=0)"
        )
    return limit
