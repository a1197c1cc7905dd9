"""Queries for rows as a caller of `/v1/trades` writes them."""

from k2_streams.web.declaration.parameters import ParameterSet
from k2_streams.web.endpoints.rows import RowsParameters, rows_request

_SET = ParameterSet([RowsParameters])


def parse_rows(parameters):
    """The query that these parameters ask; each is a text, or several."""
    given = {
        name: [value] if isinstance(value, str) else list(value)
        for name, value in parameters.items()
    }
    return rows_request(RowsParameters(**_SET.read(given)), frozenset(given))
