"""Relations with arguments in a statement's tree: each call becomes a table of its own name."""

from collections.abc import Iterator, Mapping
from typing import Any

from k2_streams.query.errors import InvalidParameter
from k2_streams.query.functions import RelationFunction
from k2_streams.query.relations import Relation

Node = dict[str, Any]
#: Relations with arguments that a statement may name: each has as many rows in memory as a log.
MAX_CALLED = 8
#: What a call has that a table has too.
_KEPT = ("sample", "query_location", "query_location_length", "column_name_alias")


def refused(message: str) -> InvalidParameter:
    """A statement that does not run, and why."""
    return InvalidParameter("query", message)


def expand_functions(
    tree: Node, functions: Mapping[str, RelationFunction], template: Node
) -> dict[str, Relation]:
    """Put a table where FROM calls a function; the relations that these tables are, by name.

    Args:
        tree: of the statement; it is changed.
        functions: by name, in lower case.
        template: the tree of a SELECT from one table.

    Raises:
        InvalidParameter: a call has other arguments than are expected, or they are too many.
    """
    table = template["statements"][0]["node"]["from_table"]
    found: dict[str, Relation] = {}
    for node in list(_calls(tree, functions)):
        function = functions[node["function"]["function_name"].lower()]
        try:
            relation = _relation(function, node)
        except ValueError as error:
            raise refused(f"{function.name}: {error}") from error
        found[relation.name] = relation
        if len(found) > MAX_CALLED:
            raise refused(f"expected at most {MAX_CALLED} relations with arguments")
        made = {
            **table,
            **{name: node[name] for name in _KEPT},
            "alias": node["alias"] or function.name,
            "table_name": relation.name,
            "qualified_name": {"path": [relation.name]},
        }
        node.clear()
        node.update(made)
    return found


def _calls(tree: Node, functions: Mapping[str, RelationFunction]) -> Iterator[Node]:
    """Where FROM calls one of the functions, however deep."""
    left: list[Any] = [tree]
    while left:
        node = left.pop()
        if isinstance(node, list):
            left += node
        elif isinstance(node, dict):
            if node.get("type") == "TABLE_FUNCTION" and _name(node["function"]) in functions:
                yield node
            left += node.values()


def _name(function: Node) -> str | None:
    """Its name, if it stands alone: one in a schema is another."""
    path = function.get("qualified_name", {}).get("path", ())
    return path[0].lower() if len(path) == 1 else None


def _relation(function: RelationFunction, node: Node) -> Relation:
    if node["with_ordinality"] != "WITHOUT_ORDINALITY":
        raise ValueError(f"expected {function.usage} without ordinality")
    first, named = [], {}
    for argument in node["function"].get("arguments", ()):
        literal = argument["expression"].get("literal", {})
        if literal.get("kind") != "STRING":
            raise ValueError(f"expected texts, as {function.usage}")
        if argument["name"]:
            named[argument["name"]] = literal["text"]
        else:
            first.append(literal["text"])
    return function.relation(first, named)
