"""How the Polars peers read, group and write: shared by both jobs."""

import polars as pl

SCHEMA = {
    "symbol": pl.String, "date": pl.Date, "open": pl.Float64, "high": pl.Float64, "low": pl.Float64, "close": pl.Float64, "volume": pl.Int64,
}


def scan(path) -> pl.LazyFrame:
    return pl.scan_csv(path, schema=SCHEMA) if path.suffix == ".csv" else pl.scan_parquet(path)


def by_symbol(bars: pl.LazyFrame, columns: list[pl.Expr], order: str, form: str) -> pl.LazyFrame:
    """`columns` computed per symbol in order of time. Input that is ordered already is not sorted.

    Forms: `over` (window expressions), `group` (group_by, lists, explode).
    """
    if order == "shuffled":
        bars = bars.sort("date", maintain_order=False)
    if form == "over":
        return bars.with_columns(*[column.over("symbol") for column in columns])
    rest = [pl.col(name) for name in SCHEMA if name != "symbol"]
    return bars.group_by("symbol", maintain_order=order == "shuffled").agg(*rest, *columns).explode(pl.exclude("symbol"))


def sink(frame: pl.LazyFrame, path) -> None:
    frame.sink_parquet(path, compression="zstd", compression_level=1, engine="streaming")
