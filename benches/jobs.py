"""Whole jobs in stockflow and in its peers over the same file: the seed job, the 13 indicator columns, and these shuffled in little memory."""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import outputs
from process import Execution, execute
from verdict import LARGE_PEAK_MB, MEMORY, TIMES, Measured, Row

HERE = Path(__file__).resolve().parent
TITLES = {"seed": "seed job", "indicators13": "13 indicator columns"}
NAMES = {"copy": "copy", "polars": "Polars", "duckdb": "DuckDB", "pyspark": "PySpark", "pandas": "pandas"}
# What the session of the large shuffled job may use; the rest of the bar is the process itself, reading and writing.
LARGE_MEMORY_MB = 512


def progress(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def generate(out: Path, symbols: int, days: int, order: str, *more: str) -> None:
    progress(f"{symbols} symbols x {days} days by {order}")
    command = [sys.executable, HERE / "generate.py", "--symbols", str(symbols), "--days", str(days), "--order", order, *more, out]
    subprocess.run(command, check=True)


def run_stockflow(args: argparse.Namespace, pipeline: Path, source: Path, folder: Path, *more: str, temporary: bool = False) -> Execution:
    env = {"BENCH_INPUT": str(source), "BENCH_OUTPUT": str(folder / "output.parquet"), "BENCH_STORE": str(folder / "store")}
    return execute([str(args.binary), "run", str(pipeline), *more], args.cpus, folder, env, temporary=temporary)


def run_peer(args: argparse.Namespace, peer: str, job: str, order: str, source: Path, folder: Path) -> Execution:
    command = [
        sys.executable, str(HERE / "peers" / f"{peer}_{job}.py"),
        "--input", str(source), "--output", str(folder / "output.parquet"), "--threads", str(len(args.cpus)), "--order", order,
    ]  # fmt: skip
    done = execute(command, args.cpus, folder, {}, tree=peer == "pyspark")
    done.seconds = json.loads(done.printed.strip().splitlines()[-1])["seconds"]
    return done


def run_tool(args: argparse.Namespace, tool: str, job: str, order: str, source: Path, folder: Path) -> Execution:
    shutil.rmtree(folder, ignore_errors=True)
    if tool in ("stockflow", "copy"):
        return run_stockflow(args, HERE / "pipelines" / f"{job if tool == 'stockflow' else 'copy'}.toml", source, folder)
    return run_peer(args, tool, job, order, source, folder)


def bench(args: argparse.Namespace, job: str, order: str, source: Path, work: Path) -> dict[str, Measured]:
    """Compares the outputs of all tools, then times them in turns."""
    peers = [peer for peer in args.peers if (HERE / "peers" / f"{peer}_{job}.py").exists()]
    if args.smoke and order != args.orders[0]:
        peers = [peer for peer in peers if peer != "pyspark"]
    ours = [] if args.no_stockflow else ["stockflow"]
    if ours and job == "seed" and "copy" in args.peers:
        ours.append("copy")
    tools = ours + peers
    if not tools:
        return {}

    def once(tool: str) -> Execution:
        return run_tool(args, tool, job, order, source, work / tool)

    # The first round is not timed: it warms the page cache and is compared.
    reference = None
    equal = []
    for tool in tools:
        progress(f"{job}, by {order}: {tool}: first run")
        once(tool)
        output = outputs.scan(work / tool / "output.parquet").collect().sort("symbol", "date")
        if tool == "copy":
            outputs.compare(f"copy, by {order}: input and output", output, outputs.scan(source).collect().sort("symbol", "date"))
        elif reference is None:
            reference, equal = output, [tool]
        else:
            outputs.compare(f"{job}, by {order}: {tool} against {equal[0]}", reference, output)
            equal.append(tool)
        shutil.rmtree(work / tool)
    if len(equal) > 1:
        print(f"{job}, by {order}: {' = '.join(equal)} ({reference.height} rows, {reference.width} columns)", flush=True)
    reference = output = None  # frees both
    if args.smoke:
        return {}

    measured = {tool: Measured() for tool in tools}
    for number in range(args.runs):
        for tool in tools:
            if tool == "pyspark" and number >= args.spark_runs:
                continue
            progress(f"{job}, by {order}: {tool}: run {number + 1}")
            done = once(tool)
            measured[tool].add(done.seconds, done.peak_mb)
            shutil.rmtree(work / tool)
    return measured


def rows(job: str, order: str, measured: dict[str, Measured]) -> list[Row]:
    """The lines of one job in one order; shuffled input is reported only."""
    ours = measured.get("stockflow")
    counts = order != "shuffled"
    found = []
    for tool, it in measured.items():
        if tool != "stockflow":
            bar = TIMES.get((job, tool)) if counts else None
            ratio = ours.median / it.median if ours else None
            found.append(Row(f"{TITLES[job]}: time", order, str(ours or ""), f"{NAMES[tool]} {it}", ratio, bar))
    if ours and not found:
        found.append(Row(f"{TITLES[job]}: time", order, str(ours), ""))
    peers = {tool: it for tool, it in measured.items() if tool not in ("stockflow", "copy")}
    if ours and peers:
        best = min(peers, key=lambda tool: peers[tool].peak)
        found.append(
            Row(
                f"{TITLES[job]}: peak memory", order, f"{ours.peak:.0f} MB", f"{NAMES[best]} {peers[best].peak:.0f} MB, the least",
                ours.peak / peers[best].peak, MEMORY if counts else None,
            )  # fmt: skip
        )
    return found


def reported_spill_mb(report: dict) -> float | None:
    """What a run says that it put to disk, if it says so."""
    places = [report, *report.get("epochs", [])]
    found = [place["spilled_bytes"] for place in places if place.get("spilled_bytes") is not None]
    return max(found) / 2**20 if found else None


def large(args: argparse.Namespace, work: Path, samples: list[dict]) -> list[Row]:
    """Four times the bars, shuffled, 13 columns, in little memory: right, within 1 GiB, and by way of the disk."""
    source = work / f"bars.{args.format}"
    generate(source, args.large * args.symbols, args.days, "shuffled")
    # The same pipeline as in the job with enough memory, so that the two cannot drift apart.
    pipeline = work / "large.toml"
    plain = (HERE / "pipelines" / "indicators13.toml").read_text()
    pipeline.write_text(plain.replace("\n[source]", f"memory_mb = {LARGE_MEMORY_MB}\n\n[source]", 1))

    ours, theirs, spilled, said = Measured(), Measured(), [], []
    for number in range(max(1, args.large_runs)):
        progress(f"large: stockflow: run {number + 1}")
        shutil.rmtree(work / "stockflow", ignore_errors=True)
        done = run_stockflow(args, pipeline, source, work / "stockflow", "--json", temporary=True)
        ours.add(done.seconds, done.peak_mb)
        spilled.append(done.temporary_mb)
        said.append(reported_spill_mb(json.loads(done.printed)))
        progress(f"large: polars: run {number + 1}")
        done = run_tool(args, "polars", "indicators13", "shuffled", source, work / "polars")
        theirs.add(done.seconds, done.peak_mb)
        if number == 0:
            both = [outputs.scan(work / tool / "output.parquet") for tool in ("stockflow", "polars")]
            count = outputs.compare_all("large: polars against stockflow", *both)
            print(f"large, shuffled, {LARGE_MEMORY_MB} MB for the session: stockflow = polars ({count} rows)", flush=True)
    samples.append({"job": "large", "tool": "stockflow", "seconds": ours.seconds, "peak_mb": ours.peak_mb, "temporary_mb": spilled, "spilled_mb": said})
    samples.append({"job": "large", "tool": "polars", "seconds": theirs.seconds, "peak_mb": theirs.peak_mb})
    if args.smoke:
        return []
    title = f"13 indicator columns, {count:,} bars"
    words = "" if said[0] is None else f", {min(said):.0f} MB in all as it says"
    return [
        Row(f"{title}: peak memory", "shuffled", f"{max(ours.peak_mb):.0f} MB, the most", f"{LARGE_PEAK_MB} MB", max(ours.peak_mb) / LARGE_PEAK_MB, 1.0),
        Row(f"{title}: spilled", "shuffled", f"{min(spilled):.0f} MB at a time on disk{words}", "more than nothing", holds=min(spilled) > 1 or bool(said[0] and min(said) > 1)),
        Row(f"{title}: time", "shuffled", str(ours), f"Polars {theirs}", ours.median / theirs.median),
    ]
