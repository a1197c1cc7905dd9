"""pyiceberg's REST catalog with a bound on every answer.

pyiceberg 0.12.0 gives its requests no time-out: a catalog that takes a request and never answers
holds the sink's only thread, and with it every commit to come.
"""

import functools
from typing import Any

from pyiceberg.catalog.rest import RestCatalog

CONNECT_WITHIN_S = 10.0
#: A commit writes a metadata file and asks a database: seconds at the worst. What takes longer is
#: treated as unknown, and looked for in the table.
ANSWER_WITHIN_S = 30.0


class BoundedRestCatalog(RestCatalog):
    """Raises `requests.Timeout`, an `OSError`, instead of waiting for ever."""

    def _create_session(self) -> Any:
        session = super()._create_session()
        session.request = functools.partial(  # type: ignore[method-assign]
            session.request, timeout=(CONNECT_WITHIN_S, ANSWER_WITHIN_S)
        )
        return session
