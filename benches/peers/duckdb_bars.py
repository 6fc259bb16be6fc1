"""How the DuckDB peers connect, read and write: shared by both jobs."""

import duckdb

TYPES = "{'symbol': 'VARCHAR', 'date': 'DATE', 'open': 'DOUBLE', 'high': 'DOUBLE', 'low': 'DOUBLE', 'close': 'DOUBLE', 'volume': 'BIGINT'}"


def connect(threads: int) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:")
    connection.execute(f"SET threads = {threads}")
    # Rows may come out in any order, which saves DuckDB buffering.
    connection.execute("SET preserve_insertion_order = false")
    connection.execute("SET enable_progress_bar = false")
    return connection


def table(path) -> str:
    return f"read_csv('{path}', header = true, auto_detect = false, delim = ',', columns = {TYPES})" if path.suffix == ".csv" else f"read_parquet('{path}')"


def copy(connection: duckdb.DuckDBPyConnection, query: str, path) -> None:
    connection.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)")
