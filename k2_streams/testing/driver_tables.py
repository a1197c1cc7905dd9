"""The tables of a `StreamDriver`'s app: their committed rows, decoded from their changelogs."""

from collections.abc import Callable
from typing import Any

from k2_streams.core.dedup.ids import HASH_BYTES, to_bytes
from k2_streams.core.sequence import codec as sequence_codec
from k2_streams.kafka.topics import changelog_topic
from k2_streams.runtime.deferral.backlog import COUNT_CODEC
from k2_streams.state.codec import POSITION_KEY, ROWS, SHARED_TABLES, shared_table
from k2_streams.state.ids_codec import decode_ids
from k2_streams.testing.memory.cluster import MemoryCluster
from k2_streams.topology.declarations import Topology

#: Packed ids per record, where other tables have a row per record.
_IDS = "dedup"
_SEQUENCE = "sequence"
_DEFERRAL = "deferral"

Decoder = Callable[[bytes], Any]


def table_names(cluster: MemoryCluster, topology: Topology, app_id: str) -> list[str]:
    """The tables that an app has: its own, and K2's."""
    own = [one.name for one in topology.tables]
    others = [name for name in (_SEQUENCE, _IDS) if changelog_topic(app_id, name) in cluster.topics]
    return [*own, *others, *sorted(SHARED_TABLES.values())]


def table_rows(
    cluster: MemoryCluster,
    topology: Topology,
    app_id: str,
    name: str,
    partition: int | None = None,
) -> dict[Any, Any]:
    """The committed rows of a table, by key.

    Raises:
        ValueError: there is no such table, or a key has a row in two partitions.
    """
    if name not in table_names(cluster, topology, app_id):
        known = ", ".join(table_names(cluster, topology, app_id))
        raise ValueError(f"there is no table {name}: there are {known}")
    found: dict[Any, Any] = {}
    for topic in _changelogs(cluster, app_id, name):
        for number in range(cluster.topics[topic].partitions):
            if partition is not None and number != partition:
                continue
            rows = (
                _ids(cluster, topic, number)
                if name == _IDS
                else _rows(cluster, topic, number, name, _decoder_of(topology, name))
            )
            both = sorted(set(rows) & set(found), key=str)
            if both and name != _IDS:
                raise ValueError(
                    f"table {name}: {both[0]!r} is a key in partition {number} and in another one: "
                    "ask with partition="
                )
            for key, value in rows.items():
                found[key] = found[key] | value if key in found else value
    return found


def _changelogs(cluster: MemoryCluster, app_id: str, name: str) -> list[str]:
    """The changelogs that can hold rows of a table; a shared one lies beside another table."""
    if name not in SHARED_TABLES.values():
        return [changelog_topic(app_id, name)]
    ids = changelog_topic(app_id, _IDS)
    begin, end = f"{app_id}-", "-changelog"
    return [
        topic
        for topic in sorted(cluster.topics)
        if topic.startswith(begin) and topic.endswith(end) and topic != ids
    ]


def _decoder_of(topology: Topology, name: str) -> Decoder:
    own = {one.name: one.decode for one in topology.tables}
    if name in own:
        return own[name]
    if name == _SEQUENCE:
        return sequence_codec.decode
    return COUNT_CODEC.decode if name == _DEFERRAL else _time_ns


def _time_ns(value: bytes) -> int:
    """When a timer is due."""
    return int.from_bytes(value, signed=True)


def _rows(
    cluster: MemoryCluster, topic: str, partition: int, name: str, decode: Decoder
) -> dict[str, Any]:
    encoded: dict[bytes, bytes | None] = {
        one.key or b"": one.value for one in cluster.partitions[topic, partition].committed()
    }
    wanted = name if name in SHARED_TABLES.values() else ROWS
    skipped = 0 if wanted == ROWS else 1
    return {
        key[skipped:].decode(): decode(value)
        for key, value in sorted(encoded.items())
        if value is not None and key != POSITION_KEY and shared_table(key) == wanted
    }


def _ids(cluster: MemoryCluster, topic: str, partition: int) -> dict[int, frozenset[str]]:
    """By the end of each bucket in milliseconds the hashes of its ids."""
    found: dict[int, frozenset[str]] = {}
    for one in cluster.partitions[topic, partition].committed():
        for bucket, hashes in decode_ids(one.value or b""):
            packed = to_bytes(hashes)
            texts = frozenset(
                packed[at : at + HASH_BYTES].hex() for at in range(0, len(packed), HASH_BYTES)
            )
            found[bucket] = found.get(bucket, frozenset()) | texts
    return found
