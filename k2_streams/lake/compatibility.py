"""Whether K2 can write to a table as other engines have left it. Pure.

Fields count by their ids and types, as in Iceberg. Another engine may add optional columns, comment
on columns, reorder them, make them optional and change the sort order: rows of K2 then have no
value of what it does not know, and its files claim no order. A K2 column that is renamed, dropped
or retyped, a column that must have a value, and any other partitioning would make files that other
engines read wrongly, or not at all.
"""

from collections.abc import Iterator

from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.types import NestedField

from k2_streams.lake.errors import TableMismatchError
from k2_streams.lake.schema import NAMESPACE, TableDescription


def check_table(described: TableDescription, metadata: TableMetadata) -> None:
    """Refuse a table that K2 cannot write to, and say how to undo what makes it so.

    Raises:
        TableMismatchError: its columns or partitions are not those of K2.
    """
    found = [*_columns(described, metadata), *_partitions(described, metadata)]
    if found:
        raise TableMismatchError(
            f"{described.stream.log}: expected columns and partitions that K2 can write, found: "
            f"{'; '.join(found)}. Nothing is written until then, and the sink goes on by itself"
        )


def grows_as_expected(described: TableDescription, metadata: TableMetadata) -> bool:
    """Whether columns that the table lacks would get the ids that K2's files give them.

    They would not if one was dropped, or if another engine added a column before.
    """
    lacking = [f for f in described.added if f.name not in metadata.schema().column_names]
    return not lacking or lacking[0].field_id == metadata.last_column_id + 1


def is_partitioned_alike(described: TableDescription, spec: PartitionSpec) -> bool:
    """Whether files of this spec lie in the partitions that K2's files lie in."""
    return _meaning(spec) == _meaning(described.partition_spec)


def _columns(described: TableDescription, metadata: TableMetadata) -> Iterator[str]:
    schema, table = metadata.schema(), f"{NAMESPACE}.{described.stream.name}"
    by_id = {field.field_id: field for field in schema.fields}
    for expected in described.schema.fields:
        found = by_id.pop(expected.field_id, None)
        name, of = expected.name, f"column {expected.name} (field id {expected.field_id})"
        if found is None:
            yield f"{of} is missing: {_schema_back(described, metadata)}"
        elif found.name != name and not any(_fits_one(expected, s) for s in metadata.schemas):
            yield f"{of} is another engine's {found.name}: {_schema_back(described, metadata)}"
        elif found.name != name:
            yield (
                f"{of} is named {found.name}: ALTER TABLE {table} RENAME COLUMN "
                f"{found.name} TO {name}"
            )
        elif found.field_type != expected.field_type:
            yield (
                f"{of} is {found.field_type}, K2 writes {expected.field_type}: "
                f"{_schema_back(described, metadata)}"
            )
        elif found.required and not expected.required:
            yield f"{of} must have a value: ALTER TABLE {table} ALTER COLUMN {name} DROP NOT NULL"
    for other in by_id.values():
        if other.required:
            yield (
                f"column {other.name} must have a value, and K2 has none for it: "
                f"ALTER TABLE {table} ALTER COLUMN {other.name} DROP NOT NULL"
            )


def _schema_back(described: TableDescription, metadata: TableMetadata) -> str:
    """How to undo what no ALTER TABLE undoes: a dropped column does not get its id back."""
    good = [s for s in reversed(metadata.schemas) if _fits(described, s)]
    if not good:
        return "no schema of the table has it as K2 writes it: use a new warehouse"
    return f"make schema {good[0].schema_id} the table's current one again"


def _fits(described: TableDescription, schema: Schema) -> bool:
    by_id = {field.field_id: field for field in schema.fields}
    return all(_same(field, by_id.get(field.field_id)) for field in described.schema.fields)


def _fits_one(expected: NestedField, schema: Schema) -> bool:
    return any(_same(expected, field) for field in schema.fields)


def _same(expected: NestedField, found: NestedField | None) -> bool:
    return found is not None and (found.field_id, found.name, found.field_type) == (
        expected.field_id,
        expected.name,
        expected.field_type,
    )


def _partitions(described: TableDescription, metadata: TableMetadata) -> Iterator[str]:
    expected, found = described.partition_spec, metadata.spec()
    wanted, there = _meaning(expected), _meaning(found)
    if wanted == there:
        return
    schema, table = metadata.schema(), f"{NAMESPACE}.{described.stream.name}"
    drop = [
        f"ALTER TABLE {table} DROP PARTITION FIELD {field.name}"
        for field in found.fields
        if (field.source_id, str(field.transform)) not in wanted
    ]
    add = [
        f"ALTER TABLE {table} ADD PARTITION FIELD {_text(field, described.schema)}"
        for field in expected.fields
        if (field.source_id, str(field.transform)) not in there
    ]
    fields = ", ".join(_text(field, schema) for field in found.fields)
    ours = ", ".join(_text(field, described.schema) for field in expected.fields)
    yield f"the table is partitioned by [{fields}], K2 writes [{ours}]: {'; '.join(drop + add)}"


def _meaning(spec: PartitionSpec) -> list[tuple[int, str]]:
    """What of a partitioning its files depend on: names and ids are the table's own."""
    return [(field.source_id, str(field.transform)) for field in spec.fields]


def _text(field: PartitionField, schema: Schema) -> str:
    source = schema.find_column_name(field.source_id) or f"field {field.source_id}"
    return f"{field.transform}({source})"
