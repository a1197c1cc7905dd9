"""The tree is the architecture: imports point one way, and only some may touch the world.

The sources are read, not run. Each rule is also tried on code that breaks it, through the same
function: a checker that finds nothing proves nothing.
"""

import ast
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: What each package may import of the others; `calendars`, `certificates`, `clock`, `failpoints`,
#: `importing`, `native` and `traces` are open to all but core and topology.
_LOWEST = {"core", "feeds", "kafka", "lake", "state"}
MAY_IMPORT = {
    "__init__": {"core", "topology", "web", "runtime"},  # the public names, imported when used
    "calendars": set(),
    "certificates": set(),
    "clock": set(),
    "failpoints": set(),
    "importing": set(),
    "native": set(),
    "traces": set(),
    "core": set(),
    "topology": {"core"},  # declarations and agents know neither Kafka nor RocksDB
    "feeds": {"core"},
    "kafka": {"core"},
    "lake": {"core"},
    "state": {"core", "kafka"},  # a take-over reads the changelog
    "query": _LOWEST,
    "web": _LOWEST | {"query"},
    "runtime": _LOWEST | {"topology", "query", "web"},
    "replay": {"core", "kafka", "query", "web"},  # a client of workers, and a writer of topics
    "testing": _LOWEST | {"topology", "query", "runtime"},  # no part of a worker imports it
    "demo": {"core", "kafka", "runtime", "testing"},
    "cli": _LOWEST | {"topology", "query", "web", "runtime", "testing", "demo", "replay"},
    "topologies": _LOWEST | {"topology", "query", "web", "runtime", "cli"},
}
ANYWHERE = {"pyarrow", "numpy", "msgspec", "mmh3"}
ANYWHERE_BUT_CORE = {"structlog"}
#: A heavy dependency lives in one folder.
HOME_OF = {
    "faust": ("runtime/faust_driver",),
    "mode": ("runtime/faust_driver",),
    # Brokers, catalog and threads in memory stand in for the libraries' own.
    "aiokafka": ("kafka", "testing/memory"),
    "cramjam": ("kafka",),  # the codecs of aiokafka
    "k2_native": ("native.py",),
    "greenlet": ("testing/memory/loop.py",),
    "pytest": ("testing/pytest_plugin.py",),
    "rocksdict": ("state",),
    "pyiceberg": ("lake", "testing/memory"),
    "sqlalchemy": ("lake", "testing/memory/catalog.py"),
    "duckdb": ("query", "testing/oracle/sql.py"),  # the latter shares no code on purpose
    "exchange_calendars": ("calendars.py",),  # it brings pandas
    "datasketches": ("lake/maintenance/statistics.py",),  # of an extra
    "fsspec": ("query", "testing/oracle/sql.py"),
    "aiohttp": ("web/http", "web/server.py"),  # an endpoint is data and knows no request
    "prometheus_client": ("runtime/metrics",),
    "opentelemetry": ("runtime/open_telemetry.py",),  # imported where traces are on
    "psutil": ("testing", "runtime", "cli"),
    "pydantic": ("runtime/settings",),
    "pydantic_settings": ("runtime/settings",),
    "annotated_types": ("runtime/settings",),  # pydantic's own
    "click": ("cli",),
    "k2_client": ("cli", "testing", "demo"),  # whoever asks a worker; no part of one does
    "rich": ("cli", "demo", "testing"),
    "matplotlib": ("demo/load_picture.py",),
}
#: What makes a run differ from the next: the world's time, chance, the environment.
ONLY_IN = {
    "time": ("clock.py", "failpoints.py", "runtime", "testing", "demo", "cli"),
    "datetime.datetime.now": ("clock.py",),
    "datetime.datetime.utcnow": ("clock.py",),
    "datetime.datetime.today": ("clock.py",),
    "datetime.date.today": ("clock.py",),
    "loop.time": ("clock.py", "testing/memory"),  # in memory the loop is the clock
    "random": ("cli", "testing"),
    "numpy.random": ("testing",),
    "secrets": ("web", "runtime", "testing", "cli"),
    "uuid.uuid1": (),
    "uuid.uuid4": ("lake", "web", "runtime", "cli"),  # lake: names of new files and commits
    "os.urandom": ("web", "runtime", "cli"),
    "hash": (),  # differs from process to process
    "os.environ": ("runtime/settings/environment.py",),
    "os.environb": (),
    "os.getenv": (),
    "click.envvar": (),  # click reads the environment behind a setting's declaration
    "os.putenv": (),
    # A task that nobody watches ends unnoticed: `runtime.control.supervisor` starts them. The
    # others wait
    # for theirs in the function that starts it, or are commands.
    "task.create_task": ("runtime/control/supervisor.py",),
    "task.ensure_future": ("kafka/sender.py", "query/symbols/totals.py"),
    "task.add_future": (),
    # One place makes Kafka's clients: with its address, its TLS and its login.
    "aiokafka.AIOKafkaConsumer": ("kafka/client.py",),
    "aiokafka.AIOKafkaProducer": ("kafka/client.py", "kafka/producer.py"),
    "aiokafka.admin.AIOKafkaAdminClient": ("kafka/client.py",),
    # And one makes contexts of TLS; `kafka/tls.py` also looks at what it does not trust.
    "ssl.SSLContext": ("certificates.py", "web/http/connections.py", "runtime/faust_driver"),
    "ssl.create_default_context": ("certificates.py", "kafka/tls.py"),
    # What msgspec knows of a struct is found before threads use it: `core/struct_types.py`.
    "msgspec.json.decode": ("cli", "testing"),
    "msgspec.msgpack.decode": ("testing",),
    "msgspec.convert": (
        "cli",
        "query/functions.py",
        "query/token.py",
        "runtime/settings/api_keys.py",
        "state/position.py",
    ),
    "threading.Thread": ("runtime/ports.py", "testing"),
    "threading.Timer": ("runtime/faust_driver/worker_app.py",),
    # An import by name is one that this cannot see. The first imports the public names, commands
    # those of `k2` and a user's module; the endpoints are the files of their own folder.
    "importlib.import_module": ("importing.py",),
    "k2_streams.importing.import_when_used": (
        "__init__.py",
        "cli/main.py",
        "cli/dead_letters.py",
        "cli/loaded_app.py",
        "runtime/tracing.py",
        "testing/__init__.py",
        "web/endpoints/__init__.py",
    ),
    "__import__": (),
}
#: A command that is longer does something itself.
MAX_COMMAND_LINES = 150
NOT_IN_COMMANDS = {"numpy", "pyarrow", "aiokafka", "aiohttp"}
#: What the oracle expects is computed by code of its own.
INDEPENDENT = {
    f"testing/oracle/{name}.py" for name in ("model", "model_messages", "model_ids", "sql")
}
TASK_STARTERS = {"create_task", "ensure_future", "add_future"}
#: Core decides and touches nothing, so what it may import is listed, not what it may not.
CORE_STDLIB = {
    *("__future__", "abc", "array", "base64", "binascii", "bisect", "collections", "copy"),
    *("dataclasses", "datetime", "decimal", "enum", "fractions", "functools", "hashlib", "heapq"),
    *("itertools", "json", "math", "operator", "re", "string", "struct", "types", "typing"),
    *("unicodedata", "zlib"),
}
#: Parts of what core may import, and builtins, that reach out of the process.
CORE_MAY_NOT_USE = {
    *("numpy.load", "numpy.save", "numpy.savez", "numpy.savez_compressed", "numpy.loadtxt"),
    *("numpy.savetxt", "numpy.genfromtxt", "numpy.fromfile", "numpy.memmap", "numpy.fromregex"),
    *("pyarrow.fs", "pyarrow.parquet", "pyarrow.dataset", "pyarrow.csv", "pyarrow.json"),
    *("pyarrow.feather", "pyarrow.orc", "pyarrow.flight", "pyarrow.OSFile", "pyarrow.memory_map"),
    *("pyarrow.input_stream", "pyarrow.output_stream", "pyarrow.create_memory_map"),
    *("open", "print", "input", "exec", "eval", "compile", "breakpoint"),
}


