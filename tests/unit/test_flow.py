"""Who holds the source back, and until when: gate, watchdog, the tail's room."""

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest
from metric_values import value
from query_world import T0, TOPIC, TOPIC_ID, DictSpill, make_batch
from sink_world import HandClock

from k2_streams.core.load.tail_quota import DiskBound, pauses_source, used_share
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.records.stream import QUOTES, TRADES
from k2_streams.core.records.vector import Range, TopicOffsets, Vector
from k2_streams.core.types import TopicPartition
from k2_streams.query.tail.store import Tail
from k2_streams.runtime.control.watchdog import (
    EXIT_FENCED,
    EXIT_STALLED,
    EXIT_UNASSIGNED,
    FENCED_FOR_S_MAX,
    RELEASE_FOR_S_MAX,
    UNASSIGNED_FOR_S_MAX,
    Watchdog,
)
from k2_streams.runtime.flow import PartitionFlow
from k2_streams.runtime.gate import FlowGate
from k2_streams.runtime.limits import DEFAULT_LIMITS, Limits
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.metrics.table import PAUSE_REASONS
from k2_streams.runtime.node.tail_quota import TailLimits, TailQuota
from k2_streams.runtime.ports import SystemThreads
from k2_streams.runtime.settings.worker import Settings
from k2_streams.runtime.task.lifecycle import TaskState

P0, P1 = TopicPartition("raw", 0), TopicPartition("raw", 1)


class Consumer:
    def __init__(self, *assigned):
        self.assigned, self.paused = set(assigned), set()

    def assignment(self):
        return self.assigned

    def pause_partitions(self, tps):
        self.paused |= set(tps)

    def resume_partitions(self, tps):
        self.paused -= set(tps)


def test_a_partition_that_two_hold_is_resumed_when_both_let_go():
    consumer = Consumer(P0, P1)
    gate = FlowGate(consumer)
    gate.hold([P0, P1], "busy")
    gate.hold([P0], "tail full")
    gate.release([P0, P1], "busy")
    assert consumer.paused == {P0}
    assert gate.open([P0, P1]) == {P1}
    gate.release([P0], "tail full")
    assert consumer.paused == set()


def test_a_partition_of_someone_else_is_not_resumed():
    consumer = Consumer(P0)
    gate = FlowGate(consumer)
    gate.hold([P0, P1], "tail full")
    gate.release([P0, P1], "tail full")
    assert consumer.paused == {P1}
    assert gate.open([P1]) == {P1}, "whoever gets it next may read it"


def test_the_reasons_for_which_the_source_is_paused_are_shown():
    metrics, consumer = Metrics(), Consumer(P0)
    flow = PartitionFlow(consumer, [P0], None, DEFAULT_LIMITS, metrics.source)
    flow.own([P0])

    def shown():
        return {
            reason: value(metrics.registry, "k2_source_paused", reason=reason)
            for reason in PAUSE_REASONS
        }

    for log_topic in ("k2.trades", "k2.bars"):
        flow.hold_sources(held=True, reason="tail_full", holder=log_topic)
    flow.hold_sources(held=False, reason="tail_full", holder="k2.trades")
    assert shown() == {"lake_behind": 0, "tail_full": 1, "circuit_break": 0}
    assert consumer.paused == {P0}
    flow.hold_sources(held=False, reason="tail_full", holder="k2.bars")
    assert shown() == {"lake_behind": 0, "tail_full": 0, "circuit_break": 0}
    assert consumer.paused == set()


@pytest.fixture
async def watched():
    sink = SimpleNamespace(is_far_behind=False)
    owner = SimpleNamespace(tasks={}, releasing=None)
    clock = HandClock()
    said = SimpleNamespace(
        waits=False, lost=None, held=[], ended=[], sink=sink, owner=owner, clock=clock
    )
    said.ticks = asyncio.Semaphore(0)
    said.watchdog = Watchdog(
        owner,
        [sink],
        SimpleNamespace(tick=said.ticks.release),
        clock,
        SystemThreads(),
        stale=SimpleNamespace(look=lambda: None),
        end=lambda code, reason: said.ended.append(code),
        hold_source=said.held.append,
        waits_for_group=lambda: said.waits,
        lost_task=lambda: said.lost,
        limits=Limits(watchdog_tick_s=0.001),
    )
    running = asyncio.create_task(said.watchdog.run())
    yield said
    running.cancel()
    said.watchdog.close()


async def look(watched):
    """Return once the watchdog has looked at what is so now, however busy the machine is."""
    while not watched.ticks.locked():
        await watched.ticks.acquire()
    for _ in range(2):  # when the second look begins, the first is over
        await watched.ticks.acquire()


async def pass_by(watched, seconds):
    """What is so now is seen, then so much time passes, and that is seen."""
    await look(watched)
    watched.clock.now_s += seconds
    await look(watched)


