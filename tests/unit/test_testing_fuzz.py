"""`fuzz_feed`: K2's own feeds keep what it asks for, and each broken promise is found."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from venue_records import APPEND_MS, CONTROL, TRADES

from k2_streams.feeds.canonical.feed import Canonical
from k2_streams.feeds.decoding.decoded import Bad, Kind
from k2_streams.feeds.feed import FEEDS
from k2_streams.feeds.quote_feeds import QUOTE_FEEDS
from k2_streams.testing import FeedFaultError, fuzz_feed

SAMPLES = [tuple(TRADES["canonical"])]
QUOTE = (
    b'{"exchange":"SIM","symbol":"ABC","bid_price":"1","ask_price":"2","sequence":1,'
    b'"exchange_time_ns":1786310000000000000}'
)


@pytest.mark.parametrize("name", sorted(FEEDS))
@pytest.mark.slow
def test_k2s_own_feeds_hold(name):
    samples = [tuple(TRADES[name]), *((key, value) for key, value, _ in CONTROL.get(name, []))]
    fuzz_feed(FEEDS[name], samples, rounds=150, append_time_ms=APPEND_MS)


def test_feeds_of_quotes_hold():
    fuzz_feed(QUOTE_FEEDS["canonical"], [(b"SIM:ABC", QUOTE)], stream="quotes", rounds=150,
              append_time_ms=APPEND_MS)  # fmt: skip


def raises(decoded, batch):
    if None in batch.values:
        raise KeyError("e")
    return decoded


def depends_on_neighbours(decoded, batch):
    if len(batch.values) > 2:
        decoded.kind[0], decoded.bad = Kind.BAD, [Bad(0, "not-json", None, "x"), *decoded.bad]
        return replace(decoded, rows=decoded.rows.filter(pa.array(message_of(decoded) != 0)))
    return decoded


def message_of(decoded):
    return np.asarray(decoded.rows.column("message"))


def invents_reasons(decoded, _batch):
    return replace(decoded, bad=[replace(bad, reason="because") for bad in decoded.bad])


def drops_a_row(decoded, _batch):
    return replace(decoded, rows=decoded.rows.slice(0, 0))


def forgets_the_key(decoded, _batch):
    return replace(decoded, scopes=["X:Y" for _ in decoded.scopes])


def names_another_exchange(decoded, _batch):
    at = decoded.rows.schema.get_field_index("exchange")
    field = decoded.rows.schema.field(at)
    other = pa.array(["OTHER"] * decoded.rows.num_rows, pa.string()).dictionary_encode()
    return replace(decoded, rows=decoded.rows.set_column(at, field, other))


@pytest.mark.parametrize(
    "spoil",
    [
        raises,
        depends_on_neighbours,
        invents_reasons,
        drops_a_row,
        forgets_the_key,
        names_another_exchange,
    ],
)
def test_a_broken_promise_is_found(spoil):
    class Broken(Canonical):
        def decode(self, batch):
            return spoil(super().decode(batch), batch)

    with pytest.raises(FeedFaultError, match=r"expected|never raises"):
        fuzz_feed(Broken(), SAMPLES, rounds=1_000, append_time_ms=APPEND_MS)


def test_a_sample_that_is_refused_is_found():
    with pytest.raises(FeedFaultError, match="a sample is read"):
        fuzz_feed(FEEDS["canonical"], [(b"SIM:ABC", b"{}")])


def test_no_samples_are_a_mistake():
    with pytest.raises(ValueError, match="at least one"):
        fuzz_feed(FEEDS["canonical"], [])


def test_a_stream_that_does_not_exist_is_a_mistake():
    with pytest.raises(ValueError, match="expected trades or quotes, found 'bars'"):
        fuzz_feed(FEEDS["canonical"], SAMPLES, stream="bars")
