"""The seed job in DuckDB: CSV, volume > 0, 20-bar average of what there is, Parquet."""

import duckdb_bars as bars
import peer

args = peer.arguments()
connection = bars.connect(args.threads)


def job() -> None:
    query = f"""
        SELECT *, avg(close) OVER (PARTITION BY symbol ORDER BY date ROWS BETWEEN 19 PRECEDING AND CURRENT ROW) AS "MA_20"
        FROM {bars.table(args.input)} WHERE volume > 0
    """
    bars.copy(connection, query, args.output)


peer.timed(job)
