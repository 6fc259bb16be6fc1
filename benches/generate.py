"""Writes made-up daily bars for the benches: the same arguments give the same bytes.

    python benches/generate.py --symbols 2000 --days 2520 --order symbol OUT.csv
    python benches/generate.py --symbols 2000 --days 2520 --next 5 OUT.csv      and OUT-00001.csv …, one further day each

Columns: symbol, date, open, high, low, close, volume; prices are random walks rounded to four decimals, so that CSV and
Parquet hold the same numbers; one bar in a thousand has volume 0. Orders: `symbol` (symbol by symbol, days ascending),
`date` (day by day), `shuffled`. Further days go on where the others end, symbol by symbol; with `--days 0` there is nothing else.
"""

import argparse
from pathlib import Path

import numpy as np
import polars as pl


def bars(symbols: int, days: int, order: str, seed: int = 20260101, start: str = "2014-01-02") -> pl.DataFrame:
    random = np.random.Generator(np.random.PCG64(seed))
    shape = (symbols, days)
    steps = random.standard_normal(shape) * 0.018 + 0.0002
    steps[:, 0] = 0.0
    first = np.exp(random.uniform(np.log(8.0), np.log(400.0), symbols))[:, None]
    close = first * np.exp(np.cumsum(steps, axis=1))
    open_ = close * np.exp(random.standard_normal(shape) * 0.006)
    high = np.maximum(open_, close) * np.exp(np.abs(random.standard_normal(shape)) * 0.007)
    low = np.minimum(open_, close) * np.exp(-np.abs(random.standard_normal(shape)) * 0.007)
    volume = np.floor(np.exp(random.standard_normal(shape) * 0.6 + 13.5)).astype(np.int64)
    volume[random.random(shape) < 0.001] = 0

    dates = np.busday_offset(start, np.arange(days), roll="forward").astype("datetime64[D]")
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


def write(frame: pl.DataFrame, path: Path) -> None:
    if path.suffix == ".csv":
        frame.write_csv(path)
    else:
        frame.write_parquet(path, compression="zstd", compression_level=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", type=int, default=2000)
    parser.add_argument("--days", type=int, default=2520)
    parser.add_argument("--next", type=int, default=0, help="further days, each in a file of its own beside OUT")
    parser.add_argument("--start", default="2014-01-02", help="the first day")
    parser.add_argument("--order", choices=["symbol", "date", "shuffled"], default="symbol")
    parser.add_argument("out", type=Path, help="a name that ends in .csv or .parquet")
    args = parser.parse_args()
    if not args.next:
        return write(bars(args.symbols, args.days, args.order, start=args.start), args.out)
    frame = bars(args.symbols, args.days + args.next, "date", start=args.start)
    for number in range(args.next):
        day = frame[(args.days + number) * args.symbols :][: args.symbols]
        write(day, args.out.with_name(f"{args.out.stem}-{number + 1:05}{args.out.suffix}"))
    if args.days:
        frame = frame.head(args.days * args.symbols)
        if args.order == "symbol":
            frame = frame.sort("symbol", maintain_order=True)
        elif args.order == "shuffled":
            frame = frame.sample(fraction=1.0, shuffle=True, seed=20260101)
        write(frame, args.out)


if __name__ == "__main__":
    main()
