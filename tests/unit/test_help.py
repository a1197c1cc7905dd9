"""What every command shows of itself: an example."""

from collections.abc import Iterator

import click
import pytest

from k2_streams.cli.main import main


def _commands(command: click.Command, context: click.Context) -> Iterator[click.Context]:
    yield context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _commands(found, click.Context(found, context, info_name=name))


_CONTEXTS = list(_commands(main, click.Context(main, info_name="k2")))


@pytest.mark.parametrize("context", _CONTEXTS, ids=[each.command_path for each in _CONTEXTS])
def test_every_command_shows_an_example(context):
    assert "Example" in context.command.get_help(context)
