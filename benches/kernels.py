"""Single kernels over one long series, against TA-Lib in C.

Both sides read the same file of numbers and take turns; each call allocates its output, and the best of several calls
counts. The values are compared first.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

import numpy as np
import outputs
from jobs import HERE, progress
from process import Failed, execute
from verdict import KERNEL, KERNELS_MEAN, Row

# Parameters that are not said are the defaults, which are the same on both sides.
CALLS = [
    "sma(20)", "ema(20)", "wma(20)", "dema(20)", "tema(20)", "trima(20)", "kama(20)", "bbands(20, 2.0, 2.0)", "macd(12, 26, 9)", "rsi(14)",
    "stoch", "stochf", "stochrsi", "adx(14)", "plus_di(14)", "minus_di(14)", "cci(14)", "mom(10)", "roc(10)", "willr(14)", "mfi(14)",
    "aroon(14)", "atr(14)", "natr(14)", "trange", "obv", "ad", "adosc(3, 10)", "sar(0.02, 0.2)", "stddev(20)",
]  # fmt: skip


def series(rows: int, path: Path) -> None:
    """Made-up bars of one symbol as plain doubles: open, high, low, close, volume, one column after the other."""
    random = np.random.Generator(np.random.PCG64(20260101))
    close = np.empty(rows)
    log = 0.0
    for row, step in enumerate((random.standard_normal(rows) * 0.018).tolist()):
        # Pulled towards 100, so that a million bars stay in the range of prices.
        log = 0.998 * log + step
        close[row] = log
    close = 100.0 * np.exp(close)
    open_ = close * np.exp(random.standard_normal(rows) * 0.006)
    high = np.maximum(open_, close) * np.exp(np.abs(random.standard_normal(rows)) * 0.007)
    low = np.minimum(open_, close) * np.exp(-np.abs(random.standard_normal(rows)) * 0.007)
    volume = np.floor(np.exp(random.standard_normal(rows) * 0.6 + 13.5))
    prices = [np.round(column, 4) for column in (open_, high, low, close)]
    np.concatenate([*prices, volume]).tofile(path)


def compare(name: str, ours: Path, theirs: Path, rows: int) -> None:
    x, y = np.fromfile(ours), np.fromfile(theirs)
    if x.shape != y.shape:
        raise Failed(f"{name}: {x.size / rows:g} columns, not {y.size / rows:g}")
    different = ~outputs.is_close(x, y)
    # Near zero a difference of large numbers (adosc) is as exact as those are, not as it is itself.
    for at in range(x.size // rows):
        part = slice(at * rows, (at + 1) * rows)
        scale = np.nanmedian(np.abs(y[part])) if np.isfinite(y[part]).any() else 1.0
        different[part] &= ~(np.abs(x[part] - y[part]) <= outputs.TOLERANCE * max(scale, 1.0))
    if different.any():
        column, row = divmod(int(np.argmax(different)), rows)
        raise Failed(f"{name}: column {column} differs in {int(different.sum())} rows, first in row {row}: {x[different][0]} is not {y[different][0]}")


def kernels(args: argparse.Namespace, work: Path, samples: list[dict]) -> list[Row]:
    series(args.kernel_rows, work / "bars.f64")
    calls = [call for call in CALLS if not args.kernels or call.partition("(")[0] in args.kernels]
    tools = {"stockflow": [str(args.kernel_binary)], "talib": [sys.executable, str(HERE / "peers" / "talib_kernels.py")]}

    def once(tool: str, repeats: int, *more: str) -> dict[str, dict]:
        progress(f"kernels: {tool}")
        command = [*tools[tool], "--input", str(work / "bars.f64"), "--repeats", str(repeats), *more, *calls]
        return json.loads(execute(command, args.cpus, work / tool, {}).printed.strip().splitlines()[-1])

    for tool in tools:
        (work / f"out-{tool}").mkdir()
        first = once(tool, 1, "--output", str(work / f"out-{tool}"))
        if whole := [name for name, it in first.items() if it["seconds"] is None]:
            raise Failed(f"kernels: these do not go piece by piece: {', '.join(whole)}")
    wrong = []
    for name in first:
        try:
            compare(name, work / "out-stockflow" / f"{name}.f64", work / "out-talib" / f"{name}.f64", args.kernel_rows)
        except Failed as failure:
            wrong.append(str(failure))
    if wrong:
        raise Failed("kernels: " + "\n".join(wrong))
    print(f"kernels: {len(calls)} functions over {args.kernel_rows} bars: stockflow = TA-Lib", flush=True)
    if args.smoke:
        return []

    rounds = {tool: [] for tool in tools}
    for _ in range(args.runs):
        for tool in tools:
            rounds[tool].append(once(tool, args.repeats))
    rows, ratios, bare = [], [], []
    for name in first:
        best = {tool: [it[name]["seconds"] for it in rounds[tool]] for tool in tools}
        ours, theirs = (1000 * statistics.median(best[tool]) for tool in tools)
        update = 1000 * statistics.median(it[name]["update"] for it in rounds["stockflow"])
        ratios.append(ours / theirs)
        bare.append(update / theirs)
        rows.append(Row(f"kernel {name}", "", f"{ours:.2f} ms ({update:.2f} without its allocation)", f"TA-Lib C {theirs:.2f} ms", ours / theirs, KERNEL))
        samples.extend({"job": "kernels", "kernel": name, "tool": tool, "seconds": best[tool]} for tool in tools)
        samples[-2]["update"] = [it[name]["update"] for it in rounds["stockflow"]]
    words = f"{len(rows)} kernels ({statistics.geometric_mean(bare):.3f} of it without their allocations)"
    return [*rows, Row("kernels, geometric mean", "", words, "TA-Lib C", statistics.geometric_mean(ratios), KERNELS_MEAN)]
