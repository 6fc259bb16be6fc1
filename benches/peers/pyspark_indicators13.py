"""The 13-column job in PySpark: `applyInArrow` by symbol with TA-Lib in C. Timed after session start and a warm-up.

Spark's SQL has no recursion over rows either, so this is how such columns are computed there.
"""

import peer
import pyarrow as pa
import pyspark_bars as bars

args = peer.arguments()
spark = bars.start(args.threads)
INDICATORS, columns = list(peer.INDICATORS), peer.talib_columns
spark.sparkContext.addPyFile(peer.__file__)


def indicators(table: pa.Table) -> pa.Table:
    table = table.sort_by("date")
    values = columns(*(table[name].to_numpy() for name in ("high", "low", "close")))
    for name in INDICATORS:
        table = table.append_column(name, pa.array(values[name], from_pandas=True))
    return table


def job(source=args.input, target=args.output) -> None:
    schema = bars.SCHEMA + "".join(f", {name} double" for name in INDICATORS)
    bars.write(bars.read(spark, source).groupBy("symbol").applyInArrow(indicators, schema), target)


bars.warm_up(spark, job, args.input)
peer.timed(job)
spark.stop()
