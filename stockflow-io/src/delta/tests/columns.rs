//! Columns, types, partitions, modes, history.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, StructArray};
use arrow::datatypes::{DataType, Field};
use stockflow_core::history::History;
use stockflow_core::relation::RelationSchema;
use stockflow_core::schema::bar_relation;
use stockflow_core::sink::{EpochRows, Sink, WriteMode};
use stockflow_core::token::Generation;

use super::super::{DeltaHistory, DeltaSink};
use super::support::*;

fn table(columns: Vec<(&str, ArrayRef)>) -> EpochRows {
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
            .unwrap();
    rows_of(RelationSchema::new("x", batch.schema()).with_key(["k"]), vec![batch])
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_column_is_added() {
    let lake = Lake::new();
    let sink = lake.sink();
    write_new(&sink, 1, &table(vec![("k", texts(&["a", "b"])), ("v", Arc::new(Int64Array::from(vec![1, 2])))])).await;
    let more = table(vec![
        ("k", texts(&["b", "c"])),
        ("w", Arc::new(Float64Array::from(vec![0.5, 0.25]))),
        ("v", Arc::new(Int64Array::from(vec![2, 3]))),
    ]);
    assert_eq!(write(&sink, 2, &more).await.unwrap().rows, 2);
    assert_eq!(
        query(&lake.url("bars"), "SELECT k, v, coalesce(w, -1) FROM t ORDER BY k").await,
        "a 1 -1.0 | b 2 0.5 | c 3 0.25"
    );
    let error = write(
        &sink,
        3,
        &table(vec![("k", texts(&["a"])), ("v", texts(&["x"])), ("w", Arc::new(Float64Array::from(vec![0.5])))]),
    )
    .await
    .unwrap_err();
    assert!(error.to_string().contains("the column `v` was Int64 and is Utf8"), "{error}");
    assert!(error.to_string().contains("--rebuild"), "{error}");
    // Without a column its rows have NULL there, also where another program has added it.
    write(&sink, 3, &table(vec![("k", texts(&["b"])), ("v", Arc::new(Int64Array::from(vec![5])))])).await.unwrap();
    assert_eq!(
        query(&lake.url("bars"), "SELECT k, v, coalesce(w, -1) FROM t ORDER BY k").await,
        "a 1 -1.0 | b 5 -1.0 | c 3 0.25"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_takes_columns_away() {
    let lake = Lake::new();
    let sink = lake.sink();
    let column =
        |name: &'static str, n: i64| table(vec![("k", texts(&["a"])), (name, Arc::new(Int64Array::from(vec![n])))]);
    write_new(&sink, 1, &column("sma_5", 1)).await;
    write(&sink, 2, &column("sma_6", 2).whole(true)).await.unwrap();
    assert_eq!(query(&lake.url("bars"), "SELECT * FROM t").await, "a 2");
    // And back: the old name is a new column.
    write(&sink, 3, &column("sma_5", 3).whole(true)).await.unwrap();
    assert_eq!(query(&lake.url("bars"), "SELECT * FROM t").await, "a 3");
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_numbers_fit_into_a_column_of_numbers() {
    let lake = Lake::new();
    let sink = lake.sink();
    write_new(&sink, 1, &table(vec![("k", texts(&["a"])), ("v", Arc::new(Float64Array::from(vec![1.5])))])).await;
    write(&sink, 2, &table(vec![("k", texts(&["b"])), ("v", Arc::new(Int64Array::from(vec![2])))])).await.unwrap();
    assert_eq!(query(&lake.url("bars"), "SELECT k, v FROM t ORDER BY k").await, "a 1.5 | b 2.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_follow_new_columns() {
    let lake = Lake::new();
    let sink = lake.sink();
    let with = |close: f64, as_of: &str, note: Option<&str>| {
        let bars = batch(&[bar("A", "2024-01-02", close, as_of)]);
        let mut columns: Vec<(String, ArrayRef, bool)> = bars
            .schema()
            .fields()
            .iter()
            .zip(bars.columns())
            .map(|(field, column)| (field.name().clone(), Arc::clone(column), field.is_nullable()))
            .collect();
        if let Some(note) = note {
            columns.push(("note".into(), texts(&[note]), true));
        }
        let bars = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        let relation = RelationSchema { schema: bars.schema(), ..bar_relation("bars") };
        rows_of(relation, vec![bars])
    };
    write_new(&sink, 1, &with(1.0, "2024-02-01", None)).await;
    write(&sink, 2, &with(2.0, "2024-02-02", None)).await.unwrap();
    write(&sink, 3, &with(3.0, "2024-02-03", Some("x"))).await.unwrap();
    write(&sink, 4, &with(4.0, "2024-02-04", Some("y"))).await.unwrap();
    assert_eq!(
        query(&lake.url("bars_revisions"), "SELECT close, coalesce(note, '-') FROM t ORDER BY as_of").await,
        "1.0 - | 2.0 - | 3.0 x"
    );
    let session = datafusion::prelude::SessionContext::new();
    let view = super::super::as_of_view(&session, lake.url("bars"), "2024-02-02T00:00:00Z".parse().unwrap(), true)
        .await
        .unwrap();
    assert_eq!(print(view.select_columns(&["close"]).unwrap().collect().await.unwrap()), "2.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn overwrite_replaces_the_whole_table() {
    let lake = Lake::new();
    let sink = lake.sink().with_mode(WriteMode::Overwrite);
    write_new(&sink, 1, &table(vec![("k", texts(&["a", "b"])), ("v", Arc::new(Int64Array::from(vec![1, 2])))])).await;
    write(&sink, 2, &table(vec![("k", texts(&["c"])), ("w", texts(&["x"]))])).await.unwrap();
    assert_eq!(query(&lake.url("bars"), "SELECT * FROM t").await, "c x");
    // Other partitions, too.
    write(&sink, 3, &rows(&[bar("A", "2024-01-02", 1.0, "2024-01-03"), bar("A", "2024-01-02", 2.0, "2024-01-04")]))
        .await
        .unwrap();
    assert_eq!(closes(&lake.url("bars")).await, "A 2024-01-02 2.0");
    write(&sink, 4, &rows(&[])).await.unwrap();
    assert_eq!(query(&lake.url("bars"), "SELECT count(*) FROM t").await, "0");
    assert_eq!(lake.sink().open(&id(), Generation(2)).await.unwrap(), Some(token(4)));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_key_are_appended() {
    let lake = Lake::new();
    let sink = lake.sink().keyless();
    let one = || table(vec![("k", texts(&["a"]))]);
    write_new(&sink, 1, &one()).await;
    write(&sink, 2, &one()).await.unwrap();
    assert_eq!(query(&lake.url("bars"), "SELECT k FROM t").await, "a | a");
    assert_eq!(sink.write_mode(), WriteMode::Append);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_without_a_key_is_refused() {
    let lake = Lake::new();
    let sink = lake.sink();
    sink.open(&id(), Generation(1)).await.unwrap();
    let nameless = Bar { symbol: None, ..bar("", "2024-01-02", 2.0, "2024-01-03") };
    let staged = sink.stage(&token(1), &rows(&[bar("A", "2024-01-02", 1.0, "2024-01-03"), nameless])).await.unwrap();
    assert_eq!(staged.rows, 1);
    let refused = &staged.refused[0];
    assert_eq!((refused.reason.as_str(), refused.symbol.as_deref()), ("key column `symbol` is NULL", None));
    assert_eq!(refused.key[1], ("interval".to_owned(), "1d".to_owned()));
    assert!(refused.payload.contains(r#""close":2.0"#), "{}", refused.payload);
    sink.commit(staged).await.unwrap();
    assert_eq!(closes(&lake.url("bars")).await, "A 2024-01-02 1.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_can_be_chosen() {
    let lake = Lake::new();
    let sink = DeltaSink::new(lake.url("bars")).unwrap().with_partition_by(["symbol"]);
    write_new(
        &sink,
        1,
        &rows(&[bar("A", "2024-01-02", 1.0, "2024-01-03"), bar("B/..", "2024-01-02", 2.0, "2024-01-03")]),
    )
    .await;
    write(&sink, 2, &rows(&[bar("B/..", "2024-01-02", 3.0, "2024-01-04")])).await.unwrap();
    assert_eq!(closes(&lake.url("bars")).await, "A 2024-01-02 1.0 | B/.. 2024-01-02 3.0");
    assert!(lake.objects("bars").iter().any(|path| path.contains("/symbol=B_../")), "{:?}", lake.objects("bars"));
    let other = DeltaSink::new(lake.url("bars")).unwrap().with_partition_by(["interval"]);
    let error = {
        other.open(&id(), Generation(2)).await.unwrap();
        write(&other, 3, &rows(&[bar("A", "2024-01-02", 1.0, "2024-01-03")])).await.unwrap_err()
    };
    assert!(error.to_string().contains("the table is partitioned by `symbol`, not by `interval`"), "{error}");
    let bad = DeltaSink::new(lake.url("other")).unwrap().with_partition_by(["provider"]);
    bad.open(&id(), Generation(1)).await.unwrap();
    let error = write(&bad, 1, &rows(&[bar("A", "2024-01-02", 1.0, "2024-01-03")])).await.unwrap_err();
    assert!(error.to_string().contains("`provider`, which is not in the key"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn intraday_bars_lie_in_months() {
    let lake = Lake::new();
    let sink = lake.sink();
    let minute = |ts: &str| Bar { interval: "1m".into(), ts: at(ts), ..bar("A", "2024-01-02", 1.0, "2024-06-01") };
    write_new(
        &sink,
        1,
        &rows(&[
            minute("2024-01-31T23:59:00Z"),
            minute("2024-02-01T00:00:00Z"),
            bar("A", "2024-02-01", 1.0, "2024-06-01"),
        ]),
    )
    .await;
    let folders: Vec<String> = lake
        .objects("bars")
        .iter()
        .map(|path| path.split("/interval=").nth(1).unwrap().rsplit_once('/').unwrap().0.to_owned())
        .collect();
    assert_eq!(folders, ["1d/span=2024", "1m/span=2024-01", "1m/span=2024-02"]);
    assert_eq!(write(&sink, 2, &rows(&[minute("2024-01-31T23:59:00Z")])).await.unwrap().rows, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn structs_and_foreign_types_are_kept() {
    let lake = Lake::new();
    let sink = lake.sink();
    let values: ArrayRef = Arc::new(Float64Array::from(vec![1.5, 2.5]));
    let inner: ArrayRef =
        Arc::new(StructArray::from(vec![(Arc::new(Field::new("signal", DataType::Float64, true)), values)]));
    let ns: ArrayRef = Arc::new(arrow::array::TimestampNanosecondArray::from(vec![1_000_000_000, 2_000]));
    let view: ArrayRef = Arc::new(arrow::array::StringViewArray::from(vec!["x", "y"]));
    let unsigned: ArrayRef = Arc::new(arrow::array::UInt64Array::from(vec![1, 2]));
    let one = || {
        table(vec![
            ("k", texts(&["a", "b"])),
            ("macd", Arc::clone(&inner)),
            ("t", Arc::clone(&ns)),
            ("s", Arc::clone(&view)),
            ("n", Arc::clone(&unsigned)),
        ])
    };
    write_new(&sink, 1, &one()).await;
    assert_eq!(
        query(&lake.url("bars"), "SELECT macd['signal'], t, s, n FROM t ORDER BY k").await,
        "1.5 1970-01-01T00:00:01Z x 1 | 2.5 1970-01-01T00:00:00.000002Z y 2"
    );
    assert_eq!(write(&sink, 2, &one()).await.unwrap().rows, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_pinned_and_skips_files() {
    let lake = Lake::new();
    let sink = lake.sink();
    let history = DeltaHistory::new(lake.url("bars")).unwrap();
    write_new(&sink, 1, &rows(&[bar("A", "2024-01-02", 1.0, "2024-01-03")])).await;
    let pinned = history.version().await.unwrap().unwrap();
    write(
        &sink,
        2,
        &rows(&[
            bar("A", "2024-01-02", 2.0, "2024-01-04"),
            bar("B", "2024-01-02", 3.0, "2024-01-04"),
            bar("C", "2023-01-02", 4.0, "2024-01-04"),
        ]),
    )
    .await
    .unwrap();
    let newest = history.version().await.unwrap().unwrap();
    let session = datafusion::prelude::SessionContext::new();
    let read = async |version: &str, symbols: Option<&[&str]>| {
        let symbols: Option<Vec<String>> =
            symbols.map(|symbols| symbols.iter().map(|&symbol| symbol.to_owned()).collect());
        let table = history.table(version, symbols.as_deref()).await.unwrap();
        let frame = session.read_table(table).unwrap().select_columns(&["symbol", "close"]).unwrap();
        print(frame.sort_by(vec![datafusion::prelude::col("symbol")]).unwrap().collect().await.unwrap())
    };
    assert_eq!(read(&pinned, None).await, "A 1.0");
    assert_eq!(read(&pinned, Some(&["B"])).await, "");
    assert_eq!(read(&newest, None).await, "A 2.0 | B 3.0 | C 4.0");
    assert_eq!(read(&newest, Some(&["A", "C"])).await, "A 2.0 | C 4.0");
    assert_eq!(read(&newest, Some(&[])).await, "");
    assert!(history.table("999", None).await.unwrap_err().is_pin_lost());
    assert!(history.table("x", None).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_rolled() {
    let lake = Lake::new();
    let sink = lake.sink().with_target_file_size(1);
    let bars: Vec<_> = (0..20_000)
        .map(|n| Bar { ts: at("2024-01-01") + n * 1_000_000, ..bar("A", "2024-01-02", n as f64, "2024-06-01") })
        .collect();
    write_new(&sink, 1, &rows(&bars)).await;
    assert!(lake.objects("bars").len() > 1, "{:?}", lake.objects("bars"));
    assert_eq!(query(&lake.url("bars"), "SELECT count(*), min(close), max(close) FROM t").await, "20000 0.0 19999.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_any_compression_make_one_table() {
    use crate::ParquetCompression;
    let lake = Lake::new();
    let definition = lake.sink().definition();
    for (epoch, (word, compression)) in (1..).zip(ParquetCompression::ALL) {
        let sink = lake.sink().with_compression(compression);
        assert_eq!(sink.definition(), definition);
        write_new(&sink, epoch, &rows(&[bar(word, "2024-01-02", epoch as f64, "2024-06-01")])).await;
    }
    assert_eq!(
        query(&lake.url("bars"), "SELECT symbol, close FROM t ORDER BY close").await,
        "zstd 1.0 | lz4 2.0 | snappy 3.0 | none 4.0"
    );
    let objects = lake.objects("bars");
    for ending in [".zstd.parquet", ".lz4.parquet", ".snappy.parquet", "-00000.parquet"] {
        assert_eq!(objects.iter().filter(|object| object.ends_with(ending)).count(), 1, "{ending}: {objects:?}");
    }
}
