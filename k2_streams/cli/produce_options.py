"""How `k2 produce`'s options are read: shares, instants, kinds."""

from datetime import UTC, datetime
from typing import Any

import click

from k2_streams.clock import SYSTEM_CLOCK, Clock
from k2_streams.testing.load.invalid import BY_NAME
from k2_streams.testing.load.symbol_tiers import SymbolTiers


def whole_second(clock: Clock) -> int:
    """The second that has just begun, in nanoseconds since 1970."""
    return clock.time_ns() // 1_000_000_000 * 1_000_000_000


class Share(click.ParamType):
    """A share of the messages: `0.001` or `0.1%`."""

    name = "share"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """A number from 0 to 0.5."""
        text = str(value).strip()
        try:
            share = _share(text)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 0.5:
            self.fail(
                f"expected a share from 0 to 0.5, as 0.001 or 0.1%, found {value!r}", param, ctx
            )
        return share


class Tiers(click.ParamType):
    """`20:5%,180:25%`: symbols and their share of the messages, of tier 1 and of tier 2."""

    name = "tiers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> SymbolTiers:
        """What the symbols' tiers are."""
        if isinstance(value, SymbolTiers):
            return value
        try:
            parts = [part.partition(":") for part in str(value).split(",")]
            (one, one_share), (two, two_share) = (
                (int(number), _share(share)) for number, _, share in parts
            )
        except ValueError:
            self.fail(f"expected 20:5%,180:25% or the like, found {value!r}", param, ctx)
        return SymbolTiers((one, two), (one_share, two_share))


def _share(text: str) -> float:
    return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)


class Resets(click.ParamType):
    """A share, or a whole number of resets."""

    name = "share|number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Below 1 a share, from 1 a number."""
        text = str(value).strip()
        if text.isdecimal():
            return float(int(text))
        return Share().convert(value, param, ctx)


class Instant(click.ParamType):
    """`now`, or a time with its offset from UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Nanoseconds since 1970."""
        if isinstance(value, int):
            return value
        if value == "now":
            return whole_second(SYSTEM_CLOCK)
        try:
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is None:
                raise ValueError  # noqa: TRY301 - one refusal for both
        except ValueError:
            expected = "`now` or a time with an offset, as 2025-06-02T09:30:00Z"
            self.fail(f"expected {expected}, found {value!r}", param, ctx)
        since = moment - datetime(1970, 1, 1, tzinfo=UTC)
        return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000


class Kinds(click.ParamType):
    """Names of kinds of invalid records, by comma."""

    name = "names"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Indices into `invalid.KINDS`."""
        if isinstance(value, tuple):
            return value
        unknown = [name for name in value.split(",") if name not in BY_NAME]
        if unknown:
            self.fail(f"expected of {', '.join(BY_NAME)}; found {', '.join(unknown)}", param, ctx)
        return tuple(sorted({BY_NAME[name] for name in value.split(",")}))
