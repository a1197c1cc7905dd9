"""A DuckDB that reaches nothing outside, and what its errors mean.

It is configured, then its external access is turned off but for what is allowed, then its
configuration is locked: in this order, since each step forbids the one before it.
"""

from collections.abc import Sequence
from enum import Enum

import duckdb


class StatementFailure(Enum):
    """Why a statement failed."""

    INTERRUPTED = "interrupted"
    MEMORY = "memory"
    OTHER = "other"


def failure_of(error: Exception) -> StatementFailure:
    """Why, of what DuckDB raised.

    What it raises while Arrow takes its rows comes as Arrow's, with the kind in front of the text.
    A kind behind it, in a value or a name, says nothing.
    """
    text = str(error)
    if isinstance(error, duckdb.InterruptException) or text.startswith("INTERRUPT Error:"):
        return StatementFailure.INTERRUPTED
    is_memory = isinstance(error, duckdb.OutOfMemoryException | MemoryError)
    if is_memory or text.startswith("Out of Memory Error:"):
        return StatementFailure.MEMORY
    return StatementFailure.OTHER


def connect(*, threads: int, memory_bytes: int) -> duckdb.DuckDBPyConnection:
    """An instance that `wall` is still to be called for.

    Args:
        threads: of all its statements together.
        memory_bytes: that it may count of them; above it one fails, nothing goes to disk.
    """
    connection = duckdb.connect(
        ":memory:",
        config={
            "threads": threads,
            "memory_limit": f"{memory_bytes}B",
            "temp_directory": "",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
        },
    )
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    return connection


def wall(connection: duckdb.DuckDBPyConnection, allowed: Sequence[str] = ()) -> None:
    """Take all access from an instance but that to these folders; it cannot be given again."""
    if allowed:
        connection.execute("SET GLOBAL allowed_directories = ?", [list(allowed)])
    connection.execute("SET GLOBAL enable_external_access = false")
    connection.execute("SET GLOBAL lock_configuration = true")
