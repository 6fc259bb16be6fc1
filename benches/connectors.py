"""Kafka as a source, and into PostgreSQL and Elasticsearch: beside bare clients and the Python pairs, on real servers.

What each job left in its target is compared with the bars that went into the topic, every column of every key, before anything is
said about time; of the timed runs the rows are counted.
"""

import argparse
import io
import json
import os
import shutil
import statistics
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import outputs
import polars as pl
import topics
from jobs import HERE, progress
from process import Execution, Failed, execute
from topics import Topic
from verdict import BACKLOG, BACKLOG_PEAK_MB, CONNECTORS, SERVER_BUSY, Measured, Row

SCHEMA = "bench"
INDEX = "bench"
META_INDEX = "bench-sinks"


@dataclass
class Tool:
    """One side of a job."""

    name: str
    run: Callable[[Path], Execution]
    # What it left in its target; `None` where it leaves nothing.
    left: Callable[[Path], pl.LazyFrame] | None
    # How many rows that is, without reading them.
    count: Callable[[Path], int] | None
    before: Callable[[], None] = lambda: None


def stockflow(args: argparse.Namespace, pipeline: Path, topic: Topic, folder: Path, *, tree: bool = False, **env: str) -> Execution:
    """One run, from an empty store to the end of the topic; `tree` watches its memory over time."""
    env = {"BENCH_TOPIC": topic.name, "BENCH_STORE": str(folder / "store"), "BENCH_OUTPUT": str(folder / "output"), **env}
    done = execute([str(args.binary), "run", str(pipeline), "--json"], args.cpus, folder, env, tree=tree)
    # The console sink prints before the report.
    report = json.loads(done.printed[done.printed.index('{\n  "basis"') :].rpartition("}")[0] + "}")
    read = sum(sum(epoch["read"].values()) for epoch in report["epochs"])
    if read != topic.messages or not report["complete"] or report["dead_letters"]:
        raise Failed(f"{pipeline.stem}: {read} rows were read, not {topic.messages}: {done.printed[-3000:]}")
    return done


def peer(args: argparse.Namespace, name: str, topic: Topic, folder: Path, *more: str) -> Execution:
    command = [sys.executable, str(HERE / "peers" / f"{name}.py"), "--topic", topic.name, "--messages", str(topic.messages), *more]
    done = execute(command, args.cpus, folder, {})
    done.seconds = json.loads(done.printed.strip().splitlines()[-1])["seconds"]
    return done


@contextmanager
def topic_of(args: argparse.Namespace, job: str, messages: int) -> Iterator[Topic]:
    name = f"bench-{job.replace('_', '-')}-{messages}"
    progress(f"{job}: a topic of about {messages} messages in {args.partitions} partitions")
    try:
        yield topics.fill(name, messages, args.partitions)
    finally:
        topics.drop(name)


def alternate(args: argparse.Namespace, job: str, topic: Topic, tools: list[Tool], work: Path, runs: int) -> dict[str, Measured]:
    """Compares what all tools leave with the topic, then times them in turns."""
    measured = {tool.name: Measured() for tool in tools}
    for number in range(1 + runs):
        for tool in tools:
            progress(f"{job}: {tool.name}: run {number}" if number else f"{job}: {tool.name}: first run")
            folder = work / "run"
            tool.before()
            done = tool.run(folder)
            if number:
                measured[tool.name].add(done.seconds, done.peak_mb)
            if tool.count and (count := tool.count(folder)) != topic.messages:
                raise Failed(f"{job}: {tool.name}: {count} rows, not {topic.messages}")
            if tool.left and not number:
                outputs.compare_all(f"{job}: {tool.name}", outputs.canonical(topic.bars.lazy()), outputs.canonical(tool.left(folder)))
            shutil.rmtree(folder)
    compared = [tool.name for tool in tools if tool.left]
    if compared:
        print(f"{job}: the topic = {' = '.join(compared)} ({topic.messages} rows, {len(topics.COLUMNS)} columns)", flush=True)
    return measured


def as_bars(frame: pl.DataFrame) -> pl.LazyFrame:
    """Rows that a server gave, with their columns' own types; none may be missing or more."""
    if strange := set(topics.COLUMNS) ^ set(frame.columns):
        raise Failed(f"columns {sorted(strange)} are missing or too many")
    times = [name for name in ("ts", "as_of") if frame.schema[name] == pl.String]
    frame = frame.with_columns(pl.col(name).str.to_datetime(time_unit="us", time_zone="UTC") for name in times)
    times = pl.col("ts", "as_of").cast(pl.Datetime("us", "UTC"))
    return frame.lazy().with_columns(times, pl.col("open", "high", "low", "close", "volume").cast(pl.Float64))


