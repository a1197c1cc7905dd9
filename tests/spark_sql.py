"""Runs the statements of a page of the documentation with Spark, in Spark's own environment.

Arguments: a JSON file with `views` (a name, and what Spark's Iceberg source loads for it) and
`statements`, the file for the rows of the last statement of each list, and the folder of the jars.
"""

import json
import pathlib
import sys

from pyspark.sql import SparkSession


def main(asked: str, out: str, jars: str) -> None:
    folder = pathlib.Path(out).parent
    spark = (
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
    given = json.loads(pathlib.Path(asked).read_text())
    for name, source in given["views"].items():
        spark.read.format("iceberg").load(source).createOrReplaceTempView(name)
    for name, rows in given["rows"].items():
        values = [tuple(row.values()) for row in rows]
        spark.createDataFrame(values, list(rows[0])).createOrReplaceTempView(name)
    found = [
        [row.asDict() for row in [spark.sql(one) for one in statements][-1].collect()]
        for statements in given["statements"]
    ]
    pathlib.Path(out).write_text(json.dumps(found))
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