async def test_the_watchdog_holds_the_source_while_the_lake_is_far_behind_and_says_so_once(watched):
    for far in (True, False, True):
        watched.sink.is_far_behind = far
        await look(watched)
    assert watched.held == [True, False, True]


async def test_the_watchdog_ends_a_worker_whose_partition_stays_fenced(watched):
    watched.owner.tasks[P0] = SimpleNamespace(state=TaskState.FENCED)
    await pass_by(watched, FENCED_FOR_S_MAX - 1)
    assert watched.ended == []
    await pass_by(watched, 2)
    assert set(watched.ended) == {EXIT_FENCED}


async def test_the_watchdog_ends_a_worker_that_a_rebalance_waits_for(watched):
    """One release after the other is no such thing; the same one for half a minute is."""
    for number in (1, 2, 3):
        watched.owner.releasing = number
        await pass_by(watched, RELEASE_FOR_S_MAX - 1)
    assert watched.ended == []
    await pass_by(watched, 2)
    assert set(watched.ended) == {EXIT_STALLED}


ROWS = [("A", T0)] * 300


def tail_of(memory_bytes):
    tail = Tail(TRADES, topic_id=TOPIC_ID, memory_bytes=memory_bytes, spill=DictSpill())
    tail.seek(0, 0)
    return tail


def grow(tail, records=1):
    for _ in range(records):
        end = tail.view().partitions[0].end
        tail.append(0, Range(end, end + 1), [make_batch(ROWS, partition=0, offset=end)])


def quota_of(tail, bound, free_bytes=10**12, metrics=None):
    pauses = []
    quota = TailQuota(
        tail,
        DictSpill(),
        TailLimits(Path("tail"), 0, bound),
        SimpleNamespace(free_bytes=lambda _: free_bytes),
        (metrics or Metrics()).tail.of("trades"),
        on_pause=pauses.append,
    )
    return quota, pauses


def test_no_source_waits_for_a_tail_that_has_none():
    tail = tail_of(memory_bytes=1)
    quota = TailQuota(
        tail,
        DictSpill(),
        TailLimits(Path("tail"), 0, DiskBound(size_bytes=1)),
        SimpleNamespace(free_bytes=lambda _: 10**12),
        Metrics().tail.of("gap_events"),
        on_pause=None,
    )
    grow(tail, 3)
    quota.look()
    assert tail.is_full
    assert not quota.is_source_paused


def vector(offset):
    return Vector({TOPIC: TopicOffsets(TOPIC_ID, {0: offset})})


@pytest.fixture
def one_bytes():
    """What one record takes in memory, and spilled."""
    tail = tail_of(memory_bytes=1)
    grow(tail)
    in_memory = make_batch(ROWS, partition=0, offset=0).size_bytes
    assert 0 < tail.spilled_bytes < in_memory
    return in_memory, tail.spilled_bytes


def test_the_source_is_paused_before_the_disk_is_used_up_and_resumed_when_the_lake_has_the_rows(
    one_bytes,
):
    in_memory, spilled = one_bytes
    tail = tail_of(memory_bytes=in_memory)
    quota, pauses = quota_of(tail, DiskBound(size_bytes=10 * spilled))
    for _ in range(8):  # one in memory, seven on disk
        grow(tail)
        assert not quota.look()
    assert pauses == []
    grow(tail)
    quota.look()
    assert (pauses, quota.is_source_paused, tail.is_full) == ([True], True, False)
    grow(tail, 2)  # what was on its way
    quota.look()
    assert tail.is_full
    tail.evict(vector(4))
    quota.look()
    assert (pauses, tail.is_full) == ([True], False)
    tail.evict(vector(6))
    quota.look()
    assert pauses == [True, False]
    tail.evict(vector(100))
    assert quota.look(), "the disk is given back"
    assert (tail.spilled_bytes, tail.index_bytes) == (0, 0)
    assert not quota.look()


def test_a_tail_whose_spilled_batches_fill_the_memory_pauses_the_source_too():
    tail = tail_of(memory_bytes=4_000)
    quota, pauses = quota_of(tail, DiskBound())
    grow(tail, 2)
    quota.look()
    assert pauses == [True]
    assert tail.index_bytes <= tail.index_limit_bytes
    grow(tail)
    assert tail.is_full


def test_a_disk_that_others_fill_pauses_the_source(one_bytes):
    in_memory, _ = one_bytes
    tail = tail_of(memory_bytes=in_memory)
    quota, pauses = quota_of(tail, DiskBound(share=0.5), free_bytes=0)
    grow(tail)
    quota.look()
    assert pauses == [True], "no room at all"
    assert not tail.is_full, "memory holds what there is"
    grow(tail)
    assert tail.is_full


