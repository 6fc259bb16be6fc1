"""Single functions of TA-Lib in C (the Python wheel) over one long series: the peer of `src/bin/kernels.rs`, with its arguments and output."""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import talib

COLUMNS = ["open", "high", "low", "close", "volume"]
INPUTS = {
    ("stoch", "stochf", "adx", "plus_di", "minus_di", "cci", "willr", "atr", "natr", "trange"): ["high", "low", "close"],
    ("mfi", "ad", "adosc"): ["high", "low", "close", "volume"],
    ("aroon", "sar"): ["high", "low"],
    ("obv",): ["close", "volume"],
}


def inputs_of(function: str) -> list[str]:
    return next((columns for names, columns in INPUTS.items() if function in names), ["close"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("calls", nargs="+")
    args = parser.parse_args()
    bars = dict(zip(COLUMNS, np.fromfile(args.input).reshape(len(COLUMNS), -1), strict=True))
    best = {}
    for call in args.calls:
        name, _, given = call.rstrip(")").partition("(")
        function, columns = getattr(talib, name.upper()), [bars[column] for column in inputs_of(name)]
        parameters = [float(it) if "." in it else int(it) for it in given.split(",") if it.strip()]
        seconds = []
        for _ in range(args.repeats):
            found = None  # Memory is given back outside of the time.
            start = time.perf_counter()
            found = function(*columns, *parameters)
            seconds.append(time.perf_counter() - start)
        best[name] = {"seconds": min(seconds)}
        if args.output:
            np.concatenate(found if isinstance(found, tuple) else [found]).astype(np.float64).tofile(args.output / f"{name}.f64")
    print(json.dumps(best))


main()
