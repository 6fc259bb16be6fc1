"""What the peers share: arguments, the columns of the jobs, and how a run is told to the runner.

A peer is called as `python NAME.py --input BARS --output FILE_OR_FOLDER --threads 2 --order symbol` and prints one JSON line,
`{"seconds": …}`: the time of the job itself, after imports (and, for Spark, after session start and a warm-up).
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

COLUMNS = ["symbol", "date", "open", "high", "low", "close", "volume"]

# Name in the output, TA-Lib function, parameters, which of its outputs.
INDICATORS = [
    "sma_20", "sma_50", "sma_200", "ema_12", "ema_26", "macd", "macd_signal", "macd_hist",
    "rsi_14", "bb_upper", "bb_middle", "bb_lower", "atr_14",
]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--order", choices=["symbol", "date", "shuffled"], default="symbol")
    parser.add_argument("--form", default="", help="which way to write the job, where a peer has several")
    args = parser.parse_args()
    # Read by the libraries when they are imported, so before that.
    os.environ["POLARS_MAX_THREADS"] = str(args.threads)
    os.environ["OMP_NUM_THREADS"] = "1"
    return args


def timed(job: Callable[[], None]) -> None:
    start = time.perf_counter()
    job()
    print(json.dumps({"seconds": time.perf_counter() - start}))


def talib_columns(high, low, close) -> dict:
    """The 13 columns of one symbol, in order of time, by TA-Lib in C; NaN before the lookback."""
    import talib

    macd, signal, hist = talib.MACD(close, 12, 26, 9)
    upper, middle, lower = talib.BBANDS(close, 20, 2.0, 2.0, 0)
    values = [
        talib.SMA(close, 20), talib.SMA(close, 50), talib.SMA(close, 200), talib.EMA(close, 12), talib.EMA(close, 26),
        macd, signal, hist, talib.RSI(close, 14), upper, middle, lower, talib.ATR(high, low, close, 14),
    ]
    return dict(zip(INDICATORS, values, strict=True))
