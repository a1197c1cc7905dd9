"""Coverage against the messages themselves: which numbers came, of which date, and which not."""

import asyncio
import datetime as dt
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, event, given, settings
from ledger_world import Accepted, EventsWorld, add_rows
from query_world import World
from sequence_inputs import HORIZON_MS, messages, rules

from k2_streams.core.records.events import AnyEvent
from k2_streams.core.sequence.scopes import symbol_of
from k2_streams.core.sequence.sessions import SessionRule
from k2_streams.core.sequence.step import ACCEPTED, Nature, ScopeMessage, Step, Verdict, step
from k2_streams.query.engine import Engine
from k2_streams.query.gaps import GapsView
from k2_streams.query.ledger.coverage import CoverageQuery, CoverageRequest

DAY_NS = 86_400 * 10**9
#: The venue's day begins ten hours before UTC's.
ZONE_NS = 10 * 3_600 * 10**9


def date_of(time_ns: int) -> int:
    return (max(time_ns, 0) + ZONE_NS) // DAY_NS


def numbers_by_session() -> defaultdict[tuple[str, str], set[int]]:
    return defaultdict(set)


@dataclass
class Truth:
    """What a venue's messages are, and what a worker makes of them; numbers by symbol, session."""

    rows: list[Accepted] = field(default_factory=list)
    events: list[AnyEvent] = field(default_factory=list)
    received: defaultdict[tuple[str, str], set[int]] = field(default_factory=numbers_by_session)
    dead: defaultdict[tuple[str, str], set[int]] = field(default_factory=numbers_by_session)

    def step(self, message: ScopeMessage, after: Step) -> None:
        """A message, and what the sequencer makes of it."""
        symbol, session, number = symbol_of(message.scope), after.session_id, message.sequence
        self.events += after.events
        if after.verdict not in ACCEPTED:
            return
        numbers = self.dead if message.nature is Nature.DEAD else self.received
        if number is not None:
            numbers[symbol, session].add(number)
        if message.nature is not Nature.DEAD:
            time_ns, late = max(message.event_time_ns, 1), after.verdict is Verdict.LATE
            self.rows.append(Accepted(symbol, session, number, time_ns, date_of(time_ns), late))


def worked(stream: list[ScopeMessage], rule: SessionRule) -> Truth:
    truth, states = Truth(), {}
    for message in stream:
        after = step(states.get(message.scope), message, rule, HORIZON_MS)
        states[message.scope] = after.state
        truth.step(message, after)
    return truth


async def asked(engine: tuple[Engine, Path], truth: Truth, **fields) -> list[dict]:
    """The rows of coverage; of rows and events some are in the lake."""
    with tempfile.TemporaryDirectory(dir=engine[1]) as folder:
        findings = GapsView()
        world = World(Path(folder) / "rows", engine[0], partitions=1, gaps=findings)
        events = EventsWorld(Path(folder) / "events", engine[0], findings)
        middle = len(truth.rows) // 2, len(truth.events) // 2
        for at, part in enumerate((slice(None, middle[0]), slice(middle[0], None))):
            add_rows(world, truth.rows[part])
            if at == 0:
                world.commit()
                await world.query.refresh()
        for at, part in enumerate((slice(None, middle[1]), slice(middle[1], None))):
            events.publish(truth.events[part])
            if at == 0:
                await events.commit()
        query = CoverageQuery(world.query.questions, events.query.questions, findings)
        answer = await query.answer(CoverageRequest(limit=1_000, **fields))
        assert answer.meta.omitted == 0
        await world.query.close()
        await events.query.close()
        return answer.rows.to_pylist()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(messages(huge=False, dead=True), rules)
def test_every_number_between_the_first_and_the_last_is_in_exactly_one_count(engine, stream, rule):
    """Received, missing, abandoned and dead together are all numbers of a session."""
    truth = worked(stream, rule)
    found = asyncio.run(asked(engine, truth))
    totals: defaultdict[tuple[str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in found:
        assert row["expected"] == sum(
            row[name] for name in ("received", "missing", "abandoned", "dead")
        )
        assert min(row["missing"], row["abandoned"], row["dead"], row["duplicates"]) >= 0
        for name in ("expected", "received", "dead", "rows", "late"):
            totals[row["symbol"], row["session"]][name] += row[name]
    for key in set(truth.received) | set(truth.dead):
        there = truth.received[key] | truth.dead[key]
        event(f"lacking: {max(there) - min(there) + 1 > len(there)}")
        assert totals[key]["received"] == len(truth.received[key])
        assert totals[key]["dead"] == len(truth.dead[key] - truth.received[key])
        assert totals[key]["expected"] == max(there) - min(there) + 1, key
    by_date: defaultdict[tuple, list[Accepted]] = defaultdict(list)
    for one in truth.rows:
        by_date[one.symbol, one.session, one.trading_date].append(one)
    days = {
        (row["symbol"], row["session"], (row["trading_date"] - dt.date(1970, 1, 1)).days): row
        for row in found
    }
    for key, rows in by_date.items():
        numbers = {one.sequence for one in rows} - {None}
        assert days[key]["rows"] == len(rows)
        assert days[key]["received"] == len(numbers)
        assert days[key]["late"] == len({one.sequence for one in rows if one.late} - {None})
