"""The rules for conditions of trades, from a file of comma-separated values."""

import csv
from pathlib import Path

from k2_streams.core.query.bars.conditions import ConditionRule, ConditionRules
from k2_streams.runtime.settings.text_files import ENCODING, encoding_error

_FLAGS = {"false": False, "true": True}
#: The tapes' tables have fewer than 100 rules per exchange.
MAX_BYTES = 1 << 20


class ConditionsError(ValueError):
    """The file cannot be used: fix the line that the text names."""


def load(path: Path) -> ConditionRules:
    """The rules of a file: a header of `ConditionRule`'s fields, then one line per condition.

    Raises:
        ConditionsError: the file cannot be read, is not UTF-8, a line is not of this kind, or two
            are about the same condition.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConditionsError(f"{path}: expected at most {MAX_BYTES} bytes")
        with path.open(newline="", encoding=ENCODING) as file:
            return _read(path, csv.DictReader(file))
    except UnicodeDecodeError as error:
        raise ConditionsError(f"{path}, {encoding_error(path, error)}") from error
    except OSError as error:
        raise ConditionsError(f"{path}: cannot be read: {error.strerror or error}") from error


def _read(path: Path, reader: "csv.DictReader[str]") -> ConditionRules:
    expected = ConditionRule._fields
    try:
        if sorted(reader.fieldnames or ()) != sorted(expected):
            raise ConditionsError(f"{path}, line 1: expected the columns {', '.join(expected)}")
        rules = []
        for line in reader:
            try:
                rules.append(_rule(line))
            except ValueError as error:
                raise ConditionsError(f"{path}, line {reader.line_num}: {error}") from error
    except csv.Error as error:  # the reader has not counted the line yet
        raise ConditionsError(f"{path}, line {reader.line_num + 1}: {error}") from error
    try:
        return ConditionRules(tuple(rules))
    except ValueError as error:
        raise ConditionsError(f"{path}: {error}") from error


def _rule(line: dict[str, str]) -> ConditionRule:
    if None in line or None in line.values():
        raise ValueError("expected as many values as columns")
    exchange, condition = (line[name].strip() for name in ConditionRule._fields[:2])
    if not exchange or not condition:
        raise ValueError("expected an exchange and a condition, found none")
    flags = []
    for name in ConditionRule._fields[2:]:
        text = line[name].strip().lower()
        if text not in _FLAGS:
            raise ValueError(f"{name}: expected true or false, found {line[name]!r}")
        flags.append(_FLAGS[text])
    return ConditionRule(exchange, condition, *flags)
