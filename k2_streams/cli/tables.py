"""The tables of the lake that a command is about."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any, TypeVar

import click

from k2_streams.cli.errors import CannotError
from k2_streams.cli.loaded_app import checked_topology, load_app
from k2_streams.core.records.source import INPUTS
from k2_streams.core.records.stream import STREAMS, Stream
from k2_streams.lake.errors import LakeError, TableMissingError
from k2_streams.lake.maintenance.tags import NothingTaggedError
from k2_streams.lake.table import Lake
from k2_streams.runtime.settings.worker import Settings

_Command = TypeVar("_Command", bound=Callable[..., Any])
_Done = TypeVar("_Done")


def table_options(command: _Command) -> _Command:
    """`--table` and `--app`, by which a command's tables are chosen."""
    table = click.option(
        "--table",
        "names",
        multiple=True,
        help="Of this table; may be repeated.  [default: every one there is]",
    )
    app = click.option(
        "--app", "module", metavar="MODULE[:APP]",
        help="Tables that this app writes.  [default: trades, quotes and their ledgers]",
    )  # fmt: skip
    return table(app(command))


def chosen_lakes(settings: Settings, module: str | None, names: Sequence[str]) -> Iterator[Lake]:
    """A handle on each table that was chosen, in turn; without names on those that exist.

    Raises:
        CannotError: there is no such table.
        LakeError: the catalog does not say it.
    """
    streams = _streams_of(module)
    for name in names or streams:
        if name not in streams:
            raise CannotError(
                f"table {name!r}: expected {' or '.join(streams)}, found none of that name: of a "
                "table that an app writes name the app with --app"
            )
        with closing(Lake(settings.lake, stream=streams[name])) as lake:
            try:
                lake.load()
            except TableMissingError as error:
                if names:
                    raise CannotError(str(error)) from error
                continue
            yield lake


def _streams_of(module: str | None) -> dict[str, Stream]:
    if module is None:
        ledgers = (stream for source in INPUTS.values() for stream in source.ledger)
        return {stream.name: stream for stream in (*STREAMS.values(), *ledgers)}
    topology = checked_topology(load_app(module))
    return {stream.name: stream for stream in (*topology.streams, *topology.ledger)}


def each_table(
    settings: Settings, module: str | None, names: Sequence[str], act: Callable[[Lake], _Done]
) -> list[tuple[str, _Done]]:
    """What came of each table, by its name; without names of those that it concerns.

    Raises:
        CannotError: it concerns none, or one of them could not be read or changed.
    """
    done, absent = [], None
    try:
        for lake in chosen_lakes(settings, module, names):
            try:
                done.append((lake.stream.name, act(lake)))
            except NothingTaggedError as error:
                if names:
                    raise
                absent = error
    except LakeError as error:
        raise CannotError(str(error)) from error
    if absent is not None and not done:
        raise CannotError(str(absent)) from absent
    return done
