"""A lake that cannot be written to, and a table that another engine changes."""

from collections.abc import Iterator
from contextlib import contextmanager

from pyiceberg.table import Table

from deploy.runbooks.causes.feeds import load, sending, trickle
from deploy.runbooks.scene import Scene
from k2_streams.lake.catalog import open_catalog


@contextmanager
def store_away(scene: Scene) -> Iterator[None]:
    """The folder of the tables' files cannot be written to: a file lies in its place."""
    folder = scene.stage.directory / "warehouse"
    aside = folder.with_name("aside")
    folder.rename(aside)
    folder.write_text("")
    try:
        with sending(trickle)(scene):
            yield
    finally:
        folder.unlink()
        aside.rename(folder)


@contextmanager
def column_renamed(scene: Scene) -> Iterator[None]:
    """Another engine renames a column, until someone renames it again."""
    with _table(scene).update_schema() as update:
        update.rename_column("price", "last_price")
    load(scene)
    yield
    with _table(scene).update_schema() as update:
        update.rename_column("last_price", "price")


def _table(scene: Scene) -> Table:
    return open_catalog(scene.settings().lake).load_table("k2.trades")
