"""A statement as DuckDB's own parser has it: exactly one SELECT, of what is allowed alone.

The tree that DuckDB serialises is what is checked; the text is never searched. Where a condition on
a key or a time of a relation stands so that rows which break it cannot matter, it is noted: fewer
rows are read for it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import msgspec

from k2_streams.query.functions import RelationFunction
from k2_streams.query.relations import Relation
from k2_streams.query.sql.allowed import (
    CONSTANTS,
    EXPRESSIONS,
    FUNCTIONS,
    NODES,
    SESSION_VALUES,
    TABLE_FUNCTIONS,
)
from k2_streams.query.sql.calls import Node, expand_functions, refused

#: Of a request.
MAX_STATEMENT_BYTES = 64 << 10
#: Levels of the tree: 20 subqueries inside one another, and expressions as deep.
MAX_DEPTH = 200
#: Nodes of the tree: of a statement of 64 KiB the walk takes half a second.
MAX_NODES = 50_000

_TREE = msgspec.json.Decoder()
_FLIPPED = {
    "COMPARE_EQUAL": "COMPARE_EQUAL",
    "COMPARE_GREATERTHAN": "COMPARE_LESSTHAN",
    "COMPARE_GREATERTHANOREQUALTO": "COMPARE_LESSTHANOREQUALTO",
    "COMPARE_LESSTHAN": "COMPARE_GREATERTHAN",
    "COMPARE_LESSTHANOREQUALTO": "COMPARE_GREATERTHANOREQUALTO",
}


class Statements(Protocol):
    """What DuckDB says of texts, wherever it runs."""

    def kinds(self, text: str) -> list[str]:
        """The kind of each statement of a text.

        Raises:
            InvalidParameter: it cannot be read.
        """

    def fetch(self, text: str, parameters: Any = None) -> list[list[Any]]:
        """The rows of a query whose values are numbers and texts.

        Raises:
            InvalidParameter: DuckDB refused it.
        """


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on a column: it compares with any of some constant expressions."""

    column: str
    comparison: str  # of `_FLIPPED`
    values: tuple[Node, ...]


@dataclass(slots=True)
class Occurrence:
    """A relation where FROM names it, with the conditions on its rows."""

    relation: Relation
    alias: str
    columns: tuple[str, ...]  # the relation's in their order, as the statement calls them
    conditions: list[Condition] = field(default_factory=list)


class FromNames(NamedTuple):
    """What FROM may name."""

    relations: Mapping[str, Relation]
    functions: Mapping[str, RelationFunction]


@dataclass(frozen=True, slots=True)
class ParsedStatement:
    """A statement that may run.

    Attributes:
        text: as it was given; a relation with arguments stands in it by its name.
        occurrences: of relations.
        parameters: named in it.
        template: a query without FROM, to evaluate constant expressions with.
    """

    text: str
    occurrences: tuple[Occurrence, ...]
    parameters: frozenset[str]
    template: Node


def parse(duck: Statements, text: str, named: FromNames) -> ParsedStatement:
    """The statement, checked.

    Raises:
        InvalidParameter: it is not one SELECT, or holds what is not allowed.
    """
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError as error:
        raise refused("expected UTF-8") from error
    if size_bytes > MAX_STATEMENT_BYTES:
        raise refused(f"expected at most {MAX_STATEMENT_BYTES} bytes, found {size_bytes}")
    kinds = duck.kinds(text)
    if kinds != ["SELECT"]:
        raise refused(f"expected exactly one SELECT, found {', '.join(kinds) or 'nothing'}")
    tree = _tree(duck, text)
    called = expand_functions(tree, named.functions, _tree(duck, "SELECT * FROM one"))
    if called:
        text = _text(duck, tree)
    check = _Check({**named.relations, **called})
    check.visit(tree["statements"][0]["node"], frozenset(), 0)
    return ParsedStatement(
        text,
        tuple(check.occurrences.values()),
        frozenset(check.parameters),
        _tree(duck, "SELECT 1"),
    )


