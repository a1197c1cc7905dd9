"""What a redrive foretells and sends: original bytes, marked, and only what would be accepted."""

import json
from typing import Any

import pytest
from msgspec.structs import replace
from raw_agents import raw_topology
from redrive_world import BIG, T0_NS, RedriveWorld, value
from test_record_isolation import FRAGILE, Fragile
from test_stream_driver import RAW, sequences, trade

from k2_streams.cli.dead_letters_redrive import lines_of_report
from k2_streams.cli.dead_letters_show import lines_of_letter
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.sequence.sessions import SessionRule
from k2_streams.core.sequence.step import Nature, ScopeMessage, ScopeState, step
from k2_streams.feeds.canonical.feed import Canonical
from k2_streams.feeds.decoding.decoded import Bad, Decoded, Kind, RawBatch
from k2_streams.kafka.log_reader import Record
from k2_streams.runtime.redrive.letters import (
    RedriveEntry,
    encode_entry,
    raw_record_of,
    redriven_letters,
)
from k2_streams.testing import InputMessage
from k2_streams.testing.driver_topics import TopicRecord
from k2_streams.testing.oracle.dead_letters import letter_of

USUAL, DEAD, REDRIVEN = Nature


def state_of(*messages: tuple[int, Nature]) -> dict[str, ScopeState]:
    state: ScopeState | None = None
    for number, nature in messages:
        message = ScopeMessage(number, None, T0_NS + number, "X:A", 0, 0, T0_NS // 10**6, nature)
        state = step(state, message, SessionRule.FALL).state
    assert state is not None
    return {"X:A": state}


@pytest.fixture
def world():
    made: list[RedriveWorld] = []

    def make(**options: Any) -> RedriveWorld:
        made.append(RedriveWorld(**options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_redrive_sends_the_original_bytes_once_with_where_they_were_first(world):
    at = world()
    headers = (("feed", b"canonical"), ("line", b"A"), ("trace", b"7"))
    at.die(value(1), offset=9, headers=headers, reason="processing-error")
    report = at.run()
    assert (report.matched, report.sent, report.refused.total()) == (1, 1, 0)
    ((key, sent, marked),) = at.sent()
    assert (key, sent) == (b"X:A", value(1))
    assert marked == {
        "feed": b"canonical", "trace": b"7", "k2.redrive": b"run-1", "k2.origin": b"0:9"
    }  # fmt: skip
    again = at.run()
    assert (again.sent, again.redriven_before, len(at.sent())) == (0, 1, 1)


def test_a_record_that_dies_again_keeps_its_first_origin(world):
    at = world()
    again = (("k2.redrive", b"earlier"), ("k2.origin", b"0:3"), ("k2.reason", b"old"))
    at.die(value(1), offset=70, headers=again)
    at.run()
    ((_, _, marked),) = at.sent()
    assert marked == {"k2.redrive": b"run-1", "k2.origin": b"0:3"}


def test_letters_of_a_topic_made_anew_are_others():
    entry = RedriveEntry(redrive="r", topic_id="old", letters=[(0, 4), (9, 9)])
    assert redriven_letters([encode_entry(entry)], "new") == set()
    assert redriven_letters([encode_entry(entry)], "old") == {0, 1, 2, 3, 4, 9}


def test_a_dry_run_says_what_would_become_of_each_and_sends_nothing(world):
    """By today's decoder and the state of the last checkpoint, each answer building on the last."""
    at = world(states=state_of((5, USUAL), (6, DEAD), (7, USUAL), (9, USUAL)))
    at.die(value(6), offset=0)  # dead
    at.die(value(6), offset=1)  # a second copy of it
    at.die(value(7), offset=2)  # received since
    at.die(value(8), offset=3)  # missing: its number could not be read
    at.die(value(10, price="-1"), offset=4)
    at.die(b"{", offset=5)
    at.die(value(None, trade_id="t1"), offset=6)
    at.die(value(1), offset=7, headers=(("feed", b"no.such"),))
    at.die(None, offset=8, key=None)
    report = at.run(dry_run=True)
    assert (report.matched, report.accepted, report.present, report.sent) == (9, 3, 2, 0)
    assert dict(report.refused) == {
        "not-positive": 1, "not-json": 1, "unknown-feed": 1, "empty": 1
    }  # fmt: skip
    assert at.sent() == []
    assert at.run().sent == 3
    assert lines_of_report(report, dry_run=True)[1:3] == [
        "         3  would be accepted",
        "         4  still refused: not-positive (1), not-json (1), unknown-feed (1), empty (1)",
    ]


def test_a_number_that_is_no_longer_known_is_refused_by_its_reason(world):
    known = state_of((5, USUAL), (6, USUAL))["X:A"]
    session = replace(known.sessions[0], dead_floor=7)  # as of an earlier version
    at = world(states={"X:A": replace(known, sessions=(session,))})
    at.die(value(6), offset=0)
    assert dict(at.run().refused) == {"stale": 1}


def test_a_limit_ends_a_redrive_and_the_next_goes_on(world):
    at = world()
    for number in range(5):
        at.die(value(number), offset=number)
    assert at.run(limit=2).sent == 2
    assert at.run(limit=2).sent == 2
    assert at.run().sent == 1
    assert [headers["k2.origin"] for _, _, headers in at.sent()] == [b"0:%d" % n for n in range(5)]


def test_a_transaction_takes_no_more_than_its_bytes_and_its_records(world):
    at = world()
    for number in range(20):
        at.die(value(number, vendor={"x": BIG * 240}), offset=number)
    for number in range(20, 45):
        at.die(value(number), offset=number)
    assert at.run().sent == 45
    entries = at.cluster.partitions[TRADES_INPUT.redrives, 0].committed()
    sent = [json.loads(entry.value)["letters"] for entry in entries]
    assert sent == [[[0, 17]], [[18, 37]], [[38, 44]]]


def test_a_dead_letter_is_shown_with_its_number_and_all_bytes(world):
    at = world()
    at.die(b"\xff", offset=7, headers=(("feed", b"f"), ("h", None)), detail="d")
    ((record,)) = at.cluster.partitions[TRADES_INPUT.dead_letter, 0].committed()
    shown = "\n".join(lines_of_letter(letter_of(0, record)))
    assert "reason            not-json" in shown
    assert "header            feed=f" in shown
    assert shown.endswith("value             /w==")


# -- decoders that are mended, on the driver -------------------------------------------------------


class Mended(Canonical):
    """Refuses each tenth number, as a decoder with a bug does, until it is mended."""

    is_broken = True

    def decode(self, batch: RawBatch) -> Decoded:
        found = super().decode(batch)
        if not self.is_broken:
            return found
        chosen = (found.sequence % 10 == 7) & (found.kind == Kind.TRADE)
        found.kind[chosen] = Kind.BAD
        found.bad = [Bad(at, "wrong-type", "price", "bug") for at in chosen.nonzero()[0].tolist()]
        kept = ~chosen[found.rows.column("message").to_numpy()]
        found.rows = found.rows.filter(kept)
        return found


def redriven(letter: TopicRecord) -> InputMessage:
    """What a redrive sends of a dead letter."""
    record = Record(letter.offset, letter.key, letter.value, letter.headers, 0)
    raw = raw_record_of(record, "r1", offset=0, time_ms=0)
    return InputMessage(raw.value, raw.key, partition=letter.partition, headers=raw.headers)


def test_what_a_mended_decoder_reads_fills_its_numbers_once(k2_driver):
    feed = Mended()
    driver = k2_driver(raw_topology("k2", feeds={"canonical": feed}), partitions=1)
    driver.input(RAW).send_many([trade(number) for number in range(1, 31)])
    letters = driver.output("k2.dead-letter").records()
    assert [dict(one.headers)["k2.sequence"] for one in letters] == [b"7", b"17", b"27"]
    assert driver.gaps() == []
    feed.is_broken = False
    driver.restart()
    for _ in range(2):
        driver.input(RAW).send_many([redriven(letter) for letter in letters])
        assert sorted(sequences(driver.rows("trades"))) == list(range(1, 31))
    events = [one.json() for one in driver.output("k2.sequence-events").records()]
    told = [(one["type"], one.get("sequence")) for one in events if "sequence" in one]
    assert told == [(kind, n) for kind in ("dead", "redriven") for n in (7, 17, 27)]
    assert [one["count"] for one in events if one["type"] == "duplicates"] == [3]
    late = [row["sequence"] for row in driver.rows("trades").to_pylist() if row["late"]]
    assert sorted(late) == [7, 17, 27]
    ((session,),) = [state.sessions for state in driver.table("sequence").values()]
    assert (session.dead, session.missing) == ((), ())


def test_a_redriven_record_whose_number_could_not_be_read_fills_the_gap(k2_driver):
    """A feed that raises tells nothing of its record: the number is missing, not dead."""
    driver = k2_driver(raw_topology("k2", feeds={"canonical": Canonical(), "fragile": Fragile()}))
    poison = trade(2, vendor={"x": "poison"})
    sent = [InputMessage(one, "X:A", feed="fragile") for one in (trade(1), poison, trade(3))]
    driver.input(RAW).send_many(sent)
    (letter,) = driver.output("k2.dead-letter").records()
    assert "k2.sequence" not in dict(letter.headers)
    assert [(gap.first, gap.last) for gap in driver.gaps()] == [(2, 2)]
    mended = redriven(letter)._replace(
        headers=tuple(one for one in redriven(letter).headers if one not in FRAGILE)
    )
    driver.input(RAW).append(mended)
    assert sorted(sequences(driver.rows("trades"))) == [1, 2, 3]
    assert [gap.state for gap in driver.gaps()] == ["filled"]
