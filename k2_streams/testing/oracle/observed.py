"""What `k2 verify` asks a running platform: its HTTP answers and its lake."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, Self, Unpack

import msgspec
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from k2_client import AsyncClient, ClientError
from k2_client.exchange import Reply
from k2_client.options import RowsOptions
from k2_streams.clock import Clock
from k2_streams.core.records.stream import Stream
from k2_streams.lake.config import LakeConfig
from k2_streams.lake.errors import LakeUnavailableError
from k2_streams.lake.snapshots import Head
from k2_streams.lake.table import Lake
from k2_streams.testing.client import HttpClient, NoAnswerError, Parameters, decode
from k2_streams.testing.oracle.check_rows import columns_of
from k2_streams.testing.oracle.topic_records import NotReachedError

#: Nothing answered even once by then: the address is wrong, or nothing runs there.
FIRST_ANSWER_WITHIN_S = 30.0
#: Between two tries of whatever is not there yet.
RETRY_EVERY_S = 0.5
#: Rows of a page: with a tail of half a million rows beside it a page of 100,000, the most that the
#: platform gives, would need more memory than a question may take.
PAGE_ROWS = 25_000
#: What `min_offsets` waits at a time: as long as the platform allows.
_WAIT_MS = 5_000
_BATCH_ROWS = 131_072
_RETRYABLE = {429, 503}


Meta = dict[str, Any]


class HttpPlatform:
    """The HTTP side. Use as an async context manager."""

    def __init__(
        self,
        url: str,
        api_key: str | None,
        clock: Clock,
        timeout_s: float,
        stream: Stream,
    ) -> None:
        self._path = f"/v1/{stream.name}"
        self._url = url.rstrip("/")
        self._clock = clock
        self._timeout_s = timeout_s
        self._client = HttpClient(api_key, addresses=(url,))
        self._rows = AsyncClient(url, api_key, patience_s=timeout_s, page_rows=PAGE_ROWS)
        self._stream = stream.name

    async def __aenter__(self) -> Self:
        """Nothing is asked yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect."""
        await self._client.__aexit__()
        await self._rows.close()

    async def wait(self, ends: Mapping[int, int], show: Callable[[int], None]) -> Meta:
        """Wait until an answer holds all raw records below these ends; the answer's meta.

        Raises:
            NotReachedError: it does not within the time-out.
        """
        deadline = self._clock.monotonic() + self._timeout_s
        first_by = self._clock.monotonic() + min(FIRST_ANSWER_WITHIN_S, self._timeout_s)
        wanted = _min_offsets(ends)
        question = {"limit": "1", "format": "json", "wait_ms": str(_WAIT_MS)}
        if wanted:
            question["min_offsets"] = wanted
        answered = False
        last = "no answer"
        while True:
            try:
                answer = await self._get(self._path, question)
            except NoAnswerError as error:
                last = str(error)
            else:
                answered = True
                if answer.status == 200:
                    meta: Meta = decode(answer)["meta"]
                    return meta
                last = _refusal(answer)
                if answer.status not in _RETRYABLE:
                    raise NotReachedError(f"{self._url}{self._path} answered {last}")
                await self._show_watermark(ends, show)
            now = self._clock.monotonic()
            if now >= deadline or (not answered and now >= first_by):
                raise NotReachedError(
                    f"{self._url} did not answer with raw offsets {wanted} in time; last: {last}"
                )
            await asyncio.sleep(RETRY_EVERY_S)

    async def pages(
        self, exchanges: list[str], ends: Mapping[int, int]
    ) -> AsyncIterator[tuple[pa.Table, Meta]]:
        """All rows of these exchanges, page by page, at one read point.

        Raises:
            NotReachedError: a page does not come.
        """
        wanted = {p: end - 1 for p, end in ends.items() if end}
        async for page in self._pages(exchange=exchanges, min_offsets=wanted):
            yield page

    async def known_pages(self, exchanges: list[str], known_ns: int) -> AsyncIterator[pa.Table]:
        """The same, as they were known at a time.

        Raises:
            NotReachedError: a page does not come, or no row was known then.
        """
        async for rows, _ in self._pages(exchange=exchanges, known_at=known_ns):
            yield rows

    async def known_gaps(self, exchanges: list[str], known_ns: int) -> list[dict[str, Any]]:
        """The gaps of these exchanges, as they were known at a time.

        Raises:
            NotReachedError: there are more than one answer has, or there is none.
        """
        try:
            found = await self._rows.gaps(exchange=exchanges, known_at=known_ns)
        except ClientError as error:
            raise NotReachedError(f"{self._url}/v1/gaps: {error}") from error
        gaps: list[dict[str, Any]] = found.arrow().to_pylist()
        return gaps

    async def _pages(self, **options: Unpack[RowsOptions]) -> AsyncIterator[tuple[pa.Table, Meta]]:
        try:
            async for page in self._rows.pages(self._stream, **options):
                yield page.arrow(), dict(page.proof)
        except ClientError as error:
            raise NotReachedError(f"{self._url}{self._path}: {error}") from error

    async def _get(self, path: str, question: Parameters) -> Reply:
        return await self._client.get(self._url + path, question)

    async def _show_watermark(self, ends: Mapping[int, int], show: Callable[[int], None]) -> None:
        """Show how far the platform is; only for people, so no answer is no error."""
        try:
            answer = await self._get("/v1/status", {})
            status = decode(answer) if answer.status == 200 else {}
            marks = status.get("watermark", {})
            show(sum(min(marks.get(str(p)) or 0, end) for p, end in ends.items()))
        except (NoAnswerError, msgspec.MsgspecError):
            return


def _refusal(answer: Reply) -> str:
    return f"{answer.status}: {answer.body.decode(errors='replace')[:300]}"


def _min_offsets(ends: Mapping[int, int]) -> str:
    """`min_offsets` for an answer that holds all below these ends: it names offsets, not ends."""
    return _offsets({partition: end - 1 for partition, end in ends.items() if end})


def _offsets(offsets: Mapping[int, int]) -> str:
    return ",".join(f"{partition}:{offset}" for partition, offset in sorted(offsets.items()))


async def wait_for_lake(
    config: LakeConfig,
    offsets: Mapping[int, int],
    clock: Clock,
    timeout_s: float,
    show: Callable[[int], None],
    stream: Stream,
) -> Head:
    """Wait until the lake holds at least these offsets of the stream's log; its head then.

    Raises:
        NotReachedError: it does not within the time-out.
        LakeError: the lake is not what it should be.
    """
    deadline = clock.monotonic() + timeout_s
    lake = Lake(config, stream=stream)
    try:
        while True:
            found: dict[int, int] = {}
            try:
                head = await asyncio.to_thread(lake.head)
                found = {p: head.vector.next_of(stream.log, p) or 0 for p in offsets}
                if all(found[p] >= end for p, end in offsets.items()):
                    return head
                last = f"it holds {_offsets(found)}"
            except LakeUnavailableError as error:
                last = str(error)
            show(sum(min(found.get(p, 0), end) for p, end in offsets.items()))
            if clock.monotonic() >= deadline:
                raise NotReachedError(
                    f"the lake did not hold {stream.log} up to {_offsets(offsets)} "
                    f"in {timeout_s:g} s; {last}"
                )
            await asyncio.sleep(RETRY_EVERY_S)
    finally:
        lake.close()


def lake_rows(
    config: LakeConfig,
    snapshot_id: int | None,
    stream: Stream,
    columns: Sequence[str] | None = None,
) -> Iterator[pa.RecordBatch]:
    """All rows of a snapshot, read from its files by Arrow alone.

    Raises:
        LakeError: the snapshot cannot be planned.
        OSError: a file cannot be read.
    """
    if snapshot_id is None:
        return
    lake = Lake(config, stream=stream)
    try:
        planned = lake.plan(snapshot_id)
    finally:
        lake.close()
    store = _s3(config.properties) if any("://" in one.path for one in planned) else None
    for one in planned:
        path = one.path.partition("://")[2] or one.path
        with pq.ParquetFile(path, filesystem=store) as file:
            yield from file.iter_batches(_BATCH_ROWS, columns=list(columns or columns_of(stream)))


def _s3(properties: Mapping[str, str]) -> pafs.FileSystem:
    """The object store that the catalog's own settings name."""
    names = {
        "s3.endpoint": "endpoint_override",
        "s3.access-key-id": "access_key",
        "s3.secret-access-key": "secret_key",
        "s3.session-token": "session_token",
        "s3.region": "region",
    }
    return pafs.S3FileSystem(
        **{option: properties[name] for name, option in names.items() if name in properties}
    )
