"""Records to columns: each feed's records decoded as one batch, together in the source's order."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from k2_streams.core.enrich.instruments import PriceDomains
from k2_streams.core.records.name_numbers import NO_NUMBER, NameNumbers
from k2_streams.core.records.partitioner import partition_of
from k2_streams.failpoints import failpoint
from k2_streams.feeds.decoding.decoded import Bad, Decoded, Kind, RawBatch
from k2_streams.feeds.decoding.merged import Part, merged
from k2_streams.feeds.description import Description
from k2_streams.feeds.feed import CANONICAL, Feeds, UnknownFeedError, feed
from k2_streams.kafka.record_columns import RecordColumns
from k2_streams.runtime.fetched import Record, offsets_of
from k2_streams.runtime.task.headers import places_by_feed
from k2_streams.runtime.task.processing_error import ProcessingError

#: Scope keys that are remembered as this partition's: 10 MiB. As many as a table has rows in
#: memory: of more all would be forgotten, and hashed again, with nearly every batch.
PARTITION_CACHE_MAX = 100_000
#: What records of feeds that this worker does not know are counted as.
OTHER_FEEDS = "other"

Indices = npt.NDArray[np.int64]


@dataclass(slots=True)
class DecodedBatch:
    """Records, decoded. Arrays have one entry a record.

    Attributes:
        offsets: in the source.
        append_time_ms: the broker's.
        now_ms: stream time at each record.
        decoded: of all feeds together; a record whose key belongs elsewhere is BAD in it.
        bad: why records are dead letters; later steps add to it.
        feed: of each record, the index of its description.
        descriptions: of the feeds that occur.
        names: of the same feeds.
        counts: records by feed; those of unknown ones together.
        unknown: rows without an optional attribute whose value is unknown, by feed and attribute.
    """

    offsets: Indices
    append_time_ms: Indices
    now_ms: Indices
    decoded: Decoded
    bad: list[Bad]
    feed: npt.NDArray[np.int16]
    descriptions: list[Description]
    names: list[str]
    counts: Counter[str]
    unknown: Counter[tuple[str, str]]


class Decoding:
    """Decodes the records of one source partition.

    Args:
        feeds: of the stream, by name.
        rows: the schema of the stream's rows.
        topic: of the source, for errors.
        partition: of the source.
        partitions: how many the source has.
        check_partition: whether a record whose key belongs elsewhere is a dead letter.
        price_domains: which prices an instrument may have.
    """

    def __init__(
        self,
        feeds: Feeds,
        rows: pa.Schema,
        topic: str,
        partition: int,
        partitions: int,
        *,
        check_partition: bool,
        price_domains: PriceDomains,
    ) -> None:
        self._price_domains = price_domains
        self._feeds = feeds
        self._rows = rows
        self._topic = topic
        self._partition = partition
        self._partitions = partitions
        self._check_partition = check_partition
        self._own = NameNumbers()  # of the scopes that were found to belong here

    def decode(self, records: Sequence[Record], times_ms: Indices, now_ms: Indices) -> DecodedBatch:
        """Decode records, at least one. What a record holds never fails; a feed's own bug does.

        The cost follows the number of records and of distinct feeds, not their order.

        Raises:
            ProcessingError: a feed's decoder failed.
        """
        offsets = offsets_of(records)
        groups = places_by_feed(records, CANONICAL)
        parts: list[Part] = []
        unknown: list[Bad] = []
        descriptions: list[Description] = []
        of = np.zeros(len(records), np.int16)
        known: list[str] = []
        counts: Counter[str] = Counter()
        for name, places in groups.items():
            try:
                decoder = feed(name, self._feeds)
            except UnknownFeedError as error:
                counts[OTHER_FEEDS] += len(places)
                detail = str(error)
                unknown += [Bad(int(i), "unknown-feed", "feed", detail) for i in places]
                continue
            counts[name] += len(places)
            keys, values = _keys_and_values(records, places)
            raw = RawBatch(
                partition=self._partition,
                offsets=offsets[places],
                append_time_ms=times_ms[places],
                keys=keys,
                values=values,
                price_domains=self._price_domains,
            )
            try:
                parts.append(Part(places, decoder.decode(raw)))
            except Exception as error:
                place = (self._topic, self._partition)
                raise ProcessingError.of(error, *place, raw.offsets, name) from error
            of[places] = len(descriptions)
            descriptions.append(decoder.description)
            known.append(name)
        decoded = merged(parts, len(records), self._rows)
        failpoint("source.decoded")
        bad = decoded.bad + unknown
        if self._check_partition:
            decoded = self._checked(decoded, bad)
        return DecodedBatch(
            offsets,
            times_ms,
            now_ms,
            decoded,
            bad,
            of,
            descriptions,
            known,
            counts,
            Counter(
                {
                    (name, attribute): count
                    for name, part in zip(known, parts, strict=True)
                    for attribute, count in part.decoded.unknown.items()
                }
            ),
        )

    def _checked(self, decoded: Decoded, bad: list[Bad]) -> Decoded:
        """Refuse records whose key belongs in another partition: their numbers count there."""
        here = self._own.of(decoded.scopes) != NO_NUMBER
        for at in np.flatnonzero(~here).tolist():
            here[at] = self._is_here(decoded.scopes[at])
        if here.all():
            return decoded
        away = ~here
        lost = (decoded.scope >= 0) & away[decoded.scope]
        already = {entry.message for entry in bad}
        for i in np.flatnonzero(lost).tolist():
            if i not in already:
                right = partition_of(decoded.scopes[decoded.scope[i]].encode(), self._partitions)
                detail = f"expected partition {right} of its key"
                bad.append(Bad(i, "wrong-partition", "key", detail))
        return replace(
            decoded,
            scope=np.where(lost, np.int32(-1), decoded.scope),
            kind=np.where(lost, np.int8(Kind.BAD), decoded.kind),
        )

    def _is_here(self, scope: str) -> bool:
        """Whether a scope belongs here; if so it is remembered."""
        here = partition_of(scope.encode(), self._partitions) == self._partition
        if here:
            if len(self._own) >= PARTITION_CACHE_MAX:
                self._own.clear()
            self._own.put(scope, len(self._own))
        return here


def _keys_and_values(
    records: Sequence[Record], places: Indices
) -> tuple[Sequence[bytes | None], Sequence[bytes | None]]:
    """Of some records, or of all."""
    if isinstance(records, RecordColumns):
        keys, values = records.keys, records.values
        if len(places) < len(records):
            keys, values = keys.take(places), values.take(places)
        return keys, values
    members = records if len(places) == len(records) else [records[i] for i in places]
    return [record.key for record in members], [record.value for record in members]