def lines(args: argparse.Namespace, job: str, title: str, measured: dict[str, Measured], samples: list[dict]) -> list[Row]:
    """A row for each peer; the bars are those of the project."""
    samples.extend({"job": job, "tool": name, "seconds": it.seconds, "peak_mb": it.peak_mb} for name, it in measured.items())
    if args.smoke:
        return []
    ours = measured["stockflow"]
    peers = {name: it for name, it in measured.items() if not name.startswith("stockflow")}
    return [Row(title, "", str(ours), f"{name} {it}", ours.median / it.median, CONNECTORS.get((job, name))) for name, it in peers.items()]


# ---- the jobs


def kafka_read(args: argparse.Namespace, work: Path, samples: list[dict]) -> list[Row]:
    """Reading alone. The cheapest sink there is counts the rows and shows one."""
    job = "kafka_read"
    with topic_of(args, job, args.messages) as topic:

        def run(name: str) -> Callable[[Path], Execution]:
            return lambda folder: stockflow(args, HERE / "pipelines" / f"{name}.toml", topic, folder)

        tools = [
            Tool("stockflow", run("kafka_read"), None, None),
            Tool("stockflow, one column", run("kafka_read_one"), None, None),
            Tool("librdkafka", lambda folder: peer(args, "librdkafka_kafka_read", topic, folder), None, None),
        ]
        measured = alternate(args, job, topic, tools, work, args.runs)
        print(f"{job}: stockflow = librdkafka ({topic.messages} messages)", flush=True)
        title = f"Kafka read, {topic.messages:,} messages"
        rows = lines(args, job, f"{title}: all columns decoded", measured, samples)
        if rows:
            one, bare = measured["stockflow, one column"], measured["librdkafka"]
            rows.append(Row(f"{title}: one column decoded", "", str(one), f"librdkafka {bare}", one.median / bare.median, CONNECTORS[job, "librdkafka"]))
        return rows


def kafka_postgres(args: argparse.Namespace, work: Path, samples: list[dict]) -> list[Row]:
    """A topic into a table that is merged by key."""
    job = "kafka_postgres"
    from psycopg2 import connect

    connection = connect(os.environ["STOCKFLOW_TEST_POSTGRES_URL"], password=os.environ["STOCKFLOW_TEST_POSTGRES_PASSWORD"], sslmode="disable")
    connection.autocommit = True
    cursor = connection.cursor()
    table, like = f"{SCHEMA}.bars", f"{SCHEMA}_like.bars"
    dump = work / "rows.pgcopy"

    def drop(*schemas: str) -> None:
        for schema in schemas:
            cursor.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")

    def empty_schema() -> None:
        drop(SCHEMA)
        cursor.execute(f"CREATE SCHEMA {SCHEMA}")

    def empty_table() -> None:
        empty_schema()
        cursor.execute(f"CREATE TABLE {table} (LIKE {like} INCLUDING ALL)")

    def count(_: Path) -> int:
        cursor.execute(f"SELECT count(*) FROM {table}")
        return cursor.fetchone()[0]

    def left(_: Path) -> pl.LazyFrame:
        text = io.BytesIO()
        names = ", ".join(f"{name} AT TIME ZONE 'UTC' AS {name}" if name in ("ts", "as_of") else f'"{name}"' for name in topics.COLUMNS)
        cursor.copy_expert(f"COPY (SELECT {names} FROM {table}) TO STDOUT (FORMAT csv, HEADER)", text)
        return as_bars(pl.read_csv(text.getvalue(), schema_overrides={name: pl.String for name in ("symbol", "ts", "as_of")}))

    def first_left(folder: Path) -> pl.LazyFrame:
        """Keeps the table's columns and indexes, and its rows for psql."""
        drop(f"{SCHEMA}_like")
        cursor.execute(f"CREATE SCHEMA {SCHEMA}_like")
        cursor.execute(f"CREATE TABLE {like} (LIKE {table} INCLUDING ALL)")
        with open(dump, "wb") as file:
            cursor.copy_expert(f"COPY {table} TO STDOUT (FORMAT binary)", file)
        return left(folder)

    with topic_of(args, job, args.messages) as topic:
        ours = Tool("stockflow", lambda it: stockflow(args, HERE / "pipelines" / f"{job}.toml", topic, it, BENCH_TABLE=table), first_left, count, empty_schema)

        def of(name: str, script: str, *more: str) -> Tool:
            return Tool(name, lambda it: peer(args, script, topic, it, "--target", table, *more), left, count, empty_table)

        tools = [
            ours,
            of("psql COPY", "psql_kafka_postgres", "--input", str(dump)),
            of("kafka-python + psycopg2", "python_kafka_postgres"),
            of("the same, execute_values", "python_kafka_postgres", "--form", "execute_values"),
        ]
        try:
            measured = alternate(args, job, topic, tools, work, args.runs)
        finally:
            drop(SCHEMA, f"{SCHEMA}_like")
            connection.close()
        return lines(args, job, f"Kafka to PostgreSQL, {topic.messages:,} messages", measured, samples)


