"""Faust's web server, with bounds on its connections and without Faust's own pages."""

import ssl
from typing import Any

from faust.web.base import BlueprintManager
from faust.web.drivers.aiohttp import Web

from k2_streams.web.http.connections import BoundedSite, Connections
from k2_streams.web.server import new_runner


class BoundedWeb(Web):  # type: ignore[misc]
    """The web of a Faust app; its `web_app` is where K2's paths are installed."""

    def __init__(
        self,
        app: Any,
        connections: Connections,
        host: str,
        port: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(app)
        self._tls = tls
        self._connections = connections
        self._host = host
        self._port = port
        self._runner = new_runner(self.web_app)
        self.blueprints = BlueprintManager()  # Faust's own pages are not part of the contract

    def _create_site(self) -> BoundedSite:
        return BoundedSite(self._runner, self._host, self._port, self._connections, self._tls)
