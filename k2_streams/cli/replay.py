"""`k2 replay`: the rows of a log again, as they came: as lines, as Arrow, or to a topic."""

import asyncio
from typing import Any

import click

import k2_client
from k2_streams.cli.errors import CannotError
from k2_streams.kafka.hanging_transactions import UnsettledError
from k2_streams.kafka.log_reader import LogError
from k2_streams.kafka.transactions import FencedError
from k2_streams.replay.output import to_output
from k2_streams.replay.topic import ReplayError, to_topic
from k2_streams.runtime.settings.kafka import with_bootstrap
from k2_streams.runtime.settings.worker import Settings, SettingsError, from_environment

#: While no node answers: a person waits.
PATIENCE_S = 30.0
FORMATS = ("ndjson", "arrow")
#: What says by itself what to do.
CANNOT = (
    k2_client.ClientError,
    ReplayError,
    SettingsError,
    FencedError,
    UnsettledError,
    ValueError,
)

_EXAMPLES = """\b
Examples:
  k2 replay --symbol S0001 > trades.ndjson          all there is now, in the order of the log
  k2 replay --from 2026-11-23T10:00:00Z --to 2026-11-23T11:00:00Z --order event
  k2 replay --from 2026-11-23T10:00:00Z --speed 10x --clock accepted    as K2 knew it, ten times
                                                                        as fast
  k2 replay --format arrow > trades.arrow
  k2 replay --to-topic backtest                     to a topic, each row once
  k2 replay --to-topic backtest --resume            the rest, after a crash

The last line on standard error says how many rows there were, and the token of what they are.

Exit codes: 0 all of it came; 2 it did not, or could not begin."""


@click.command(epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("log", default="trades")
@click.option("--symbol", "symbols", multiple=True, help="May be repeated.  [default: all]")
@click.option("--exchange", "exchanges", multiple=True, help="May be repeated.  [default: all]")
@click.option("--from", "begin", default="begin", show_default=True, help="A time or a token.")
@click.option("--to", "end", default="end", show_default=True, help="A time, a token, or `never`.")
@click.option("--as-of", help="The token of an answer, instead of --to: what it was made of.")
@click.option("--tz", help="The zone of a time without an offset, as Australia/Sydney.")
@click.option("--speed", default="max", show_default=True, help="1, 10x: as fast as it was, or so.")
@click.option("--clock", type=click.Choice(["event", "accepted"]), default="event")
@click.option("--order", type=click.Choice(["log", "event"]), default="log", show_default=True)
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="ndjson", show_default=True,
    help="On standard output.",
)  # fmt: skip
@click.option("--to-topic", "topic", help="Write to this topic, which exists, exactly once.")
@click.option("--name", default="replay", show_default=True, help="Of the replay in that topic.")
@click.option("--resume", is_flag=True, help="Go on from where the replay has come in the topic.")
@click.option("--bootstrap", help="Broker.  [default: $K2_BOOTSTRAP or 127.0.0.1:9092]")
@click.option(
    "--url", "urls", multiple=True,
    help="A node; if it goes away the next one is asked.  [default: http://127.0.0.1 and "
    "$K2_WEB_PORT]",
)  # fmt: skip
@click.option("--key", help="The API key.  [default: the first of $K2_API_KEYS]")
def replay(log: str, symbols: tuple[str, ...], begin: str, form: str, **options: Any) -> None:
    """Give the rows of LOG (trades, quotes, an output) again, from any moment to any moment."""
    if options["resume"] and not options["topic"]:
        raise click.UsageError("--resume goes with --to-topic")
    try:
        settings = from_environment()
        asked = _asked(options)
        if options["topic"]:
            rows = asyncio.run(_to_topic(settings, log, symbols, begin, asked, options))
            click.echo(f"{rows} rows in {options['topic']}", err=True)
            return
        nodes, key = _nodes(settings, options)
        with k2_client.connect(nodes, key, patience_s=PATIENCE_S) as client:
            frames = client.stream(log, symbols, start=begin, **asked)
            end = to_output(frames, click.get_binary_stream("stdout"), form, begin)
        click.echo(f"{end.get('rows')} rows; --as-of {end.get('as_of')}", err=True)
    except CANNOT as error:
        raise CannotError(str(error)) from error
    except LogError as error:
        raise CannotError(f"{type(error).__name__}: {error}; go on with --resume") from error


def _asked(options: dict[str, Any]) -> dict[str, Any]:
    """The stream's parameters but for where it begins."""
    end = options["as_of"] or options["end"]
    names = ("speed", "clock", "order", "tz")
    asked: dict[str, Any] = {name: options[name] for name in names if options[name] is not None}
    if options["exchanges"]:
        asked["exchange"] = options["exchanges"]
    return asked if end == "never" else {**asked, "end": end}


def _nodes(settings: Settings, options: dict[str, Any]) -> tuple[Any, str | None]:
    nodes = options["urls"] or f"http://127.0.0.1:{settings.web_port}"
    return nodes, options["key"] or next(iter(settings.api_keys), None)


async def _to_topic(
    settings: Settings,
    log: str,
    symbols: tuple[str, ...],
    begin: str,
    asked: dict[str, Any],
    options: dict[str, Any],
) -> int:
    nodes, key = _nodes(settings, options)
    kafka = with_bootstrap(settings.kafka, options["bootstrap"])
    async with k2_client.AsyncClient(nodes, key, patience_s=PATIENCE_S) as client:
        return await to_topic(
            kafka,
            options["topic"],
            options["name"],
            lambda start: client.stream(log, symbols, start=start, **asked),
            begin,
            resumes=options["resume"],
        )
