"""The seed job in Polars, streaming: CSV, volume > 0, 20-bar average of what there is, Parquet."""

import peer

args = peer.arguments()

import polars as pl  # noqa: E402  (reads its number of threads when it is imported)
import polars_bars as bars  # noqa: E402

# Measured: the faster form by the order of the input.
form = args.form or {"symbol": "group", "date": "over", "shuffled": "group"}[args.order]


def job() -> None:
    average = pl.col("close").rolling_mean(20, min_samples=1).alias("MA_20")
    traded = bars.scan(args.input).filter(pl.col("volume") > 0)
    bars.sink(bars.by_symbol(traded, [average], args.order, form), args.output)


peer.timed(job)
