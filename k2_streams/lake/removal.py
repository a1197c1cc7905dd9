"""The end of a table: whether there is one, and its removal with its files."""

from enum import Enum, auto
from pathlib import Path

from pyiceberg.catalog import Catalog
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from k2_streams.core.records.stream import Stream
from k2_streams.lake.catalog import lake_calls, open_catalog
from k2_streams.lake.config import LakeConfig
from k2_streams.lake.errors import TableMissingError
from k2_streams.lake.schema import description_of


class TableState(Enum):
    """What a catalog has of a table."""

    ABSENT = auto()
    EMPTY = auto()  # nothing was ever committed to it
    FILLED = auto()


def table_state(config: LakeConfig, stream: Stream) -> TableState:
    """What the catalog has of a stream's table. Changes nothing, creates nothing.

    Raises:
        LakeUnavailableError, LakeConfigError: the catalog does not say it.
    """
    if _is_absent(config):
        return TableState.ABSENT
    catalog = open_catalog(config)
    try:
        with lake_calls(f"look for {stream.log}"):
            table = catalog.load_table(description_of(stream).identifier)
            return TableState.FILLED if table.metadata.snapshots else TableState.EMPTY
    except TableMissingError:
        return TableState.ABSENT
    finally:
        catalog.close()


def remove_table(config: LakeConfig, stream: Stream) -> None:
    """Remove a stream's table from the catalog, then its data and metadata files.

    A table that is not there is none. Files that cannot be deleted are logged by the library and
    belong to no table any more.

    Raises:
        LakeUnavailableError, LakeConfigError: the catalog does not do it.
    """
    if _is_absent(config):
        return
    catalog = open_catalog(config)
    try:
        _purge(catalog, stream)
    finally:
        catalog.close()


def _purge(catalog: Catalog, stream: Stream) -> None:
    try:
        with lake_calls(f"remove {stream.log}"):
            catalog.purge_table(description_of(stream).identifier)
    except TableMissingError:
        return


def _is_absent(config: LakeConfig) -> bool:
    """Whether the catalog is a file that does not exist: to open it would create it."""
    if config.is_rest:
        return False
    try:
        database = make_url(config.catalog_uri)
    except ArgumentError:
        return False  # `open_catalog` says what is wrong
    is_file = database.get_backend_name() == "sqlite" and bool(database.database)
    return is_file and not Path(str(database.database)).exists()
