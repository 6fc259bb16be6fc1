"""The comparisons that judge the lake, the seed job and the peers: equal passes, each kind of difference is refused."""

import datetime
import sys
from pathlib import Path

import polars as pl

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benches"))

import check_lake  # noqa: E402
import check_seed  # noqa: E402
import run  # noqa: E402

DAYS = [datetime.date(2024, 1, day) for day in (2, 3, 4)]
BARS = pl.DataFrame({"symbol": ["a", "a", "b"], "date": DAYS, "x": [1.0, None, 3.0]})
SEED = BARS.with_columns(*(pl.lit(2.0).alias(name) for name in ("open", "high", "low", "close", "volume", "MA_20")))


def x(*values: float | None) -> pl.DataFrame:
    return BARS.with_columns(x=pl.Series(values, dtype=pl.Float64))


def refused(compare, *arguments) -> None:
    try:
        compare(*arguments)
    except (run.Failed, SystemExit):
        return
    raise AssertionError(f"not refused: {compare.__module__}.{compare.__name__}{arguments}")


def main() -> None:
    run.compare("peers", BARS, x(1.0 + 1e-12, None, 3.0))
    for other in (x(1.0 + 3e-9, None, 3.0), x(1.0, 2.0, 3.0), x(1.0, None, None), BARS.head(2), BARS.with_columns(symbol=pl.lit("a")), BARS.rename({"x": "y"})):
        refused(run.compare, "peers", BARS, other)

    check_lake.same("lake", ("A", BARS), ("B", BARS))
    for other in (x(1.0, None, 3.0000000000000004), x(1.0, 2.0, 3.0), BARS.head(2), BARS.drop("x")):
        refused(check_lake.same, "lake", ("A", BARS), ("B", other))

    check_seed.compare(SEED, SEED.with_columns(MA_20=2.0 + 1e-12))
    for other in (SEED.head(2), SEED.with_columns(open=2.0000000000000004), SEED.with_columns(MA_20=2.0 + 1e-8), SEED.with_columns(MA_20=None)):
        refused(check_seed.compare, SEED, other)
    print("all differences are refused")


if __name__ == "__main__":
    main()
