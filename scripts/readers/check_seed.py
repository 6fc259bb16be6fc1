"""The seed's own job in stockflow and in PySpark on the same file: equal row by row.

    check_seed.py --binary target/debug/stockflow --work FOLDER

The file: generated bars with days without volume (five symbols, shuffled), and the real 619,040 bars of
`all_stocks_5yr` as well where `STOCKFLOW_SHARED` names a folder that has them.
"""

import argparse
import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
from pyspark.sql import SparkSession
from pyspark.sql import functions as f
from pyspark.sql.window import Window

import spark_session

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benches"))
TOLERANCE = 1e-9


def run_stockflow(binary: Path, source: Path, output: Path) -> pl.DataFrame:
    env = {**os.environ, "SEED_INPUT": str(source), "SEED_OUTPUT": str(output)}
    command = [str(binary), "run", str(ROOT / "examples/pipelines/seed_job.toml"), "--data-dir", str(output.parent / "data")]
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    # 3: done, with rows in the dead letters; they then have to be missing in Spark's answer, too.
    if done.returncode not in (0, 3):
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return pl.read_parquet(output)


def run_spark(spark: SparkSession, source: Path, output: Path, symbol: str) -> pl.DataFrame:
    """The job as the seed wrote it: header, inferred types, volume > 0, date, 20-row average, Parquet, overwrite."""
    window = Window.partitionBy("symbol").orderBy("date").rowsBetween(-19, 0)
    (
        spark.read.option("header", True).option("inferSchema", True).csv(str(source))
        .withColumnRenamed(symbol, "symbol")
        .filter(f.col("volume") > 0)
        .withColumn("date", f.to_date("date"))
        .withColumn("MA_20", f.avg("close").over(window))
        .write.mode("overwrite").parquet(str(output))
    )  # fmt: skip
    return pl.read_parquet(sorted(output.glob("*.parquet")))


def compare(ours: pl.DataFrame, theirs: pl.DataFrame) -> None:
    columns = ["symbol", "date", "open", "high", "low", "close", "volume", "MA_20"]
    ours, theirs = (frame.select(columns).with_columns(pl.col("date").cast(pl.Date)).sort("symbol", "date") for frame in (ours, theirs))
    a, b = ours.select("symbol", "date"), theirs.select("symbol", "date")
    if not a.equals(b):
        only = a.join(b, on=["symbol", "date"], how="anti"), b.join(a, on=["symbol", "date"], how="anti")
        sys.exit(f"{ours.height} rows in stockflow, {theirs.height} in PySpark; only in stockflow: {only[0].rows()[:3]}, only in PySpark: {only[1].rows()[:3]}")
    for column in columns[2:]:
        x, y = (frame[column].cast(pl.Float64).fill_null(float("nan")).to_numpy() for frame in (ours, theirs))
        exact = (x == y) | (np.isnan(x) & np.isnan(y))
        with np.errstate(invalid="ignore"):
            equal = exact | (np.abs(x - y) <= TOLERANCE * np.abs(y)) if column == "MA_20" else exact
        if not equal.all():
            row = int(np.argmin(equal))
            sys.exit(f"column `{column}` differs in {int((~equal).sum())} rows, first at {a.row(row)}: stockflow {x[row]}, PySpark {y[row]}")
    print(f"{ours.height} rows of {ours['symbol'].n_unique()} symbols are equal")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    args = parser.parse_args()
    work = args.work.resolve()
    spark = spark_session.start()

    from generate import bars

    inputs = {"generated": "symbol"}
    (work / "generated").mkdir(parents=True)
    bars(5, 700, "shuffled").write_csv(work / "generated" / "bars.csv")
    shared = Path(os.environ.get("STOCKFLOW_SHARED", "")) / "data/prices/all_stocks_5yr.csv.gz"
    if os.environ.get("STOCKFLOW_SHARED") and shared.exists():
        (work / "all_stocks_5yr").mkdir()
        with gzip.open(shared) as packed, open(work / "all_stocks_5yr" / "bars.csv", "wb") as plain:
            shutil.copyfileobj(packed, plain)
        inputs["all_stocks_5yr"] = "Name"
    else:
        with open(os.environ.get("STOCKFLOW_LEFT_OUT_FILE", os.devnull), "a", encoding="utf-8") as left_out:
            left_out.write("left out: seed job on all_stocks_5yr (set STOCKFLOW_SHARED)\n")

    for name, symbol in inputs.items():
        source = work / name / "bars.csv"
        ours = run_stockflow(args.binary.resolve(), source, work / name / "stockflow.parquet")
        compare(ours, run_spark(spark, source, work / name / "spark", symbol))
    spark.stop()


if __name__ == "__main__":
    main()
