"""Writes made-up daily bars for the benches: the same arguments give the same bytes.

    python benches/generate.py --symbols 2000 --days 2520 --order symbol --format csv OUT.csv

Columns: symbol, date, open, high, low, close, volume; prices are random walks rounded to four decimals, so that CSV and
Parquet hold the same numbers; one bar in a thousand has volume 0. Orders: `symbol` (symbol by symbol, days ascending),
`date` (day by day), `shuffled`.
"""

import argparse

import numpy as np
import polars as pl


def bars(symbols: int, days: int, order: str, seed: int = 20260101) -> pl.DataFrame:
    random = np.random.Generator(np.random.PCG64(seed))
    shape = (symbols, days)
    steps = random.standard_normal(shape) * 0.018 + 0.0002
    steps[:, 0] = 0.0
    start = np.exp(random.uniform(np.log(8.0), np.log(400.0), symbols))[:, None]
    close = start * np.exp(np.cumsum(steps, axis=1))
    open_ = close * np.exp(random.standard_normal(shape) * 0.006)
    high = np.maximum(open_, close) * np.exp(np.abs(random.standard_normal(shape)) * 0.007)
    low = np.minimum(open_, close) * np.exp(-np.abs(random.standard_normal(shape)) * 0.007)
    volume = np.floor(np.exp(random.standard_normal(shape) * 0.6 + 13.5)).astype(np.int64)
    volume[random.random(shape) < 0.001] = 0

    dates = np.busday_offset("2014-01-02", np.arange(days), roll="forward").astype("datetime64[D]")
    names = np.array([f"S{i:05d}" for i in range(symbols)])

    def flat(values: np.ndarray) -> np.ndarray:
        # A price never rounds to 0, which several rules would refuse.
        values = np.maximum(np.round(values, 4), 0.0001) if values.dtype == np.float64 else values
        return (values.T if order == "date" else values).reshape(-1)

    if order == "date":
        symbol, date = np.tile(np.arange(symbols), days), np.repeat(dates, symbols)
    else:
        symbol, date = np.repeat(np.arange(symbols), days), np.tile(dates, symbols)
    frame = pl.DataFrame(
        {
            "symbol": pl.Series(names).gather(pl.Series(symbol)),
            "date": date,
            "open": flat(open_),
            "high": flat(high),
            "low": flat(low),
            "close": flat(close),
            "volume": flat(volume),
        }
    )
    if order == "shuffled":
        frame = frame[random.permutation(frame.height)]
    return frame


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", type=int, default=2000)
    parser.add_argument("--days", type=int, default=2520)
    parser.add_argument("--order", choices=["symbol", "date", "shuffled"], default="symbol")
    parser.add_argument("--format", choices=["csv", "parquet"], default="csv")
    parser.add_argument("out")
    args = parser.parse_args()
    frame = bars(args.symbols, args.days, args.order)
    if args.format == "csv":
        frame.write_csv(args.out)
    else:
        frame.write_parquet(args.out, compression="zstd", compression_level=1)


if __name__ == "__main__":
    main()
