"""The main job's lake, read by DuckDB, Polars and PySpark: all see the same, and it is what the CSV files say.

    check_lake.py --binary target/debug/stockflow --work FOLDER

Runs the main job twice over `examples/data` (the second run must change nothing), reads `bars`, `indicators` and
`quality` with each reader, compares them cell by cell, and holds them against plain calculations on the CSV files.
"""

import argparse
import glob
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import talib

import spark_session

ROOT = Path(__file__).resolve().parents[2]
TABLES = {"bars": ["symbol", "interval", "ts"], "indicators": ["symbol", "interval", "ts"], "quality": ["symbol"]}
TOLERANCE = 1e-9


def run_main_job(binary: Path, lake: Path) -> None:
    command = [str(binary), "run", "--data-dir", str(lake)]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")


# ---- readers: each gives a table as Polars frame


def read_polars(path: Path) -> pl.DataFrame:
    return pl.read_delta(str(path))


def read_duckdb(path: Path) -> pl.DataFrame:
    import duckdb
    from duckdb_extensions import import_extension

    import_extension("delta")
    connection = duckdb.connect()
    connection.execute("LOAD delta; SET TimeZone = 'UTC'")
    return pl.from_arrow(connection.execute("SELECT * FROM delta_scan(?)", [str(path)]).to_arrow_table())


def read_spark(path: Path) -> pl.DataFrame:
    return pl.from_arrow(spark_session.start().read.format("delta").load(str(path)).toArrow())


READERS = {"Polars": read_polars, "DuckDB": read_duckdb, "PySpark": read_spark}


