"""A canonical trade: the fields of `k2.trades.raw`'s contract."""

from collections.abc import Mapping
from typing import Annotated, Any, Generic

import msgspec
from msgspec import Meta, Raw

from k2_streams.core.query.corrections import CANCEL, CORRECT
from k2_streams.feeds.canonical import fields
from k2_streams.feeds.canonical.fields import MAX_TRADE_ID_CHARS, Action
from k2_streams.feeds.canonical.record import CanonicalRecord, Need, Number, Shape
from k2_streams.feeds.decoding.decoded import Fault, Reason

#: What a side is that K2 does not know.
UNKNOWN_SIDE = "unknown"
CORRECTIONS = frozenset({CANCEL, CORRECT})


class CanonicalTrade(CanonicalRecord, Generic[Number], kw_only=True, gc=False):
    """A canonical trade as it stands, fields that K2 does not know left out."""

    price: Number
    quantity: Number
    trade_id: Annotated[str, Meta(min_length=1, max_length=MAX_TRADE_ID_CHARS)] | None = None
    side: str | None = None  # any text: one of `SIDES`, or unknown
    action: Action | None = None
    ref_trade_id: Annotated[str, Meta(min_length=1, max_length=MAX_TRADE_ID_CHARS)] | None = None
    ref_session: Annotated[str, Meta(min_length=1, max_length=64)] | None = None

    @property
    def corrects(self) -> bool:
        """Whether it changes another trade."""
        return self.action in CORRECTIONS


class StrictTrade(
    CanonicalTrade[Number], Generic[Number], forbid_unknown_fields=True, kw_only=True, gc=False
):
    """A canonical trade that has no field that K2 does not know."""


def _reference_fault(values: Mapping[str, Any]) -> tuple[str, Fault] | None:
    """A correction names the trade it changes, and nothing else names one."""
    if values["action"] in CORRECTIONS:
        if values["ref_trade_id"] is None:
            detail = f"expected the id of the trade to {values['action']}, found none"
            return "ref_trade_id", Fault(Reason.MISSING_FIELD, detail)
        return None
    for name in ("ref_trade_id", "ref_session"):
        if values[name] is not None:
            detail = "expected beside the action cancel or correct alone"
            return name, Fault(Reason.BAD_ACTION, detail)
    return None


#: A trade, as the contract of `k2.trades.raw` has it.
TRADE: Shape[CanonicalTrade[Any]] = Shape(
    CanonicalTrade,
    before={"price": (fields.price, Need.VALUE), "quantity": (fields.quantity, Need.VALUE)},
    behind={
        "trade_id": (fields.trade_id, Need.NONE),
        "action": (fields.action, Need.NONE),
        "ref_trade_id": (fields.trade_id, Need.NONE),
        "ref_session": (fields.session, Need.NONE),
    },
    optional={"side": (fields.side, UNKNOWN_SIDE)},
    together=_reference_fault,
    strict=msgspec.json.Decoder(StrictTrade[str]),
    strict_raw=msgspec.json.Decoder(StrictTrade[Raw]),
    loose=msgspec.json.Decoder(CanonicalTrade[Raw]),
)
