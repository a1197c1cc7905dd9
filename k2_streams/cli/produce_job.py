"""The options of `k2 produce`, settled into one job."""

import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from k2_streams.cli.errors import CannotError
from k2_streams.cli.invalid import KINDS
from k2_streams.cli.produce_options import whole_second
from k2_streams.cli.recorded import Edits
from k2_streams.cli.sending import Pace
from k2_streams.cli.synthetic import DEFAULT_STEP_NS, Plan
from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.runtime.settings import Settings, SettingsError, from_environment

#: Event time of the first message of a seeded run: the same messages whenever it is made.
SEEDED_START_NS = int(datetime(2025, 6, 2, 9, 30, tzinfo=UTC).timestamp()) * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Job:
    """What one call is to do, all options settled."""

    settings: Settings
    topic: str
    plan: Plan | None  # None: recorded
    exchange: str
    session: str | None  # stem of declared names
    feed: str
    files: tuple[Path, ...]
    edits: Edits
    pace: Pace
    repeat: int
    messages: int | None
    compression: str | None
    options: dict[str, Any]  # for the truth's header


def settle(options: dict[str, Any]) -> Job:
    """Settle the options.

    Raises:
        CannotError: they contradict each other.
    """
    settings = _settings(options)
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
    shown["invalid_kinds"] = [KINDS[index].name for index in options["invalid_kinds"] or ()]
    del shown["truth"], shown["bootstrap"]
    return Job(
        settings=settings,
        topic=options["topic"],
        plan=None if files else _plan(options, seed, start, session, rates),
        exchange=options["exchange"],
        session=session,
        feed=options["feed"] or "canonical",
        files=files,
        edits=Edits(seed=seed, **rates),
        pace=Pace(options["rate"], options["duration"]),
        repeat=options["repeat"],
        messages=options["messages"],
        compression=None if options["compression"] == "none" else options["compression"],
        options=shown,
    )


def _plan(
    options: dict[str, Any], seed: int, start_ns: int, session: str | None, rates: dict[str, float]
) -> Plan:
    messages, rate, duration = options["messages"], options["rate"], options["duration"]
    event_rate = options["event_rate"] or rate
    if messages is None and rate and duration:
        messages = max(1, int(rate * duration))
    try:
        return Plan(
            seed=seed,
            start_ns=start_ns,
            messages=messages,
            symbols=options["symbols"],
            skew=options["skew"],
            step_ns=max(1, int(1_000_000_000 / event_rate)) if event_rate else DEFAULT_STEP_NS,
            invalid=options["invalid"],
            resets=options["resets"],
            by_time=bool(options["resets"]) and session is None,
            kinds=options["invalid_kinds"] or tuple(range(len(KINDS))),
            **rates,
        )
    except ValueError as error:
        raise CannotError(str(error)) from error


def _settings(options: dict[str, Any]) -> Settings:
    """The environment's settings with the options' address; options that cannot go together."""
    try:
        settings = from_environment()
    except SettingsError as error:
        raise CannotError(str(error)) from error
    if bool(options["feed"]) != bool(options["files"]):
        raise click.UsageError("recordings need both --feed and at least one file")
    if options["files"] and (options["invalid"] or options["resets"]):
        raise click.UsageError("--invalid and --resets make synthetic trades, not recorded ones")
    truth: Path | None = options["truth"]
    if truth and not truth.parent.is_dir():
        raise CannotError(f"--truth {truth}: expected a folder {truth.parent}, found none")
    if not options["bootstrap"]:
        return settings
    return replace(settings, kafka=replace(settings.kafka, bootstrap=options["bootstrap"]))
