"""The 13-column job in pandas with TA-Lib in C: Arrow's CSV reader and columns, TA-Lib by group, Parquet.

Groups are taken as row numbers into NumPy columns, which is faster than a frame for each symbol and a concat.
"""

import numpy as np
import pandas as pd
import peer
import pyarrow as pa

args = peer.arguments()
pa.set_cpu_count(args.threads)


def read() -> pd.DataFrame:
    # Measured: three times as fast as the reader's NumPy columns, whose dates and texts are Python objects.
    return pd.read_csv(args.input, engine="pyarrow", dtype_backend="pyarrow") if args.input.suffix == ".csv" else pd.read_parquet(args.input, dtype_backend="pyarrow")


def job() -> None:
    frame = read()
    if args.order == "shuffled":
        frame = frame.sort_values("date", ignore_index=True)
    high, low, close = (frame[name].to_numpy(dtype=np.float64) for name in ("high", "low", "close"))
    columns = {name: np.empty(len(frame)) for name in peer.INDICATORS}
    for rows in frame.groupby("symbol", sort=False).indices.values():
        for name, values in peer.talib_columns(high[rows], low[rows], close[rows]).items():
            columns[name][rows] = values
    frame = frame.assign(**columns)
    frame.to_parquet(args.output, engine="pyarrow", compression="zstd", compression_level=1, index=False)


peer.timed(job)
