"""Of a record with several faults the first is told, and the others cost only what they hide.

A decoder need not look behind a fault but for the record's number. So what it says of several
faults together must follow from what it says of each alone.
"""

from hypothesis import assume, given
from hypothesis import strategies as st

from k2_streams.feeds.canonical.quotes import QUOTE
from k2_streams.feeds.canonical.record import read
from k2_streams.feeds.canonical.trade import TRADE
from k2_streams.feeds.decoding.decoded import Refusal

APPEND_MS = 1_723_161_255_342
TIME_NS = APPEND_MS * 1_000_000
KEY = b"SIM:ABC"
ABSENT = None
#: As the contract's table has them.
ORDER = {
    "trades": ("exchange", "symbol", "price", "quantity", "exchange_time_ns", "sequence",
               "session", "trade_id"),
    "quotes": ("exchange", "symbol", "bid_price", "bid_quantity", "ask_price", "ask_quantity",
               "exchange_time_ns", "sequence", "session"),
}  # fmt: skip
GOOD = {
    "exchange": '"SIM"', "symbol": '"ABC"', "price": '"12.5"', "quantity": "7",
    "bid_price": "1", "bid_quantity": "2", "ask_price": '"3"', "ask_quantity": '"4"',
    "exchange_time_ns": str(TIME_NS), "sequence": "5", "session": '"s"', "trade_id": '"t"',
}  # fmt: skip
SPOILT = [
    *(ABSENT, "null", "true", "7.5", '"-1"', "-1", '""', '"NaN"', "1e30", "[]", '"ABD"', '"S M"'),
    *('"0.0000000000000000001"', str(TIME_NS + 86_400_000_000_001), '"' + "x" * 200 + '"', '"é"'),
]
SHAPES = {"trades": TRADE, "quotes": QUOTE}


def told(kind: str, spoilt: dict[str, str | None]) -> object:
    fields = {name: GOOD[name] for name in ORDER[kind]} | spoilt
    text = ",".join(f'"{name}":{value}' for name, value in fields.items() if value is not ABSENT)
    return read(SHAPES[kind], ("{" + text + "}").encode(), KEY, APPEND_MS)


@given(st.data(), st.sampled_from(sorted(ORDER)))
def test_of_several_faults_the_first_is_told(data: st.DataObject, kind: str) -> None:
    names = data.draw(st.lists(st.sampled_from(ORDER[kind]), min_size=2, max_size=5, unique=True))
    spoilt = {name: data.draw(st.sampled_from(SPOILT)) for name in names}
    alone = {name: told(kind, {name: value}) for name, value in spoilt.items()}
    faults = {name: found for name, found in alone.items() if isinstance(found, Refusal)}
    found = told(kind, spoilt)
    assume({one.field for one in faults.values()} <= set(names))  # not of key and fields together
    if not faults:
        assert not isinstance(found, Refusal)
        return
    first = next(name for name in ORDER[kind] if name in faults)
    assert isinstance(found, Refusal)
    assert found[:3] == faults[first][:3]
    is_numbered = spoilt.get("sequence", "5") not in {ABSENT, "null"}
    if not is_numbered or any(one.sequence < 0 for one in faults.values()):
        assert found[3:] == (-1, None, 0)
    else:
        assert found.sequence == 5
        assert found.event_time_ns == (0 if "exchange_time_ns" in faults else TIME_NS)
