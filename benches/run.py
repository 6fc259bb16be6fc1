"""Runs whole jobs in stockflow and in its peers on the same bars, compares the outputs, then prints times and ratios.

Called by `scripts/bench` (which builds the binary and the Python environment first); `scripts/bench --help` lists the options.

What is timed: stockflow from the start of its process to its end; the peers only the job itself, after their imports, and
PySpark after session start and a warm-up besides. What is compared: every row and column, keys and text exactly, numbers to
1e-9 relative plus 1e-9 absolute, missing values at the same places. Nothing is printed about speed before that holds.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

HERE = Path(__file__).resolve().parent
JOBS = {
    "copy": "CSV -> Parquet copy",
    "seed": "seed job",
    "indicators13": "13 indicator columns",
}
PEERS = ["polars", "duckdb", "pyspark"]
TOLERANCE = 1e-9


@dataclass
class Run:
    seconds: float
    peak_mb: float
    output: Path


@dataclass
class Measured:
    seconds: list[float] = field(default_factory=list)
    peak_mb: list[float] = field(default_factory=list)


class Failed(Exception):
    """A run ended badly or two outputs differ."""


# ---- running one process


def tree_rss_mb(root: int) -> float:
    """Resident memory of a process and of all it started, now."""
    children: dict[int, list[int]] = {}
    rss: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            stat = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(stat[1]), []).append(int(entry))
        rss[int(entry)] = int(stat[21])
    total, todo = 0, [root]
    while todo:
        pid = todo.pop()
        total += rss.get(pid, 0)
        todo += children.get(pid, [])
    return total * os.sysconf("SC_PAGE_SIZE") / 2**20


def execute(command: list[str], cpus: set[int], folder: Path, env: dict[str, str], tree: bool) -> tuple[float, float, str]:
    """Runs a command; gives its wall time, its peak memory (of the whole process tree if `tree`) and what it printed."""
    folder.mkdir(parents=True, exist_ok=True)
    out, err = folder / "stdout", folder / "stderr"
    peak = 0.0
    with open(out, "wb") as stdout, open(err, "wb") as stderr:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **env}, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
            preexec_fn=lambda: os.sched_setaffinity(0, cpus),
        )  # fmt: skip
        done = threading.Event()

        def sample() -> None:
            nonlocal peak
            while not done.wait(0.2):
                peak = max(peak, tree_rss_mb(process.pid))

        sampler = threading.Thread(target=sample, daemon=True)
        if tree:
            sampler.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        done.set()
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        tail = err.read_text(errors="replace")[-3000:]
        raise Failed(f"exit code {process.returncode}: {' '.join(command)}\n{tail}")
    return seconds, max(peak, usage.ru_maxrss / 1024), out.read_text(errors="replace")


def run_stockflow(args: argparse.Namespace, job: str, order: str, source: Path, folder: Path) -> Run:
    pipeline = HERE / "pipelines" / f"{job}.toml"
    output = folder / "output.parquet"
    env = {"BENCH_INPUT": str(source), "BENCH_OUTPUT": str(output), "BENCH_STORE": str(folder / "store")}
    seconds, peak, _ = execute([str(args.binary), "run", str(pipeline)], args.cpus, folder, env, tree=False)
    return Run(seconds, peak, output)


def run_peer(args: argparse.Namespace, peer: str, job: str, order: str, source: Path, folder: Path) -> Run:
    output = folder / "output.parquet"
    command = [
        sys.executable, str(HERE / "peers" / f"{peer}_{job}.py"),
        "--input", str(source), "--output", str(output), "--threads", str(len(args.cpus)), "--order", order,
    ]  # fmt: skip
    _, peak, printed = execute(command, args.cpus, folder, {}, tree=peer == "pyspark")
    return Run(json.loads(printed.strip().splitlines()[-1])["seconds"], peak, output)


# ---- comparing outputs


def load(path: Path) -> pl.DataFrame:
    """A job's output in one canonical form: lower-case names, sorted by key, NaN as missing."""
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    frame = pl.read_parquet(files, glob=False)
    frame = frame.rename({name: name.lower() for name in frame.columns})
    if "date" not in frame.columns:
        frame = frame.with_columns(pl.col("ts").dt.date().alias("date"))
    # A file source passes text dates through as text; the peers were told the types.
    date = pl.col("date").str.to_date() if frame.schema["date"] == pl.String else pl.col("date").cast(pl.Date)
    return frame.with_columns(date, pl.col(pl.Float64).fill_nan(None)).sort("symbol", "date")


