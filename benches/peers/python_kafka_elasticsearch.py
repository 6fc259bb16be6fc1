"""A topic into Elasticsearch by the Python client's `helpers.parallel_bulk`: four threads, 2,000 documents a request, ids and versions
as stockflow gives them. Messages are read by librdkafka, which costs the peer far less than kafka-python would."""

import json
import os
from collections.abc import Iterator
from datetime import datetime

import peer

args = peer.topic_arguments()

import confluent_kafka  # noqa: E402, F401  (its import is not timed)
from elasticsearch import Elasticsearch  # noqa: E402
from elasticsearch.helpers import parallel_bulk  # noqa: E402


def actions() -> Iterator[dict]:
    for messages in peer.batches(args.topic, args.messages):
        for message in messages:
            bar = json.loads(message.value())
            key = "|".join(bar[name] for name in peer.BAR_KEY)
            version = int(datetime.fromisoformat(bar["as_of"]).timestamp()) * 1_000_000
            yield {"_index": args.target, "_id": key, "version": version, "version_type": "external", "_source": bar}


def job() -> None:
    client = Elasticsearch(
        os.environ["STOCKFLOW_TEST_ELASTIC_URL"], api_key=os.environ["STOCKFLOW_TEST_ELASTIC_API_KEY"], ca_certs=os.environ["STOCKFLOW_TEST_ELASTIC_CA"],
        request_timeout=120, max_retries=0,
    )  # fmt: skip
    done = sum(1 for _ in parallel_bulk(client, actions(), thread_count=4, chunk_size=2000, max_chunk_bytes=5 << 20))
    if done != args.messages:
        raise SystemExit(f"{done} documents, not {args.messages}")


peer.timed(job)
