"""The options of a load, settled into one job."""

import math
import secrets
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.core.records.source import INPUTS, RawInput
from k2_streams.feeds.decoding.keys import EXCHANGE
from k2_streams.feeds.feed import CANONICAL
from k2_streams.feeds.plugins import FeedPluginError, with_plugged_in
from k2_streams.runtime.settings.app_defaults import AppDefaults
from k2_streams.runtime.settings.kafka import with_bootstrap
from k2_streams.runtime.settings.worker import Settings, SettingsError, from_environment
from k2_streams.testing.load.invalid import KINDS
from k2_streams.testing.load.messages import Names
from k2_streams.testing.load.options import (
    EDITS,
    LoadError,
    LoadOptions,
    LoadOptionsError,
    whole_second,
)
from k2_streams.testing.load.pace import LOOK_AGAIN_S, NoCapacityError, Pace, parse
from k2_streams.testing.load.plugged import reading_by_decoder
from k2_streams.testing.load.recorded import Edits, FeedReading, reading_of
from k2_streams.testing.load.recorded_trades import READERS
from k2_streams.testing.load.synthetic import DEFAULT_STEP_NS, Plan
from k2_streams.testing.local.load_watch import TIERS, Watched
from k2_streams.testing.streams import DECODERS

#: Of synthetic messages, unless an option names another.
SYNTHETIC_EXCHANGE = "SIM"
#: Event time of the first message of a seeded run: the same messages whenever it is made.
SEEDED_START_NS = int(datetime(2025, 6, 2, 9, 30, tzinfo=UTC).timestamp()) * 1_000_000_000
#: Options that change nothing of what is sent, and so are not in the header of its truth.
_NOT_IN_TRUTH = {"truth", "bootstrap", "tiers_file", "watch"}


@dataclass(frozen=True, slots=True)
class LoadJob:
    """What one run does, all options settled.

    Attributes:
        settings: with the address of the broker.
        plan: of synthetic messages; None: recorded ones.
        exchange: of synthetic messages; None: the recording's own.
        session: stem of declared session names.
        reading: how recorded messages are read for the truth.
        truth: the file to write, if any.
        options: for the header of the truth.
    """

    settings: Settings
    source: RawInput
    topic: str
    plan: Plan | None
    exchange: str | None
    session: str | None
    feed: str
    reading: FeedReading
    files: tuple[Path, ...]
    lines: bool
    edits: Edits
    pace: Pace
    repeat: int
    messages: int | None
    compression: str | None
    tiers_file: Path | None
    watch: Watched | None
    truth: Path | None
    options: dict[str, Any]


def settle(options: LoadOptions) -> LoadJob:
    """Settle the options.

    Raises:
        LoadOptionsError: they do not go together.
        LoadError: settings, a feed of another package or a folder do not allow it.
    """
    settings = _settings(options)
    _check_options(options)
    reading = _reading(options)
    _check_recordings(options, reading)
    if not options.files:
        options = replace(options, exchange=options.exchange or SYNTHETIC_EXCHANGE)
    pace = _pace(options, settings)
    source = INPUTS[options.stream]
    seeded = options.seed is not None
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    start_ns = options.start
    if start_ns is None:
        start_ns = SEEDED_START_NS if seeded else whole_second(SYSTEM_CLOCK)
    session = None
    if options.session == "declared" or (
        options.session is None and (options.resets or not seeded)
    ):
        session = f"seed-{seed}" if seeded else f"{start_ns // 1_000_000_000}-{seed}"
    settled = replace(options, seed=seed, start=start_ns)
    return LoadJob(
        settings=settings,
        source=source,
        topic=options.topic or source.raw,
        plan=None if options.files else _plan(settled, pace, seed, start_ns, session),
        exchange=options.exchange,
        session=session,
        feed=options.feed or CANONICAL,
        reading=reading,
        files=options.files,
        lines=options.lines,
        edits=Edits(seed=seed, **_shares(options)),
        pace=pace,
        repeat=options.repeat,
        messages=options.messages,
        compression=None if options.compression == "none" else options.compression,
        tiers_file=options.tiers_file,
        watch=_watched(options),
        truth=options.truth,
        options=_in_truth(settled),
    )


def moments(pace: Pace) -> tuple[tuple[float, float], ...]:
    """When each message is due, as a line through points a tenth of a second apart."""
    points = int(pace.length_s / LOOK_AGAIN_S) + 2
    return tuple((pace.owed(point * LOOK_AGAIN_S), point * LOOK_AGAIN_S) for point in range(points))


def _settings(options: LoadOptions) -> Settings:
    """The environment's settings, with the broker that the options name."""
    try:
        settings = from_environment(defaults=AppDefaults.of_input(INPUTS[options.stream]))
        return settings.with_kafka(with_bootstrap(settings.kafka, options.bootstrap))
    except SettingsError as error:
        raise LoadError(str(error)) from error


