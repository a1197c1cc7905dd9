"""Runs a script of the tests with Spark, if `make spark` has fetched it."""

import os
import subprocess
from pathlib import Path

import pytest

SPARK = Path(__file__).resolve().parents[1] / ".cache" / "spark"
JARS = SPARK / "lib"


def run_with_spark(script: str, *arguments: object, folder: Path) -> None:
    """Run a script of this folder; the test is skipped where there is no Spark.

    Args:
        script: its name.
        arguments: of it.
        folder: where it runs.
    """
    python = SPARK / "venv" / "bin" / "python"
    if not python.exists() or not list(JARS.glob("iceberg-spark-runtime-*.jar")):
        pytest.skip("no Spark in .cache/spark: `make spark` fetches it from PyPI and Maven")
    environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "SPARK_HOME"}}
    run = subprocess.run(
        [python, Path(__file__).with_name(script), *map(str, arguments)],
        env={**environment, "PYSPARK_PYTHON": str(python)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3_000:]
