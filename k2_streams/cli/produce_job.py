"""The options of `k2 produce`, settled into one job."""

import math
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from k2_streams.cli.errors import CannotError
from k2_streams.cli.produce_options import whole_second
from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.core.records.source import INPUTS, RawInput
from k2_streams.feeds.decoding.keys import EXCHANGE
from k2_streams.feeds.feed import CANONICAL
from k2_streams.feeds.plugins import FeedPluginError, with_plugged_in
from k2_streams.runtime.settings.kafka import with_bootstrap
from k2_streams.runtime.settings.worker import Settings, SettingsError, from_environment
from k2_streams.testing.load.invalid import KINDS
from k2_streams.testing.load.messages import Names
from k2_streams.testing.load.pace import LOOK_AGAIN_S, NoCapacityError, Pace, parse
from k2_streams.testing.load.plugged import told_by_decoder
from k2_streams.testing.load.recorded import Edits, Told, told_by
from k2_streams.testing.load.recorded_trades import READERS
from k2_streams.testing.load.symbol_tiers import SymbolTiers
from k2_streams.testing.load.synthetic import DEFAULT_STEP_NS, Plan
from k2_streams.testing.local.load_watch import TIERS, Watched
from k2_streams.testing.streams import DECODERS

#: Of synthetic messages, unless --exchange says otherwise.
SYNTHETIC_EXCHANGE = "SIM"
#: Event time of the first message of a seeded run: the same messages whenever it is made.
SEEDED_START_NS = int(datetime(2025, 6, 2, 9, 30, tzinfo=UTC).timestamp()) * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Job:
    """What one call is to do, all options settled."""

    settings: Settings
    source: RawInput
    topic: str
    plan: Plan | None  # None: recorded
    exchange: str | None  # None: the recording's own
    session: str | None  # stem of declared names
    feed: str
    told: Told  # how recorded messages are read for the truth
    files: tuple[Path, ...]
    lines: bool
    edits: Edits
    pace: Pace
    repeat: int
    messages: int | None
    compression: str | None
    tiers_file: Path | None
    watch: Watched | None
    options: dict[str, Any]  # for the truth's header


def settle(options: dict[str, Any]) -> Job:
    """Settle the options.

    Raises:
        CannotError: they contradict each other.
    """
    settings = _settings(options)
    told = _told(options)
    _check_recordings(options, told)
    if not options["files"]:
        options["exchange"] = options["exchange"] or SYNTHETIC_EXCHANGE
    pace = _pace(options, settings)
    source = INPUTS[options["stream"]]
    files = options["files"]
    seeded = options["seed"] is not None
    seed = options["seed"] if seeded else secrets.randbelow(2**32)
    start = options["start"]
    if start is None:
        start = SEEDED_START_NS if seeded else whole_second(SYSTEM_CLOCK)
    session = None
    if options["session"] == "declared" or (
        options["session"] is None and (options["resets"] or not seeded)
    ):
        session = f"seed-{seed}" if seeded else f"{start // 1_000_000_000}-{seed}"
    rates = {name: options[name] for name in ("gaps", "duplicates", "disorder", "late")}
    shown = options | {"seed": seed, "start": start, "files": [str(file) for file in files]}
    shown["tiers"] = None if options["tiers"] is None else options["tiers"].text
    shown["invalid_kinds"] = [KINDS[index].name for index in options["invalid_kinds"] or ()]
    for name in ("truth", "bootstrap", "tiers_file", "watch"):
        del shown[name]
    return Job(
        settings=settings,
        source=source,
        topic=options["topic"] or source.raw,
        plan=None if files else _plan(options, pace, seed, start, session, rates),
        exchange=options["exchange"],
        session=session,
        feed=options["feed"] or CANONICAL,
        told=told,
        files=files,
        lines=options["lines"],
        edits=Edits(seed=seed, **rates),
        pace=pace,
        repeat=options["repeat"],
        messages=options["messages"],
        compression=None if options["compression"] == "none" else options["compression"],
        tiers_file=options["tiers_file"],
        watch=_watched(options),
        options=shown,
    )


