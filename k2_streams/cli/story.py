"""How a command runs a story of `demo`: a stage of its own, an end in order, an exit code."""

import contextlib
import time
from collections.abc import Callable

import click
from rich.console import Console

from k2_client import ClientError
from k2_streams.cli.errors import CannotError
from k2_streams.demo.frame import Stopped, ignore_signals, last_line, own_stage, stoppable
from k2_streams.demo.web import DemoError
from k2_streams.kafka.sender import UNREACHABLE
from k2_streams.runtime.settings.environment import SettingsError
from k2_streams.testing.local.broker_errors import BrokerError
from k2_streams.testing.local.stage import Stage
from k2_streams.testing.local.workers import WorkerError
from k2_streams.testing.oracle.topic_records import NotReachedError
from k2_streams.testing.oracle.truth_file import TruthError

EXIT_DIFFERENT = 1
#: A shell's exit code of a command that a signal ended: this and the signal's number.
EXIT_SIGNALLED = 128


def run_story(context: click.Context, story: Callable[[Console, Stage], bool]) -> None:
    """Run a story to its end, and exit with 0 if every number agrees.

    Args:
        context: of the command.
        story: given the terminal and a stage on which nothing runs; whether all numbers agree.
    """
    console = Console(highlight=False)
    began = time.monotonic()
    try:
        with stoppable(), own_stage() as stage, contextlib.ExitStack() as last:
            last.callback(ignore_signals)
            agreed = story(console, stage)
            if not stage.kept:
                console.print("\nstopping the worker and Kafka ...", style="dim")
    except Stopped as stopped:
        console.print(f"\n{stopped}: everything that was started has been stopped")
        context.exit(EXIT_SIGNALLED + stopped.number)
    except (BrokerError, SettingsError) as error:
        raise CannotError(str(error)) from error
    except (
        DemoError, ClientError, WorkerError, NotReachedError, TruthError, *UNREACHABLE,
    ) as error:  # fmt: skip
        raise click.ClickException(f"the story broke off: {error}") from error
    console.print(last_line(agreed, time.monotonic() - began))
    context.exit(0 if agreed else EXIT_DIFFERENT)
