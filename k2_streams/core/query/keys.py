"""Which rows are wanted by the columns of a stream's key."""

#: What a key column holds: text or an integer.
KeyValue = str | int
#: Columns with the values wanted of each; a column that is not named may have any value.
Keys = tuple[tuple[str, tuple[KeyValue, ...]], ...]


def keys_of(**wanted: tuple[KeyValue, ...]) -> Keys:
    """Columns with the values wanted; no value means all, so that the column is not named."""
    return tuple((column, values) for column, values in wanted.items() if values)


def wanted_of(keys: Keys, column: str) -> tuple[KeyValue, ...]:
    """The values wanted of a column; none: all."""
    return next((values for name, values in keys if name == column), ())
