"""The options of `k2 produce` that ask for faults."""

from collections.abc import Callable
from typing import Any

import click

from k2_streams.cli.option_types import KindsType, ResetsType, ShareType
from k2_streams.testing.load.invalid import BY_NAME

_SHARE = ShareType()
_OPTIONS = (
    click.option(
        "--gaps", type=_SHARE, default="0", help="Where 1 to 20 sequence numbers are never sent."
    ),
    click.option("--duplicates", type=_SHARE, default="0", help="Sent once more a bit later."),
    click.option("--disorder", type=_SHARE, default="0", help="Swapped with the symbol's next."),
    click.option("--late", type=_SHARE, default="0", help="Sent 20 to 200 of the symbol later."),
    click.option("--invalid", type=_SHARE, default="0", help="Invalid, for the dead letter topic."),
    click.option(
        "--invalid-kinds", type=KindsType(), help=f"Of {', '.join(BY_NAME)}.  [default: all]"
    ),
    click.option(
        "--ids",
        is_flag=True,
        help="A trade id, no sequence number; --duplicates then come at any distance.",
    ),
    click.option(
        "--resets",
        type=ResetsType(),
        default="0",
        help="New sessions: a share below 1, a count from 1 on.",
    ),
)


def fault_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, in this order."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
