"""`k2 cost`: what a deployment costs per month."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
from click.decorators import FC

from k2_streams.cli.errors import CannotError
from k2_streams.core.cost.inputs import MeasuredFigures, Prices, Workload
from k2_streams.core.cost.markdown import markdown
from k2_streams.core.cost.model import contradictions, estimate
from k2_streams.core.cost.triggers import fired

#: What K2 ships: the figures of its own benchmark, and one list of prices.
FIGURES = Path(__file__).parents[1] / "core" / "cost" / "figures"
MEASURED, PRICES = FIGURES / "measured.json", FIGURES / "prices-aws-us-east-1.json"
_RATE = re.compile(r"(\d+(?:\.\d+)?)([kKmM]?)")
_TIMES = {"": 1.0, "k": 1e3, "m": 1e6}
_File = TypeVar("_File", MeasuredFigures, Prices)
_EXAMPLES = """\b
Examples:
  k2 cost --rate 10k
  k2 cost --rate 1M --queries-per-s 50 --lake-days 730
  k2 cost --rate 10M --prices my-prices.json --format json

Exit codes: 0 computed; 2 a file or an option cannot be used."""


class MessageRateType(click.ParamType):
    """Messages per second: `10k`, `1M`, `2500`."""

    name = "rate"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """A number above zero."""
        found = _RATE.fullmatch(str(value).strip())
        rate = float(found[1]) * _TIMES[found[2].lower()] if found else 0.0
        if rate <= 0:
            self.fail(f"expected 10k, 1M or 2500, found {value!r}", param, ctx)
        return rate


def _file(default: Path, name: str, what: str) -> Callable[[FC], FC]:
    return click.option(
        f"--{name}", f"{name}_file", default=default, help=what,
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
    )  # fmt: skip


@click.command(epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rate", type=MessageRateType(), required=True, help="Messages per second.")
@click.option(
    "--message-bytes",
    type=float,
    default=150.0,
    show_default=True,
    help="Size of one message, before compression.",
)
@click.option(
    "--retention-days",
    type=float,
    default=7.0,
    show_default=True,
    help="How long Kafka keeps raw messages and the log.",
)
@click.option(
    "--lake-days",
    type=float,
    default=365.0,
    show_default=True,
    help="How long the lake keeps rows.",
)
@click.option("--replication", type=int, default=3, show_default=True, help="Copies of each topic.")
@click.option(
    "--queries-per-s",
    type=float,
    default=5.0,
    show_default=True,
    help="Of the kind that was measured.",
)
@click.option(
    "--query-nodes",
    type=int,
    default=2,
    show_default=True,
    help="Nodes that read the log and answer.",
)
@click.option(
    "--commit-interval-s",
    type=float,
    default=10.0,
    show_default=True,
    help="K2_LAKE_COMMIT_INTERVAL_S.",
)
@_file(PRICES, "prices", "A price list.  [default: AWS, us-east-1, as shipped]")
@_file(MEASURED, "measured", "Measured figures.  [default: those shipped]")
@click.option("--format", "form", type=click.Choice(["md", "json"]), default="md",
              show_default=True, help="A page, or one JSON object.")  # fmt: skip
def cost(*, rate: float, prices_file: Path, measured_file: Path, form: str, **more: Any) -> None:
    """Compute what a rate of messages costs per month, row by row."""
    try:
        load = msgspec.convert({"rate_per_s": rate, **more}, Workload)
    except msgspec.ValidationError as error:
        raise CannotError(f"an option is out of range: {error}") from error
    measured, prices = _read(measured_file, MeasuredFigures), _read(prices_file, Prices)
    report = estimate(load, measured, prices)
    wrong = contradictions(report)
    assert not wrong, wrong  # noqa: S101 - the model's own arithmetic
    triggers = fired(report)
    if form == "md":
        click.echo(markdown(load, measured, prices, report, triggers))
        return
    parts = {"load": load, "measured": measured, "prices": prices, "report": report}
    whole = msgspec.json.encode({**parts, "triggers": triggers})
    click.echo(msgspec.json.format(whole, indent=2))


def _read(file: Path, form: type[_File]) -> _File:
    """A file of inputs.

    Raises:
        CannotError: it lacks a field, or one has a value that cannot be.
    """
    try:
        return msgspec.json.decode(file.read_bytes(), type=form)
    except msgspec.MsgspecError as error:
        raise CannotError(f"{file}: {error}") from error
