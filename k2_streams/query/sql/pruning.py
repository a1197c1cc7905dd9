"""Which rows of each relation a statement can need, by its conditions on keys and times."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow as pa

from k2_streams.core.query.keys import Keys, KeyValue
from k2_streams.core.records.derived import exchange_times
from k2_streams.query.errors import InvalidParameter
from k2_streams.query.relations import Relation
from k2_streams.query.sql.calls import Node
from k2_streams.query.sql.parsing import Condition, Occurrence, ParsedStatement, Statements

#: Types of constants that a time is compared with as it is: others are rounded on the way.
_INTEGERS = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT"})
_TIMES = frozenset({"VARCHAR", "DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE"})
_TEXT = frozenset({"VARCHAR"})
_DATES = frozenset({"VARCHAR", "DATE"})
#: Characters of a constant text: no key is longer.
MAX_TEXT = 4_096
#: As of `keys`: more values are not worth a look at each.
MAX_VALUES = 50

Parameters = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Needed:
    """Rows of a relation: at least those that a statement can need."""

    keys: Keys = ()
    start_ns: int | None = None
    end_ns: int | None = None


def needed(
    duck: Statements, statement: ParsedStatement, parameters: Parameters
) -> dict[str, Needed]:
    """What is needed of each relation, by name, for wherever the statement names it."""
    evaluate = _Evaluate(duck, statement.template, parameters)
    found: dict[str, Needed] = {}
    for occurrence in statement.occurrences:
        name = occurrence.relation.name
        more = _of_occurrence(occurrence, evaluate)
        found[name] = more if name not in found else _either(found[name], more)
    return found


def _either(one: Needed, other: Needed) -> Needed:
    theirs = dict(other.keys)
    keys = tuple(
        (column, tuple(sorted({*values, *theirs[column]})))
        for column, values in one.keys
        if column in theirs
    )
    starts, ends = (one.start_ns, other.start_ns), (one.end_ns, other.end_ns)
    return Needed(
        keys,
        None if None in starts else min(ns for ns in starts if ns is not None),
        None if None in ends else max(ns for ns in ends if ns is not None),
    )


class _Evaluate:
    """Constant expressions, evaluated by DuckDB itself."""

    def __init__(self, duck: Statements, template: Node, parameters: Parameters) -> None:
        self._duck = duck
        self._template = template
        self._parameters = parameters

    def __call__(self, node: Node, types: Iterable[str], wrapped: str = "{}") -> Any:
        """The value, if it is of one of these types; else None."""
        select = {**self._template["statements"][0]["node"], "select_list": [node]}
        tree = {"error": False, "statements": [{"node": select, "named_param_map": []}]}
        named = {name: self._parameters[name] for name in _parameters(node)}
        try:
            ((text,),) = self._duck.fetch(
                "SELECT json_deserialize_sql(?)", [msgspec.json.encode(tree).decode()]
            )
            ((value, kind),) = self._duck.fetch(
                f"SELECT {wrapped.format('x')}, typeof(x) FROM ({text}) AS constant(x)",  # noqa: S608 (DuckDB's own text of a checked expression)
                named or None,
            )
        except InvalidParameter:
            return None  # the statement itself will say what is wrong
        if isinstance(value, str) and len(value) > MAX_TEXT:
            return None
        return value if kind in types else None


def _parameters(node: Any) -> set[str]:
    if isinstance(node, list):
        return {name for one in node for name in _parameters(one)}
    if not isinstance(node, dict):
        return set()
    if node.get("class") == "PARAMETER":
        return {node["identifier"]}
    return {name for one in node.values() for name in _parameters(one)}


def _of_occurrence(occurrence: Occurrence, evaluate: _Evaluate) -> Needed:
    relation = occurrence.relation
    keys: dict[str, tuple[KeyValue, ...]] = {}
    starts: list[int] = []
    ends: list[int] = []
    for condition in occurrence.conditions:
        if condition.column in relation.keys and condition.comparison == "COMPARE_EQUAL":
            values = _key_values(relation, condition, evaluate)
            if values is not None:
                keys.setdefault(condition.column, values)
        bounds = _bounds(relation, condition, evaluate)
        if bounds is not None:
            start_ns, end_ns = bounds
            starts += [] if start_ns is None else [start_ns]
            ends += [] if end_ns is None else [end_ns]
    start_ns = max(starts, default=None)
    end_ns = min(ends, default=None)
    if start_ns is not None and end_ns is not None:
        end_ns = max(start_ns, end_ns)
    return Needed(tuple(sorted(keys.items())), start_ns, end_ns)


def _key_values(
    relation: Relation, condition: Condition, evaluate: _Evaluate
) -> tuple[KeyValue, ...] | None:
    kind = relation.columns.field(condition.column).type
    types, wrapped = _TEXT if pa.types.is_string(kind) else _INTEGERS, "{}"
    if pa.types.is_date(kind):
        types, wrapped = _DATES, "CAST(CAST({} AS DATE) AS VARCHAR)"
    values = {evaluate(one, types, wrapped) for one in condition.values[: MAX_VALUES + 1]}
    return None if None in values or len(values) > MAX_VALUES else tuple(sorted(values))


def _bounds(
    relation: Relation, condition: Condition, evaluate: _Evaluate
) -> tuple[int | None, int | None] | None:
    """The start, inclusive, and the end, exclusive, of event time that a condition allows."""
    if condition.column == relation.time:
        unit_ns = 1
        values = [evaluate(one, _INTEGERS) for one in condition.values]
    elif relation.is_log and relation.log.derived.get(condition.column) is exchange_times:
        # The column has the time in whole microseconds, rounded down.
        unit_ns = 1_000
        wrapped = "epoch_us(CAST({} AS TIMESTAMP WITH TIME ZONE))"
        values = [evaluate(one, _TIMES, wrapped) for one in condition.values]
    else:
        return None
    if not values or None in values:
        return None
    low, high = min(values), max(values)
    allowed = {
        "COMPARE_EQUAL": (low, high + 1),
        "COMPARE_GREATERTHANOREQUALTO": (low, None),
        "COMPARE_GREATERTHAN": (low + 1, None),
        "COMPARE_LESSTHANOREQUALTO": (None, high + 1),
        "COMPARE_LESSTHAN": (None, high),
    }
    start, end = allowed[condition.comparison]
    return None if start is None else start * unit_ns, None if end is None else end * unit_ns
