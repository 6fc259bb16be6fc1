"""Runs whole jobs and single kernels in stockflow and in its peers on the same bars, compares the outputs, then prints one table.

Called by `scripts/bench` (which builds the binaries and the Python environment first); `scripts/bench --help` lists the options.

What is timed: stockflow from the start of its process to its end; the peers only the job itself, after their imports, and
PySpark after session start and a warm-up besides. What is compared: every row and column, keys and text exactly, numbers to
1e-9 relative plus 1e-9 absolute, missing values at the same places. Nothing is printed about speed before that holds.

Where things are: `process.py` runs and measures one process, `outputs.py` compares, `jobs.py` has the whole jobs, `days.py`
what goes on day by day, `kernels.py` the single functions, `connectors.py` the jobs on real servers (`servers.py` starts them,
`topics.py` fills topics), `verdict.py` the bars and the table.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import connectors
import days
import jobs
import kernels
from outputs import compare  # noqa: F401  (scripts/readers tests it)
from process import Failed
from servers import Servers, missing
from verdict import Row, table

HERE = Path(__file__).resolve().parent
# Those that go through the orders and the peers, then those that are of one kind.
ORDERED = ["seed", "indicators13"]
SINGLE = {"next_day": days.next_day, "kernels": kernels.kernels, "small_epochs": days.small_epochs, "large": jobs.large}
# Those on real servers, and which.
ON_SERVERS = {
    "kafka_read": {"kafka"},
    "kafka_backlog": {"kafka"},
    "kafka_postgres": {"kafka", "postgres"},
    "kafka_elasticsearch": {"kafka", "elasticsearch"},
}
SINGLE |= {job: getattr(connectors, job) for job in ON_SERVERS}
JOBS = [*ORDERED, *SINGLE]
ORDERS = ["symbol", "date", "shuffled"]
PEERS = ["copy", "polars", "duckdb", "pyspark", "pandas"]


def machine() -> str:
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown processor")
    memory = next(int(line.split()[1]) // 2**20 for line in open("/proc/meminfo") if line.startswith("MemTotal"))
    return f"{model}, {os.cpu_count()} cores seen, {memory} GiB"


def with_servers(asked: list[str] | None) -> list[str]:
    """The jobs to run: without those on servers that cannot be had, unless they were asked for."""
    jobs = []
    for job in JOBS if asked is None else asked:
        reason = missing(ON_SERVERS.get(job, set()))
        if not reason:
            jobs.append(job)
        elif asked is not None or os.environ.get("STOCKFLOW_REQUIRE"):
            sys.exit(f"{job}: {reason}")
        else:
            print(f"left out: {job} ({reason.splitlines()[0]})", file=sys.stderr)
            if file := os.environ.get("STOCKFLOW_LEFT_OUT_FILE"):
                with open(file, "a") as left_out:
                    left_out.write(f"left out: the bench {job} (its servers are not to be had)\n")
    return jobs


def parse() -> argparse.Namespace:
    def names(allowed):
        def parse_names(text: str) -> list[str]:
            found = [name for name in text.split(",") if name]
            if wrong := [name for name in found if name not in allowed]:
                raise argparse.ArgumentTypeError(f"`{wrong[0]}` is not one of {', '.join(allowed)}")
            return found

        return parse_names

    target = HERE.parent / "target" / "release"
    functions = [call.partition("(")[0] for call in kernels.CALLS]
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=names(JOBS), metavar="A,B", help=f"{','.join(JOBS)}; all if nothing is said, but those on servers that cannot be had")
    parser.add_argument("--orders", type=names(ORDERS), default=ORDERS, metavar="A,B", help=f"of {' and '.join(ORDERED)}: {','.join(ORDERS)}")
    parser.add_argument("--peers", type=names(PEERS), default=PEERS, metavar="A,B", help=f"of {' and '.join(ORDERED)}: {','.join(PEERS)}, or nothing; `copy` is stockflow with nothing to compute")
    parser.add_argument("--kernels", type=names(functions), default=[], metavar="A,B", help="of the job of that name; all if nothing is said")
    parser.add_argument("--symbols", type=int, default=2000)
    parser.add_argument("--days", type=int, default=2520)
    parser.add_argument("--large", type=int, default=4, metavar="N", help="`large` has N times the symbols, the longer history of `next_day` N times the days")
    parser.add_argument("--epochs", type=int, default=1000, help="of small_epochs, one day each")
    parser.add_argument("--epoch-symbols", type=int, default=5000, help="of small_epochs")
    parser.add_argument("--messages", type=int, default=1_000_000, help="of a topic, in the jobs on servers")
    parser.add_argument("--backlog", type=int, default=10_000_000, help="messages of kafka_backlog, beside a tenth of it")
    parser.add_argument("--partitions", type=int, default=4, help="of a topic")
    parser.add_argument("--kernel-rows", type=int, default=1_000_000)
    parser.add_argument("--format", choices=["csv", "parquet"], default="csv", help="of the input")
    parser.add_argument("--runs", type=int, default=5, help="timed runs, and days of next_day")
    parser.add_argument("--spark-runs", type=int, default=5, help="of PySpark, whose sessions take long to start")
    parser.add_argument("--full-runs", type=int, default=5, help="full loads before next_day")
    parser.add_argument("--large-runs", type=int, default=1, help="of `large`, and full loads of the large histories")
    parser.add_argument("--repeats", type=int, default=5, help="calls of a kernel in each of the runs, of which the best counts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--smoke", action="store_true", help="small data, only compared and not timed")
    parser.add_argument("--no-stockflow", action="store_true", help=f"the peers alone, in {' and '.join(ORDERED)}")
    parser.add_argument("--binary", type=Path, default=target / "stockflow")
    parser.add_argument("--kernel-binary", type=Path, help="`kernels` of the benches (default: beside --binary)")
    parser.add_argument("--work", type=Path, default=Path("/dev/shm"), help="where inputs and outputs lie: a RAM disk")
    parser.add_argument("--json", type=Path, help="also write the table and every single run to this file")
    parser.add_argument("--check", action="store_true", help="exit code 1 if a bar is missed")
    args = parser.parse_args()
    args.binary = args.binary.resolve()
    args.kernel_binary = (args.kernel_binary or args.binary.with_name("kernels")).resolve()
    if args.smoke:
        args.symbols, args.days, args.large, args.runs, args.full_runs, args.large_runs = 12, 300, 2, 0, 1, 1
        args.epoch_symbols, args.epochs, args.kernel_rows = 50, 40, 20_000
        args.messages, args.backlog = 2_000, 20_000
    args.jobs = with_servers(args.jobs)
    args.cpus = set(sorted(os.sched_getaffinity(0))[: args.threads])
    if args.no_stockflow:
        args.jobs = [job for job in args.jobs if job in ORDERED]
    elif not args.binary.exists() and args.jobs != ["kernels"]:
        parser.error(f"no such binary: {args.binary} (scripts/bench builds it)")
    if "kernels" in args.jobs and not args.kernel_binary.exists():
        parser.error(f"no such binary: {args.kernel_binary} (scripts/bench builds it; else leave out the job `kernels`)")
    return args


def run_all(args: argparse.Namespace, work: Path, rows: dict[str, list[Row]], samples: list[dict]) -> None:
    ordered = [job for job in args.jobs if job in ORDERED]
    for order in args.orders if ordered else []:
        source = work / f"bars-{order}.{args.format}"
        jobs.generate(source, args.symbols, args.days, order)
        for job in ordered:
            measured = jobs.bench(args, job, order, source, work)
            rows[job] += jobs.rows(job, order, measured)
            samples.extend({"job": job, "order": order, "tool": tool, "seconds": m.seconds, "peak_mb": m.peak_mb} for tool, m in measured.items())
        source.unlink()
    for job in args.jobs:
        if job in SINGLE:
            # What is only compared starts all of them side by side; what is timed has no idle server beside it.
            together = args.jobs if args.smoke and job in ON_SERVERS else [job]
            args.servers.up(set().union(*(ON_SERVERS.get(one, set()) for one in together)))
            (work / job).mkdir()
            rows[job] += SINGLE[job](args, work / job, samples)
            shutil.rmtree(work / job)


def main() -> int:
    args = parse()
    by_job: dict[str, list[Row]] = {job: [] for job in JOBS}
    samples: list[dict] = []
    failure = None
    # So that servers are stopped by whatever ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="stockflow-bench-", dir=args.work) as folder, Servers() as args.servers:
        try:
            run_all(args, Path(folder), by_job, samples)
        except Failed as it:
            failure = it
    # What was measured before a failure is still worth seeing.
    rows = [row for found in by_job.values() for row in found]
    if rows:
        print(f"\n{machine()}; {len(args.cpus)} threads; {args.symbols * args.days:,} bars from {args.format.upper()} where nothing else is said\n")
        print(table(rows))
    if args.json:
        lines = [{**vars(row), "verdict": row.verdict} for row in rows]
        args.json.write_text(json.dumps({"machine": machine(), "bars": args.symbols * args.days, "table": lines, "runs": samples}, indent=1))
    if failure:
        print(failure, file=sys.stderr)
        return 1
    return 1 if args.check and any(row.verdict == "FAIL" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
