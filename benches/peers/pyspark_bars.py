"""How the PySpark peers start, warm up, read and write: shared by both jobs."""

import os
import sys
import tempfile
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

SCHEMA = "symbol string, date date, open double, high double, low double, close double, volume bigint"


def start(threads: int) -> SparkSession:
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    spark = (
        SparkSession.builder.master(f"local[{threads}]")
        .config("spark.driver.memory", "6g")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.session.timeZone", "UTC")
        # Few partitions: there is one machine, and a small task costs more than it does.
        .config("spark.sql.shuffle.partitions", str(threads * 4))
        .config("spark.hadoop.parquet.compression.codec.zstd.level", "1")
        .config("spark.sql.execution.arrow.pyspark.enabled", "true")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def read(spark: SparkSession, path: Path) -> DataFrame:
    return spark.read.schema(SCHEMA).option("header", True).csv(str(path)) if path.suffix == ".csv" else spark.read.parquet(str(path))


def write(frame: DataFrame, path: Path) -> None:
    frame.write.mode("overwrite").option("compression", "zstd").parquet(str(path))


def warm_up(spark: SparkSession, job, source: Path) -> None:
    """Runs the job three times on the first bars of the input, so that classes are loaded and compiled."""
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "bars.csv"
        with open(source, encoding="utf-8") if source.suffix == ".csv" else tempfile.TemporaryFile("w+") as lines:
            small.write_text("".join(line for _, line in zip(range(100_000), lines, strict=False)))
        if source.suffix != ".csv":
            read(spark, source).limit(100_000).toPandas().to_csv(small, index=False)
        for attempt in range(3):
            job(small, Path(folder) / f"out-{attempt}")
