"""What the peers share: arguments, the columns of the jobs, and how a run is told to the runner.

A peer is called as `python NAME.py --input BARS --output FILE_OR_FOLDER --threads 2 --order symbol` and prints one JSON line,
`{"seconds": …}`: the time of the job itself, after imports (and, for Spark, after session start and a warm-up).
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
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


def topic_arguments() -> argparse.Namespace:
    """Of the peers that read a topic: the topic, how many messages it has, and where the rows go; servers and logins are in the environment."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--topic", required=True)
    parser.add_argument("--messages", type=int, required=True)
    parser.add_argument("--target", default="", help="table or index")
    parser.add_argument("--input", type=Path, help="rows that were dumped before, instead of the topic")
    parser.add_argument("--form", default="", help="which way to write the job, where a peer has several")
    return parser.parse_args()


# Of librdkafka, as stockflow sets them. With the defaults it rests for a second whenever a hundred thousand messages wait, and
# takes more than twice as long.
CONSUMER = {
    "group.id": "bench", "enable.auto.commit": False, "auto.offset.reset": "earliest",
    "queued.max.messages.kbytes": 16384, "fetch.max.bytes": 8388608, "fetch.queue.backoff.ms": 10,
}  # fmt: skip


def batches(topic: str, count: int) -> Iterator[list]:
    """The messages of a topic by librdkafka, ten thousand at a time."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": os.environ["STOCKFLOW_TEST_KAFKA"], **CONSUMER})
    partitions = consumer.list_topics(topic, 30).topics[topic].partitions
    # Assigned, not subscribed: joining a group takes seconds.
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    while count:
        messages = consumer.consume(min(10_000, count), 30)
        if not messages:
            raise SystemExit(f"no message for 30 s, {count} before the end")
        for message in messages:
            if message.error():
                raise SystemExit(str(message.error()))
        count -= len(messages)
        yield messages
    consumer.close()


BAR = ["symbol", "interval", "ts", "open", "high", "low", "close", "volume", "as_of"]
BAR_KEY = ["symbol", "interval", "ts"]


def merge_sql(table: str, columns: list[str], rows: str) -> str:
    """The statement that stockflow merges with: by key, the newer `as_of` wins."""
    names = ", ".join(f'"{name}"' for name in columns)
    key = ", ".join(f'"{name}"' for name in BAR_KEY)
    new = ", ".join(f'"{name}" = excluded."{name}"' for name in columns if name not in BAR_KEY)
    newer = 't."as_of" IS NULL OR excluded."as_of" > t."as_of"'
    return f"INSERT INTO {table} AS t ({names}) {rows} ON CONFLICT ({key}) DO UPDATE SET {new} WHERE {newer}"