def violations(path: str, source: str) -> list[str]:
    """What a file breaks, as "line: name, why"; `path` is below `k2_streams` or is a topology's."""
    package = path.partition("/")[0].removesuffix(".py")
    if package not in MAY_IMPORT:
        return [f"1: {package}, in no layer: give it one in MAY_IMPORT"]
    tree = ast.parse(source)
    imports = list(_imports(tree, path))
    known = {alias: name for _, name, alias in imports}
    found = {
        (line, name, why)
        for line, name, _ in imports
        if (why := _import_refusal(package, path, name))
    }
    used = [(line, name) for line, name, _ in imports] + list(_uses(tree, known))
    found |= {
        (line, name, why) for line, name in used if (why := _use_refusal(package, path, name))
    }
    return [f"{line}: {name}, {why}" for line, name, why in sorted(found)]


def _imports(tree: ast.Module, path: str) -> Iterator[tuple[int, str, str]]:
    """(line, what is imported, the name it gets), wherever in the file it stands."""
    folder = path if path.startswith("topologies/") else f"k2_streams/{path}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for item in node.names:
                alias = item.asname or item.name.split(".")[0]
                yield node.lineno, item.name, alias
                if not item.asname:
                    yield node.lineno, alias, alias
        elif isinstance(node, ast.ImportFrom):
            above = folder.split("/")[: -node.level] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            for item in node.names:
                yield node.lineno, f"{module}.{item.name}", item.asname or item.name