def compare(name: str, ours: pl.DataFrame, theirs: pl.DataFrame) -> None:
    """Raises `Failed` with the first difference."""
    if ours.height != theirs.height:
        raise Failed(f"{name}: {theirs.height} rows, not {ours.height}")
    missing = [column for column in theirs.columns if column not in ours.columns]
    if missing:
        raise Failed(f"{name}: no such columns in the output compared with: {', '.join(missing)}")
    for column in theirs.columns:
        a, b = ours[column], theirs[column]
        if not b.dtype.is_numeric():
            different = (a.cast(b.dtype) != b).fill_null(True).to_numpy() & ~(a.is_null() & b.is_null()).to_numpy()
        else:
            x, y = a.cast(pl.Float64).to_numpy(), b.cast(pl.Float64).to_numpy()
            with np.errstate(invalid="ignore"):
                close = np.abs(x - y) <= TOLERANCE + TOLERANCE * np.abs(y)
            different = ~(close | (np.isnan(x) & np.isnan(y)))
        if different.any():
            row = int(np.argmax(different))
            key = theirs.select("symbol", "date").row(row)
            raise Failed(f"{name}: column `{column}` differs in {int(different.sum())} rows, first at {key}: {b[row]} is not {a[row]}")


# ---- a job in one order


def bench(args: argparse.Namespace, job: str, order: str, source: Path, work: Path) -> dict[str, Measured]:
    def once(tool: str) -> Run:
        folder = work / f"{job}-{order}-{tool}"
        shutil.rmtree(folder, ignore_errors=True)
        run = run_stockflow if tool == "stockflow" else lambda a, *rest: run_peer(a, tool, *rest)
        return run(args, job, order, source, folder)

    peers = [p for p in args.peers if (HERE / "peers" / f"{p}_{job}.py").exists()]
    if args.smoke and order != args.orders[0]:
        peers = [p for p in peers if p != "pyspark"]
    tools = ([] if args.no_stockflow else ["stockflow"]) + peers
    if not tools:
        return {}
    measured = {tool: Measured() for tool in tools}

    # The first round is not timed: it warms the page cache and is compared.
    reference: tuple[str, pl.DataFrame] | None = None
    for tool in tools:
        progress(f"{job}, by {order}: {tool}: first run")
        output = load(once(tool).output)
        if reference is None:
            reference = (tool, output)
        else:
            compare(f"{job}, by {order}: {tool} against {reference[0]}", reference[1], output)
        shutil.rmtree(work / f"{job}-{order}-{tool}")
    if len(tools) > 1:
        print(f"{job}, by {order}: {' = '.join(tools)} ({reference[1].height} rows, {reference[1].width} columns)", flush=True)
    reference = output = None  # frees both
    if args.smoke:
        return {}

    for number in range(args.runs):
        for tool in tools:
            if tool == "pyspark" and number >= args.spark_runs:
                continue
            progress(f"{job}, by {order}: {tool}: run {number + 1}")
            run = once(tool)
            measured[tool].seconds.append(run.seconds)
            measured[tool].peak_mb.append(run.peak_mb)
            shutil.rmtree(work / f"{job}-{order}-{tool}")
    return measured


