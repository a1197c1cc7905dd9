"""What a partition knows of each line: when it was last seen, and how well it does."""

from collections.abc import Iterable, Mapping

import msgspec

from k2_streams.core.lines.step import HOLD_MS

#: Lines that a partition keeps figures of, over all exchanges: those seen last.
MAX_LINE_STATS = 64

LineKey = tuple[str, str]  # exchange, line


class LineStats(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One line of an exchange in one partition, since its beginning."""

    exchange: str
    line: str
    seen_ms: int  # the partition's time at its last message
    received: int  # messages by number, else trades by id: what can be recognised
    first: int  # of them new: no other line was earlier
    delay_ms: int  # the sum of the partition's time less event time, of those with one
    timed: int  # how many have one


def added(known: Iterable[LineStats], more: Iterable[LineStats]) -> tuple[LineStats, ...]:
    """Both together, by exchange and line; beyond the limit those unseen for longest go."""
    found = {(one.exchange, one.line): one for one in known}
    for one in more:
        was = found.get((one.exchange, one.line))
        found[one.exchange, one.line] = (
            one
            if was is None
            else LineStats(
                one.exchange,
                one.line,
                max(was.seen_ms, one.seen_ms),
                was.received + one.received,
                was.first + one.first,
                was.delay_ms + one.delay_ms,
                was.timed + one.timed,
            )
        )
    kept = sorted(found.values(), key=lambda one: (-one.seen_ms, one.exchange, one.line))
    return tuple(sorted(kept[:MAX_LINE_STATS], key=lambda one: (one.exchange, one.line)))


def alive(seen_ms: Mapping[LineKey, int], exchange: str, now_ms: int) -> tuple[str, ...]:
    """The exchange's lines of which something came within `HOLD_MS`, by name."""
    return tuple(
        sorted(
            line
            for (of, line), last_ms in seen_ms.items()
            if of == exchange and last_ms > now_ms - HOLD_MS
        )
    )


class LineReport(msgspec.Struct, frozen=True, kw_only=True):
    """How one line of an exchange does, for people."""

    exchange: str
    line: str
    received: int
    first: int
    duplicates: int  # what another copy was earlier than, or that could not be used
    first_share: float  # of all that was accepted of the exchange
    loss: float | None  # share of what was new of which no copy came by this line; None: unknown
    delay_ms: float | None  # mean of append time less event time
    lag_ms: float | None  # by how much that is more than the quickest line's
    seen_ms: int  # append time of its last message


def reports(stats: Iterable[LineStats]) -> list[LineReport]:
    """The lines of all partitions, together.

    A line's own repeats count as copies, so they make its loss look smaller. Where nothing can be
    recognised, as of a feed without numbers and ids, the loss is not known.
    """
    total: dict[LineKey, LineStats] = {}
    for one in stats:
        key = (one.exchange, one.line)
        total[key] = added([total[key]], [one])[0] if key in total else one
    accepted: dict[str, int] = {}
    delays: dict[LineKey, float] = {}
    for (exchange, line), one in total.items():
        accepted[exchange] = accepted.get(exchange, 0) + one.first
        if one.timed:
            delays[exchange, line] = one.delay_ms / one.timed
    found = []
    for (exchange, line), one in sorted(total.items()):
        of = accepted[exchange]
        delay = delays.get((exchange, line))
        quickest = min((ms for (at, _), ms in delays.items() if at == exchange), default=0.0)
        found.append(
            LineReport(
                exchange=exchange,
                line=line,
                received=one.received,
                first=one.first,
                duplicates=one.received - one.first,
                first_share=one.first / of if of else 0.0,
                loss=max(1 - one.received / of, 0.0) if of else None,
                delay_ms=delay,
                lag_ms=None if delay is None else delay - quickest,
                seen_ms=one.seen_ms,
            )
        )
    return found