def test_the_quota_of_the_tail_and_what_it_takes_of_it_are_shown(one_bytes):
    in_memory, spilled = one_bytes
    tail, metrics = tail_of(memory_bytes=in_memory), Metrics()
    quota, _ = quota_of(tail, DiskBound(size_bytes=10 * spilled), metrics=metrics)
    grow(tail, 3)
    quota.look()
    assert value(metrics.registry, "k2_tail_spilled_bytes", stream="trades") == 2 * spilled
    assert value(metrics.registry, "k2_tail_spill_limit_bytes", stream="trades") == 10 * spilled


def test_a_share_of_the_disk_counts_what_the_tail_has_already():
    bound = DiskBound(share=0.5)
    assert bound.limit_bytes(free_bytes=1_000, used_bytes=0) == 500
    assert bound.limit_bytes(free_bytes=500, used_bytes=500) == 500
    assert bound.limit_bytes(free_bytes=0, used_bytes=500) == 250, "others filled the disk"
    assert DiskBound(size_bytes=7).limit_bytes(0, 0) == 7
    assert used_share(1, 0) == float("inf")


def test_the_source_is_resumed_well_below_where_it_was_paused():
    assert not pauses_source(was_paused=False, used=0.79)
    assert pauses_source(was_paused=False, used=0.8)
    assert pauses_source(was_paused=True, used=0.6)
    assert not pauses_source(was_paused=True, used=0.59)


def test_several_tails_have_equal_parts_of_the_limits_and_share_a_folder(tmp_path):
    settings = Settings(data_dir=tmp_path, tail_memory_bytes=8 << 20)
    limits = TailLimits.each(settings, [TRADES, QUOTES])
    assert [one.memory_bytes for one in limits.values()] == [4 << 20] * 2
    assert [one.disk for one in limits.values()] == [DiskBound(share=0.25)] * 2
    assert {one.folder for one in limits.values()} == {settings.worker_dir / "tail"}
    assert DiskBound(size_bytes=7).part(1 / 2) == DiskBound(size_bytes=3, share=0.25)
    (alone,) = TailLimits.each(settings, [TRADES]).values()
    assert (alone.memory_bytes, alone.disk) == (8 << 20, DiskBound(share=0.5))
    large, *small = TailLimits.each(settings, [TRADES, *TRADES_INPUT.ledger]).values()
    assert [one.memory_bytes for one in small] == [512 << 10] * len(TRADES_INPUT.ledger)
    assert large.memory_bytes + sum(one.memory_bytes for one in small) == 8 << 20


async def test_the_watchdog_ends_a_worker_that_its_group_does_not_take_in(watched):
    """A group that goes away meanwhile is waited for anew."""
    for waits in (True, False, True):
        watched.waits = waits
        for _ in range(3):  # at once it would look like a loop that stood still
            await pass_by(watched, (UNASSIGNED_FOR_S_MAX - 1) / 3)
    assert watched.ended == []
    await pass_by(watched, 2)
    assert set(watched.ended) == {EXIT_UNASSIGNED}


def flow_of(consumer):
    return PartitionFlow(consumer, [P0, P1], None, DEFAULT_LIMITS, Metrics().source)


class SeekingConsumer(Consumer):
    """As Faust's: an assignment resumes all partitions."""

    def __init__(self, *assigned):
        super().__init__(*assigned)
        self.sought = {}

    async def seek_to(self, starts):
        self.sought |= starts

    async def assign(self, flow, *assigned):
        self.assigned = set(assigned)
        self.paused -= self.assigned
        flow.own(assigned)
        await flow.resume(dict.fromkeys(assigned, 7))


async def test_what_is_held_stays_paused_through_an_assignment():
    """The lake is far behind: a rebalance must not put more into the log."""
    consumer = SeekingConsumer(P0, P1)
    flow = flow_of(consumer)
    await consumer.assign(flow, P0, P1)
    flow.hold_sources(held=True, reason="lake_behind")
    await consumer.assign(flow, P0, P1)
    assert consumer.paused == {P0, P1}
    assert consumer.sought == {P0: 7, P1: 7}, "it is sought all the same"
    flow.hold_sources(held=False, reason="lake_behind")
    assert consumer.paused == set()


async def test_a_busy_partition_that_stays_is_not_read_and_one_that_comes_back_is():
    consumer = SeekingConsumer(P0, P1)
    flow = flow_of(consumer)
    await consumer.assign(flow, P0, P1)
    flow.set_busy([P0, P1], busy=True)
    await consumer.assign(flow, P0)
    assert consumer.paused & consumer.assigned == {P0}
    await consumer.assign(flow, P0, P1)
    assert consumer.paused == {P0}, "who held P1 had lost it, and knows nothing of the hold"
    flow.set_busy([P0], busy=False)
    assert consumer.paused == set()


async def test_a_partition_that_waits_for_a_person_is_not_resumed_by_a_seek_under_way():
    consumer = SeekingConsumer(P0, P1)
    flow = flow_of(consumer)
    await consumer.assign(flow, P0, P1)
    consumer.paused = {P0, P1}
    flow.disown(P0)
    await flow.resume({P0: 1, P1: 1})
    assert consumer.paused == {P0}
