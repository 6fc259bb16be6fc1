"""The 13-column job in DuckDB.

SQL has no recursion over rows that is usable on millions of them, so EMA, MACD, RSI and ATR cannot be said in DuckDB's
SQL: they are computed by TA-Lib in C, in a vectorised Arrow function over the lists of each symbol. Forms: `talib` (all 13
columns so), `windows` (the moving averages and Bollinger bands as SQL windows, the rest by TA-Lib).
"""

import duckdb_bars as bars
import numpy as np
import peer
import pyarrow as pa

args = peer.arguments()
form = args.form or "talib"
connection = bars.connect(args.threads)
RECURSIVE = ["ema_12", "ema_26", "macd", "macd_signal", "macd_hist", "rsi_14", "atr_14"]
names = RECURSIVE if form == "windows" else peer.INDICATORS


def lists(array: pa.ChunkedArray) -> list[np.ndarray]:
    return [
        chunk.values.to_numpy()[start:end]
        for chunk in array.chunks
        for start, end in zip(chunk.offsets.to_numpy()[:-1], chunk.offsets.to_numpy()[1:], strict=True)
    ]


def indicators(high: pa.ChunkedArray, low: pa.ChunkedArray, close: pa.ChunkedArray) -> pa.Array:
    symbols = [peer.talib_columns(*arrays) for arrays in zip(lists(high), lists(low), lists(close), strict=True)]
    offsets = np.concatenate([[0], np.cumsum([len(s["sma_20"]) for s in symbols])]).astype(np.int32)
    columns = [pa.ListArray.from_arrays(offsets, np.concatenate([s[name] for s in symbols])) for name in names]
    return pa.StructArray.from_arrays(columns, names)


def job() -> None:
    returned = "STRUCT(" + ", ".join(f"{name} DOUBLE[]" for name in names) + ")"
    connection.create_function("indicators", indicators, ["DOUBLE[]"] * 3, returned, type="arrow")
    windows = {}
    if form == "windows":
        windows = {f"sma_{n}": f"CASE WHEN count(*) OVER w{n} = {n} THEN avg(close) OVER w{n} END" for n in (20, 50, 200)}
        windows["deviation"] = "stddev_pop(close) OVER w20"
    source = f"SELECT *{''.join(f', {e} AS {n}' for n, e in windows.items())} FROM {bars.table(args.input)}"
    if windows:
        source += " WINDOW " + ", ".join(
            f"w{n} AS (PARTITION BY symbol ORDER BY date ROWS BETWEEN {n - 1} PRECEDING AND CURRENT ROW)" for n in (20, 50, 200)
        )
    carried = [c for c in peer.COLUMNS if c != "symbol"] + list(windows)
    grouped = ", ".join(f"list({c} ORDER BY date) AS {c}" for c in carried)
    rows = ", ".join(f"unnest({c}) AS {c}" for c in carried) + ", " + ", ".join(f"unnest(i.{n}) AS {n}" for n in names)
    query = f"""
        SELECT symbol, {rows}
        FROM (SELECT *, indicators(high, low, close) AS i FROM (SELECT symbol, {grouped} FROM ({source}) GROUP BY symbol))
    """
    if windows:
        query = f"""
            SELECT * EXCLUDE (deviation), sma_20 + 2 * deviation AS bb_upper, sma_20 AS bb_middle, sma_20 - 2 * deviation AS bb_lower FROM ({query})
        """
    bars.copy(connection, query, args.output)


peer.timed(job)
