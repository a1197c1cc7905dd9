"""Which trades a system accepted, and in what they differ from the truth of the generator.

A trade is known by its scope (`EXCHANGE:SYMBOL`) and its sequence number: of each number that was
sent there must be exactly one.
"""

from collections.abc import Iterable, Mapping

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from k2_streams.core.types import TopicPartition
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import LogReader
from k2_streams.testing.oracle.truth_file import Truth

#: The sequence numbers of each scope, sorted; one that occurs twice is in it twice.
Numbers = Mapping[str, npt.NDArray[np.int64]]

#: Scopes that a report of differences names.
MAX_NAMED = 5


class _Trade(msgspec.Struct):
    exchange: str
    symbol: str
    sequence: int


def numbers_sent(truth: Truth) -> Numbers:
    """What must be accepted.

    Raises:
        ValueError: a scope has several sessions, in which numbers occur again.
    """
    found: dict[str, npt.NDArray[np.int64]] = {}
    for line in truth.sessions:
        if line.scope in found:
            raise ValueError(f"{line.scope}: expected one session, found {line.session} as well")
        ranges = [np.arange(first, last + 1) for first, last in line.rows]
        found[line.scope] = np.concatenate(ranges) if ranges else np.empty(0, np.int64)
    return found


def numbers_of(tables: Iterable[pa.Table]) -> Numbers:
    """Of tables with the columns `exchange`, `symbol` and `sequence`."""
    groups: dict[str, list[npt.NDArray[np.int64]]] = {}
    for table in tables:
        grouped = table.group_by(["exchange", "symbol"]).aggregate([("sequence", "list")])
        columns = (grouped[name].to_pylist() for name in ("exchange", "symbol"))
        lists = grouped["sequence_list"].combine_chunks()
        for at, (exchange, symbol) in enumerate(zip(*columns, strict=True)):
            groups.setdefault(f"{exchange}:{symbol}", []).append(lists[at].values.to_numpy())
    return {scope: np.sort(np.concatenate(parts)) for scope, parts in groups.items()}


async def accepted_tables(bootstrap: str, topic: str, partitions: int) -> list[pa.Table]:
    """The committed trades of a topic of canonical JSON, for `numbers_of`.

    Raises:
        msgspec.DecodeError: a record is none.
    """
    every = [TopicPartition(topic, partition) for partition in range(partitions)]
    decoder, tables = msgspec.json.Decoder(_Trade), []
    async with LogReader(KafkaConfig(bootstrap)) as reader:
        ends = await reader.end_offsets(every)
        reader.assign(dict.fromkeys(every, 0))
        while any(reader.position(*tp) < end for tp, end in ends.items()):
            for chunk in await reader.poll():
                trades = [decoder.decode(record.value or b"") for record in chunk.records]
                columns = {
                    name: [getattr(trade, name) for trade in trades]
                    for name in _Trade.__struct_fields__
                }
                if trades:
                    tables.append(pa.table(columns))
    return tables


def differences(expected: Numbers, found: Numbers) -> list[str]:
    """What was accepted and should not have been, or the other way round; empty: nothing."""
    texts = []
    for scope in sorted({*expected, *found}):
        wanted = expected.get(scope, np.empty(0, np.int64))
        numbers, counts = np.unique(found.get(scope, wanted[:0]), return_counts=True)
        kinds = {
            "missing": np.setdiff1d(wanted, numbers),
            "not sent": np.setdiff1d(numbers, wanted),
            "twice": numbers[counts > 1],
        }
        texts += [
            f"{scope}: {len(which)} {kind}, the first is {which[0]}"
            for kind, which in kinds.items()
            if len(which)
        ]
    if len(texts) > MAX_NAMED:
        texts = [*texts[:MAX_NAMED], f"and {len(texts) - MAX_NAMED} more"]
    return texts
