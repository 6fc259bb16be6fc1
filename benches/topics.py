"""Topics of made-up daily bars, one JSON object a message, and the same bars as a table."""

import os
from dataclasses import dataclass

import polars as pl
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from generate import bars
from process import Failed

COLUMNS = ["symbol", "interval", "ts", "open", "high", "low", "close", "volume", "as_of"]
# Days of a symbol at most.
DAYS = 2500
# Rows that are made text at one time.
SLICE = 500_000


@dataclass
class Topic:
    """A topic that is filled."""

    name: str
    partitions: int
    bars: pl.DataFrame

    @property
    def messages(self) -> int:
        return self.bars.height


def made_up(messages: int) -> pl.DataFrame:
    """About so many bars, day by day as they come from a market; each was known in the evening."""
    days = max(1, min(DAYS, messages // 20))
    frame = bars(max(1, messages // days), days, "date")
    ts = pl.col("date").cast(pl.Datetime("us", "UTC"))
    return frame.select("symbol", pl.lit("1d").alias("interval"), ts.alias("ts"), "open", "high", "low", "close", "volume", ts.dt.offset_by("22h").alias("as_of"))


def messages(frame: pl.DataFrame) -> pl.Series:
    """The rows as JSON, as any producer writes them."""
    times = pl.col("ts", "as_of").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    return frame.with_columns(times).select(pl.struct(COLUMNS).struct.json_encode()).to_series()


def fill(name: str, count: int, partitions: int) -> Topic:
    """Makes a topic and fills it; a symbol's bars stand in one partition, as the usual key makes them."""
    brokers = {"bootstrap.servers": os.environ["STOCKFLOW_TEST_KAFKA"]}
    admin = AdminClient(brokers)
    drop(name)
    for made in admin.create_topics([NewTopic(name, partitions, 1)]).values():
        made.result(30)
    frame = made_up(count)
    producer = Producer(
        {**brokers, "compression.type": "lz4", "linger.ms": 50, "batch.size": 1 << 20, "queue.buffering.max.messages": 500_000}
    )

    for part in frame.iter_slices(SLICE):
        keys = part["symbol"].to_list()
        for key, value in zip(keys, messages(part), strict=True):
            while True:
                try:
                    producer.produce(name, value, key, int(key[1:]) % partitions)
                    break
                except BufferError:
                    producer.poll(0.1)
        producer.poll(0)
    if left := producer.flush(120):
        raise Failed(f"topic {name}: {left} messages could not be delivered")
    return Topic(name, partitions, frame)


def drop(name: str) -> None:
    """Removes a topic, if it is there, and waits until it has gone."""
    admin = AdminClient({"bootstrap.servers": os.environ["STOCKFLOW_TEST_KAFKA"]})
    for _ in range(100):
        if name not in admin.list_topics(timeout=30).topics:
            return
        for removed in admin.delete_topics([name], operation_timeout=30).values():
            if removed.exception(30):
                break
    raise Failed(f"topic {name}: cannot be removed")
