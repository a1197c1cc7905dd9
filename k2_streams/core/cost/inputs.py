"""What a cost is computed from: the load, what a benchmark measured, and prices."""

from typing import Annotated

import msgspec

_Positive = Annotated[float, msgspec.Meta(gt=0)]
_NotNegative = Annotated[float, msgspec.Meta(ge=0)]
_Text = Annotated[str, msgspec.Meta(min_length=1)]
#: As ISO 8601 writes it.
_Date = Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]


class Workload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the deployment has to do.

    Attributes:
        rate_per_s: messages per second, on average over a month.
        message_bytes: of one message as the venue's adapter sends it, before compression.
        retention_days: of the raw topic and of the log.
        lake_days: how long rows stay in the Iceberg table.
        replication: copies of each topic, each in a zone of its own.
        queries_per_s: of the kind that was measured.
        query_nodes: which read the log and answer.
        commit_interval_s: `K2_LAKE_COMMIT_INTERVAL_S`.
    """

    rate_per_s: _Positive
    message_bytes: _Positive
    retention_days: _NotNegative
    lake_days: _NotNegative
    replication: Annotated[int, msgspec.Meta(ge=1)]
    queries_per_s: _NotNegative
    query_nodes: Annotated[int, msgspec.Meta(ge=1)]
    commit_interval_s: _Positive


class MeasuredFigures(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `python -m bench cost` measured, on which machine and when.

    Attributes:
        date: of the run.
        machine: its class: processors, memory.
        messages: how many went through.
        payload_bytes: mean size of a message before compression.
        raw_bytes, log_bytes, changelog_bytes: of one message in the segments of the raw topic, of
            the log and of the changelogs, one copy each, compressed as they travel.
        lake_bytes: of one row in the Parquet files.
        worker_cpu_s_per_million: from the source to the lake, its own tail included.
        broker_cpu_s_per_million: with one copy of each topic.
        reader_cpu_s_per_million: of a node that only reads the log.
        query_cpu_s: of the node that answers one query.
        commit_writes, commit_reads: requests to the object store per commit; a list request is
            priced as a write.
        query_writes, query_reads: the same per query.
    """

    date: _Date
    machine: _Text
    messages: Annotated[int, msgspec.Meta(gt=0)]
    payload_bytes: _Positive
    raw_bytes: _Positive
    log_bytes: _Positive
    changelog_bytes: _NotNegative
    lake_bytes: _Positive
    worker_cpu_s_per_million: _Positive
    broker_cpu_s_per_million: _Positive
    reader_cpu_s_per_million: _Positive
    query_cpu_s: _Positive
    commit_writes: _NotNegative
    commit_reads: _NotNegative
    query_writes: _NotNegative
    query_reads: _NotNegative


class Prices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A price list: where, when, and where it was read.

    Attributes:
        region: of the provider.
        date: on which the prices were read.
        source: where.
        currency: as ISO 4217 names it.
        vcpu_hour: of one virtual processor with its memory.
        disk_gb_month: of the brokers' disks; a GB has 1e9 bytes.
        object_gb_month: of the object store.
        write_requests_1000, read_requests_1000: of the object store, per 1,000.
        zone_gb: of one GB from one zone to another, both ends together.
    """

    region: _Text
    date: _Date
    source: _Text
    currency: _Text
    vcpu_hour: _NotNegative
    disk_gb_month: _NotNegative
    object_gb_month: _NotNegative
    write_requests_1000: _NotNegative
    read_requests_1000: _NotNegative
    zone_gb: _NotNegative
