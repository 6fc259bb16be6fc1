"""A topic into PostgreSQL by kafka-python and psycopg2, as the seed does: one consumer, `json.loads`, and each thousand messages a
batch of INSERT … ON CONFLICT and a commit.

Forms: `execute_batch` (the default, a statement a row, a hundred on their way at once) and `execute_values` (a statement for all
rows of a batch, faster).
"""

import json
import os

import peer

args = peer.topic_arguments()

from kafka import KafkaConsumer, TopicPartition  # noqa: E402
from psycopg2 import connect  # noqa: E402
from psycopg2.extras import execute_batch, execute_values  # noqa: E402

BATCH = 1000
form = args.form or "execute_batch"
row = ", ".join(f"%({name})s" for name in peer.BAR)


def write(cursor, rows: list[dict]) -> None:
    if form == "execute_values":
        execute_values(cursor, peer.merge_sql(args.target, peer.BAR, "VALUES %s"), rows, template=f"({row})", page_size=BATCH)
    else:
        execute_batch(cursor, peer.merge_sql(args.target, peer.BAR, f"VALUES ({row})"), rows, page_size=100)


def job() -> None:
    consumer = KafkaConsumer(
        bootstrap_servers=os.environ["STOCKFLOW_TEST_KAFKA"], auto_offset_reset="earliest", enable_auto_commit=False,
        consumer_timeout_ms=30_000,
    )  # fmt: skip
    # Assigned, not subscribed: joining a group takes seconds.
    partitions = [TopicPartition(args.topic, number) for number in consumer.partitions_for_topic(args.topic)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    connection = connect(os.environ["STOCKFLOW_TEST_POSTGRES_URL"], password=os.environ["STOCKFLOW_TEST_POSTGRES_PASSWORD"], sslmode="disable")
    cursor, rows, count = connection.cursor(), [], 0
    for message in consumer:
        rows.append(json.loads(message.value))
        count += 1
        if len(rows) == BATCH or count == args.messages:
            write(cursor, rows)
            connection.commit()
            rows = []
        if count == args.messages:
            break
    else:
        raise SystemExit(f"no message for 30 s after {count}")
    connection.close()
    consumer.close()


peer.timed(job)
