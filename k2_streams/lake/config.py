"""Where the lake is."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class LakeConfig:
    """Of one catalog and the tables in it.

    Attributes:
        catalog_uri: `sqlite:///path` (or another SQL database), or `http(s)://` of a REST catalog.
        warehouse: a folder, or `file://` or `s3://` of one. What a REST catalog calls its warehouse
            is passed on as it is.
        properties: passed through to the catalog and its file system: `s3.endpoint`, `token`, ...
            They may hold secrets and are therefore neither logged nor shown by `repr`.
    """

    catalog_uri: str
    warehouse: str
    properties: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def is_rest(self) -> bool:
        """Whether the catalog is a REST service."""
        return self.catalog_uri.startswith(("http://", "https://"))

    @property
    def folder(self) -> str | None:
        """The folder that a local warehouse is; None: an object store, or a REST catalog's name."""
        uri = self.warehouse_uri
        if uri.startswith("file://"):
            return uri.removeprefix("file://")
        return uri if uri.startswith("/") else None

    @property
    def warehouse_uri(self) -> str:
        """The warehouse with its scheme: a bare path becomes an absolute `file://` one."""
        if self.is_rest or "://" in self.warehouse:
            return self.warehouse
        return f"file://{Path(self.warehouse).absolute()}"
