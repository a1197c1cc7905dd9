"""Whether what an app makes of its records depends on how they are cut: it must not.

The same records, at the same append times, are processed as they come, one by one, all at once, and
between crashes, restarts, rebalances and commits of the lake. What is compared leaves out what says
when a checkpoint was (accepted time, offsets of the log), and what a query fills in by itself.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa

from k2_streams.core.ledger.dead_letters import ACCEPTED_TIME
from k2_streams.core.records import events
from k2_streams.core.records.stream import Stream
from k2_streams.core.sequence.expiry import expired
from k2_streams.core.sequence.step import ScopeState
from k2_streams.failpoints import POINTS
from k2_streams.kafka.transactions import Header
from k2_streams.runtime.limits import Limits
from k2_streams.testing.driver_errors import DriverError
from k2_streams.testing.driver_limits import DRIVER_LIMITS, FETCH_RECORDS
from k2_streams.testing.driver_topics import InputMessage, TopicRecord
from k2_streams.testing.memory.faults import seeded

if TYPE_CHECKING:
    from k2_streams.testing.driver import StreamDriver

#: When the first message is sent, and the time between two that name none.
FIRST_S, SPACING_S = 10.0, 0.05
#: After the last message, for what time alone decides.
END_S = 30.0
#: Runs with faults.
FAULTY_RUNS = 2
#: Between two faults, on average.
FAULT_EVERY_S = 1.0
#: Faults of a run, at the most.
FAULTS_MAX = 30
#: Columns of an answer that say where a row is in the log, and when it was accepted.
_PLACE = frozenset({"log_partition", "log_offset", "log_row", "accepted_time"})
#: Columns that a query fills in where rows were made without.
_FILLED_IN = frozenset({"tick_direction"})
#: Points that records pass on their way.
_POINTS = [one for one in POINTS if one.startswith(("source.", "checkpoint."))]
#: Later than any gap's horizon.
_END_OF_TIME_MS = 2**62

ONE_BY_ONE = replace(DRIVER_LIMITS, batch_records=1, checkpoint_records=1, log_record_rows=1)
Observed = dict[str, list[Any]]
NewDriver = Callable[..., "StreamDriver"]


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """How one run cuts the records.

    Attributes:
        name: in the text of a difference.
        limits: of the workers.
        fetch_records: of one fetch.
        acts: called again and again while messages come.
        waits: whether the workers start when everything has been sent.
        settings: of the workers.
    """

    name: str
    limits: Limits = DRIVER_LIMITS
    fetch_records: int = FETCH_RECORDS
    act: Callable[["StreamDriver"], None] | None = None
    waits: bool = False
    settings: Mapping[str, object] = field(default_factory=dict)


def check_splits(
    new_driver: NewDriver, topic: str, messages: Sequence[InputMessage], seed: int
) -> None:
    """Run the messages in every way.

    Raises:
        AssertionError: two runs differ.
    """
    plans = [
        SplitPlan("one record at a time", ONE_BY_ONE, fetch_records=1),
        SplitPlan("all in one batch", waits=True),
        *(_faulty(seed, number) for number in range(FAULTY_RUNS)),
    ]
    expected = observe(new_driver, SplitPlan("as they come"), topic, messages)
    for plan in plans:
        found = observe(new_driver, plan, topic, messages)
        difference = first_difference(expected, found)
        if difference is not None:
            raise AssertionError(f"{plan.name}, against as they come: {difference}")


def observe(
    new_driver: NewDriver, plan: SplitPlan, topic: str, messages: Sequence[InputMessage]
) -> Observed:
    """What one run makes of the messages."""
    options: dict[str, Any] = {"limits": plan.limits, "fetch_records": plan.fetch_records}
    with new_driver(more_settings=plan.settings, **options) as driver:
        if plan.waits:
            driver.crash()
        last_s = driver.schedule(topic, messages, FIRST_S, SPACING_S)
        if plan.act is not None:
            driver.advance_to(FIRST_S)
            for _ in range(FAULTS_MAX):
                if driver.elapsed_s >= last_s:
                    break
                plan.act(driver)
        driver.advance_to(max(last_s, driver.elapsed_s))
        driver.restart()
        driver.checkpoint()
        driver.advance_to(last_s + END_S)
        driver.checkpoint()
        return observed(driver)


def _faulty(seed: int, number: int) -> SplitPlan:
    chance = seeded(seed, f"splits {number}")

    def act(driver: "StreamDriver") -> None:
        driver.advance(chance.expovariate(1 / FAULT_EVERY_S))
        kind = chance.choice(("crash", "point", "restart", "rebalance", "lake"))
        try:
            if kind == "crash":
                driver.crash()
            elif kind == "point":
                driver.crash(at=chance.choice(_POINTS))
            elif kind == "rebalance":
                driver.rebalance(workers=chance.randint(1, 3))
            elif kind == "lake":
                driver.commit_lake()
        except DriverError as error:
            if "no worker came to" not in str(error):
                raise
        if kind in {"crash", "point", "restart"}:
            driver.restart()

    return SplitPlan(
        f"with crashes, restarts and rebalances (cuts {number})",
        limits=replace(
            DRIVER_LIMITS,
            batch_records=chance.randint(2, 20),
            log_record_rows=chance.randint(1, 20),
        ),
        fetch_records=chance.randint(1, 20),
        act=act,
        settings={"K2_LAKE_COMMIT_INTERVAL_S": 1},
    )


def observed(driver: "StreamDriver") -> Observed:
    """Everything that must not depend on the cuts, by what it is."""
    topology = driver.topology
    found: Observed = {}
    for stream in topology.streams:
        left_out = _FILLED_IN if stream.is_enriched else frozenset()
        found[f"log {stream.log}"] = _plain_rows(driver.output(stream.log).read_all(), left_out)
        found[f"rows {stream.name}"] = _answer(driver, stream)
    for table in driver.table_names:
        for partition in range(driver.settings.partitions):
            rows = driver.table(table, partition)
            found[f"table {table}, partition {partition}"] = sorted(rows.items(), key=str)
    for source in topology.sources:
        topic = topology.events(source)
        if topic is not None:
            _add_sequence(found, driver.output(topic).records())
        letters = topology.dead_letter(source)
        found[f"dead letters {letters}"] = [
            (one.partition, one.key, one.value, _without_accepted_time(one.headers))
            for one in driver.output(letters).records()
        ]
    return found


def _without_accepted_time(headers: Sequence[Header]) -> tuple[Header, ...]:
    """The headers of a dead letter but for when its checkpoint was made."""
    return tuple(one for one in headers if one[0] != ACCEPTED_TIME)


def _answer(driver: "StreamDriver", stream: Stream) -> list[Any]:
    return _plain_rows(driver.rows(stream.name), _PLACE)


def _plain_rows(table: pa.Table, left_out: Iterable[str]) -> list[Any]:
    names = [name for name in table.schema.names if name not in left_out]
    rows: list[Any] = table.select(names).to_pylist()
    return rows


def _add_sequence(found: Observed, records: Sequence[TopicRecord]) -> None:
    """Events, and the table `sequence`, as they are when every gap is beyond the horizon.

    When the gaps of a silent scope are abandoned depends on when somebody looks.
    """
    by_scope: dict[tuple[int, str], list[bytes]] = {}
    duplicates: Counter[tuple[Any, ...]] = Counter()
    for record in records:
        event = events.decode(record.value or b"")
        if isinstance(event, events.Duplicates):
            key = (record.partition, event.scope, event.session, event.by, event.line or "")
            duplicates[key] += event.count
        else:
            by_scope.setdefault((record.partition, event.scope), []).append(_placeless(event))
    for name in [name for name in found if name.startswith("table sequence, ")]:
        partition = int(name.rpartition(" ")[2])
        ended = []
        for scope, state in found[name]:
            after, ending = _at_the_end(state, scope, partition)
            ended.append((scope, after))
            by_scope.setdefault((partition, scope), []).extend(map(_placeless, ending))
        found[name] = ended
    found["events"] = [
        (*where, one) for where, events_of in sorted(by_scope.items()) for one in events_of
    ]
    found["duplicates"] = sorted(duplicates.items())


def _at_the_end(
    state: ScopeState, scope: str, partition: int
) -> tuple[ScopeState, tuple[events.Event, ...]]:
    return expired(state, scope, partition, _END_OF_TIME_MS, 1)


def _placeless(event: events.Event) -> bytes:
    """An event without its checkpoint's time; of a gap beyond the horizon also without its cause.

    That is a message of the scope, or none, where stream time was first to show it.
    """
    if isinstance(event, events.GapAbandoned) and event.reason == "horizon":
        event = msgspec.structs.replace(event, source_offset=-1, exchange_time_ns=0)
    return events.encode(events.stamped(event, 0))


def first_difference(expected: Observed, found: Observed) -> str | None:
    """Where two runs first differ; None: they do not."""
    for name, wanted in expected.items():
        given = found.get(name, [])
        for number, (one, other) in enumerate(zip(wanted, given, strict=False)):
            if one != other:
                return f"{name}, number {number}:\n  expected {one}\n  found    {other}"
        if len(wanted) != len(given):
            more = (wanted if len(wanted) > len(given) else given)[min(len(wanted), len(given))]
            return (
                f"{name}: expected {len(wanted)}, found {len(given)}; "
                f"the first of the others: {more}"
            )
    return None