def canonical(frame: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """Columns by name, rows by key, and one type where the readers have several for the same thing."""
    casts = []
    for name, kind in frame.schema.items():
        if isinstance(kind, pl.Datetime):
            casts.append(pl.col(name).dt.replace_time_zone(None).dt.cast_time_unit("us"))
        elif kind.is_integer():
            casts.append(pl.col(name).cast(pl.Int64))
        elif kind == pl.Categorical or isinstance(kind, pl.Enum):
            casts.append(pl.col(name).cast(pl.String))
    return frame.with_columns(casts).select(sorted(frame.columns)).sort(key)


def same(table: str, first: tuple[str, pl.DataFrame], other: tuple[str, pl.DataFrame]) -> None:
    (name_a, a), (name_b, b) = first, other
    if a.schema != b.schema:
        sys.exit(f"{table}: {name_a} sees the columns\n{a.schema}\nand {name_b}\n{b.schema}")
    if a.height != b.height:
        sys.exit(f"{table}: {name_a} sees {a.height} rows, {name_b} {b.height}")
    for column in a.columns:
        if not a[column].equals(b[column], null_equal=True):
            rows = (a[column].ne_missing(b[column])).arg_true()
            row = rows[0] if len(rows) else 0
            sys.exit(f"{table}: column `{column}` differs in {len(rows)} rows, first in row {row}: {name_a} {a[column][row]}, {name_b} {b[column][row]}")


def checksum(frame: pl.DataFrame) -> float:
    return float(sum((frame[c].cast(pl.Float64).fill_nan(0.0).sum() for c, t in frame.schema.items() if t.is_numeric()), 0.0))


# ---- what the CSV files say


def expected_bars() -> pl.DataFrame:
    """The five files through the documented rules, with plain means: volume above 0, prices sane, one row a day."""
    frames = []
    for path in sorted(glob.glob(str(ROOT / "examples/data/*.csv"))):
        frame = pl.read_csv(path, try_parse_dates=True, infer_schema_length=None)
        frames.append(
            frame.select(
                pl.lit(Path(path).stem.split("_")[0]).alias("symbol"),
                pl.col("Date").alias("date"),
                *(pl.col(name).cast(pl.Float64).alias(name.lower()) for name in ("Open", "High", "Low", "Close", "Volume")),
                pl.col("Adj Close").cast(pl.Float64).alias("adj_close"),
            )
        )
    bars = pl.concat(frames)
    slack = 1e-6 * pl.col("high").abs()
    sane = (
        (pl.col("volume") > 0)
        & (pl.col("high") >= pl.col("low"))
        & pl.col("open").is_between(pl.col("low") - slack, pl.col("high") + slack)
        & pl.col("close").is_between(pl.col("low") - slack, pl.col("high") + slack)
    )
    return bars.filter(sane).sort("symbol", "date")


def near(what: str, found: np.ndarray, wanted: np.ndarray) -> None:
    missing = np.isnan(found) != np.isnan(wanted)
    with np.errstate(invalid="ignore"):
        far = np.abs(found - wanted) > TOLERANCE + TOLERANCE * np.abs(wanted)
    wrong = missing | far
    if wrong.any():
        row = int(np.argmax(wrong))
        sys.exit(f"{what}: {int(wrong.sum())} values differ, first in row {row}: {found[row]} is not {wanted[row]}")


def check_values(tables: dict[str, pl.DataFrame]) -> None:
    wanted = expected_bars()
    bars = tables["bars"].sort("symbol", "date")
    if bars.select("symbol", "date").rows() != wanted.select("symbol", "date").rows():
        extra = set(bars.select("symbol", "date").rows()) ^ set(wanted.select("symbol", "date").rows())
        sys.exit(f"bars: {len(extra)} keys differ from the CSV files, such as {sorted(extra)[:3]}")
    for column in ("open", "high", "low", "close", "volume", "adj_close"):
        near(f"bars.{column}", bars[column].cast(pl.Float64).to_numpy(), wanted[column].to_numpy())

    indicators = tables["indicators"].sort("symbol", "date")
    if indicators.select("symbol", "date").rows() != wanted.select("symbol", "date").rows():
        sys.exit(f"indicators: {indicators.height} rows do not have the keys of the {wanted.height} bars")
    for (symbol,), group in wanted.group_by("symbol", maintain_order=True):
        ours = indicators.filter(pl.col("symbol") == symbol)
        ratio = (group["adj_close"] / group["close"]).to_numpy()
        close = group["close"].to_numpy() * ratio
        high, low = group["high"].to_numpy() * ratio, group["low"].to_numpy() * ratio
        macd, signal, hist = talib.MACD(close, 12, 26, 9)
        upper, middle, lower = talib.BBANDS(close, 20, 2.0, 2.0, 0)
        for column, values in {
            "sma_20": talib.SMA(close, 20), "sma_50": talib.SMA(close, 50), "sma_200": talib.SMA(close, 200),
            "ema_12": talib.EMA(close, 12), "ema_26": talib.EMA(close, 26), "macd": macd, "macd_signal": signal, "macd_hist": hist,
            "rsi_14": talib.RSI(close, 14), "bbands_upper": upper, "bbands_middle": middle, "bbands_lower": lower,
            "atr_14": talib.ATR(high, low, close, 14),
        }.items():  # fmt: skip
            near(f"indicators.{column} of {symbol}", ours[column].cast(pl.Float64).to_numpy(), values)

    quality = tables["quality"]
    rows = dict(wanted.group_by("symbol").len().rows())
    counted = dict(quality.select("symbol", pl.col("rows").cast(pl.Int64)).rows())
    if counted != rows:
        sys.exit(f"quality: rows by symbol are {counted}, not {rows}")


def read_all(lake: Path) -> dict[str, dict[str, pl.DataFrame]]:
    return {
        table: {name: canonical(read(lake / table), key) for name, read in READERS.items()} for table, key in TABLES.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    args = parser.parse_args()
    lake = args.work.resolve() / "lake"
    binary = args.binary.resolve()

    run_main_job(binary, lake)
    before = {table: canonical(read_polars(lake / table), key) for table, key in TABLES.items()}
    run_main_job(binary, lake)

    seen = read_all(lake)
    for table, by_reader in seen.items():
        (first, *others) = by_reader.items()
        for other in others:
            same(table, first, other)
        same(table, ("the first run", before[table]), ("the second run", first[1]))
        keys = first[1].select(TABLES[table])
        if keys.n_unique() != keys.height:
            sys.exit(f"{table}: {keys.height - keys.n_unique()} keys are there more than once")
        print(f"{table}: {first[1].height} rows, {first[1].width} columns, checksum {checksum(first[1]):.6f}: {', '.join(by_reader)} agree")
    check_values({table: by_reader["Polars"] for table, by_reader in seen.items()})
    print("bars, indicators and quality are what the CSV files say")


if __name__ == "__main__":
    main()
