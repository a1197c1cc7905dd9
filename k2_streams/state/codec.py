"""The bytes of a changelog of rows: one record per changed row, and one position per checkpoint.

A row's key is its key in the table (UTF-8), its value the table's own codec's. The position
record's key starts with a zero byte, which no row's key does. Tables of the task itself share the
changelog of the first declared table: a byte of their own stands before their keys.
"""

import mmh3

POSITION_KEY = b"\x00position"
#: Of the table `deferral`: records of each key that are deferred.
COUNT_PREFIX = b"\x01"
#: Of the table `timers`: what agents have set.
TIMER_PREFIX = b"\x02"
#: The rows of the declared table itself.
ROWS = ""
#: Tables that share a changelog, by the byte that their keys begin with.
SHARED_TABLES = {COUNT_PREFIX: "deferral", TIMER_PREFIX: "timers"}
_MASK = (1 << 64) - 1
#: What stands before the key in what is hashed, of the lengths that keys have. Made once: a
#: checkpoint hashes every row that it changes.
_LENGTHS = tuple(b"%d:" % length for length in range(256))


class StateFormatError(ValueError):
    """Bytes of a table that this version cannot read."""


def shared_table(key: bytes) -> str:
    """Which table of a shared changelog holds a key; `ROWS`: the declared one."""
    return SHARED_TABLES.get(key[:1], ROWS)


def row_hash(key: bytes, value: bytes) -> int:
    """A row's part of its table's checksum (MurmurHash3, 64 of 128 bits)."""
    length = len(key)
    before = _LENGTHS[length] if length < len(_LENGTHS) else b"%d:" % length
    low: int = mmh3.hash64(before + key + value, signed=False)[0]
    return low


def add_hash(checksum: int, *, new: int = 0, old: int = 0) -> int:
    """The checksum with one row's hash added and another's taken away."""
    return (checksum + new - old) & _MASK