def _tree(duck: Statements, text: str) -> Node:
    ((serialised,),) = duck.fetch("SELECT json_serialize_sql(?)", [text])
    try:
        tree: Node = _TREE.decode(serialised)
    except RecursionError as error:
        raise refused("it is nested too deeply") from error
    if tree["error"]:
        raise refused(str(tree.get("error_message", "it cannot be read")))
    return tree


def _text(duck: Statements, tree: Node) -> str:
    """A tree as a statement."""
    serialised = msgspec.json.encode(tree).decode()
    ((text,),) = duck.fetch("SELECT json_deserialize_sql(?)", [serialised])
    return str(text)


class _Check:
    """One walk over a tree."""

    def __init__(self, relations: Mapping[str, Relation]) -> None:
        self._relations = {name.lower(): relation for name, relation in relations.items()}
        self._nodes = 0
        self._of_from: set[int] = set()  # ids of functions of FROM
        self.occurrences: dict[int, Occurrence] = {}  # by the id of the node
        self.parameters: set[str] = set()

    def visit(self, node: Any, ctes: frozenset[str], depth: int) -> None:
        """Check a node and all below it; `ctes` are the names that WITH gives here."""
        if isinstance(node, list):
            for one in node:
                self.visit(one, ctes, depth)
        if not isinstance(node, dict):
            return
        self._nodes += 1
        if depth > MAX_DEPTH or self._nodes > MAX_NODES:
            raise refused("it is nested too deeply, or too large")
        self._check(node, ctes)
        for entry in node.get("cte_map", {}).get("map", ()):
            self.visit(entry["value"]["query_node"], ctes, depth + 1)
            ctes |= {entry["key"].lower()}
        for name, below in node.items():
            if name != "cte_map" and isinstance(below, dict | list):
                self.visit(below, ctes, depth + 1)
        if node.get("type") == "SELECT_NODE":
            self._note_conditions(node)

    def _check(self, node: Node, ctes: frozenset[str]) -> None:
        kind, of_class = node.get("type"), node.get("class")
        if of_class is not None:
            if of_class not in EXPRESSIONS:
                raise refused(f"{_words(of_class)} is not allowed")
            if of_class in {"FUNCTION", "WINDOW"}:
                is_table = id(node) in self._of_from
                _check_function(node, TABLE_FUNCTIONS if is_table else FUNCTIONS)
            elif of_class == "PARAMETER":
                self.parameters.add(node["identifier"])
            elif of_class == "COLUMN_REF":
                _check_column(node["column_names"])
        elif isinstance(kind, str) and kind not in NODES:
            raise refused(f"{_words(kind)} is not allowed")
        elif kind == "BASE_TABLE":
            self._note_table(node, ctes)
        elif kind == "TABLE_FUNCTION":
            self._of_from.add(id(node["function"]))
        if node.get("sample") is not None:
            raise refused("a sample is not allowed: it is another one each time")

    def _note_table(self, node: Node, ctes: frozenset[str]) -> None:
        path = node["qualified_name"]["path"]
        name = path[-1].lower()
        if len(path) == 1 and name in ctes:
            return
        relation = self._relations.get(name) if len(path) == 1 else None
        if relation is None or node.get("at_clause") is not None:
            raise refused(
                f"there is no relation {'.'.join(path)}: expected one of "
                f"{', '.join(sorted(self._relations))}"
            )
        alias = (node["alias"] or path[-1]).lower()
        renamed = node["column_name_alias"]
        columns = (*renamed, *relation.columns.names[len(renamed) :])
        self.occurrences[id(node)] = Occurrence(
            relation, alias, tuple(name.lower() for name in columns)
        )

    def _note_conditions(self, select: Node) -> None:
        """Give the conditions of WHERE and of inner joins to the relations they are about."""
        conditions = list(_conjuncts(select["where_clause"]))
        tables = [
            self.occurrences[id(one)]
            for one in _tables(select["from_table"], conditions)
            if id(one) in self.occurrences
        ]
        for expression in conditions:
            for names, comparison, values in _comparisons(expression):
                for table in tables:
                    column = _column(names, table)
                    if column is not None and all(map(_is_constant, values)):
                        table.conditions.append(Condition(column, comparison, values))


