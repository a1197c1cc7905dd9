"""Runs the statements of a page of the documentation with Spark, in Spark's own environment.

Arguments: a JSON file with `views` (a name, and what Spark's Iceberg source loads for it) and
`statements`, the file for the rows of the last statement of each list, and the folder of the jars.
"""

import json
import pathlib
import sys

from spark_session import new_session


def main(asked: str, out: str, jars: str) -> None:
    spark = new_session(jars, pathlib.Path(out).parent)
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
