"""Synthetic trades with known faults: a pure function of a plan and its seed.

The stream is made a chunk at a time with numpy. Each symbol counts from 1. A fault is one of four
things done to that count:

- numbers are skipped and never sent (a gap),
- a message is held back until k more of its symbol have been made: k = 1 swaps neighbours
  (disorder), k = 20 to 200 is a late fill,
- a message is sent again, the same bytes, after k more of its symbol (a duplicate),
- the count begins again in a new session (a reset). What is held back is sent before that.

An invalid record either takes a message's place, its number readable, or stands beside it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from k2_streams.testing.load.invalid import KINDS
from k2_streams.testing.load.symbol_tiers import SymbolTiers

#: Messages made at once: numpy's cost per call is spread over these, 6 MB of them.
CHUNK = 65_536
#: Resets of one symbol: one less than the sessions a scope keeps, so that each stays known.
MAX_RESETS = 14
#: A session holds at least this many numbers before it may end, so that "fell by more than half"
#: is beyond doubt.
MIN_SESSION = 20
#: Event time between two sessions that are recognized by it: above the hour that the rule asks.
SESSION_JUMP_NS = 65 * 60 * 1_000_000_000
#: Event time between two messages where no rate says it.
DEFAULT_STEP_NS = 10_000
LATE_AFTER = (20, 200)
DUPLICATE_AFTER = (1, 50)
#: Ids are repeated after up to so many of their symbol's messages, all scales alike.
ID_REPEATED_AFTER = 1_000_000
GAP_NUMBERS = (1, 20)
PRICE_DECIMALS = 2
QUANTITY_DECIMALS = 3
#: Of the symbol in a key that orders (symbol, index of the message in its symbol).
_SYMBOL_SHIFT = 40

#: One message, in sending order. `session` counts the symbol's sessions from 0; `bad` is an index
#: into `invalid.KINDS`, or -1; `sequence` is -1 where the record's number cannot be read.
MESSAGE = np.dtype(
    [
        ("symbol", np.int32),
        ("session", np.int32),
        ("sequence", np.int64),
        ("time_ns", np.int64),
        ("price", np.int64),
        ("quantity", np.int64),
        ("side", np.int8),
        ("bad", np.int8),
    ]
)
_PENDING = np.dtype([("message", MESSAGE), ("made", np.int64), ("due", np.int64)])

Messages = npt.NDArray[np.void]
_Ints = npt.NDArray[np.int64]
_Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to make. Rates are shares of the messages made, 0 to 1.

    Args:
        seed: of all randomness.
        start_ns: event time of the first message.
        messages: made in all, without repeats and extra invalid records; None: until stopped.
        symbols: how many.
        skew: exponent of Zipf's law over the symbols; 0 is even.
        step_ns: event time between two messages.
        moments: instead of `step_ns`: (messages, seconds) pairs, both rising, between which event
            time runs evenly. It ends where they end.
        tiers: of the symbols, each with its share of the messages; None: the skew alone decides.
        resets: how many in all, if 1 or more (needs `messages`); else a rate.
        by_time: sessions are recognized by event time alone. Every symbol then begins so far in
            the past that its last session does not pass the present.
        kinds: indices into `invalid.KINDS` to draw from.
        ids: messages carry an id and no number: repeats come at any distance.
    """

    seed: int
    start_ns: int
    messages: int | None = None
    symbols: int = 1000
    skew: float = 1.0
    step_ns: int = DEFAULT_STEP_NS
    moments: tuple[tuple[float, float], ...] = ()
    tiers: SymbolTiers | None = None
    gaps: float = 0.0
    duplicates: float = 0.0
    disorder: float = 0.0
    late: float = 0.0
    invalid: float = 0.0
    resets: float = 0.0
    by_time: bool = False
    kinds: tuple[int, ...] = tuple(range(len(KINDS)))
    ids: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be made.

        Raises:
            ValueError: says which field, what was expected and what was found.
        """
        for name in ("gaps", "duplicates", "disorder", "late", "invalid"):
            rate = getattr(self, name)
            if not 0 <= rate <= 0.5:
                raise ValueError(f"{name}: expected a rate from 0 to 0.5, found {rate}")
        if self.resets < 0 or (self.resets >= 1 and self.resets != int(self.resets)):
            raise ValueError(f"resets: expected a rate or a whole number, found {self.resets}")
        if self.resets >= 1 and self.messages is None:
            raise ValueError("resets: a number of resets needs a number of messages")
        if self.ids and (self.invalid or self.resets):
            raise ValueError("ids: cannot be sent with invalid records or resets")
        if self.symbols < 1:
            raise ValueError(f"symbols: expected 1 or more, found {self.symbols}")
        if self.tiers is not None:
            self.tiers.check(self.symbols)
        if self.invalid and not self.kinds:
            raise ValueError("invalid: no kind of invalid record is left to draw from")


class Synthetic:
    """The messages of a plan, in sending order; `chunks` may be iterated once."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.made = 0
        self.resets_made = 0
        weights = np.arange(1, plan.symbols + 1, dtype=np.float64) ** -plan.skew
        if plan.tiers is not None:
            weights = plan.tiers.weights(weights)
        self._cumulative = np.cumsum(weights / weights.sum())
        self._rng = np.random.default_rng(plan.seed)
        self._count: _Ints = np.zeros(plan.symbols, np.int64)  # messages made
        self._last: _Ints = np.zeros(plan.symbols, np.int64)  # the last number given
        self._session = np.zeros(plan.symbols, np.int32)
        self._session_from: _Ints = np.zeros(plan.symbols, np.int64)  # index of its first message
        self._price = self._rng.integers(500, 20_000_000, plan.symbols)
        self._pending = np.empty(0, _PENDING)
        self._readable = np.array([kind.readable for kind in KINDS])

    def chunks(self) -> Iterator[Messages]:
        """The whole stream; the last chunk sends what was still held back."""
        while self.plan.messages is None or self.made < self.plan.messages:
            left = CHUNK if self.plan.messages is None else self.plan.messages - self.made
            yield self._chunk(min(CHUNK, left))
        if len(self._pending):
            order = np.argsort(self._pending["due"] - self._pending["made"], kind="stable")
            yield self._pending[order]["message"]

    def _chunk(self, size: int) -> Messages:
        rng, plan = self._rng, self.plan
        drawn = np.searchsorted(self._cumulative, rng.random(size))
        symbol = np.minimum(drawn, plan.symbols - 1).astype(np.int64)
        order = np.argsort(symbol, kind="stable")
        grouped = symbol[order]
        begins = np.flatnonzero(np.r_[True, grouped[1:] != grouped[:-1]])
        sizes = np.diff(np.r_[begins, size])
        within = np.arange(size) - np.repeat(begins, sizes)
        index = self._count[grouped] + within  # of the message in its symbol
        keys = (grouped << _SYMBOL_SHIFT) | index

        resets = self._choose_resets(size, grouped, index)
        messages = np.zeros(size, MESSAGE)
        messages["symbol"] = symbol
        self._number(messages, order, grouped, begins, resets)
        self._trade(messages, size)
        self._spoil(messages, order, resets)
        self._count[grouped[begins]] += sizes
        emitted = self._emit(messages, order, index, keys, resets)
        self.made += size
        return emitted

    def _choose_resets(self, size: int, grouped: _Ints, index: _Ints) -> _Bools:
        """Which messages (in grouped order) begin a new session."""
        chosen = np.zeros(size, np.bool_)
        plan, rng = self.plan, self._rng
        if not plan.resets:
            return chosen
        if plan.resets < 1:
            wanted = int(rng.binomial(size, plan.resets))
        else:
            share = (self.made + size) / (plan.messages or 1)
            wanted = round(plan.resets * share) - self.resets_made
        taken: dict[int, list[int]] = {}
        for at in rng.choice(size, min(size, 4 * wanted + 64), replace=False).tolist():
            if wanted <= 0:
                break
            symbol, number = int(grouped[at]), int(index[at])
            others = taken.setdefault(symbol, [])
            if (
                number - self._session_from[symbol] < MIN_SESSION
                or self._session[symbol] + len(others) >= MAX_RESETS
                or any(abs(number - other) < MIN_SESSION for other in others)
            ):
                continue
            others.append(number)
            chosen[at] = True
            wanted -= 1
            self.resets_made += 1
        for symbol, numbers in taken.items():
            if numbers:
                self._session_from[symbol] = max(numbers)
        return chosen

    def _number(
        self, messages: Messages, order: _Ints, grouped: _Ints, begins: _Ints, resets: _Bools
    ) -> None:
        """Give each message its session and sequence number, and move the symbols' counts."""
        size = len(messages)
        skipped = self._rng.integers(*GAP_NUMBERS, size, endpoint=True)
        gap = (self._rng.random(size) < self.plan.gaps) & ~resets
        steps = np.cumsum(1 + np.where(gap, skipped, 0))
        carried = np.zeros(size, np.int64)
        carried[begins] = self._last[grouped[begins]]
        carried[resets] = 0
        starts = resets.copy()
        starts[begins] = True
        at = np.flatnonzero(starts)
        before = np.r_[0, steps][at]  # the steps of everything before the segment
        sequence = steps + np.repeat(carried[at] - before, np.diff(np.r_[at, size]))
        begun = np.cumsum(resets)
        before_group = np.r_[0, begun][begins]
        session = (
            self._session[grouped] + begun - np.repeat(before_group, np.diff(np.r_[begins, size]))
        )
        messages["sequence"][order] = sequence
        messages["session"][order] = session
        ends = np.r_[begins[1:], size] - 1
        self._last[grouped[ends]] = sequence[ends]
        self._session[grouped[ends]] = session[ends]

    def _trade(self, messages: Messages, size: int) -> None:
        """Times that only grow, prices around each symbol's own, quantities, sides."""
        rng, plan = self._rng, self.plan
        place = np.arange(self.made, self.made + size, dtype=np.int64)
        if plan.moments:
            counts, seconds = zip(*plan.moments, strict=True)
            time_ns = plan.start_ns + (np.interp(place, counts, seconds) * 1e9).astype(np.int64)
        else:
            jitter = rng.integers(0, plan.step_ns, size) if plan.step_ns > 0 else 0
            time_ns = plan.start_ns + place * plan.step_ns + jitter
        if plan.by_time:
            time_ns += (messages["session"].astype(np.int64) - MAX_RESETS) * SESSION_JUMP_NS
        messages["time_ns"] = time_ns
        base = self._price[messages["symbol"]]
        wave = 1 + 0.01 * np.sin(place / 50_000) + 0.0005 * rng.standard_normal(size)
        messages["price"] = np.maximum(np.rint(base * wave), 1)
        messages["quantity"] = rng.integers(1, 1_000_000, size)
        messages["side"] = rng.integers(0, 2, size)

    def _spoil(self, messages: Messages, order: _Ints, resets: _Bools) -> None:
        """Choose the invalid records and their kinds."""
        size = len(messages)
        messages["bad"] = -1
        if not self.plan.invalid:
            return
        spoiled = self._rng.random(size) < self.plan.invalid
        if self.plan.by_time:
            # A record whose time cannot be read begins no session by time.
            spoiled[order[resets]] = False
        kinds = np.array(self.plan.kinds, np.int8)
        messages["bad"][spoiled] = self._rng.choice(kinds, int(spoiled.sum()))

    def _emit(
        self, messages: Messages, order: _Ints, index: _Ints, keys: _Ints, resets: _Bools
    ) -> Messages:
        """The chunk in sending order: hold back, repeat, add, and send what has fallen due."""
        size, rng, plan = len(messages), self._rng, self.plan
        made: _Ints = np.empty(size, np.int64)
        made[order] = index
        bad = messages["bad"]
        beside = (bad >= 0) & ~self._readable[bad]
        extra = messages[beside]
        extra["sequence"] = -1
        messages["bad"][beside] = -1

        dice = rng.random(size)
        swapped = dice < plan.disorder
        late = ~swapped & (dice < plan.disorder + plan.late)
        held = swapped | late
        if plan.by_time:
            held[order[resets]] = False
        wait = np.where(swapped, 1, rng.integers(*LATE_AFTER, size, endpoint=True))
        again = (rng.random(size) < plan.duplicates) & (messages["bad"] < 0)
        if plan.ids:
            after = (ID_REPEATED_AFTER ** rng.random(size)).astype(np.int64)
        else:
            after = rng.integers(*DUPLICATE_AFTER, size, endpoint=True)
        pending = np.concatenate(
            [
                self._pending,
                _pend(messages[held], made[held], wait[held]),
                _pend(messages[again], made[again], after[again]),
            ]
        )
        place, due = self._due(pending, order, keys, resets)
        self._pending = pending[~due]
        # A slot has four places: what a reset pushes out before it, itself, an invalid record
        # beside it, and what has fallen due with it.
        slots = 4 * np.arange(size, dtype=np.int64)
        places = np.concatenate([slots[~held], slots[beside] + 1, place[due]])
        out = np.concatenate([messages[~held], extra, pending[due]["message"]])
        emitted: Messages = out[np.argsort(places, kind="stable")]
        return emitted

    def _due(
        self, pending: Messages, order: _Ints, keys: _Ints, resets: _Bools
    ) -> tuple[_Ints, _Bools]:
        """Where in this chunk each pending message is sent, and whether it is at all."""
        symbol = pending["message"]["symbol"].astype(np.int64)
        made_key = (symbol << _SYMBOL_SHIFT) | pending["made"]
        due_key = (symbol << _SYMBOL_SHIFT) | pending["due"]
        due = pending["due"] < self._count[symbol]
        at = np.minimum(np.searchsorted(keys, due_key), len(keys) - 1)
        place = 4 * order[at] + 2
        reset_at = np.flatnonzero(resets)
        if len(reset_at):
            following = np.searchsorted(keys[reset_at], made_key, side="right")
            reset = reset_at[np.minimum(following, len(reset_at) - 1)]
            cut = (following < len(reset_at)) & (keys[reset] <= due_key)
            place = np.where(cut, 4 * order[reset] - 1, place)
            due |= cut
        return place, due


def _pend(messages: Messages, made: _Ints, wait: _Ints) -> Messages:
    pending = np.empty(len(messages), _PENDING)
    pending["message"], pending["made"], pending["due"] = messages, made, made + wait
    return pending