def _uses(tree: ast.Module, known: dict[str, str]) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of attributes of what was imported, and of builtins."""
    nodes = list(ast.walk(tree))
    bound = {node.arg for node in nodes if isinstance(node, ast.arg)}
    bound |= {
        node.id
        for node in nodes
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)
    }
    for node in nodes:
        if isinstance(node, ast.Name) and node.id not in bound:
            yield node.lineno, known.get(node.id, node.id)
            if known.get(node.id, "").rpartition(".")[2] in TASK_STARTERS:
                yield node.lineno, f"task.{node.id}"
        elif isinstance(node, ast.keyword):
            if node.arg in {"envvar", "auto_envvar_prefix"}:
                yield node.value.lineno, "click.envvar"
        elif isinstance(node, ast.Attribute):
            name = _text(node)
            root, _, rest = name.partition(".")
            yield node.lineno, f"{known.get(root, f'?{root}')}.{rest}"
            if name.endswith(("loop.time", "loop().time")):  # asyncio's clock
                yield node.lineno, "loop.time"
            if node.attr in TASK_STARTERS:  # of asyncio, a loop, a task group, a Faust service
                yield node.lineno, f"task.{node.attr}"


def _text(node: ast.expr) -> str:
    """As `ast.unparse`, which takes most of the time of all files for names with dots."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, (ast.Attribute, ast.Name)):
        return f"{_text(node.value)}.{node.attr}"
    return ast.unparse(node)


def _import_refusal(package: str, path: str, name: str) -> str | None:
    root, _, rest = name.partition(".")
    if path in INDEPENDENT and root == "k2_streams" and not rest.startswith("testing.oracle"):
        return "the oracle shares no code with what it checks"
    if root in {"k2_streams", "topologies"}:
        return _layer_refusal(package, rest.partition(".")[0] if root == "k2_streams" else root)
    if root in HOME_OF:
        return _only_in(path, HOME_OF[root])
    if package == "core":
        return None if root in CORE_STDLIB | ANYWHERE else "core touches nothing but data"
    known = root in sys.stdlib_module_names | ANYWHERE | ANYWHERE_BUT_CORE
    return None if known else "a library without a home: give it one in HOME_OF"


def _layer_refusal(package: str, target: str) -> str | None:
    allowed = MAY_IMPORT[package] | {"", package}
    if package not in {"core", "topology"}:
        allowed = allowed | {"calendars", "certificates", "clock", "failpoints", "importing"}
        allowed = allowed | {"native", "traces"}
    return None if target in allowed else f"{package} may not import {target}"