def progress(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def table(results: dict[tuple[str, str], dict[str, Measured]]) -> str:
    lines = [
        "| job | order | tool | median s | min to max | runs | peak MB | stockflow / tool |",
        "|---|---|---|---:|---|---:|---:|---:|",
    ]
    for (job, order), measured in results.items():
        ours = measured.get("stockflow")
        for tool, m in measured.items():
            median = statistics.median(m.seconds)
            ratio = f"{statistics.median(ours.seconds) / median:.2f}" if ours and tool != "stockflow" else ""
            spread = f"{min(m.seconds):.2f} to {max(m.seconds):.2f}"
            lines.append(f"| {JOBS[job]} | {order} | {tool} | {median:.2f} | {spread} | {len(m.seconds)} | {statistics.median(m.peak_mb):.0f} | {ratio} |")
    return "\n".join(lines)


def machine() -> str:
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown processor")
    memory = next(int(line.split()[1]) // 2**20 for line in open("/proc/meminfo") if line.startswith("MemTotal"))
    return f"{model}, {os.cpu_count()} cores seen, {memory} GiB"


def parse() -> argparse.Namespace:
    def names(allowed):
        def parse_names(text: str) -> list[str]:
            found = [name for name in text.split(",") if name]
            if wrong := [name for name in found if name not in allowed]:
                raise argparse.ArgumentTypeError(f"`{wrong[0]}` is not one of {', '.join(allowed)}")
            return found

        return parse_names

    orders = ["symbol", "date", "shuffled"]
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", type=int, default=2000)
    parser.add_argument("--days", type=int, default=2520)
    parser.add_argument("--orders", type=names(orders), default=orders, metavar="A,B", help="symbol,date,shuffled")
    parser.add_argument("--jobs", type=names(list(JOBS)), default=list(JOBS), metavar="A,B", help=",".join(JOBS))
    parser.add_argument("--peers", type=names(PEERS), default=PEERS, metavar="A,B", help=f"{','.join(PEERS)}, or nothing")
    parser.add_argument("--format", choices=["csv", "parquet"], default="csv", help="of the input")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--spark-runs", type=int, default=3, help="of PySpark, whose sessions take long to start")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--smoke", action="store_true", help="small data, once, only compared and not timed")
    parser.add_argument("--no-stockflow", action="store_true", help="the peers alone")
    parser.add_argument("--binary", type=Path, default=HERE.parent / "target" / "release" / "stockflow")
    parser.add_argument("--work", type=Path, default=Path("/dev/shm"), help="where inputs and outputs lie: a RAM disk")
    parser.add_argument("--json", type=Path, help="also write every single run to this file")
    args = parser.parse_args()
    args.binary = args.binary.resolve()
    if args.smoke:
        args.symbols, args.days, args.runs = 12, 300, 0
    cpus = sorted(os.sched_getaffinity(0))
    args.cpus = set(cpus[: args.threads])
    if not args.no_stockflow and not args.binary.exists():
        parser.error(f"no such binary: {args.binary} (scripts/bench builds it)")
    return args


def main() -> int:
    args = parse()
    results = {}
    with tempfile.TemporaryDirectory(prefix="stockflow-bench-", dir=args.work) as folder:
        work = Path(folder)
        for order in args.orders:
            source = work / f"bars-{order}.{args.format}"
            progress(f"{args.symbols} symbols x {args.days} days by {order}")
            subprocess.run(
                [sys.executable, HERE / "generate.py", "--symbols", str(args.symbols), "--days", str(args.days),
                 "--order", order, "--format", args.format, source], check=True,
            )  # fmt: skip
            for job in args.jobs:
                try:
                    if measured := bench(args, job, order, source, work):
                        results[job, order] = measured
                except Failed as failure:
                    print(failure, file=sys.stderr)
                    return 1
            source.unlink()
    if results:
        print(f"\n{machine()}; {len(args.cpus)} threads; {args.symbols * args.days:,} bars from {args.format.upper()}\n")
        print(table(results))
    if args.json:
        runs = [
            {"job": job, "order": order, "tool": tool, "seconds": m.seconds, "peak_mb": m.peak_mb}
            for (job, order), measured in results.items()
            for tool, m in measured.items()
        ]
        args.json.write_text(json.dumps({"machine": machine(), "bars": args.symbols * args.days, "runs": runs}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
