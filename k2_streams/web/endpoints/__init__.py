"""The paths of the HTTP contract: one file per endpoint, found by being in this folder.

Each module has a function `endpoints(streams)`, which gives the endpoints for the streams that are
served, or none where they have no meaning. To add an endpoint, add a file: routes, the OpenAPI
document and the reference page follow.
"""

import pkgutil
from typing import Any

from k2_streams.core.records.stream import Stream
from k2_streams.importing import import_when_used
from k2_streams.web.declaration.endpoint import Endpoint, EndpointError


def declared(streams: tuple[Stream, ...]) -> tuple[Endpoint[Any], ...]:
    """Every built-in endpoint, those about data first, in the order of their paths.

    Raises:
        EndpointError: two endpoints have the same path.
    """
    found: list[Endpoint[Any]] = []
    for module in pkgutil.iter_modules(__path__):
        declaring = import_when_used(f"{__name__}.{module.name}")
        found += declaring.endpoints(streams)
    paths = [endpoint.path for endpoint in found]
    if len(set(paths)) < len(paths):
        raise EndpointError(f"two endpoints have the same path: {sorted(paths)}")
    return tuple(sorted(found, key=lambda one: (not one.path.startswith("/v1/"), one.path)))