def _use_refusal(package: str, path: str, name: str) -> str | None:
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        banned = ".".join(parts[:length])
        if banned in ONLY_IN:
            return _only_in(path, ONLY_IN[banned])
    if package == "core" and any(_within(name, banned) for banned in CORE_MAY_NOT_USE):
        return "core touches nothing but data"
    return None


def _only_in(path: str, homes: tuple[str, ...]) -> str | None:
    if any(path == home or path.startswith(f"{home}/") for home in homes):
        return None
    return f"only in {', '.join(homes) or 'no file'}"


def _within(name: str, owner: str) -> bool:
    return name == owner or name.startswith(f"{owner}.")


def sources() -> dict[str, Path]:
    """Every file of the product, by the path that `violations` takes."""
    product = _by_path("k2_streams") | _by_path("topologies")
    return {path.removeprefix("k2_streams/"): file for path, file in product.items()}


def _by_path(folder: str) -> dict[str, Path]:
    """The Python files below a folder of the repository, by their path in it."""
    files = sorted((ROOT / folder).rglob("*.py"))
    return {file.relative_to(ROOT).as_posix(): file for file in files}


#: Words of HTTP, which a query has none of: it can be asked by a program in the same process.
_HTTP_WORD = re.compile(r"\bHTTP\b|\bOpenAPI\b|/v1/|\bstatus code\b")


def http_words(path: str, source: str) -> list[str]:
    """What a file below `query/` has of HTTP."""
    return _HTTP_WORD.findall(source) if path.startswith("query/") else []


def found_in(
    files: Mapping[str, Path], find: Callable[[str, str], list[str]]
) -> dict[str, list[str]]:
    """What `find` says of each file for which it says something: one test reads all of them."""
    return {path: found for path, file in files.items() if (found := find(path, file.read_text()))}


def test_a_query_has_no_word_of_http():
    assert found_in(sources(), http_words) == {}


def test_a_word_of_http_in_a_query_is_found():
    assert http_words("query/a.py", '"""GET /v1/trades, HTTP 422."""') == ["/v1/", "HTTP"]
    assert http_words("query/a.py", "except duckdb.HTTPException:") == []
    assert http_words("web/a.py", "HTTP") == []


def test_every_file_keeps_the_architecture():
    assert found_in(sources(), violations) == {}


def test_the_sources_are_found():
    assert {"clock.py", "core/records/schema.py", "testing/local/broker.py", "cli/main.py"} <= set(
        sources()
    )


def tool_violations(source: str) -> list[str]:
    """What a file of `bench`, `faults` or `deploy` may not import: they are beside the commands."""
    names = [name for _, name, _ in _imports(ast.parse(source), "")]
    return [name for name in names if _within(name, "k2_streams.cli")]


def test_benchmarks_faults_and_checks_stand_on_testing_and_not_on_the_commands():
    tools = _by_path("bench") | _by_path("faults") | _by_path("deploy")
    assert len(tools) > 20
    assert found_in(tools, lambda _, source: tool_violations(source)) == {}


def test_a_tool_that_imports_a_command_is_found():
    assert tool_violations("from k2_streams.cli import up") == ["k2_streams.cli.up"]
    assert tool_violations("from k2_streams.testing.client import fetch") == []


#: What the client may import at its beginning, where, and what a method may take from its caller.
CLIENT_LIBRARIES = {"pyarrow": "", "httpx": "transport.py"}
CALLERS_LIBRARIES = {"pandas", "polars", "duckdb"}
#: What touches the world, in the client: the others are told.
CLIENT_WORLD = {"client.py", "async_client.py", "transport.py"}
_WORLD = {"asyncio", "socket", "ssl", "threading", "subprocess"}


