"""The limit of open files and sockets (`RLIMIT_NOFILE`): raised, and checked, at start."""

import resource

#: The libraries, logs, catalog, Kafka's connections, data files that are written and read by
#: queries: 25 when idle; a query of many files opens one per thread.
PROCESS_DESCRIPTORS = 128
#: Two stores of RocksDB, 14 when idle; and some more table files in each.
PARTITION_DESCRIPTORS = 16
#: More than any worker needs, and few enough for what walks all possible descriptors.
RAISED_TO = 65_536


class DescriptorLimitError(Exception):
    """The limit of open files is below what the worker needs."""


def needed(partitions: int) -> int:
    """What a worker that works all partitions needs, without its web server's connections."""
    return PROCESS_DESCRIPTORS + PARTITION_DESCRIPTORS * partitions


def raise_limit(partitions: int, connections: int) -> int:
    """Raise the soft limit as far as it may be.

    Args:
        partitions: that the worker may have to work, all of them.
        connections: the fewest that its web server can do with.

    Returns:
        The limit.

    Raises:
        DescriptorLimitError: it is less than the worker needs.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = RAISED_TO if hard == resource.RLIM_INFINITY else min(hard, RAISED_TO)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    limit = RAISED_TO if soft == resource.RLIM_INFINITY else soft
    least = needed(partitions) + connections
    if limit < least:
        raise DescriptorLimitError(
            f"RLIMIT_NOFILE is {limit}, and {partitions} partitions need {least} open files: raise "
            f"it (ulimit -n {least}, LimitNOFILE= of systemd, ulimits of Docker), or lower "
            "K2_PARTITIONS"
        )
    return limit
