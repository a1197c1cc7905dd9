"""The app of a user's module, as a command's argument names it."""

import sys

import click

from k2_streams.cli.errors import CannotError
from k2_streams.core.records.stream import StreamError
from k2_streams.importing import import_when_used
from k2_streams.runtime.app import App
from k2_streams.topology.declarations import Topology
from k2_streams.topology.errors import TopologyError

#: Where none is named: what `faust -A MODULE worker` starts.
_ATTRIBUTE = "app"

argument = click.argument("module", metavar="MODULE[:APP]")


def load_app(module: str) -> App:
    """Import a module as `faust -A` does: the current folder is looked in first.

    Raises:
        CannotError: there is no such module, or no app in it.
    """
    name, _, attribute = module.partition(":")
    if not name or name.startswith("."):
        raise CannotError(f"{module!r} names no module: name one as `faust -A` takes it")
    folder = ""  # the current one
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        imported = import_when_used(name)
    except (TopologyError, StreamError) as error:
        raise CannotError(f"{name}: {error}") from error
    except ImportError as error:
        raise CannotError(
            f"{name}: cannot be imported ({error}): name a module as `faust -A` takes it"
        ) from error
    attribute = attribute or _ATTRIBUTE
    found = getattr(imported, attribute, None)
    if not isinstance(found, App):
        what = "nothing" if found is None else f"a {type(found).__name__}"
        raise CannotError(
            f"{name}: expected a k2.App named {attribute}, found {what}: name it, as MODULE:APP"
        )
    return found


def checked_topology(app: App) -> Topology:
    """The app's topology.

    Raises:
        CannotError: its declarations do not fit together.
    """
    try:
        return app.topology
    except TopologyError as error:
        raise CannotError(str(error)) from error