def client_violations(path: str, source: str) -> list[str]:
    """What a file of the client may not import: it stands alone, and decides without a socket."""
    tree = ast.parse(source)
    at_beginning = {node.lineno for node in tree.body}
    imports = {(line, name) for line, name, _ in _imports(tree, path)}
    return [
        f"{line}: {name}"
        for line, name in sorted(imports)
        if _client_lacks(path, name.partition(".")[0], is_inner=line not in at_beginning)
    ]


def _client_lacks(path: str, root: str, *, is_inner: bool) -> bool:
    if root in CALLERS_LIBRARIES:
        return not is_inner
    if root in _WORLD:
        return path not in CLIENT_WORLD
    if root in CLIENT_LIBRARIES:
        return CLIENT_LIBRARIES[root] not in {"", path}
    return root != "k2_client" and root not in sys.stdlib_module_names


def test_the_client_stands_alone():
    folder = ROOT / "client" / "k2_client"
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*.py")}
    assert {"exchange.py", "transport.py", "client.py"} <= set(files)
    assert found_in(files, client_violations) == {}


@pytest.mark.parametrize(
    ("path", "source", "found"),
    [
        ("exchange.py", "from k2_streams.clock import Clock", ["1: k2_streams.clock.Clock"]),
        ("client.py", "import httpx", ["1: httpx"]),
        ("result.py", "import polars", ["1: polars"]),
        ("operations.py", "import asyncio", ["1: asyncio"]),
        ("result.py", "def f():\n    import polars", []),
        ("transport.py", "import httpx, ssl\nfrom k2_client.exchange import Send", []),
        ("result.py", "import json\nimport pyarrow.parquet as pq", []),
    ],
)
def test_a_client_that_leans_on_others_is_found(path, source, found):
    assert client_violations(path, source) == found


def command_violations(source: str) -> list[str]:
    """A command reads options, calls a function and prints: it is short, and computes nothing."""
    lines = len(source.splitlines())
    found = [] if lines <= MAX_COMMAND_LINES else [f"{lines} lines"]
    names = {name.partition(".")[0] for _, name, _ in _imports(ast.parse(source), "cli/a.py")}
    return found + sorted(names & NOT_IN_COMMANDS)


def test_a_command_is_short_and_computes_nothing():
    commands = _by_path("k2_streams/cli")
    assert "k2_streams/cli/main.py" in commands
    assert found_in(commands, lambda _, source: command_violations(source)) == {}


def test_a_command_that_is_long_or_computes_is_found():
    assert command_violations("a\n" * 151) == ["151 lines"]
    assert command_violations("import numpy as np\nimport click") == ["numpy"]


def test_the_layers_have_no_cycle():
    """Taking away, again and again, what imports nothing that is left, takes away all."""
    left = dict(MAY_IMPORT)
    while lowest := [name for name, below in left.items() if not below & set(left)]:
        for name in lowest:
            del left[name]
    assert not left