@dataclass
class Busy:
    """What a server did during one run."""

    # Of its threads that write, on average.
    write: float = 0.0
    # Its processor time against the time on the clock of all cores.
    cpu: float = 0.0
    # Time spent on indexing, of all threads together.
    indexing: float = 0.0
    rejected: int = 0


@dataclass
class Watch:
    """Looks at an Elasticsearch server while something runs."""

    client: object
    seen: dict[str, list[Busy]] = field(default_factory=dict)

    def stats(self) -> dict:
        answer = self.client.nodes.stats(metric="process,thread_pool,indices,os", filter_path="nodes.*.process.cpu,nodes.*.thread_pool.write,nodes.*.indices.indexing")
        return next(iter(answer["nodes"].values()))

    def during(self, name: str, run: Callable[[Path], Execution]) -> Callable[[Path], Execution]:
        def watched(folder: Path) -> Execution:
            shares: list[float] = []
            done = threading.Event()

            def sample() -> None:
                while not done.wait(0.1):
                    pool = self.stats()["thread_pool"]["write"]
                    shares.append(pool["active"] / pool["threads"] if pool["threads"] else 0.0)

            before = self.stats()
            thread = threading.Thread(target=sample, daemon=True)
            thread.start()
            try:
                execution = run(folder)
            finally:
                done.set()
                thread.join()
            after = self.stats()
            cpu = (after["process"]["cpu"]["total_in_millis"] - before["process"]["cpu"]["total_in_millis"]) / 1000
            indexing = (after["indices"]["indexing"]["index_time_in_millis"] - before["indices"]["indexing"]["index_time_in_millis"]) / 1000
            rejected = after["thread_pool"]["write"]["rejected"] - before["thread_pool"]["write"]["rejected"]
            busy = Busy(sum(shares) / max(1, len(shares)), cpu / execution.seconds / os.cpu_count(), indexing, rejected)
            self.seen.setdefault(name, []).append(busy)
            return execution

        return watched

    def median(self, name: str) -> Busy:
        """The run in the middle by the share of its writing threads; the first one warms."""
        runs = sorted(self.seen[name][1:], key=lambda it: it.write)
        return runs[len(runs) // 2]


def kafka_elasticsearch(args: argparse.Namespace, work: Path, samples: list[dict]) -> list[Row]:
    """A topic into an index."""
    job = "kafka_elasticsearch"
    from elasticsearch import Elasticsearch
    from elasticsearch.helpers import scan

    client = Elasticsearch(
        os.environ["STOCKFLOW_TEST_ELASTIC_URL"], api_key=os.environ["STOCKFLOW_TEST_ELASTIC_API_KEY"], ca_certs=os.environ["STOCKFLOW_TEST_ELASTIC_CA"],
        request_timeout=120,
    )  # fmt: skip
    made: dict = {}

    def drop() -> None:
        for pattern in (f"{INDEX},{INDEX}-0*", META_INDEX):
            for name in client.indices.get(index=pattern, ignore_unavailable=True, allow_no_indices=True):
                client.indices.delete(index=name)
        if client.indices.exists_index_template(name=f"stockflow-{INDEX}"):
            client.indices.delete_index_template(name=f"stockflow-{INDEX}")

    def empty_index() -> None:
        drop()
        client.indices.create(index=INDEX, **made)

    def count(_: Path) -> int:
        client.indices.refresh(index=INDEX)
        return client.count(index=INDEX)["count"]

    def left(_: Path) -> pl.LazyFrame:
        return as_bars(pl.DataFrame([hit["_source"] for hit in scan(client, index=INDEX, size=5000)], infer_schema_length=None))

    def first_left(folder: Path) -> pl.LazyFrame:
        """Keeps the index's fields and settings for the peer."""
        (index,) = client.indices.get(index=INDEX).values()
        kept = ("number_of_shards", "number_of_replicas", "refresh_interval")
        settings = {name: value for name, value in index["settings"]["index"].items() if name in kept}
        made.update(mappings=index["mappings"], settings=settings)
        return left(folder)

    watch = Watch(client)
    with topic_of(args, job, args.messages) as topic:
        ours = lambda it: stockflow(args, HERE / "pipelines" / f"{job}.toml", topic, it, BENCH_INDEX=INDEX)  # noqa: E731
        theirs = lambda it: peer(args, "python_kafka_elasticsearch", topic, it, "--target", INDEX)  # noqa: E731
        tools = [
            Tool("stockflow", watch.during("stockflow", ours), first_left, count, drop),
            Tool("parallel_bulk", watch.during("parallel_bulk", theirs), left, count, empty_index),
        ]
        try:
            measured = alternate(args, job, topic, tools, work, args.runs)
        finally:
            drop()
            client.close()
        title = f"Kafka to Elasticsearch, {topic.messages:,} messages"
        rows = lines(args, job, title, measured, samples)
        if not rows:
            return []
        samples.append({"job": job, "server": {name: [vars(it) for it in found] for name, found in watch.seen.items()}})

        def text(name: str) -> str:
            it = watch.median(name)
            return f"write threads {it.write:.0%} busy, {it.cpu:.0%} of all cores, {it.indexing:.1f} s of indexing, {it.rejected} rejected"

        # A server whose threads always write cannot be fed faster.
        busy = watch.median("stockflow").write
        rows[0].holds = rows[0].ratio <= rows[0].bar or busy >= SERVER_BUSY
        rows.append(Row(f"{title}: the server meanwhile (its limit: write threads {SERVER_BUSY:.0%} busy)", "", text("stockflow"), f"parallel_bulk: {text('parallel_bulk')}"))
        return rows


def kafka_backlog(args: argparse.Namespace, work: Path, samples: list[dict]) -> list[Row]:
    """What has piled up is read in bounded memory, however much it is."""
    job = "kafka_backlog"
    pipeline = work / f"{job}.toml"
    plain = (HERE / "pipelines" / f"{job}.toml").read_text()
    # Of the small data of a smoke test several epochs, too.
    pipeline.write_text(plain.replace("max_rows = 100000", f"max_rows = {max(1000, min(100_000, args.backlog // 20))}", 1))

    def left(folder: Path) -> pl.LazyFrame:
        return pl.scan_parquet(sorted((folder / "output").rglob("*.parquet")), glob=False).select(topics.COLUMNS)

    def count(folder: Path) -> int:
        return left(folder).select(pl.len()).collect().item()

    found: dict[int, Measured] = {}
    growth: list[float] = []
    for messages in (args.backlog // 10, args.backlog):
        with topic_of(args, job, messages) as topic:

            def run(folder: Path, topic: Topic = topic, is_large: bool = messages == args.backlog) -> Execution:
                done = stockflow(args, pipeline, topic, folder, tree=True)
                if is_large and not args.smoke:
                    growth.append(done.growth)
                return done

            found[topic.messages] = alternate(args, f"{job}, {topic.messages}", topic, [Tool("stockflow", run, left, count)], work, args.runs)["stockflow"]
    samples.extend({"job": job, "messages": n, "tool": "stockflow", "seconds": it.seconds, "peak_mb": it.peak_mb} for n, it in found.items())
    if args.smoke:
        return []
    samples.append({"job": job, "growth": growth})
    (few, small), (many, large) = found.items()
    title = f"Kafka backlog, {many:,} messages into Parquet"
    peak = max(large.peak_mb)
    # The first run warms.
    grown = statistics.median(growth[1:])
    return [
        Row(f"{title}: peak memory", "", f"{peak:.0f} MB, the most", f"{BACKLOG_PEAK_MB} MB", peak / BACKLOG_PEAK_MB, 1.0),
        Row(f"{title}: resident memory", "", "in the last fifth of the time", "in the second fifth", grown, BACKLOG),
        Row(f"{title}: peak memory against a tenth", "", f"{large.peak:.0f} MB", f"{few:,} messages {small.peak:.0f} MB", large.peak / small.peak, BACKLOG),
        Row(f"{title}: time", "", str(large), f"{few:,} messages {small}, ten times", large.median / small.median / (many / few)),
    ]
