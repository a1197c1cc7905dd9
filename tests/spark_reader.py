"""Reads an Iceberg table with Spark and writes down what it found. Runs in Spark's own environment.

Arguments: the table's metadata file, a folder for the answers, the folder of Iceberg's jars, and
the boundaries of a filter on `exchange_time` as JSON. Reading is as Spark does it by default; only
where its own files go and how much it takes of the machine is set.
"""

import json
import pathlib
import sys

from pyspark.sql import functions
from pyspark.sql.types import ArrayType, MapType
from spark_session import new_session

KEY = ("log_partition", "log_offset", "log_row")


def main(metadata: str, out: str, jars: str, bounds: str) -> None:
    folder = pathlib.Path(out)
    spark = new_session(jars, folder)
    table = spark.read.format("iceberg").load(metadata)
    nested = {f.name for f in table.schema.fields if isinstance(f.dataType, ArrayType | MapType)}
    plain = [name for name in table.columns if name not in nested]
    # A column alone and plain columns together go through the vectorised reader; with a list or a
    # map among them Iceberg reads row by row.
    found = {
        name: [str(v) for v in table.agg(functions.count(name), functions.max(name)).first()]
        for name in plain
    }
    first, last = json.loads(bounds)
    within = table.where(f"exchange_time >= '{first}' AND exchange_time < '{last}'")
    found["within"] = [within.count(), str(within.agg(functions.max("message_id")).first()[0])]
    (folder / "found.json").write_text(json.dumps(found))
    table.select(plain).coalesce(1).write.parquet(str(folder / "plain"))
    table.select(*KEY, *sorted(nested)).coalesce(1).write.parquet(str(folder / "nested"))
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
