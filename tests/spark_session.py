"""A session of Spark on this machine. Imported in Spark's own environment."""

import pathlib

from pyspark.sql import SparkSession


def new_session(jars: str, folder: pathlib.Path) -> SparkSession:
    """Reading is as Spark does it by default; only what it takes, and where it writes, is set.

    Args:
        jars: a folder of jars, Iceberg's among them.
        folder: for Spark's own files.
    """
    return (
        SparkSession.builder.master("local[2]")
        .config("spark.jars", ",".join(str(jar) for jar in pathlib.Path(jars).glob("*.jar")))
        .config("spark.driver.memory", "1g")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.local.dir", str(folder / "local"))
        .config("spark.sql.warehouse.dir", str(folder / "warehouse"))
        .getOrCreate()
    )
