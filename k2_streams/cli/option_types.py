"""How options are read: shares, tiers, times, durations, invalid records, ranges of offsets."""

from datetime import UTC, datetime
from typing import Any

import click

from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.testing.load.invalid import BY_NAME
from k2_streams.testing.load.options import whole_second
from k2_streams.testing.load.symbol_tiers import SymbolTiers


class ShareType(click.ParamType):
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


class TiersType(click.ParamType):
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


class ResetsType(click.ParamType):
    """A share, or a whole number of resets."""

    name = "share|number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Below 1 a share, from 1 a number."""
        text = str(value).strip()
        if text.isdecimal():
            return float(int(text))
        return ShareType().convert(value, param, ctx)


class InstantType(click.ParamType):
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


#: Of a duration: in milliseconds far within the 64 bits that other engines read of a table.
MAX_YEARS = 10_000


class DurationType(click.ParamType):
    """`90s`, `30m`, `12h`, `7d` or `7y` (of 365 days)."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Seconds."""
        if isinstance(value, float):
            return value
        number, unit = str(value)[:-1], str(value)[-1:]
        seconds = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "y": 365 * 86_400}.get(unit)
        if seconds is None or not (number.isascii() and number.isdecimal()):
            self.fail(f"expected 90s, 30m, 12h, 7d or 7y, found {value!r}", param, ctx)
        if int(number) * seconds > MAX_YEARS * 365 * 86_400:
            self.fail(f"expected {MAX_YEARS}y at most, found {value!r}", param, ctx)
        return float(int(number) * seconds)


class KindsType(click.ParamType):
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


class OffsetRangeType(click.ParamType):
    """`FIRST:LAST`, both included; one of them may be left out."""

    name = "first:last"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int | None, int | None]:
        """The two bounds."""
        first, colon, last = str(value).partition(":")
        if not colon or not all(text == "" or text.isdecimal() for text in (first, last)):
            self.fail(f"expected FIRST:LAST, as 1000:1999 or 1000:, found {value!r}", param, ctx)
        return (int(first) if first else None, int(last) if last else None)
