"""A table whose catalog was lost, found again by its newest metadata file.

A file's name begins with its version: `00017-<uuid>.metadata.json`. Of several with the newest one
(a commit that another was before) the last written is taken. Each says which rows it has and of
which offsets they are, so whichever it is, table and vector agree, and the sink goes on from there.
"""

import re

from pyiceberg.catalog import Catalog, MetastoreCatalog
from pyiceberg.exceptions import TableAlreadyExistsError
from pyiceberg.io import load_file_io

from k2_streams.core.records.stream import Stream
from k2_streams.lake.catalog import lake_calls, open_catalog
from k2_streams.lake.config import LakeConfig
from k2_streams.lake.errors import LakeConfigError
from k2_streams.lake.maintenance.table_files import list_files
from k2_streams.lake.schema import NAMESPACE, description_of

_METADATA = re.compile(r".*/metadata/(\d+)-[0-9a-f-]+\.metadata\.json")


def unregistered(config: LakeConfig, stream: Stream) -> str | None:
    """The newest metadata file of a table that the catalog does not know.

    None: it knows the table, or there is none below the warehouse.

    Raises:
        LakeUnavailableError: catalog or store does not answer.
    """
    catalog = open_catalog(config)
    try:
        with lake_calls(f"look for {stream.log}"):
            if catalog.table_exists(description_of(stream).identifier):
                return None
            return _newest(catalog, config, stream)
    finally:
        catalog.close()


def register(config: LakeConfig, stream: Stream, metadata_file: str) -> None:
    """Let the catalog know a table by its metadata file. One that it knows by now stays.

    Raises:
        LakeUnavailableError: catalog or store does not answer.
    """
    catalog = open_catalog(config)
    try:
        with lake_calls(f"register {stream.log}"):
            catalog.create_namespace_if_not_exists(NAMESPACE)
            catalog.register_table(description_of(stream).identifier, metadata_file)
    except TableAlreadyExistsError:
        return
    finally:
        catalog.close()


def _newest(catalog: Catalog, config: LakeConfig, stream: Stream) -> str | None:
    if not isinstance(catalog, MetastoreCatalog):
        raise LakeConfigError(
            f"{stream.log}: the REST catalog has no such table, and it alone knows where its files "
            "are: register the newest file of its metadata folder there"
        )
    folder = f"{config.warehouse_uri}/{NAMESPACE}/{stream.name}"
    io = load_file_io({**config.properties, "warehouse": config.warehouse_uri}, folder)
    found = [
        (int(named[1]), one.modified_ms, one.path)
        for one in list_files(io, f"{folder}/metadata")
        if (named := _METADATA.fullmatch(one.path))
    ]
    if not found:
        return None
    path = max(found)[2]
    return path if "://" in path else f"file://{path}"
