"""The bars of the project and the one table that says which of them hold."""

import statistics
from dataclasses import dataclass, field

# At most this many times the peer's wall time, by job and peer; the orders by symbol and by date count.
TIMES = {
    ("seed", "copy"): 1.3,
    ("seed", "polars"): 0.67,
    ("seed", "duckdb"): 0.67,
    ("seed", "pyspark"): 1 / 15,
    ("indicators13", "polars"): 0.5,
    ("indicators13", "pandas"): 1 / 8,
}
# Peak memory against the best peer's.
MEMORY = 0.5
# The run of one more day against the full one, and with a longer history against the shorter one.
NEXT_DAY = 0.03
LONG_HISTORY = 1.1
# Single kernels against TA-Lib in C, each and in geometric mean.
KERNEL = 1.0
KERNELS_MEAN = 0.8
# The last epochs against early ones.
EPOCHS = 1.1
# Peak memory of the large shuffled job, in MB.
LARGE_PEAK_MB = 1024

# At most this many times the peer's wall time, by job and peer.
CONNECTORS = {
    ("kafka_read", "librdkafka"): 1.25,
    ("kafka_postgres", "psql COPY"): 1.5,
    ("kafka_postgres", "kafka-python + psycopg2"): 0.2,
    ("kafka_elasticsearch", "parallel_bulk"): 0.5,
}
# From this share of its writing threads' time on, a search server is at its limit.
SERVER_BUSY = 0.9
# Peak memory of the backlog, in MB; that against a tenth of it, and what is resident near its end against near its start.
BACKLOG_PEAK_MB = 400
BACKLOG = 1.1


@dataclass
class Measured:
    """Several runs of one tool."""

    seconds: list[float] = field(default_factory=list)
    peak_mb: list[float] = field(default_factory=list)

    def add(self, seconds: float, peak_mb: float) -> None:
        self.seconds.append(seconds)
        self.peak_mb.append(peak_mb)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def peak(self) -> float:
        return statistics.median(self.peak_mb)

    def __str__(self) -> str:
        return f"{self.median:.2f} s ({min(self.seconds):.2f} to {max(self.seconds):.2f}), {self.peak:.0f} MB"


@dataclass
class Row:
    """One line of the table: what is compared with what, and how much it may be."""

    what: str
    order: str
    ours: str
    beside: str
    ratio: float | None = None
    # `None`: reported only.
    bar: float | None = None
    # Where no ratio says it.
    holds: bool | None = None

    @property
    def verdict(self) -> str:
        if self.holds is not None:
            return "PASS" if self.holds else "FAIL"
        if self.bar is None or self.ratio is None:
            return ""
        return "PASS" if self.ratio <= self.bar else "FAIL"


def table(rows: list[Row]) -> str:
    lines = ["| what | order | stockflow | beside | ratio | bar | |", "|---|---|---|---|---:|---:|---|"]
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.3f}"
        bar = "" if row.bar is None else f"{row.bar:.3f}".rstrip("0").rstrip(".")
        lines.append(f"| {row.what} | {row.order} | {row.ours} | {row.beside} | {ratio} | {bar} | {row.verdict} |")
    verdicts = [row.verdict for row in rows]
    lines.append(f"\n{verdicts.count('PASS')} PASS, {verdicts.count('FAIL')} FAIL, {verdicts.count('')} reported only")
    return "\n".join(lines)
