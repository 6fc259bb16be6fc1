"""The lake going on day by day: one more day on a long history, and many small epochs in a row.

Both run `pipelines/next_day.toml`. What they leave in the lake is compared with TA-Lib's columns over all bars before
anything is said about time.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import outputs
import polars as pl
from jobs import HERE, generate, progress
from process import Execution, Failed, execute
from verdict import EPOCHS, LONG_HISTORY, NEXT_DAY, Measured, Row

sys.path.append(str(HERE / "peers"))
import peer  # noqa: E402

PIPELINE = HERE / "pipelines" / "next_day.toml"
# Made-up bars end on the same day however long their history is: none lies in the future.
FIRST_DAY = "2014-01-02"
PRICES = ["open", "high", "low", "close"]


def run(args: argparse.Namespace, folder: Path, pipeline: Path = PIPELINE) -> tuple[Execution, dict]:
    env = {"BENCH_INPUT": str(folder / "input"), "BENCH_LAKE": str(folder / "lake")}
    done = execute([str(args.binary), "run", str(pipeline), "--json"], args.cpus, folder, env)
    return done, json.loads(done.printed)


def check_report(name: str, report: dict, epochs: int, rows: int) -> None:
    """A run that did something else than it was timed for is no measurement."""
    read = sum(sum(epoch["read"].values()) for epoch in report["epochs"])
    if len(report["epochs"]) != epochs or read != rows or not report["complete"]:
        raise Failed(f"{name}: {len(report['epochs'])} epochs with {read} rows, not {epochs} with {rows}: {report}"[:3000])


def expected(bars: pl.DataFrame) -> pl.DataFrame:
    """The 13 columns by TA-Lib over all bars that stay; the bars are sorted by symbol and date."""
    starts = bars["symbol"].rle_id().to_numpy()
    ends = np.flatnonzero(np.diff(starts, append=-1)) + 1
    arrays = [bars[name].to_numpy() for name in ("high", "low", "close")]
    parts = [peer.talib_columns(*(array[a:b] for array in arrays)) for a, b in zip([0, *ends[:-1]], ends, strict=True)]
    values = {name: np.concatenate([part[name] for part in parts]) for name in peer.INDICATORS}
    return bars.select("symbol", "date", "close").with_columns(**values).with_columns(pl.col(pl.Float64).fill_nan(None))


def check_lake(name: str, folder: Path) -> int:
    """Compares both tables with all of the input."""
    inputs = [outputs.scan(path) for path in sorted((folder / "input").iterdir())]
    kept = pl.concat(inputs).filter(pl.col("volume") > 0).with_columns(pl.col(*PRICES, "volume").cast(pl.Float64))

    def table(relation: str, columns: list[str]) -> pl.LazyFrame:
        return outputs.canonical(pl.scan_delta(str(folder / "lake" / relation)).select("symbol", "date", *columns))

    outputs.compare_all(f"{name}: bars", table("bars", [*PRICES, "volume"]), kept)
    return outputs.compare_all(f"{name}: indicators", table("indicators", ["close", *peer.INDICATORS]), kept, expected)


def one_more_day(args: argparse.Namespace, symbols: int, days: int, loads: int, folder: Path) -> tuple[Measured, Measured]:
    """Loads the whole history `loads` times into a new lake, then adds day after day to the last of them."""
    name = f"next_day, {symbols} symbols x {days} days"
    n_more = max(2, args.runs)
    first = str(np.busday_offset(FIRST_DAY, args.days - days))
    made = folder / "made"
    made.mkdir(parents=True)
    history = made / f"history.{args.format}"
    generate(history, symbols, days, "symbol", "--start", first, "--next", str(n_more))
    more = sorted(made.glob("history-*"))

    full, next_day = Measured(), Measured()
    (folder / "input").mkdir()
    history.rename(folder / "input" / history.name)
    for number in range(loads):
        progress(f"{name}: full run {number + 1}")
        shutil.rmtree(folder / "lake", ignore_errors=True)
        done, report = run(args, folder)
        check_report(name, report, 1, symbols * days)
        full.add(done.seconds, done.peak_mb)
    for number, day in enumerate(more):
        progress(f"{name}: one more day {number + 1}")
        day.rename(folder / "input" / day.name)
        done, report = run(args, folder)
        check_report(name, report, 1, symbols)
        next_day.add(done.seconds, done.peak_mb)
    count = check_lake(name, folder)
    print(f"{name} and {n_more} more: lake = TA-Lib over all bars ({count} rows)", flush=True)
    return full, next_day


def next_day(args: argparse.Namespace, work: Path, samples: list[dict]) -> list[Row]:
    """One more day on the plain history, on one that is longer, and (reported only) on one of more symbols."""
    sizes = {"": (1, 1, args.full_runs), "longer": (1, args.large, args.large_runs), "wider": (args.large, 1, args.large_runs)}
    if args.smoke:
        del sizes["wider"]
    rows: list[Row] = []
    plain = None
    for size, (times_symbols, times_days, loads) in sizes.items():
        symbols, days = args.symbols * times_symbols, args.days * times_days
        full, more = one_more_day(args, symbols, days, max(1, loads), work / f"history-{size}")
        shutil.rmtree(work / f"history-{size}")
        for tool, it in (("full", full), ("next day", more)):
            samples.append({"job": "next_day", "tool": tool, "symbols": symbols, "days": days, "seconds": it.seconds, "peak_mb": it.peak_mb})
        title = f"one more day on {symbols * days / 1e6:.3g} million bars ({symbols} symbols)"
        plain = plain or more
        counts = size == ""
        rows.append(Row(title, "", str(more), f"full run {full}", more.median / full.median, NEXT_DAY if counts else None))
        if not counts:
            rows.append(Row(title, "", str(more), f"{args.symbols * args.days / 1e6:.3g} million bars {plain}", more.median / plain.median, LONG_HISTORY if size == "longer" else None))
    return [] if args.smoke else rows


def small_epochs(args: argparse.Namespace, work: Path, samples: list[dict]) -> list[Row]:
    """One bar of each symbol an epoch, many epochs in one process: does an epoch cost more the more there were before?"""
    symbols, epochs = args.epoch_symbols, args.epochs
    name = f"small_epochs, {epochs} epochs of {symbols} bars"
    made = work / "input"
    made.mkdir(parents=True)
    generate(made / f"bars.{args.format}", symbols, 0, "date", "--next", str(epochs))
    # The source takes files by the time of their last change.
    for number, file in enumerate(sorted(made.iterdir())):
        os.utime(file, (1_700_000_000 + number,) * 2)
    pipeline = work / "small_epochs.toml"
    pipeline.write_text(PIPELINE.read_text().replace("\n[source]", "max_partitions = 1\n\n[source]", 1))
    progress(name)
    done, report = run(args, work, pipeline)
    check_report(name, report, epochs, symbols * epochs)
    count = check_lake(name, work)
    print(f"{name}: lake = TA-Lib over all bars ({count} rows)", flush=True)

    # From one epoch's beginning to the next one's: nothing between two epochs is left out.
    begun = [datetime.fromisoformat(epoch["now"]).timestamp() for epoch in report["epochs"]]
    took = np.diff(begun)
    early, late = took[epochs // 10 : epochs // 5], took[-(epochs // 10) :]
    samples.append({"job": "small_epochs", "tool": "stockflow", "seconds": done.seconds, "peak_mb": done.peak_mb, "epochs": took.round(6).tolist()})
    samples[-1]["steps"] = [epoch["steps"] for epoch in report["epochs"]]
    if args.smoke:
        return []

    def text(some: np.ndarray) -> str:
        return f"{1000 * some.mean():.1f} ms (median {1000 * statistics.median(some):.1f})"

    return [
        Row(
            f"an epoch of {symbols} bars, {epochs} in a row", "", f"last {len(late)}: {text(late)}, {done.peak_mb:.0f} MB",
            f"epochs {epochs // 10} to {epochs // 5}: {text(early)}", late.mean() / early.mean(), EPOCHS,
        )  # fmt: skip
    ]
