"""An Iceberg catalog in memory beneath pyiceberg: its real append, scan and metadata.

A commit is one step of the catalog's: the requirements are checked against the table as it is when
the request arrives. Around it is what a network does, where `Faults` want it so: requests refused,
answers lost in every kind of words, commits that are made after their writer stopped waiting.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from pyiceberg.exceptions import (
    CommitFailedException,
    CommitStateUnknownException,
    NoSuchTableError,
    ServiceUnavailableError,
    TableAlreadyExistsError,
)
from pyiceberg.partitioning import assign_fresh_partition_spec_ids
from pyiceberg.schema import assign_fresh_schema_ids
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.metadata import TableMetadata, new_table_metadata
from pyiceberg.table.sorting import assign_fresh_sort_order_ids
from pyiceberg.table.update import update_table_metadata
from sqlalchemy.exc import OperationalError

from k2_streams.testing.memory.faults import Faults, MemoryFault
from k2_streams.testing.memory.loop import VirtualLoop, pause
from k2_streams.testing.memory.warehouse import LOCATION, MemoryWarehouse

Answered = TypeVar("Answered")

#: A commit that is made late is so after one of these, at the most.
LATE_S = (0.02, 0.5, 8.0)


class MemoryCatalogService:
    """The catalog's own side: the tables as they are, and every metadata that they ever had.

    Args:
        loop: gives the time.
        faults: decides what goes wrong.
        moved: called with a table's name after each commit to it.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        faults: Faults,
        moved: Callable[[str], None] = lambda _table: None,
    ) -> None:
        self.loop = loop
        self.faults = faults
        self.warehouse = MemoryWarehouse(faults)
        self._moved = moved
        self._histories: dict[str, list[TableMetadata]] = {}

    def history(self, table: str) -> list[TableMetadata]:
        """Every metadata of a table, oldest first; none: it was never created."""
        return self._histories.get(table, [])

    def table(self, table: str) -> TableMetadata | None:
        """A table as it is; None: it was never created."""
        history = self.history(table)
        return history[-1] if history else None

    def location(self, table: str) -> str:
        """Of its newest metadata; nothing is stored there."""
        return f"{LOCATION}/{table.replace('.', '/')}/metadata/{len(self.history(table))}.json"

    def create(self, table: str, metadata: Callable[[str], TableMetadata]) -> TableMetadata:
        """Create a table, with the metadata made for its location.

        Raises:
            TableAlreadyExistsError: it is there.
        """
        if table in self._histories:
            raise TableAlreadyExistsError(table)
        made = metadata(f"{LOCATION}/{table.replace('.', '/')}")
        self._histories[table] = [made]
        return made

    def commit(
        self, table: str, requirements: tuple[Any, ...], updates: tuple[Any, ...]
    ) -> TableMetadata:
        """Check and apply, as one step.

        Raises:
            CommitFailedException: the table is not as the commit requires it.
        """
        current = self.table(table)
        if current is None:
            raise NoSuchTableError(table)
        for requirement in requirements:
            requirement.validate(current)
        after = update_table_metadata(
            current, updates, enforce_validation=False, metadata_location=self.location(table)
        )
        self._histories[table].append(after)
        self._moved(table)
        return after


class MemoryCatalog:
    """A client of the service, as far as `Lake` and pyiceberg's `Table` call it."""

    def __init__(self, service: MemoryCatalogService) -> None:
        self._service = service

    def _delete_old_metadata(self, *_: Any) -> None:
        """Metadata are no files here."""

    def close(self) -> None:
        """Nothing is open."""

    def create_namespace_if_not_exists(self, namespace: Any, properties: Any = None) -> None:  # noqa: ARG002 - pyiceberg's signature
        """Any namespace is there."""
        self._ask(lambda: None)

    def table_exists(self, identifier: Any) -> bool:
        """Whether a table is there."""
        return self._ask(lambda: self._service.table(_name(identifier)) is not None)

    def create_table(
        self, identifier: Any, *, schema: Any, partition_spec: Any, sort_order: Any, properties: Any
    ) -> Table:
        """Create a table.

        Raises:
            TableAlreadyExistsError: it is there.
        """

        def metadata(location: str) -> TableMetadata:
            fresh = assign_fresh_schema_ids(schema)
            return new_table_metadata(
                location=location,
                schema=fresh,
                partition_spec=assign_fresh_partition_spec_ids(partition_spec, schema, fresh),
                sort_order=assign_fresh_sort_order_ids(sort_order, schema, fresh),
                properties=dict(properties),
            )

        name = _name(identifier)
        return self._table(name, self._ask(lambda: self._service.create(name, metadata)))

    def load_table(self, identifier: Any) -> Table:
        """A table as it is now.

        Raises:
            NoSuchTableError: it was never created.
        """
        name = _name(identifier)

        def load() -> TableMetadata:
            found = self._service.table(name)
            if found is None:
                raise NoSuchTableError(name)
            return found

        return self._table(name, self._ask(load))

    def commit_table(
        self, table: Table, requirements: tuple[Any, ...], updates: tuple[Any, ...]
    ) -> CommitTableResponse:
        """Commit to a table."""
        service, faults, name = self._service, self._service.faults, _name(table.name())
        pause(faults.one_way_s())
        if faults.happens(MemoryFault.CATALOG_REFUSED):
            raise self._words()
        if faults.happens(MemoryFault.CATALOG_LATE):
            delay_s = faults.chance.random() * faults.chance.choice(LATE_S)
            service.loop.later(delay_s, self._land_late, name, requirements, updates)
            raise self._words()
        after = service.commit(name, requirements, updates)
        location = service.location(name)
        if faults.happens(MemoryFault.CATALOG_LOST):
            raise self._words()
        pause(faults.one_way_s())
        return CommitTableResponse.model_construct(metadata=after, metadata_location=location)

    def _land_late(
        self, name: str, requirements: tuple[Any, ...], updates: tuple[Any, ...]
    ) -> None:
        try:
            self._service.commit(name, requirements, updates)
        except CommitFailedException:
            return
        self._service.faults.count("landed_late")

    def _words(self) -> Exception:
        """What a catalog, a proxy or a network says when it says nothing certain."""
        kind: Callable[[], Exception] = self._service.faults.chance.choice(
            [
                lambda: CommitFailedException("conflict"),
                lambda: CommitStateUnknownException("502"),
                lambda: TimeoutError("read timed out"),
                lambda: ConnectionResetError("reset"),
                lambda: OperationalError("update", {}, Exception("database is locked")),
            ]
        )
        return kind()

    def _ask(self, arrive: Callable[[], Answered]) -> Answered:
        faults = self._service.faults
        pause(faults.one_way_s())
        if faults.happens(MemoryFault.CATALOG_AWAY):
            raise ServiceUnavailableError("503")
        result = arrive()
        pause(faults.one_way_s())
        return result

    def _table(self, name: str, metadata: TableMetadata) -> Table:
        service = self._service
        catalog: Any = self  # as far as a table calls it
        return Table(
            tuple(name.split(".")), metadata, service.location(name), service.warehouse, catalog
        )


def _name(identifier: Any) -> str:
    return identifier if isinstance(identifier, str) else ".".join(identifier)