def _told(options: dict[str, Any]) -> Told:
    """How the records of the feed are read for a truth, whoever's feed it is.

    Raises:
        CannotError: a package declares a feed that cannot be used.
        click.UsageError: there is no such feed.
    """
    stream, name = options["stream"], options["feed"] or CANONICAL
    own = DECODERS[stream]
    if name in own:
        return told_by(stream, name)
    try:
        feeds = with_plugged_in(stream, own)
    except FeedPluginError as error:
        raise CannotError(str(error)) from error
    if name not in feeds:
        raise click.UsageError(f"--stream {stream} has the feeds {', '.join(feeds)}, not {name!r}")
    return told_by_decoder(stream, feeds[name], lambda: SYSTEM_CLOCK.time_ns() // 1_000_000)


def _watched(options: dict[str, Any]) -> Watched | None:
    """Of each tier its first symbol, or the first symbol for all."""
    if options["watch"] is None:
        return None
    if options["files"]:
        raise click.UsageError("--watch looks at synthetic symbols, not at recorded ones")
    tiers: SymbolTiers | None = options["tiers"]
    names = Names(options["exchange"], options["symbols"], None)
    first = {tier: 0 if tiers is None else tiers.first_of(tier) for tier in TIERS}
    symbols = {tier: names.symbols[place] for tier, place in first.items()}
    return Watched(options["watch"].rstrip("/"), options["exchange"], symbols)


def _pace(options: dict[str, Any], settings: Settings) -> Pace:
    try:
        return parse(options["rate"], settings.overload.max_rate, options["duration"])
    except NoCapacityError as error:
        raise click.UsageError(
            f"--rate {error}: expected a capacity in K2_MAX_RATE_PER_S, of which it is a multiple"
        ) from error
    except ValueError as error:
        raise click.UsageError(
            f"--rate {options['rate']}: expected a number, 10x, or steps as 1x:10,1x..10x:20,10x:30"
        ) from error


def _moments(pace: Pace) -> tuple[tuple[float, float], ...]:
    """When each message is due, as a line through points a tenth of a second apart."""
    points = int(pace.length_s / LOOK_AGAIN_S) + 2
    return tuple((pace.owed(point * LOOK_AGAIN_S), point * LOOK_AGAIN_S) for point in range(points))


def _plan(
    options: dict[str, Any],
    pace: Pace,
    seed: int,
    start_ns: int,
    session: str | None,
    rates: dict[str, float],
) -> Plan:
    rate = pace.steps[0].first if pace.steps else 0.0
    event_rate = options["event_rate"] or rate
    messages = options["messages"] or pace.messages
    varies = len(pace.steps) > 0 and not math.isinf(pace.steps[0].seconds)
    try:
        return Plan(
            seed=seed,
            start_ns=start_ns,
            messages=messages,
            symbols=options["symbols"],
            skew=options["skew"],
            moments=_moments(pace) if varies and not options["event_rate"] else (),
            tiers=options["tiers"],
            step_ns=max(1, int(1_000_000_000 / event_rate)) if event_rate else DEFAULT_STEP_NS,
            invalid=options["invalid"],
            resets=options["resets"],
            by_time=bool(options["resets"]) and session is None,
            kinds=options["invalid_kinds"] or tuple(range(len(KINDS))),
            ids=options["ids"],
            **rates,
        )
    except ValueError as error:
        raise CannotError(str(error)) from error


def _check_recordings(options: dict[str, Any], told: Told) -> None:
    """Faults need numbered trades; lines need files to be lines of."""
    if options["lines"] and len(options["files"]) < 2:
        raise click.UsageError("--lines needs a file for each line")
    known = READERS[options["stream"]]
    if options["feed"] is None or (told.read is not None and not options["lines"]):
        return
    for name in ("gaps", "duplicates", "disorder", "late"):
        if options[name]:
            made_of = "one line of " if options["lines"] else ""
            raise CannotError(f"--{name} can be made of {made_of}{', '.join(sorted(known))} alone")


def _settings(options: dict[str, Any]) -> Settings:
    """The environment's settings with the options' address; options that cannot go together."""
    try:
        settings = from_environment(source=INPUTS[options["stream"]])
        settings = settings.with_kafka(with_bootstrap(settings.kafka, options["bootstrap"]))
    except SettingsError as error:
        raise CannotError(str(error)) from error
    if bool(options["feed"]) != bool(options["files"]):
        raise click.UsageError("recordings need both --feed and at least one file")
    if options["files"] and (options["tiers"] or options["tiers_file"]):
        raise click.UsageError("--tiers are of synthetic trades, not of recorded ones")
    if options["tiers_file"] and not options["tiers"]:
        raise click.UsageError("--tiers-file is where --tiers are written: give both")
    if options["files"] and (options["invalid"] or options["resets"] or options["ids"]):
        raise click.UsageError(
            "--invalid, --resets and --ids make synthetic trades, no recorded ones"
        )
    exchange = options["exchange"]
    if exchange is not None and not EXCHANGE.fullmatch(exchange):
        raise click.UsageError(f"--exchange {exchange}: expected 1 to 32 of A-Z a-z 0-9 . _ -")
    if (options["invalid"] or options["ids"]) and options["stream"] != "trades":
        raise click.UsageError("--invalid and --ids are of trades alone")
    truth: Path | None = options["truth"]
    if truth and not truth.parent.is_dir():
        raise CannotError(f"--truth {truth}: expected a folder {truth.parent}, found none")
    return settings
