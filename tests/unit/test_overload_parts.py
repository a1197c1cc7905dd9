"""The run of a load that is too high: when it is over, what breaks it off, and its pictures."""

import itertools
from dataclasses import replace

import pytest
from rich.console import Console

from k2_streams.demo.load_picture import WIDTH, draw, for_terminal
from k2_streams.demo.overload_run import Load, OverloadPhase, OverloadRun
from k2_streams.demo.pictures import levels_line
from k2_streams.demo.web import DemoError
from k2_streams.testing.load.pace import parse
from k2_streams.testing.local.load_watch import LoadSample

LOAD = Load(capacity=100, overload_s=10.0, normal_s=5.0)


class Producer:
    """A process that ends when it is told to."""

    def __init__(self, ends_with=0):
        self.returncode = None
        self.terminated = False
        self._ends_with = ends_with

    def poll(self):
        return self.returncode

    def terminate(self):
        self.terminated = True

    def wait(self):
        self.returncode = self._ends_with
        return self.returncode


class World:
    """A worker that processes so many records per second, and the world's time."""

    def __init__(self, processes_per_s=100.0, level_of=None):
        self.at_s = self.now_s = 1_000_000.0
        self.sent = self.processed = 0.0
        self.processes_per_s = processes_per_s
        self.producer = Producer()
        self._pace = parse(LOAD.arguments(__file__)[1], 100)
        self._level_of = level_of or (lambda waiting: "AGGRESSIVE" if waiting > 500 else "NORMAL")

    def time_ns(self):
        return int(self.now_s * 1e9)

    def monotonic(self):
        return self.now_s

    def sleep(self, seconds):
        self.now_s += seconds
        if not self.producer.terminated:
            self.sent = self._pace.owed(self.now_s - self.at_s)
        self.processed = min(self.processed + seconds * self.processes_per_s, self.sent)

    def look(self):
        waiting = int(self.sent - self.processed)
        return LoadSample(
            at_s=self.now_s,
            level=self._level_of(waiting),
            ready=True,
            sent=int(self.sent),
            processed=int(self.processed),
            lag=waiting // 10,
            deferred=waiting - waiting // 10,
            memory_bytes=1,
            fresh_s={1: 0.2, 2: 1.0 + waiting / 100, 3: None if waiting > 300 else 2.0},
            max_rate=100,
        )


@pytest.fixture
def world():
    return World()


def followed(world):
    run, seen = OverloadRun(LOAD, world, world.producer, world, world.sleep), []
    run.follow(lambda run, _: seen.append(run.phase))
    return run, [phase for phase, _ in itertools.groupby(seen)]


def test_it_is_over_when_the_level_is_normal_and_all_is_processed(world):
    run, phases = followed(world)
    assert phases == [OverloadPhase.NORMAL, OverloadPhase.OVERLOAD, OverloadPhase.DRAIN]
    assert run.phase is OverloadPhase.OVER
    assert world.producer.terminated
    assert run.samples[-1].waiting == 0
    assert [level for _, level in run.levels] == ["NORMAL", "AGGRESSIVE", "NORMAL"]
    assert run.highest() == "AGGRESSIVE"
    assert run.at_s(run.samples[-1]) - run.overload[1] > 0.9 * LOAD.drain_s
    begin, end = run.overload
    assert max(run.fresh(2, begin, end)) > 10 * max(run.fresh(1, begin, end))


def test_a_look_without_an_answer_is_ignored(world):
    real, looks = world.look, itertools.count()
    world.look = lambda: None if next(looks) % 3 == 1 else real()
    run, _ = followed(world)
    assert run.phase is OverloadPhase.OVER


def test_a_worker_that_never_returns_to_normal_breaks_it_off():
    world = World(level_of=lambda _: "SOFT")
    with pytest.raises(DemoError, match="no level NORMAL"):
        followed(world)


def test_records_that_are_never_processed_break_it_off():
    world = World(level_of=lambda _: "NORMAL")
    real = world.look

    def one_waits():
        return replace(real(), lag=1)

    world.look = one_waits
    with pytest.raises(DemoError, match="records wait"):
        followed(world)


def test_a_producer_that_ends_early_or_badly_breaks_it_off(world):
    world.producer.returncode = 1
    with pytest.raises(DemoError, match="ended early, with 1"):
        followed(world)
    world.producer = Producer(ends_with=1)
    with pytest.raises(DemoError, match="ended with 1"):
        followed(world)


def test_the_load_is_what_the_producer_is_told(tmp_path):
    arguments = LOAD.arguments(tmp_path / "tiers")
    pace = parse(arguments[arguments.index("--rate") + 1], LOAD.capacity)
    assert [pace.rate(at) for at in (1, 6, 14, 16)] == [50, 1000, 1000, 10]
    assert LOAD.busiest(1, 3) == ["S0000", "S0001", "S0002"]
    assert LOAD.busiest(2, 1) == ["S0020"]
    assert len(LOAD.busiest(1, 1_000)) == 20


def test_a_line_of_levels_shows_the_highest_of_each_part_and_what_was_before():
    line = levels_line([(0.0, 0.0), (1.0, 1.0), (9.0, 8.0), (10.0, 4.0)], width=10)
    assert line == " ▁▁▁▁▁▁▁▁█"
    assert levels_line([]) == ""
    assert levels_line([(0.0, 0.0)], width=3) == "   "


def test_pictures_for_the_terminal_and_as_a_file(world, tmp_path):
    run, _ = followed(world)
    console = Console(width=80, record=True, file=(tmp_path / "out").open("w"))
    console.print(for_terminal(run))
    lines = console.export_text().splitlines()
    assert [line[:15].strip() for line in lines] == [
        *("sent per second", "waiting", "level", "tier 1: age", "tier 2: age", "tier 3: age"),
        "overload",
    ]
    assert "AGGRESSIVE" in lines[2]
    assert not [line for line in lines if "…" in line]
    assert lines[6].index("[") < lines[6].index("]") < len("sent per second ") + WIDTH
    draw(run, tmp_path / "load.png")
    assert (tmp_path / "load.png").read_bytes().startswith(b"\x89PNG")
