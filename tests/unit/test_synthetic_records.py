"""Records say what the messages say; invalid ones get from the feed the reason they must get."""

import json
import time
from decimal import Decimal

import numpy as np
import pytest

from k2_streams.feeds.canonical.feed import Canonical
from k2_streams.feeds.decoding.decoded import MAX_VALUE_BYTES, RawBatch
from k2_streams.feeds.decoding.decoded import Kind as Outcome
from k2_streams.testing.load.invalid import KINDS, Good, InvalidKind
from k2_streams.testing.load.messages import Encoder, Names, decimal_text
from k2_streams.testing.load.synthetic import Plan, Synthetic

PARTITIONS = 4


def home(key: bytes) -> int:
    return sum(key) % PARTITIONS


def messages(**options):
    plan = Plan(
        **{"seed": 3, "start_ns": time.time_ns(), "messages": 5_000, "symbols": 12} | options
    )
    return np.concatenate(list(Synthetic(plan).chunks()))


@pytest.mark.parametrize("session", [None, "run"])
def test_a_record_says_what_its_message_says(session):
    names = Names("SIM", 12, session)
    made = messages(resets=10)
    left = {partition: [] for partition in range(PARTITIONS)}
    for message in made:
        left[home(names.keys[message["symbol"]])].append(message)
    for partition, records in Encoder(names, home, PARTITIONS).by_partition(made):
        for (key, value, headers), message in zip(records, left.pop(partition), strict=True):
            fields = json.loads(value)
            assert key == f"{fields['exchange']}:{fields['symbol']}".encode()
            assert key == names.keys[message["symbol"]]
            assert headers == []
            assert Decimal(fields["price"]) == Decimal(int(message["price"])) / 100
            assert Decimal(fields["quantity"]) == Decimal(int(message["quantity"])) / 1000
            assert fields["sequence"] == message["sequence"]
            assert fields["exchange_time_ns"] == message["time_ns"]
            expected = None if session is None else f"run.{message['session']}"
            assert fields.get("session") == expected
    assert not any(left.values())


def test_every_record_decodes_or_is_one_that_must_not():
    made = messages(invalid=0.3)
    encoder = Encoder(Names("SIM", 12, None), home, PARTITIONS)
    records = [
        (partition, *record)
        for partition, group in encoder.by_partition(made)
        for record in group
        if not record[2]  # of an unknown feed: no decoder sees it
    ]
    now = np.full(len(records), time.time_ns() // 1_000_000)
    batch = RawBatch(
        0, np.arange(len(records)), now, [one[1] for one in records], [one[2] for one in records]
    )
    decoded = Canonical().decode(batch)
    misplaced = sum(one[1] is not None and home(one[1]) != one[0] for one in records)
    names = [KINDS[bad].name for bad in made["bad"].tolist() if bad >= 0]
    assert misplaced == names.count("wrong-partition") > 0
    elsewhere = misplaced + names.count("unknown-feed")
    assert len(decoded.bad) == len(names) - elsewhere
    assert int((decoded.kind == Outcome.TRADE).sum()) == len(made) - len(names) + misplaced


@pytest.mark.parametrize(
    "kind",
    [kind for kind in KINDS if kind.reason not in {"unknown-feed", "wrong-partition"}],
    ids=lambda kind: kind.name,
)
def test_the_feed_gives_the_reason_and_reads_what_it_can(kind: InvalidKind):
    fields = {
        "exchange": "SIM",
        "symbol": "S1",
        "price": "1.50",
        "quantity": "2.000",
        "exchange_time_ns": time.time_ns(),
        "side": "buy",
        "session": "a",
    }
    if kind.readable:
        fields["sequence"] = 7
    sent = kind.spoil(Good("SIM", "S1", fields))
    now = np.array([time.time_ns() // 1_000_000])
    decoded = Canonical().decode(RawBatch(0, np.zeros(1, np.int64), now, [sent.key], [sent.value]))
    assert [bad.reason for bad in decoded.bad] == [kind.reason]
    assert decoded.sequence.tolist() == [7 if kind.readable else -1]
    assert decoded.scope.tolist() == [0 if kind.readable else -1]


def test_the_oversized_record_is_oversized_by_little():
    kind = next(kind for kind in KINDS if kind.name == "oversized")
    value = kind.spoil(Good("SIM", "S1", {"price": "1"})).value
    assert value is not None
    assert MAX_VALUE_BYTES < len(value) < MAX_VALUE_BYTES + 1_000


@pytest.mark.parametrize(
    ("units", "decimals", "text"), [(123456, 2, "1234.56"), (5, 3, "0.005"), (100, 2, "1.00")]
)
def test_units_as_decimal_text(units, decimals, text):
    assert decimal_text(units, decimals) == text
