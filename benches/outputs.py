"""Comparing outputs: every row and column, keys and text exactly, numbers to 1e-9, missing values at the same places."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from process import Failed

TOLERANCE = 1e-9
# Rows that are compared at one time, so that 20 million of them fit into memory twice.
SLICE = 4_000_000


def canonical(frame: pl.LazyFrame) -> pl.LazyFrame:
    """One form for all tools: lower-case names, a date, NaN as missing."""
    schema = frame.collect_schema()
    frame = frame.rename({name: name.lower() for name in schema.names()})
    if "date" not in frame.collect_schema():
        frame = frame.with_columns(pl.col("ts").dt.date().alias("date"))
    # A file source passes text dates through as text; the peers were told the types.
    text = frame.collect_schema()["date"] == pl.String
    date = pl.col("date").str.to_date() if text else pl.col("date").cast(pl.Date)
    return frame.with_columns(date, pl.col(pl.Float64).fill_nan(None))


def scan(path: Path) -> pl.LazyFrame:
    """A job's output, or its input."""
    if path.suffix == ".csv":
        return canonical(pl.scan_csv(path, schema_overrides={"symbol": pl.String}))
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    return canonical(pl.scan_parquet(files, glob=False))


def is_close(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Where two columns agree: relative to the second plus as much absolute, or both missing."""
    with np.errstate(invalid="ignore"):
        close = np.abs(x - y) <= TOLERANCE + TOLERANCE * np.abs(y)
    return close | (np.isnan(x) & np.isnan(y))


def compare(name: str, ours: pl.DataFrame, theirs: pl.DataFrame) -> None:
    """Raises `Failed` with the first difference; both are sorted by symbol and date."""
    if ours.height != theirs.height:
        raise Failed(f"{name}: {theirs.height} rows, not {ours.height}")
    missing = [column for column in theirs.columns if column not in ours.columns]
    if missing:
        raise Failed(f"{name}: no such columns in the output compared with: {', '.join(missing)}")
    for column in theirs.columns:
        a, b = ours[column], theirs[column]
        if not b.dtype.is_numeric():
            different = (a.cast(b.dtype) != b).fill_null(True).to_numpy() & ~(a.is_null() & b.is_null()).to_numpy()
        else:
            different = ~is_close(a.cast(pl.Float64).to_numpy(), b.cast(pl.Float64).to_numpy())
        if different.any():
            row = int(np.argmax(different))
            key = theirs.select("symbol", "date").row(row)
            raise Failed(f"{name}: column `{column}` differs in {int(different.sum())} rows, first at {key}: {b[row]} is not {a[row]}")


def compare_all(name: str, ours: pl.LazyFrame, theirs: pl.LazyFrame, prepare: Callable[[pl.DataFrame], pl.DataFrame] = lambda it: it) -> int:
    """Compares two outputs some symbols at a time and gives the number of rows.

    `prepare` is applied to each slice of `theirs`: what is compared may be computed on the way.
    """
    counts = ours.group_by("symbol").len().sort("symbol").collect()
    others = theirs.select(pl.col("symbol").unique()).collect()["symbol"]
    if strange := sorted(set(others) - set(counts["symbol"])):
        raise Failed(f"{name}: {len(strange)} symbols more, the first is {strange[0]}")
    part = (counts["len"].cum_sum() - 1) // SLICE
    for (_,), symbols in counts.group_by(part.alias("part"), maintain_order=True):
        chosen = pl.col("symbol").is_in(symbols["symbol"].implode())
        both = [frame.filter(chosen).collect().sort("symbol", "date") for frame in (ours, theirs)]
        compare(name, both[0], prepare(both[1]))
    return int(counts["len"].sum())
