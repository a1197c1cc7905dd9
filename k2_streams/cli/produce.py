"""`k2 produce`: the load generator."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import click

from k2_streams.cli.errors import CannotError
from k2_streams.cli.fault_options import fault_options
from k2_streams.cli.option_types import InstantType, TiersType
from k2_streams.core.records.source import INPUTS
from k2_streams.feeds.recordings.readers import FEEDS
from k2_streams.kafka.sender import UNREACHABLE, NotAcknowledgedError
from k2_streams.kafka.topics import TopicConfigurationError
from k2_streams.testing.load import produce as load
from k2_streams.testing.load.job import settle
from k2_streams.testing.load.options import LoadError, LoadOptions, LoadOptionsError

EXIT_NOT_ACKNOWLEDGED = 1
COMPRESSIONS = ("none", "lz4", "zstd", "snappy", "gzip")


class NotSentError(click.ClickException):
    """Something was sent and is not known to have arrived."""

    exit_code = EXIT_NOT_ACKNOWLEDGED


_EXAMPLES = """\b
Examples:
  k2 produce --rate 1000                          until Ctrl-C, as if it were live
  k2 produce --messages 1000000 --seed 7 --gaps 0.1% --duplicates 0.1% \\
      --disorder 0.1% --late 0.1% --invalid 0.1% --resets 50 --truth truth.jsonl.gz
  K2_MAX_RATE_PER_S=1000 k2 produce --rate 0.5x:10,10x:60,0.1x:300 --tiers 20:5%,180:25% \\
      --tiers-file tiers.csv --watch http://127.0.0.1:6066
  k2 produce --messages 1000000 --seed 7 --ids --duplicates 1% --truth ids.jsonl.gz
  k2 produce --feed binance.spot *.gz --repeat 2 --truth truth.jsonl
  k2 produce --feed hitbtc.v2 --lines HITBTC.ws.*.0 --truth lines.jsonl
  k2 produce --stream quotes --feed asx.quotes.csv 7078.csv --truth quotes.jsonl
  k2 produce --feed binance.spot *.gz --seed 3 --gaps 1% --disorder 1% --truth edited.jsonl
  k2 produce --feed hitbtc.v2 --lines HITBTC.ws.*

A seed makes a run repeatable to the byte: event time then starts at 2025-06-02T09:30:00Z unless
--start says otherwise. Without one each run is new: event time starts now, in a session of its
own.

Ctrl-C ends a run in order: all that was sent is acknowledged and is in the truth file.
Exit codes: 0 all sent is acknowledged; 1 something is not; 2 it could not begin."""


@click.command(epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--rate",
    default="0",
    show_default=True,
    help="Messages per second; 0: as fast as possible. 10x: ten times K2_MAX_RATE_PER_S. "
    "Steps RATE:SECONDS by comma, FROM..TO:SECONDS is a ramp.",
)
@click.option(
    "--event-rate",
    type=click.FloatRange(0, min_open=True),
    help="Messages per second of event time, where it is not --rate: history made quickly.",
)
@click.option("--messages", type=click.IntRange(1), help="How many, before repeats.")
@click.option("--duration", type=click.FloatRange(0, min_open=True), help="Seconds, at most.")
@click.option("--symbols", type=click.IntRange(1, 1_000_000), default=1000, show_default=True)
@click.option(
    "--skew",
    type=click.FloatRange(0, 5),
    default=1.0,
    show_default=True,
    help="Zipf's exponent over the symbols; 0: all alike.",
)
@click.option(
    "--tiers",
    type=TiersType(),
    help="Symbols and their share of the messages, of tiers 1 and 2: 20:5%,180:25%.",
)
@click.option(
    "--tiers-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the table of these tiers here, for K2_TIERS_FILE.",
)
@click.option("--watch", help="A worker's address: show its lag, level and freshness by tier.")
@click.option("--seed", type=click.IntRange(0), help="Of all that is random.  [default: a new one]")
@click.option("--start", type=InstantType(), help="Event time of the first message, or `now`.")
@click.option(
    "--exchange",
    help="Of the messages.  [default: SIM; of recordings the feed's own, or the record's]",
)
@fault_options
@click.option(
    "--session",
    type=click.Choice(["declared", "fall"]),
    help="A session is a field's, or begins where the number falls after a gap of an hour.",
)
@click.option(
    "--feed",
    help=f"Send recordings (FILES) of this feed instead: {', '.join(sorted(FEEDS))}, or one of "
    "another package.",
)
@click.option(
    "--lines",
    is_flag=True,
    help="FILES are redundant lines of one feed: sent as received, each record naming its line.",
)
@click.option(
    "--repeat", type=click.IntRange(1), default=1, show_default=True, help="Of all that is sent."
)
@click.option(
    "--truth",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the expected results here; gzipped if it ends in .gz.",
)
@click.option("--bootstrap", help="Broker.  [default: $K2_BOOTSTRAP or 127.0.0.1:9092]")
@click.option(
    "--stream",
    type=click.Choice(list(INPUTS)),
    default="trades",
    show_default=True,
    help="What is sent.",
)
@click.option("--topic", help="Where to.  [default: the stream's raw topic]")
@click.option("--compression", type=click.Choice(COMPRESSIONS), default="none", show_default=True)
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def produce(**options: Any) -> None:
    """Send trades or quotes: synthetic ones with known faults, or recordings (FILES)."""
    # aiokafka's warnings about an unreachable broker repeat the text of the error.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        job = settle(LoadOptions(**options))
    except LoadOptionsError as error:
        raise click.UsageError(str(error)) from error
    except LoadError as error:
        raise CannotError(str(error)) from error
    try:
        asyncio.run(load.produce(job))
    except (LoadError, TopicConfigurationError) as error:
        raise CannotError(str(error)) from error
    except NotAcknowledgedError as error:
        raise NotSentError(f"{error}; no truth was written") from error
    except UNREACHABLE as error:
        raise CannotError(
            f"no broker answers at {job.settings.kafka.bootstrap} ({error}): start one with "
            "`k2 broker start`, or name another with --bootstrap or K2_BOOTSTRAP"
        ) from error