def _check_function(node: Node, known: frozenset[str]) -> None:
    path = node.get("qualified_name", {}).get("path", [node["function_name"]])
    if len(path) != 1 or node["function_name"].lower() not in known:
        raise refused(f"function {'.'.join(path)} is not allowed here")


def _check_column(names: list[str]) -> None:
    if len(names) == 1 and names[0].lower() in SESSION_VALUES:
        raise refused(
            f"{names[0]} is not allowed: a column of that name needs its table's before it"
        )


def _words(kind: str) -> str:
    return kind.lower().replace("_", " ")


def _tables(node: Node, conditions: list[Node]) -> Iterator[Node]:
    """The tables of FROM of which a condition of WHERE says which rows can matter.

    A comparison is false of the row of nulls that an outer join makes up, so its rows can be left
    out on either side. It is not so of the right side of an as-of join, where a row that is left
    out makes way for another, nor where rows are matched by their position.
    """
    if node["type"] == "BASE_TABLE":
        yield node
    elif node["type"] == "JOIN" and node["ref_type"] in {"REGULAR", "CROSS", "NATURAL", "ASOF"}:
        is_inner = node["join_type"] == "INNER" and node["ref_type"] != "ASOF"
        if is_inner:
            conditions += _conjuncts(node["condition"])
        yield from _tables(node["left"], conditions if is_inner else [])
        both = node["join_type"] in {"INNER", "LEFT", "RIGHT", "FULL", "OUTER"}
        if both and node["ref_type"] != "ASOF":
            yield from _tables(node["right"], conditions if is_inner else [])


def _conjuncts(node: Node | None) -> Iterator[Node]:
    if node is None:
        return
    if node["type"] == "CONJUNCTION_AND":
        for child in node["children"]:
            yield from _conjuncts(child)
    else:
        yield node


def _comparisons(node: Node) -> Iterator[tuple[list[str], str, tuple[Node, ...]]]:
    """The column, comparison and other sides of a condition, if it is one of a column."""
    match node["type"], node:
        case "COMPARE_BETWEEN", {"input": {"class": "COLUMN_REF", "column_names": names}}:
            yield names, "COMPARE_GREATERTHANOREQUALTO", (node["lower"],)
            yield names, "COMPARE_LESSTHANOREQUALTO", (node["upper"],)
        case "COMPARE_IN", {"children": [{"class": "COLUMN_REF", "column_names": names}, *values]}:
            yield names, "COMPARE_EQUAL", tuple(values)
        case comparison, {
            "class": "COMPARISON", "left": {"class": "COLUMN_REF", "column_names": names},
        } if comparison in _FLIPPED:  # fmt: skip
            yield names, comparison, (node["right"],)
        case comparison, {
            "class": "COMPARISON", "right": {"class": "COLUMN_REF", "column_names": names},
        } if comparison in _FLIPPED:  # fmt: skip
            yield names, _FLIPPED[comparison], (node["left"],)


def _column(names: list[str], table: Occurrence) -> str | None:
    """The relation's column of that name; of a name alone whichever relation has it."""
    *of, name = (part.lower() for part in names)
    if of not in ([], [table.alias]):
        return None
    at = table.columns.index(name) if name in table.columns else None
    return None if at is None else table.relation.columns.field(at).name


def _is_constant(node: Any) -> bool:
    if isinstance(node, list):
        return all(map(_is_constant, node))
    if not isinstance(node, dict):
        return True
    if "class" in node and node["class"] not in CONSTANTS:
        return False
    return all(map(_is_constant, node.values()))
