"""What is loaded when something starts: a module that it does not need costs each start of it.

Counted by modules in processes of their own, so that the load of the machine plays no part.
"""

import json
import subprocess
import sys

import pytest

#: Libraries that no start of anything may load.
NEVER = {
    *("matplotlib", "polars", "hypothesis", "pytest", "IPython"),
    *("botocore", "s3fs", "aiobotocore"),  # an object store's, which its file access loads
    *("pyarrow.flight", "pyarrow.orc", "pyarrow.csv", "pyarrow.json"),
}
#: What a lake, a query or a worker takes, and a command that has none does not.
LAKE = {"pyiceberg", "sqlalchemy", "pyparsing", "strictyaml", "k2_streams.lake.table"}
QUERY = {"duckdb", "fsspec", "k2_streams.query"}
WORKER = {"faust", "mode", "rocksdict", "prometheus_client", "k2_streams.runtime.worker"}
HTTP = {"aiohttp", "httpx"}
REST = {"pyiceberg.catalog.rest"}


def loaded(code: str) -> set[str]:
    """The modules that a new process has loaded once it has run this."""
    text = f"{code}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=True, timeout=120
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def command(module: str) -> str:
    """As `k2` runs a subcommand, up to where it would read its options."""
    return f"import k2_streams.cli.main, k2_streams.cli.{module}"


@pytest.mark.parametrize(
    ("code", "unneeded"),
    [
        ("import k2_streams", {"pyarrow", "numpy"} | LAKE | QUERY | WORKER | HTTP),
        (
            "from k2_streams.cli.main import main; main(['--help'], standalone_mode=False)",
            {"pyarrow", "numpy", "msgspec", "pydantic"} | LAKE | QUERY | WORKER | HTTP,
        ),
        (command("broker"), LAKE | QUERY | WORKER | HTTP),
        (command("produce"), LAKE | QUERY | WORKER),
        (command("dead_letters"), LAKE | QUERY | WORKER | HTTP),
        (command("sql"), LAKE | QUERY | WORKER | {"aiohttp"}),
        (
            "import k2_client",
            {"k2_streams", "pandas", "msgspec", "aiohttp", "asyncio", "pyarrow.compute"}
            | LAKE | QUERY | WORKER,
        ),
        (command("changelog"), {"faust", "mode", "duckdb"}),
        (command("verify"), {"faust", "mode", "rocksdict"} | REST),
        ("import topologies.trades", {"k2_streams.testing", "k2_streams.cli"} | REST),
    ],
    ids=[
        *("package", "help", "broker", "produce", "dead-letters", "sql", "client", "changelog"),
        *("verify", "worker"),
    ],
)  # fmt: skip
@pytest.mark.slow
def test_a_start_loads_nothing_that_it_does_not_need(code, unneeded):
    assert loaded(code) & (unneeded | NEVER) == set()


def test_a_module_that_is_loaded_is_seen():
    assert {"json", "wave"} <= loaded("import wave")
    assert "wave" not in loaded("")
