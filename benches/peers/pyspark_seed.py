"""The seed job in PySpark: CSV, volume > 0, 20-bar average of what there is, Parquet. Timed after session start and a warm-up."""

import peer
import pyspark_bars as bars
from pyspark.sql import functions as f
from pyspark.sql.window import Window

args = peer.arguments()
spark = bars.start(args.threads)


def job(source=args.input, target=args.output) -> None:
    window = Window.partitionBy("symbol").orderBy("date").rowsBetween(-19, 0)
    bars.write(bars.read(spark, source).filter("volume > 0").withColumn("MA_20", f.avg("close").over(window)), target)


bars.warm_up(spark, job, args.input)
peer.timed(job)
spark.stop()