BREAKS = [
    # An arrow that goes up, or sideways.
    ("core/a.py", "from k2_streams.lake.table import Lake", "core may not import lake"),
    ("lake/a.py", "import k2_streams.query.tail.store", "lake may not import query"),
    ("topology/a.py", "from k2_streams.state.table import RowTable", "topology may not import"),
    (
        "topology/a.py",
        "from k2_streams.failpoints import arm",
        "topology may not import failpoints",
    ),
    ("core/a.py", "from k2_streams.topology import context", "core may not import topology"),
    ("lake/a.py", "from k2_streams.kafka import topics", "lake may not import kafka"),
    ("kafka/a.py", "from k2_streams import state", "kafka may not import state"),
    ("query/a.py", "from ..web import server", "query may not import web"),
    ("web/a.py", "def f():\n    from k2_streams.runtime import app", "2: k2_streams.runtime.app"),
    ("runtime/a.py", "from k2_streams.cli.main import main", "runtime may not import cli"),
    ("replay/a.py", "from k2_streams.runtime.worker import Worker", "replay may not import"),
    ("web/a.py", "from k2_streams.replay.lines import json_lines", "web may not import replay"),
    ("cli/a.py", "import topologies.trades", "cli may not import topologies"),
    ("web/a.py", "from k2_streams.testing import fuzz_feed", "web may not import testing"),
    ("runtime/a.py", "import k2_streams.testing.memory.loop", "runtime may not import testing"),
    ("topologies/a.py", "from k2_streams.testing import StreamDriver", "may not import testing"),
    ("core/a.py", "from k2_streams.clock import SYSTEM_CLOCK", "core may not import clock"),
    ("topology/a.py", "from k2_streams.native import Native", "topology may not import native"),
    ("utils/a.py", "", "in no layer"),
    ("__init__.py", "from k2_streams.state import table", "__init__ may not import state"),
    ("query/a.py", "from k2_streams import App", "query may not import App"),
    (
        "testing/oracle/model.py",
        "from k2_streams.core.sequence.step import step",
        "the oracle shares no code",
    ),
    # A heavy dependency away from home.
    ("core/a.py", "import faust", "only in runtime"),
    ("runtime/worker.py", "from faust.types import TP", "only in runtime/faust_driver"),
    ("runtime/app.py", "import mode", "only in runtime/faust_driver"),
    ("topologies/trades.py", "import faust", "only in runtime"),
    ("runtime/a.py", "from aiokafka import AIOKafkaProducer", "only in kafka"),
    ("query/a.py", "import rocksdict as r", "only in state"),
    ("state/a.py", "import cramjam", "only in kafka"),
    ("query/a.py", "from pyiceberg.table import Table", "only in lake"),
    ("testing/local/a.py", "import aiokafka", "only in kafka, testing/memory"),
    ("feeds/a.py", "def f():\n    import k2_native", "2: k2_native, only in native.py"),
    ("testing/driver.py", "import pytest", "only in testing/pytest_plugin.py"),
    ("testing/memory/disk.py", "import greenlet", "only in testing/memory/loop.py"),
    ("web/a.py", "import duckdb", "only in query, testing/oracle/sql.py"),
    ("query/a.py", "import exchange_calendars", "only in calendars.py"),
    ("query/a.py", "import aiohttp.web", "only in web/http, web/server.py"),
    ("web/endpoints/a.py", "from aiohttp import web", "only in web/http, web/server.py"),
    ("web/a.py", "import prometheus_client", "only in runtime/metrics"),
    ("web/a.py", "import pandas", "without a home"),
    ("query/a.py", "from k2_client import connect", "only in cli, testing, demo"),
    ("testing/a.py", "import httpx", "without a home"),
    ("runtime/a.py", "from pydantic import BaseModel", "only in runtime/settings"),
    ("lake/a.py", "import pydantic_settings", "only in runtime/settings"),
    ("lake/a.py", "from annotated_types import Ge", "only in runtime/settings"),
    ("runtime/a.py", "from opentelemetry import trace", "only in runtime/open_telemetry.py"),
    # The world, in core.
    ("core/a.py", "import time", "core touches nothing"),
    ("core/a.py", "import os.path", "core touches nothing"),
    ("core/a.py", "from pathlib import Path", "core touches nothing"),
    ("core/a.py", "import socket", "core touches nothing"),
    ("core/a.py", "import structlog", "core touches nothing"),
    ("core/a.py", "import asyncio", "core touches nothing"),
    ("core/a.py", "open('x')", "core touches nothing"),
    ("core/a.py", "list(map(print, []))", "core touches nothing"),
    ("core/a.py", "import pyarrow as pa\npa.memory_map('x')", "2: pyarrow.memory_map"),
    ("core/a.py", "from pyarrow import parquet as pq", "core touches nothing"),
    ("core/a.py", "import numpy as np\nnp.fromfile('x')", "core touches nothing"),
    # Time, chance and the environment, anywhere but where they belong.
    ("query/a.py", "from time import monotonic", "only in clock.py"),
    ("lake/a.py", "from datetime import datetime\ndatetime.now(None)", "datetime.datetime.now"),
    ("lake/a.py", "import datetime as dt\nf = dt.date.today", "datetime.date.today"),
    ("kafka/a.py", "import asyncio\nasyncio.get_running_loop().time()", "loop.time"),
    ("kafka/a.py", "loop.time()", "loop.time"),
    ("runtime/a.py", "import asyncio\nasyncio.create_task(f())", "2: task.create_task"),
    ("web/a.py", "from asyncio import ensure_future\nensure_future(f())", "2: task.ensure_future"),
    ("runtime/app.py", "class A:\n    def f(self):\n        self.add_future(g())", "add_future"),
    ("runtime/a.py", "import asyncio\nasyncio.get_running_loop().create_task(f())", "create_task"),
    ("kafka/a.py", "import threading\nthreading.Thread(target=f)", "threading.Thread"),
    ("state/a.py", "import msgspec\nmsgspec.json.decode(text, type=T)", "msgspec.json.decode"),
    # One place makes Kafka's clients, and one the contexts of TLS.
    ("kafka/a.py", "from aiokafka import AIOKafkaProducer", "only in kafka/client.py"),
    ("kafka/a.py", "import aiokafka\naiokafka.AIOKafkaConsumer()", "aiokafka.AIOKafkaConsumer"),
    ("kafka/a.py", "from aiokafka.admin import AIOKafkaAdminClient", "only in kafka/client.py"),
    ("kafka/a.py", "import ssl\nssl.create_default_context()", "only in certificates.py"),
    ("web/a.py", "import ssl\nssl.SSLContext()", "ssl.SSLContext"),
    ("core/a.py", "import random", "core touches nothing"),
    ("lake/a.py", "import random", "only in cli, testing"),
    ("core/a.py", "import numpy as np\nnp.random.default_rng()", "numpy.random.default_rng"),
    ("lake/a.py", "from numpy import random", "only in testing"),
    ("kafka/a.py", "import uuid\nuuid.uuid1()", "only in no file"),
    ("core/a.py", "hash('x')", "only in no file"),
    (
        "lake/a.py",
        "import os\nos.environ['X']",
        "only in runtime/settings/environment.py",
    ),
    (
        "runtime/app.py",
        "from os import getenv",
        "only in no file",
    ),
    ("lake/a.py", "import os as o\no.environ.get('X')", "os.environ.get"),
    ("testing/local/a.py", "import os\nos.environb", "only in no file"),
    ("cli/a.py", "import os\nos.getenv('X')", "only in no file"),
    ("cli/a.py", "import click\nclick.option('--x', envvar='K2_X')", "2: click.envvar"),
    ("web/a.py", "import importlib\nimportlib.import_module('faust')", "only in importing.py"),
    ("web/a.py", "from k2_streams.importing import import_when_used", "only in __init__.py, cli"),
    ("core/a.py", "from k2_streams.importing import x", "core may not import importing"),
]


