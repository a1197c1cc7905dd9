"""The query engine of a worker: its logs share one, so queries have one limit of memory."""

from k2_streams.query.engine import Engine, EngineConfig
from k2_streams.query.store_files import StoreFiles
from k2_streams.runtime.control.memory import query_limit_bytes
from k2_streams.runtime.metrics.table import QueryMetrics
from k2_streams.runtime.ports import Ports
from k2_streams.runtime.settings.worker import Settings


def new_engine(settings: Settings, ports: Ports, metrics: QueryMetrics) -> Engine:
    """The engine that the settings describe; the metrics show its memory."""
    files, folder = ports.catalog.files, settings.lake.folder
    limit_bytes = settings.query_memory_bytes or query_limit_bytes(ports.memory.limit_bytes)
    engine = ports.new_engine(
        EngineConfig(
            memory_bytes=limit_bytes,
            allowed=() if folder is None else (folder,),
            store=None if files is None else StoreFiles(files, ports.clock),
        ),
        ports.clock,
    )
    metrics.query_memory_limit_bytes.set(limit_bytes)
    metrics.query_memory_bytes.set_function(lambda: engine.memory().used_bytes)
    metrics.query_footer_cache_bytes.set_function(lambda: engine.memory().footers_bytes)
    return engine
