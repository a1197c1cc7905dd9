"""What schemathesis sends: texts of K2's own formats, and statements as bodies."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import schemathesis
from hypothesis import strategies as st

from k2_streams.core.records.symbols import is_symbol
from k2_streams.web.declaration.times import FIRST_INTEGER_NS, parse_time

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(seconds: int, offset_hours: int) -> str:
    """A time as its local clock shows it."""
    local = EPOCH + timedelta(seconds=seconds, hours=offset_hours)
    return local.strftime("%Y-%m-%dT%H:%M:%S") + f"{offset_hours:+03}:00"


def register_formats(tokens: st.SearchStrategy[str], *, around_ns: int) -> None:
    """Tell schemathesis what K2's formats are; of this process.

    Args:
        tokens: of the log of trades.
        around_ns: a time near which there are rows.
    """
    seconds = st.integers(86_400, around_ns // 10**9 + 60)
    characters = st.characters(exclude_categories=("C", "Z"), include_characters=" ")
    formats = {
        "k2-time": (st.just(0) | st.integers(FIRST_INTEGER_NS, 2**63 - 1)).map(str)
        | st.integers(around_ns - 10**9, around_ns + 10**10).map(str)
        | st.builds(rfc3339, seconds, st.integers(-11, 13)),
        "k2-window": st.builds("{}{}".format, st.integers(1, 3_000), st.sampled_from("smhd")),
        "k2-symbol": st.text(characters, min_size=1, max_size=64).filter(is_symbol),
        "k2-zone": st.sampled_from(["UTC", "Australia/Sydney"]),
        "k2-token": tokens,
        "k2-interval": st.sampled_from(["1s", "15m", "1d", "session", "all"]),
        "k2-tokens": tokens.map("trades:{}".format),
        "k2-offsets": st.builds("{}:{}".format, st.integers(0, 1), st.integers(0, 999)),
    }
    for name, strategy in formats.items():
        schemathesis.openapi.format(name, strategy)


@schemathesis.serializer("application/sql")
def as_sql(_context: Any, value: Any) -> bytes:
    """A statement as a body."""
    return str(value).encode(errors="replace")


def breaks_a_rule_between(query: Mapping[str, Any]) -> bool:
    """Whether parameters, each as it should be, do not go together: the descriptions say which."""
    start, end = query.get("start"), query.get("end")
    both_times = start is not None and end not in (None, "last")
    return (
        ("window" in query and "start" in query)
        or (both_times and parse_time(start) > parse_time(end))
        or ("min_offsets" in query and ("as_of" in query or "cursor" in query))
        or "known_at" in query  # which may lie before the first row, and not beside a token
        or "cursor" in query  # one that fits the question beside it, and its token
        or "interval" in query  # of bars: `test_web_bars` has their rules
    )
