"""Cases from the field: records to send, and what the platform must make of them.

One JSON object per line of a `.jsonl` file:

    {"id": "...", "why": "...",
     "send": [{"key": "SIM:ABC", "value": "...", "feed": "canonical",
               "headers": [["line", "A"]]}, ...],
     "expect": {"rows": [{"query": "symbol=ABC", "count": 2, "fields": [{"price": "1"}],
                          "distinct": ["message_id"]}],
                "dead": {"reason": 1},
                "gaps": [{"query": "symbol=ABC&state=open", "count": 0}],
                "ask": [{"path": "/v1/trades?...", "status": 422, "contains": "start"}]}}

`value` is text, `value_hex` bytes in hex, neither is a null value; the same for `key` and for the
value of a header. `dead` holds the reasons of the dead letters of exactly these records; the reason
`*` counts all of them. `fields` are compared with the rows in their order. `last` marks a case that
once stopped a partition: it runs after the others.

Only the contract is used: the raw topic, the dead letter topic, HTTP.
"""

import asyncio
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2

from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import LogReader
from k2_streams.kafka.topics import DEAD_LETTER, RAW

#: A record that is not processed within this time has stopped its partition.
PROCESSED_WITHIN_S = 60.0
OWN = Path(__file__).resolve().parent / "cases"
SHARED = Path(__file__).resolve().parents[2] / "shared" / "cases"

Case = dict[str, Any]
Place = tuple[int, int]  # partition, offset


def read_cases(folder: Path) -> list[Case]:
    """The cases of a folder's `.jsonl` files; those marked `last` come last."""
    lines = [
        line
        for file in sorted(folder.glob("*.jsonl"))
        for line in file.read_text(encoding="utf-8").splitlines()
        if line.strip()
    ]
    return sorted(map(json.loads, lines), key=lambda case: case.get("last", False))


class Platform:
    """A broker with one running worker."""

    def __init__(self, bootstrap: str, url: str, partitions: int) -> None:
        self._bootstrap = bootstrap
        self._url = url
        self._partitions = partitions

    def differences(self, case: Case) -> list[str]:
        """What a case expects and the platform does not show; empty if the case holds."""
        expect = case["expect"]
        places = asyncio.run(self._send(case.get("send", [])))
        if places and not self._is_processed(places):
            return [f"not processed within {PROCESSED_WITHIN_S:.0f} s: {sorted(places)}"]
        found = [text for each in expect.get("rows", []) for text in self._rows(each)]
        if "dead" in expect and places:
            found += self._dead(places, expect["dead"])
        for each in expect.get("gaps", []):
            _, body = self.get(f"/v1/gaps?{each['query']}")
            gaps = body.get("data", body)
            if len(gaps) != each["count"]:
                found.append(f"gaps of {each['query']}: expected {each['count']}, found {gaps}")
        for each in expect.get("ask", []):
            status, body = self.get(each["path"])
            text = json.dumps(body, ensure_ascii=False)
            if status != each["status"] or each.get("contains", "") not in text:
                found.append(
                    f"{each['path']}: expected {each['status']} {each.get('contains', '')}, "
                    f"found {status} {text[:300]}"
                )
        return found

    def get(self, path: str) -> tuple[int, Any]:
        """The status and the JSON body of an answer."""
        try:
            with urllib.request.urlopen(self._url + path, timeout=60) as answer:  # noqa: S310 - loopback
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")

    async def _send(self, records: list[dict[str, Any]]) -> set[Place]:
        """Send one by one, as their order is part of the case; where they are."""
        producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap, max_request_size=4_000_000)
        places = set()
        await producer.start()
        try:
            for record in records:
                key = _bytes(record, "key")
                sent = await producer.send_and_wait(
                    RAW,
                    _bytes(record, "value"),
                    key,
                    partition=record.get("partition", self._partition_of(key)),
                    headers=list(_headers(record)),
                )
                places.add((sent.partition, sent.offset))
        finally:
            await producer.stop()
        return places

    def _partition_of(self, key: bytes | None) -> int:
        return 0 if key is None else int(murmur2(key) & 0x7FFFFFFF) % self._partitions

    def _is_processed(self, places: set[Place]) -> bool:
        newest = dict(sorted(places))
        offsets = urllib.parse.quote(",".join(f"{p}:{offset}" for p, offset in newest.items()))
        deadline = time.monotonic() + PROCESSED_WITHIN_S
        while time.monotonic() < deadline:
            status, _ = self.get(f"/v1/trades?limit=1&min_offsets={offsets}&wait_ms=5000")
            if status == 200:
                return True
        return False

    def _rows(self, expect: dict[str, Any]) -> Iterator[str]:
        query = expect["query"]
        limit = "" if "limit=" in query else "&limit=1000"
        status, body = self.get(f"/v1/{expect.get('path', 'trades')}?{query}{limit}")
        rows = [] if status == 404 else body.get("data")
        if rows is None:
            yield f"rows of {query}: {status} {body}"
            return
        if "count" in expect and len(rows) != expect["count"]:
            yield f"rows of {query}: expected {expect['count']}, found {len(rows)}"
        for index, fields in enumerate(expect.get("fields", [])):
            row = rows[index] if index < len(rows) else {}
            for name, value in fields.items():
                if (is_now := row.get(name)) != value:
                    yield f"row {index} of {query}: {name} expected {value!r}, found {is_now!r}"
        for name in expect.get("distinct", []):
            if len({json.dumps(row.get(name)) for row in rows}) != len(rows):
                yield f"rows of {query}: {name} is not distinct"

    def _dead(self, places: set[Place], expected: dict[str, int]) -> Iterator[str]:
        found = asyncio.run(self._dead_letters(places))
        same = found.total() == expected["*"] if "*" in expected else found == expected
        if not same:
            yield f"dead letters: expected {expected}, found {dict(found)}"

    async def _dead_letters(self, places: set[Place]) -> Counter[str]:
        """The reasons of the dead letters of these records."""
        found: Counter[str] = Counter()
        ats = [(DEAD_LETTER, partition) for partition in range(self._partitions)]
        async with LogReader(KafkaConfig(bootstrap=self._bootstrap)) as reader:
            ends = (await reader.settled_offsets(ats)).stable
            reader.assign(dict.fromkeys(ats, 0))
            while any(reader.position(*at) < ends[at] for at in ats):
                for chunk in await reader.poll():
                    for record in chunk.records:
                        headers = dict(record.headers)
                        place = int(headers["k2.partition"]), int(headers["k2.offset"])
                        if place in places:
                            found[headers["k2.reason"].decode()] += 1
        return found


def _bytes(record: dict[str, Any], name: str) -> bytes | None:
    if f"{name}_hex" in record:
        return bytes.fromhex(record[f"{name}_hex"])
    value = record.get(name)
    return None if value is None else str(value).encode()


def _headers(record: dict[str, Any]) -> Iterator[tuple[str, bytes | None]]:
    for name, value in record.get("headers", []):
        yield name, _bytes(value if isinstance(value, dict) else {"value": value}, "value")
    if "feed" in record:
        yield "feed", record["feed"].encode()
