"""The 13-column job in Polars, streaming, with polars-talib (TA-Lib in C as Polars plugin)."""

import peer

args = peer.arguments()

import polars as pl  # noqa: E402  (reads its number of threads when it is imported)
import polars_bars as bars  # noqa: E402
import polars_talib as ta  # noqa: E402

# Measured: the faster form by the order of the input.
form = args.form or {"symbol": "group", "date": "over", "shuffled": "group"}[args.order]


def job() -> None:
    close = pl.col("close")
    columns = [
        close.ta.sma(20).alias("sma_20"),
        close.ta.sma(50).alias("sma_50"),
        close.ta.sma(200).alias("sma_200"),
        close.ta.ema(12).alias("ema_12"),
        close.ta.ema(26).alias("ema_26"),
        close.ta.macd(12, 26, 9).struct.rename_fields(["macd", "macd_signal", "macd_hist"]).alias("macd_fields"),
        close.ta.rsi(14).alias("rsi_14"),
        close.ta.bbands(20, 2.0, 2.0, 0).struct.rename_fields(["bb_upper", "bb_middle", "bb_lower"]).alias("bb_fields"),
        ta.atr(pl.col("high"), pl.col("low"), close, 14).alias("atr_14"),
    ]
    frame = bars.by_symbol(bars.scan(args.input), columns, args.order, form).unnest("macd_fields", "bb_fields")
    bars.sink(frame, args.output)


peer.timed(job)
