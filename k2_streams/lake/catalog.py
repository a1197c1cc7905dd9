"""The catalog: opened by its address, with its many ways to fail made one."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import (
    CommitFailedException,
    ForbiddenError,
    NoSuchNamespaceError,
    NoSuchTableError,
    RESTError,
    UnauthorizedError,
)
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from k2_streams.lake.config import LakeConfig
from k2_streams.lake.errors import LakeConfigError, LakeUnavailableError, TableMissingError

if TYPE_CHECKING:
    from pyiceberg.catalog.sql import SqlCatalog

CATALOG = "k2"
#: With a write-ahead log a process that stands still in the middle of a question holds back no
#: commit of another; with SQLite's default it does.
SQLITE_JOURNAL = "WAL"


@contextmanager
def lake_calls(doing: str) -> Iterator[None]:
    """Name what catalogs and stores raise by what can be done about it.

    Raises:
        LakeConfigError: the credentials are refused.
        TableMissingError: there is no such table.
        LakeUnavailableError: the database, the service, the network or the store failed.
    """
    try:
        yield
    except (UnauthorizedError, ForbiddenError) as error:
        raise LakeConfigError(
            f"{doing}: expected access, the catalog refused it: {error}"
        ) from error
    except (NoSuchTableError, NoSuchNamespaceError) as error:
        raise TableMissingError(f"{doing}: {error}") from error
    # requests' exceptions are OSErrors; a REST error is what the service answered.
    except (OSError, RESTError, DBAPIError, PoolTimeoutError, CommitFailedException) as error:
        raise LakeUnavailableError(f"{doing}: {type(error).__name__}: {error}") from error


def _prepared(catalog: "SqlCatalog") -> Catalog:
    """Let no question show what was not committed, and no reader hold a commit back.

    A commit that SQLite refuses (`database is locked`) leaves its transaction open, and the pool
    hands the connection on: whoever reads the table with it would find the commit in there, and
    take it for one that landed.
    """
    engine = catalog.engine
    event.listen(engine, "checkin", _roll_back)
    if engine.dialect.name == "sqlite":
        # Written down in the file, once. It fails where another holds the file for itself, or
        # the file system has no shared memory: then a commit waits for readers, as it did.
        with suppress(OperationalError), engine.connect() as connection:
            connection.exec_driver_sql(f"PRAGMA journal_mode={SQLITE_JOURNAL}")
    return catalog


def _roll_back(connection: DBAPIConnection | None, _record: object) -> None:
    if connection is not None:  # else it was closed already, by an error
        connection.rollback()


def open_catalog(config: LakeConfig) -> Catalog:
    """Open the catalog; of a sqlite one and a local warehouse the folders are created.

    Raises:
        LakeConfigError: the address is not one, or access is refused.
        LakeUnavailableError: it does not answer.
    """
    with lake_calls("open the catalog"):
        try:
            if not config.is_rest:
                database = make_url(config.catalog_uri)
                if database.get_backend_name() == "sqlite" and database.database:
                    Path(database.database).parent.mkdir(parents=True, exist_ok=True)
            if config.warehouse_uri.startswith("file://"):
                Path(config.warehouse_uri.removeprefix("file://")).mkdir(
                    parents=True, exist_ok=True
                )
            properties = {
                **config.properties,
                "uri": config.catalog_uri,
                "warehouse": config.warehouse_uri,
            }
            if config.is_rest:
                # A tenth of a second that no worker with a SQL catalog needs.
                from k2_streams.lake.rest import BoundedRestCatalog  # noqa: PLC0415

                return BoundedRestCatalog(CATALOG, **properties)
            return _prepared(cast("SqlCatalog", load_catalog(CATALOG, **properties, type="sql")))
        except (ImportError, ValueError, TypeError, KeyError) as error:
            # pyiceberg checks properties as it uses them, and imports what they need.
            raise LakeConfigError(
                f"K2_CATALOG_*: pyiceberg cannot use these properties: {error!r}"
            ) from error
        except (ArgumentError, NoSuchModuleError) as error:
            # The address may hold a password: it is not repeated.
            raise LakeConfigError(
                "K2_CATALOG_URI: expected sqlite:///..., another SQL address or http(s)://..., "
                "found something else"
            ) from error