def _check_options(options: LoadOptions) -> None:
    """Refuse options that do not go together."""
    if bool(options.feed) != bool(options.files):
        raise LoadOptionsError("recordings need both --feed and at least one file")
    if options.files and (options.tiers or options.tiers_file):
        raise LoadOptionsError("--tiers are of synthetic trades, not of recorded ones")
    if options.tiers_file and not options.tiers:
        raise LoadOptionsError("--tiers-file is where --tiers are written: give both")
    if options.files and (options.invalid or options.resets or options.ids):
        raise LoadOptionsError(
            "--invalid, --resets and --ids make synthetic trades, no recorded ones"
        )
    if options.exchange is not None and not EXCHANGE.fullmatch(options.exchange):
        raise LoadOptionsError(
            f"--exchange {options.exchange}: expected 1 to 32 of A-Z a-z 0-9 . _ -"
        )
    if (options.invalid or options.ids) and options.stream != "trades":
        raise LoadOptionsError("--invalid and --ids are of trades alone")
    if options.truth and not options.truth.parent.is_dir():
        raise LoadError(
            f"--truth {options.truth}: expected a folder {options.truth.parent}, found none"
        )


def _reading(options: LoadOptions) -> FeedReading:
    """How the records of the feed are read for a truth, of K2's feeds and of others."""
    stream, name = options.stream, options.feed or CANONICAL
    own = DECODERS[stream]
    if name in own:
        return reading_of(stream, name)
    try:
        feeds = with_plugged_in(stream, own)
    except FeedPluginError as error:
        raise LoadError(str(error)) from error
    if name not in feeds:
        raise LoadOptionsError(f"--stream {stream} has the feeds {', '.join(feeds)}, not {name!r}")
    return reading_by_decoder(stream, feeds[name], lambda: SYSTEM_CLOCK.time_ns() // 1_000_000)


def _check_recordings(options: LoadOptions, reading: FeedReading) -> None:
    """Faults need trades with sequence numbers; lines need files to be lines of."""
    if options.lines and len(options.files) < 2:
        raise LoadOptionsError("--lines needs a file for each line")
    known = READERS[options.stream]
    if options.feed is None or (reading.read is not None and not options.lines):
        return
    for name, share in _shares(options).items():
        if share:
            made_of = "one line of " if options.lines else ""
            raise LoadError(f"--{name} can be made of {made_of}{', '.join(sorted(known))} alone")


def _watched(options: LoadOptions) -> Watched | None:
    """Of each tier its first symbol, or the first symbol for all."""
    if options.watch is None:
        return None
    if options.files:
        raise LoadOptionsError("--watch looks at synthetic symbols, not at recorded ones")
    exchange = options.exchange or SYNTHETIC_EXCHANGE
    names = Names(exchange, options.symbols, None)
    tiers = options.tiers
    first = {tier: 0 if tiers is None else tiers.first_of(tier) for tier in TIERS}
    symbols = {tier: names.symbols[index] for tier, index in first.items()}
    return Watched(options.watch.rstrip("/"), exchange, symbols)


def _pace(options: LoadOptions, settings: Settings) -> Pace:
    try:
        return parse(options.rate, settings.overload.max_rate, options.duration)
    except NoCapacityError as error:
        raise LoadOptionsError(
            f"--rate {error}: expected a capacity in K2_MAX_RATE_PER_S, of which it is a multiple"
        ) from error
    except ValueError as error:
        raise LoadOptionsError(
            f"--rate {options.rate}: expected a number, 10x, or steps as 1x:10,1x..10x:20,10x:30"
        ) from error


def _plan(options: LoadOptions, pace: Pace, seed: int, start_ns: int, session: str | None) -> Plan:
    rate = pace.steps[0].first if pace.steps else 0.0
    event_rate = options.event_rate or rate
    varies = len(pace.steps) > 0 and not math.isinf(pace.steps[0].seconds)
    try:
        return Plan(
            seed=seed,
            start_ns=start_ns,
            messages=options.messages or pace.messages,
            symbols=options.symbols,
            skew=options.skew,
            moments=moments(pace) if varies and not options.event_rate else (),
            tiers=options.tiers,
            step_ns=max(1, int(1_000_000_000 / event_rate)) if event_rate else DEFAULT_STEP_NS,
            invalid=options.invalid,
            resets=options.resets,
            by_time=bool(options.resets) and session is None,
            kinds=options.invalid_kinds or tuple(range(len(KINDS))),
            ids=options.ids,
            **_shares(options),
        )
    except ValueError as error:
        raise LoadError(str(error)) from error


def _shares(options: LoadOptions) -> dict[str, float]:
    """Of the faults that both a plan and edits of recordings make."""
    return {name: getattr(options, name) for name in EDITS}


def _in_truth(options: LoadOptions) -> dict[str, Any]:
    """The options as the header of a truth file has them."""
    values = {one.name: getattr(options, one.name) for one in fields(options)}
    values["files"] = [str(file) for file in options.files]
    values["tiers"] = None if options.tiers is None else options.tiers.text
    values["invalid_kinds"] = [KINDS[index].name for index in options.invalid_kinds or ()]
    return {name: value for name, value in values.items() if name not in _NOT_IN_TRUTH}
