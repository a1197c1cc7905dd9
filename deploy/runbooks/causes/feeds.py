"""Feed handlers that lose, repeat or spoil messages, or send none."""

import itertools
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from deploy.runbooks.causes.rounds import Happening, again_and_again
from deploy.runbooks.scene import OF_CALENDAR, Scene
from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.testing.load import by_hand

Records = Callable[[int], list[by_hand.KeyedRecord]]
#: Messages of a load that has faults: in a second or two.
_MESSAGES = ("--messages", "4000", "--symbols", "20", "--rate", "4000")
#: More per second than a worker may process, and twice of what the rule on a growing lag asks for.
_TOO_MANY_PER_S = 300
_PRODUCER_ENDS_WITHIN_S = 30.0
_TRICKLED = itertools.count()
_HOUR_NS = 3_600 * 10**9


def load(scene: Scene, *options: str) -> None:
    """Some thousand messages of an exchange of their own; their truth is compared later."""
    scene.stage.produce(*_of_own_exchange(scene), *_MESSAGES, *options)


def _of_own_exchange(scene: Scene) -> tuple[str, ...]:
    return ("--exchange", f"R{len(scene.stage.truths):03}", "--seed", "1", "--start", "now")


def sent(*options: str) -> Happening:
    """Such messages once, with these faults."""

    @contextmanager
    def happening(scene: Scene) -> Iterator[None]:
        load(scene, *options)
        yield

    return happening


def sending(records: Records) -> Happening:
    """Sends the records of each round, for as long as the incident lasts."""

    @contextmanager
    def happening(scene: Scene) -> Iterator[None]:
        def once(number: int) -> None:
            by_hand.send(scene.stage.bootstrap, records(number))

        with again_and_again(once):
            yield

    return happening


def of_unknown_feed(_number: int) -> list[by_hand.KeyedRecord]:
    """What a new feed handler sends before the workers have its decoder."""
    return [(b"NEW:A", b"{}", [("feed", b"nobody.v9")])]


def trickle(_number: int) -> list[by_hand.KeyedRecord]:
    """A trade, with the number that follows the one before, also of an earlier incident."""
    return [by_hand.record_of(by_hand.trade(OF_CALENDAR, "A", next(_TRICKLED)))]


def three_times(number: int) -> list[by_hand.KeyedRecord]:
    """The same trade three times."""
    return [by_hand.record_of(by_hand.trade("REPEATED", "A", number))] * 3


def with_holes(number: int) -> list[by_hand.KeyedRecord]:
    """A trade whose predecessor is missing."""
    return [by_hand.record_of(by_hand.trade("HOLES", "A", 2 * number))]


def with_used_number(number: int) -> list[by_hand.KeyedRecord]:
    """A trade, and later than all of its session another one with the first number."""
    later_ns = SYSTEM_CLOCK.time_ns() + _HOUR_NS
    trades = [
        by_hand.trade("RESTARTED", "A", number, session="today"),
        by_hand.trade("RESTARTED", "A", 0, session="today", exchange_time_ns=later_ns),
    ]
    return [by_hand.record_of(one) for one in trades]


@contextmanager
def line_silent(scene: Scene) -> Iterator[None]:
    """Two lines send the same; then one of them does not any more, until its handler restarts."""
    numbers = itertools.count()

    def of_lines(lines: str) -> Happening:
        def records(_number: int) -> list[by_hand.KeyedRecord]:
            one = by_hand.trade("LINES", "A", next(numbers))
            return [by_hand.record_of(one, line) for line in lines]

        return sending(records)

    with of_lines("AB")(scene):
        scene.wait_series('k2_line_messages{line="B",stage="received"} > 0')
    with of_lines("A")(scene):
        yield
    with of_lines("AB")(scene):
        scene.wait_firing("K2LineSilent", firing=False)


@contextmanager
def silence(scene: Scene) -> Iterator[None]:
    """An exchange trades around the clock, and nothing comes until its feed handler restarts."""
    yield
    with sending(trickle)(scene):
        for alert in ("K2NoData", "K2ExchangeSilent"):
            scene.wait_firing(alert, firing=False)


def too_many(**settings: str) -> Happening:
    """A worker that may process 20 records per second, with these settings; many more come."""

    @contextmanager
    def happening(scene: Scene) -> Iterator[None]:
        scene.restart(K2_MAX_RATE_PER_S="20", **settings)
        truth = scene.stage.next_truth()
        options = (*_of_own_exchange(scene), "--symbols", "20", "--rate", str(_TOO_MANY_PER_S))
        producer = scene.stage.start_produce(truth, *options)
        try:
            yield
        finally:
            producer.send_signal(signal.SIGTERM)
            producer.wait(_PRODUCER_ENDS_WITHIN_S)
            scene.stage.truths.append(truth)
        scene.restart()

    return happening