@pytest.mark.parametrize(("path", "source", "expected"), BREAKS)
def test_a_break_is_found(path, source, expected):
    assert expected in "\n".join(violations(path, source))


KEEPS = [
    (
        "core/a.py",
        "import numpy as np\nfrom k2_streams.core.records.vector import Range\nnp.load_x = 1",
    ),
    ("core/a.py", "from datetime import UTC, datetime\ndatetime.fromtimestamp(0, UTC)"),
    ("core/a.py", "def f(hash, id):\n    return hash, id.open, x.time()"),
    (
        "lake/a.py",
        "from k2_streams.clock import Clock\nfrom . import table\nfrom .table import Lake",
    ),
    ("query/a.py", "from k2_streams.lake import table\nimport duckdb, structlog, uuid\nuuid.UUID"),
    ("clock.py", "import time\ntime.time_ns()"),
    ("web/http/a.py", "import aiohttp.web, secrets\nfrom uuid import uuid4"),
    ("runtime/settings/environment.py", "import os\nos.environ"),
    ("topologies/trades.py", "import k2_streams as k2\nfrom k2_streams.runtime.app import app"),
    ("__init__.py", "import importlib\nfrom k2_streams.runtime.app import App"),
]


@pytest.mark.parametrize(("path", "source"), KEEPS)
def test_what_is_allowed_is_not_found(path, source):
    assert violations(path, source) == []
