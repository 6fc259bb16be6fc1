//! The file sinks: both modes, all formats, repeated epochs, crashes between the steps, and older runners.

mod pausing;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::prelude::{CsvReadOptions, JsonReadOptions, ParquetReadOptions, SessionContext};
use object_store::memory::InMemory;
use stockflow_core::relation::RelationSchema;
use stockflow_core::sink::{EpochRows, Fence, Idempotence, Sink, WriteMode};
use stockflow_core::{Error, ErrorClass};
use stockflow_io::ParquetCompression;
use stockflow_io::file::{FileFormat, FileSink, ManifestTable, SinkMode};
use stockflow_io::location::Location;

use self::pausing::Pausing;
use crate::support::{Folder, check_table, open, rows, sink_id, token, write};

const FORMATS: [FileFormat; 3] = [FileFormat::Parquet, FileFormat::Csv, FileFormat::Ndjson];

async fn table(place: &Location) -> String {
    let table = Arc::new(ManifestTable::at(place.clone()).await.unwrap());
    let context = SessionContext::new();
    context.register_table("t", table).unwrap();
    context.sql("SELECT symbol, n, close FROM t ORDER BY n, symbol").await.unwrap().to_string().await.unwrap()
}

/// What a query over the table `t` of an append output gives, printed.
async fn query(place: &Location, sql: &str) -> Result<String, Error> {
    let context = SessionContext::new();
    context.register_table("t", Arc::new(ManifestTable::at(place.clone()).await?))?;
    Ok(context.sql(sql).await?.to_string().await?)
}

/// The rows of a query, as an epoch.
async fn rows_of(sql: &str) -> EpochRows {
    let frame = SessionContext::new().sql(sql).await.unwrap();
    EpochRows::new(RelationSchema::new("bars", Arc::new(frame.schema().as_arrow().clone())), frame)
}

async fn one_object(path: &str, format: FileFormat) -> String {
    let context = SessionContext::new();
    let frame = match format {
        FileFormat::Parquet => context.read_parquet(path, ParquetReadOptions::default()).await,
        FileFormat::Csv => context.read_csv(path, CsvReadOptions::default()).await,
        FileFormat::Ndjson => context.read_json(path, JsonReadOptions::default().file_extension(".ndjson")).await,
    };
    let frame = frame.unwrap().select_columns(&["symbol", "n", "close"]).unwrap();
    frame.sort_by(vec![datafusion::prelude::col("n")]).unwrap().to_string().await.unwrap()
}

#[tokio::test]
async fn append_adds_epochs_and_knows_the_last() {
    for format in FORMATS {
        let folder = Folder::new();
        let sink = FileSink::new(folder.at("out"), format, SinkMode::Append).unwrap();
        assert_eq!(open(&sink, 1).await, None);
        let written = write(&sink, 1, &rows(&[&[("A", 1, Some(1.5))], &[], &[("B", 2, None)]])).await;
        assert_eq!(written.rows, 2);
        write(&sink, 2, &rows(&[&[("A", 3, Some(2.5))]])).await;
        let place = Location::parse(&folder.at("out")).unwrap();
        check_table(&table(&place).await, &["symbol|n|close", "A|1|1.5", "B|2|", "A|3|2.5"]);
        assert_eq!(ManifestTable::at(place.clone()).await.unwrap().token(), Some(token(2)));

        let again = FileSink::new(folder.at("out"), format, SinkMode::Append).unwrap();
        assert_eq!(open(&again, 2).await, Some(token(2)), "{format}");
        write(&again, 3, &rows(&[&[("C", 4, Some(f64::NAN))]])).await;
        check_table(&table(&place).await, &["symbol|n|close", "A|1|1.5", "B|2|", "A|3|2.5", "C|4|NaN"]);
        let parts = std::fs::read_dir(folder.path().join("out/epoch=0000000001")).unwrap().count();
        assert_eq!(parts, 2, "an empty partition leaves no file");
    }
}

/// How the pages of a Parquet file are compressed.
fn codecs(path: impl AsRef<std::path::Path>) -> Vec<String> {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let reader = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
    let columns = reader.metadata().row_groups().iter().flat_map(|group| group.columns().to_vec());
    columns
        .map(|column| {
            assert!(column.statistics().is_some_and(|it| it.min_bytes_opt().is_some()), "{}", column.column_path());
            format!("{:?}", column.compression_codec()).to_lowercase()
        })
        .collect()
}

#[tokio::test]
async fn compression_is_chosen_and_no_part_of_the_definition() {
    for (compression, codec) in [
        (ParquetCompression::Zstd, "zstd"),
        (ParquetCompression::Lz4, "lz4_raw"),
        (ParquetCompression::Snappy, "snappy"),
        (ParquetCompression::None, "uncompressed"),
    ] {
        let folder = Folder::new();
        let path = folder.at("out.parquet");
        let sink = FileSink::parquet(&path, SinkMode::Overwrite).unwrap();
        let definition = sink.definition();
        let sink = sink.with_compression(compression);
        assert_eq!(sink.definition(), definition);
        open(&sink, 1).await;
        write(&sink, 1, &rows(&[&[("A", 1, Some(1.5)), ("B", 2, None)]])).await;
        let found = codecs(&path);
        assert!(!found.is_empty() && found.iter().all(|it| it.starts_with(codec)), "{codec}: {found:?}");
        check_table(&one_object(&path, FileFormat::Parquet).await, &["symbol|n|close", "A|1|1.5", "B|2|"]);
    }
}

#[tokio::test]
async fn overwrite_replaces_one_object() {
    for format in FORMATS {
        let folder = Folder::new();
        let path = folder.at(&format!("out.{format}"));
        let sink = FileSink::new(&path, format, SinkMode::Overwrite).unwrap();
        assert_eq!(open(&sink, 1).await, None);
        write(&sink, 1, &rows(&[&[("A", 1, Some(1.5))], &[("B", 2, None)]])).await;
        check_table(&one_object(&path, format).await, &["symbol|n|close", "A|1|1.5", "B|2|"]);
        let written = write(&sink, 2, &rows(&[&[("C", 3, Some(2.5))]])).await;
        assert_eq!((written.rows, written.bytes), (1, Some(std::fs::metadata(&path).unwrap().len())));
        check_table(&one_object(&path, format).await, &["symbol|n|close", "C|3|2.5"]);
        let again = FileSink::new(&path, format, SinkMode::Overwrite).unwrap();
        assert_eq!(open(&again, 2).await, Some(token(2)), "{format}");
    }
}

#[tokio::test]
async fn an_epoch_without_rows_is_an_epoch() {
    for format in FORMATS {
        for mode in [SinkMode::Append, SinkMode::Overwrite] {
            let folder = Folder::new();
            let path = folder.at(&format!("out.{format}"));
            let sink = FileSink::new(&path, format, mode).unwrap();
            open(&sink, 1).await;
            write(&sink, 1, &rows(&[&[]])).await;
            let again = FileSink::new(&path, format, mode).unwrap();
            assert_eq!(open(&again, 2).await, Some(token(1)), "{format} {mode}");
            if mode == SinkMode::Append {
                let place = Location::parse(&path).unwrap();
                check_table(&table(&place).await, &[]);
            }
        }
    }
}

#[tokio::test]
async fn what_is_staged_is_not_seen_and_open_removes_it() {
    let folder = Folder::new();
    let path = folder.at("out");
    let place = Location::parse(&path).unwrap();
    let sink = FileSink::parquet(&path, SinkMode::Append).unwrap();
    open(&sink, 1).await;
    write(&sink, 1, &rows(&[&[("A", 1, Some(1.5))]])).await;
    // A crash after stage: nothing is published.
    sink.stage(&token(2), &rows(&[&[("A", 2, Some(9.0))]])).await.unwrap();
    check_table(&table(&place).await, &["symbol|n|close", "A|1|1.5"]);
    assert!(folder.path().join("out/epoch=0000000002").read_dir().unwrap().next().is_some(), "it was staged");
    let next = FileSink::parquet(&path, SinkMode::Append).unwrap();
    assert_eq!(open(&next, 2).await, Some(token(1)));
    let left = folder.path().join("out/epoch=0000000002").read_dir().map_or(0, Iterator::count);
    assert_eq!(left, 0, "what the crash left is gone");
    write(&next, 2, &rows(&[&[("A", 2, Some(2.5))]])).await;
    check_table(&table(&place).await, &["symbol|n|close", "A|1|1.5", "A|2|2.5"]);

    let staged = next.stage(&token(3), &rows(&[&[("A", 3, None)]])).await.unwrap();
    next.abort(staged).await.unwrap();
    assert_eq!(folder.path().join("out/epoch=0000000003").read_dir().map_or(0, Iterator::count), 0);
}

#[tokio::test]
async fn a_crash_before_the_move_leaves_the_old_object_and_its_token() {
    for format in FORMATS {
        let folder = Folder::new();
        let path = folder.at(&format!("out.{format}"));
        let sink = FileSink::new(&path, format, SinkMode::Overwrite).unwrap();
        open(&sink, 1).await;
        write(&sink, 1, &rows(&[&[("A", 1, Some(1.5))]])).await;
        let old = std::fs::read(&path).unwrap();
        write(&sink, 2, &rows(&[&[("B", 2, Some(2.5))]])).await;
        // As if the process had died between the log entry of epoch 2 and the move.
        std::fs::write(&path, old).unwrap();
        let next = FileSink::new(&path, format, SinkMode::Overwrite).unwrap();
        assert_eq!(open(&next, 2).await, Some(token(1)), "{format}");
        // And a second death there, in the next attempt.
        let old = std::fs::read(&path).unwrap();
        write(&next, 2, &rows(&[&[("B", 2, Some(2.5))]])).await;
        std::fs::write(&path, old).unwrap();
        let third = FileSink::new(&path, format, SinkMode::Overwrite).unwrap();
        assert_eq!(open(&third, 3).await, Some(token(1)), "{format}");
        write(&third, 2, &rows(&[&[("B", 2, Some(2.5))]])).await;
        assert_eq!(open(&third, 3).await, Some(token(2)), "{format}");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(open(&third, 4).await, None, "an object that is gone holds nothing");
    }
}

#[tokio::test]
async fn a_committed_epoch_is_not_doubled() {
    let folder = Folder::new();
    let sink = FileSink::csv(folder.at("out"), SinkMode::Append).unwrap();
    open(&sink, 1).await;
    let data = rows(&[&[("A", 1, Some(1.5))]]);
    write(&sink, 1, &data).await;
    write(&sink, 1, &data).await;
    check_table(&table(&Location::parse(&folder.at("out")).unwrap()).await, &["symbol|n|close", "A|1|1.5"]);
}

#[tokio::test]
async fn an_older_runner_is_fenced() {
    for mode in [SinkMode::Append, SinkMode::Overwrite] {
        for newer_commits in [false, true] {
            let store = Arc::new(InMemory::new());
            let sink = || FileSink::in_store(store.clone(), "out/x.parquet".into(), FileFormat::Parquet, mode);
            let (old, new) = (sink(), sink());
            open(&old, 1).await;
            write(&old, 1, &rows(&[&[("A", 1, None)]])).await;
            let staged = old.stage(&token(2), &rows(&[&[("old", 2, None)]])).await.unwrap();
            assert_eq!(open(&new, 2).await, Some(token(1)));
            if newer_commits {
                write(&new, 2, &rows(&[&[("new", 2, None)]])).await;
            }
            let error = old.commit(staged).await.unwrap_err();
            assert!(matches!(error, Error::Fenced { own: 1, newer: 2, .. }), "{mode}: {error:?}");
            assert_eq!(open(&sink(), 3).await, Some(token(if newer_commits { 2 } else { 1 })));
            if mode == SinkMode::Append {
                let place = Location::in_store(store.clone(), "out/x.parquet".into());
                assert!(!table(&place).await.contains("old"));
            }

            // An older runner that comes later takes nothing over.
            let late = sink();
            assert!(open(&late, 1).await.is_some());
            let staged = late.stage(&token(9), &rows(&[&[("late", 9, None)]])).await.unwrap();
            assert!(late.commit(staged).await.unwrap_err().is_fenced());
        }
    }
}

#[tokio::test]
async fn an_output_belongs_to_one_sink_format_and_mode() {
    let folder = Folder::new();
    let sink = FileSink::csv(folder.at("out"), SinkMode::Append).unwrap();
    open(&sink, 1).await;
    let other = stockflow_core::token::SinkId::new("other", "bars");
    let error = sink.open(&other, stockflow_core::token::Generation(1)).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Config);
    assert!(error.to_string().contains("the sink `main/bars` writes to"), "{error}");
    let parquet = FileSink::parquet(folder.at("out"), SinkMode::Append).unwrap();
    let error = parquet.open(&sink_id(), stockflow_core::token::Generation(2)).await.unwrap_err();
    assert!(error.to_string().contains("holds csv written in mode append, not parquet in mode append"), "{error}");
    let object = FileSink::csv(folder.at("out"), SinkMode::Overwrite).unwrap();
    let error = object.open(&sink_id(), stockflow_core::token::Generation(2)).await.unwrap_err();
    assert!(error.to_string().contains("is a folder, and mode overwrite writes one file"), "{error}");
    folder.write("file.csv", "x", 0);
    let into = FileSink::csv(folder.at("file.csv"), SinkMode::Append).unwrap();
    let error = into.open(&sink_id(), stockflow_core::token::Generation(2)).await.unwrap_err();
    assert!(error.to_string().contains("is a file, and mode append writes into a folder"), "{error}");
}

#[tokio::test]
async fn a_failing_query_leaves_nothing_staged() {
    let folder = Folder::new();
    for mode in [SinkMode::Append, SinkMode::Overwrite] {
        let sink = FileSink::parquet(folder.at(&format!("{mode}/out.parquet")), mode).unwrap();
        open(&sink, 1).await;
        let context = SessionContext::new();
        let frame = context.sql("SELECT 1 / (v - 3) AS x FROM generate_series(1, 5) AS t(v)").await.unwrap();
        let relation = stockflow_core::relation::RelationSchema::new("x", Arc::new(frame.schema().as_arrow().clone()));
        let data = stockflow_core::sink::EpochRows::new(relation, frame);
        assert_eq!(sink.stage(&token(1), &data).await.unwrap_err().class(), ErrorClass::Data);
        let mut files = Vec::new();
        let mut folders = vec![folder.path().join(mode.as_str())];
        while let Some(next) = folders.pop() {
            for entry in std::fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        files.retain(|path| !path.to_str().unwrap().contains("/log/"));
        assert!(files.is_empty(), "{files:?}");
    }
}

#[tokio::test]
async fn columns_that_a_format_cannot_hold_are_named() {
    let folder = Folder::new();
    let context = SessionContext::new();
    let frame = context.sql("SELECT [1, 2] AS list").await.unwrap();
    let relation = stockflow_core::relation::RelationSchema::new("x", Arc::new(frame.schema().as_arrow().clone()));
    let data = stockflow_core::sink::EpochRows::new(relation, frame);
    let sink = FileSink::csv(folder.at("out.csv"), SinkMode::Overwrite).unwrap();
    open(&sink, 1).await;
    let error = sink.stage(&token(1), &data).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Config);
    assert!(
        error.to_string().contains("column `list` has the type List(") && error.to_string().contains("csv cannot hold"),
        "{error}"
    );
}

#[tokio::test]
async fn sinks_say_what_they_promise() {
    let append = FileSink::parquet("x", SinkMode::Append).unwrap();
    let overwrite = FileSink::ndjson("x", SinkMode::Overwrite).unwrap();
    assert_eq!(
        (append.idempotence(), append.write_mode(), append.fence()),
        (Idempotence::Transactional, WriteMode::Append, Fence::Atomic)
    );
    assert_eq!(
        (overwrite.idempotence(), overwrite.write_mode(), overwrite.fence()),
        (Idempotence::Transactional, WriteMode::Overwrite, Fence::Checked)
    );
    assert_eq!(append.definition(), serde_json::json!({ "type": "parquet", "url": "x", "mode": "append" }));
}

#[tokio::test]
async fn parquet_footers_carry_the_token_and_floats_no_dictionary() {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let folder = Folder::new();
    let path = folder.at("out.parquet");
    let sink = FileSink::parquet(&path, SinkMode::Overwrite).unwrap();
    open(&sink, 1).await;
    write(&sink, 1, &rows(&[&[("A", 1, Some(1.5)), ("A", 2, Some(1.5))]])).await;
    let reader = SerializedFileReader::new(std::fs::File::open(&path).unwrap()).unwrap();
    let footer = reader.metadata().file_metadata().key_value_metadata().unwrap();
    let value = |key: &str| footer.iter().find(|pair| pair.key == key).and_then(|pair| pair.value.clone());
    assert_eq!(value("stockflow.token"), Some(token(1).to_string()));
    assert_eq!(value("stockflow.sink"), Some("main/bars".into()));
    let group = reader.metadata().row_group(0);
    assert!(group.column(0).dictionary_page_offset().is_some() && group.column(2).dictionary_page_offset().is_none());
    assert!(matches!(group.column(2).compression(), parquet::basic::Compression::ZSTD(_)));
}

#[tokio::test]
async fn the_log_is_pruned() {
    let folder = Folder::new();
    let path = folder.at("out");
    for generation in 1..=100 {
        let sink = FileSink::csv(&path, SinkMode::Append).unwrap();
        open(&sink, generation).await;
    }
    let entries = folder.path().join("out/_stockflow/log").read_dir().unwrap().count();
    assert!((64..=66).contains(&entries), "{entries}");
}

#[tokio::test]
async fn a_runner_that_wakes_up_late_removes_nothing_of_a_newer_one() {
    for (mode, before) in [(SinkMode::Append, "out/x.csv"), (SinkMode::Overwrite, "out/_stockflow/x.csv")] {
        let store = Arc::new(InMemory::new());
        let pausing = Pausing::new(Arc::clone(&store), before);
        let sink = |store| FileSink::in_store(store, "out/x.csv".into(), FileFormat::Csv, mode);
        let (old, new) = (sink(Arc::new(pausing.clone())), sink(store.clone()));
        // It has claimed the output, and is stopped before it looks for leftovers.
        let late = tokio::spawn(async move { (open(&old, 1).await, old) });
        pausing.reached().await;
        open(&new, 2).await;
        write(&new, 1, &rows(&[&[("A", 1, None)]])).await;
        let staged = new.stage(&token(2), &rows(&[&[("A", 2, None)]])).await.unwrap();
        pausing.go_on();
        let (_, old) = late.await.unwrap();
        new.commit(staged).await.unwrap();
        if mode == SinkMode::Append {
            let place = Location::in_store(store.clone(), "out/x.csv".into());
            check_table(&table(&place).await, &["symbol|n|close", "A|1|", "A|2|"]);
        }
        assert_eq!(open(&sink(store), 3).await, Some(token(2)));
        let staged = old.stage(&token(1), &rows(&[&[("old", 1, None)]])).await.unwrap();
        assert!(old.commit(staged).await.unwrap_err().is_fenced());
    }
}

#[tokio::test]
async fn a_number_that_was_pruned_is_not_free_again() {
    let store = Arc::new(InMemory::new());
    let sink = |store| FileSink::in_store(store, "out".into(), FileFormat::Csv, SinkMode::Append);
    let place = Location::in_store(store.clone(), "out".into());
    let (asleep, running) = (sink(store.clone()), sink(store.clone()));
    open(&asleep, 1).await;
    write(&asleep, 1, &rows(&[&[("A", 1, None)]])).await;
    let staged = asleep.stage(&token(2), &rows(&[&[("asleep", 2, None)]])).await.unwrap();
    open(&running, 2).await;
    // Another one is stopped just before its claim, number 4.
    let pausing = Pausing::new(Arc::clone(&store), "out/_stockflow/log/00000000000000000004.json");
    let claiming = sink(Arc::new(pausing.clone()));
    let late = tokio::spawn(async move { (open(&claiming, 3).await, claiming) });
    pausing.reached().await;
    for epoch in 2..=100 {
        write(&running, epoch, &rows(&[&[("A", epoch as i64, None)]])).await;
    }
    assert!(asleep.commit(staged).await.unwrap_err().is_fenced(), "its number is free, and it is fenced");
    pausing.go_on();
    let (held, claimed) = late.await.unwrap();
    assert_eq!(held, Some(token(100)), "it claims what is there when it wakes up");
    write(&claimed, 101, &rows(&[&[("B", 101, None)]])).await;
    let staged = running.stage(&token(101), &rows(&[&[("A", 101, None)]])).await.unwrap();
    assert!(running.commit(staged).await.unwrap_err().is_fenced());
    let counted = query(&place, "SELECT count(*) AS c, count(DISTINCT n) AS n, max(symbol) AS s FROM t").await.unwrap();
    check_table(&counted, &["c|n|s", "101|101|B"]);
}

#[tokio::test]
async fn epochs_may_bring_and_lack_columns() {
    for format in FORMATS {
        let folder = Folder::new();
        let sink = FileSink::new(folder.at("out"), format, SinkMode::Append).unwrap();
        open(&sink, 1).await;
        write(&sink, 1, &rows_of("SELECT 1 AS k, 1.75 AS x, 'hello' AS y").await).await;
        write(&sink, 2, &rows_of("SELECT 2 AS k, 2 AS x").await).await;
        let again = FileSink::new(folder.at("out"), format, SinkMode::Append).unwrap();
        open(&again, 2).await;
        write(&again, 3, &rows_of("SELECT true AS z, 3.5 AS k").await).await;
        let place = Location::parse(&folder.at("out")).unwrap();
        let all = query(&place, "SELECT * FROM t ORDER BY k").await.unwrap();
        check_table(&all, &["k|x|y|z", "1.0|1.75|hello|", "2.0|2.0||", "3.5|||true"]);
        let some = query(&place, "SELECT y, k FROM t WHERE k > 1.5 AND z IS NULL").await.unwrap();
        check_table(&some, &["y|k", "|2.0"]);
        check_table(&query(&place, "SELECT count(*) AS c FROM t").await.unwrap(), &["c", "3"]);

        let error = again.stage(&token(4), &rows_of("SELECT 'a' AS k, 'b' AS x").await).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Config, "{error:?}");
        let text = error.to_string();
        assert!(text.contains("the column `k` was Float64 and is Utf8, the column `x` was Float64"), "{text}");
        assert!(text.contains("remove this one and fill it with `run --rebuild`"), "{text}");
    }
}

#[tokio::test]
async fn a_file_that_is_gone_cut_or_changed_is_an_error() {
    for format in FORMATS {
        let folder = Folder::new();
        let sink = FileSink::new(folder.at("out"), format, SinkMode::Append).unwrap();
        open(&sink, 1).await;
        write(&sink, 1, &rows(&[&[("A", 1, Some(1.5)), ("A", 2, Some(2.5))]])).await;
        write(&sink, 2, &rows(&[&[("A", 3, Some(3.5))]])).await;
        let place = Location::parse(&folder.at("out")).unwrap();
        let file = folder.path().join("out/epoch=0000000001").read_dir().unwrap().next().unwrap().unwrap().path();
        let name = file.file_name().unwrap().to_str().unwrap();
        let good = std::fs::read(&file).unwrap();
        let check = async |what: &str| {
            let error = query(&place, "SELECT * FROM t").await.unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(what), "{format}: {error}");
        };
        std::fs::remove_file(&file).unwrap();
        check("is not there; restore it").await;
        std::fs::write(&file, &good[..good.len() - 1]).unwrap();
        check(&format!("has {} bytes instead of {}", good.len() - 1, good.len())).await;
        if format != FileFormat::Parquet {
            let text = String::from_utf8(good.clone()).unwrap();
            for (bad, what) in [
                (text.replace("2.5", "2x5"), "row"),
                (text.replace('\n', "\""), "is not as it was written"),
                (text.replace(',', ";"), "is not as it was written"),
            ] {
                std::fs::write(&file, bad).unwrap();
                check(what).await;
            }
        }
        std::fs::write(&file, &good).unwrap();
        check_table(&table(&place).await, &["symbol|n|close", "A|1|1.5", "A|2|2.5", "A|3|3.5"]);
    }
}

#[tokio::test]
async fn values_survive_text() {
    let sql = "SELECT * FROM (VALUES
        (1, '', 'NaN'::DOUBLE, TIMESTAMP '2024-02-29T12:34:56.789012', DATE '1969-12-31', true, 9223372036854775807, 1.10),
        (2, NULL, 'inf'::DOUBLE, NULL, NULL, NULL, NULL, NULL),
        (3, 'a,\"b\"', '-inf'::DOUBLE, TIMESTAMP '1900-01-01T00:00:00', DATE '9999-12-31', false, -9223372036854775808, 2.25),
        (4, E'two\nlines\r\n', 5e-324, NULL, NULL, NULL, 0, NULL),
        (5, '  blanks ', -0.0::DOUBLE, NULL, NULL, NULL, NULL, NULL),
        (6, 'null', 0.1::DOUBLE, NULL, NULL, NULL, NULL, NULL),
        (7, '\"', NULL, NULL, NULL, NULL, NULL, NULL),
        (8, 'ünï \\ \\N', 1e300, NULL, NULL, NULL, NULL, NULL)
        ) AS t(\"the n\", \"a,\"\"text\", f, ts, d, b, i, p)";
    let frame = SessionContext::new().sql(sql).await.unwrap().sort_by(vec![datafusion::prelude::ident("the n")]);
    let batches = frame.unwrap().collect().await.unwrap();
    let given = arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap();
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let others: Vec<(&str, DataType)> = vec![
        ("utc", utc),
        ("ns", DataType::Timestamp(TimeUnit::Nanosecond, None)),
        ("f32", DataType::Float32),
        ("small", DataType::Int8),
    ];
    // The same values in further types, where they fit.
    let mut columns: Vec<(String, ArrayRef)> =
        given.schema().fields().iter().zip(given.columns()).map(|(f, c)| (f.name().clone(), Arc::clone(c))).collect();
    for (name, data_type) in &others {
        let from = match data_type {
            DataType::Float32 => "f",
            DataType::Int8 => "the n",
            _ => "ts",
        };
        let column = arrow::compute::cast(given.column_by_name(from).unwrap(), data_type).unwrap();
        columns.push(((*name).into(), column));
    }
    let columns = columns.into_iter().map(|(name, column)| (name, column, true));
    let given = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    for format in FORMATS {
        let folder = Folder::new();
        let sink = FileSink::new(folder.at("out"), format, SinkMode::Append).unwrap();
        open(&sink, 1).await;
        let frame = SessionContext::new().read_batch(given.clone()).unwrap();
        write(&sink, 1, &EpochRows::new(RelationSchema::new("x", given.schema()), frame)).await;
        let table = Arc::new(ManifestTable::open(&folder.at("out")).await.unwrap());
        let frame = SessionContext::new().read_table(table).unwrap();
        let batches = frame.sort_by(vec![datafusion::prelude::ident("the n")]).unwrap().collect().await.unwrap();
        let read = arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap();
        for (idx, field) in given.schema().fields().iter().enumerate() {
            assert_eq!(given.column(idx), read.column(idx), "{format}: {}", field.name());
        }
    }
}

#[tokio::test]
async fn a_row_of_one_null_is_a_row() {
    for format in FORMATS {
        let folder = Folder::new();
        for (name, sql) in [
            ("text", "SELECT * FROM (VALUES (''), (NULL), ('a'), (' ')) AS t(x)"),
            ("number", "SELECT * FROM (VALUES (1.5), (NULL), (NULL), (2.5)) AS t(x)"),
        ] {
            let sink = FileSink::new(folder.at(name), format, SinkMode::Append).unwrap();
            open(&sink, 1).await;
            write(&sink, 1, &rows_of(sql).await).await;
            let place = Location::parse(&folder.at(name)).unwrap();
            let sql = "SELECT count(*) AS c, count(x) AS x, count(CASE WHEN x::VARCHAR = '' THEN 1 END) AS e FROM t";
            let expected = if name == "text" { "4|3|1" } else { "4|2|0" };
            check_table(&query(&place, sql).await.unwrap(), &["c|x|e", expected]);
        }
    }
}

#[tokio::test]
async fn hundreds_of_epochs_stay_cheap() {
    let folder = Folder::new();
    let sink = FileSink::csv(folder.at("out"), SinkMode::Append).unwrap();
    let place = Location::parse(&folder.at("out")).unwrap();
    open(&sink, 1).await;
    let mut largest = 0;
    for epoch in 1..=300u64 {
        write(&sink, epoch, &rows(&[&[("A", epoch as i64, None)]])).await;
        let entry = folder.path().join(format!("out/_stockflow/log/{:020}.json", epoch + 1));
        largest = largest.max(entry.metadata().unwrap().len());
    }
    assert!(largest < 32 << 10, "an entry of {largest} bytes");
    let entries = folder.path().join("out/_stockflow/log").read_dir().unwrap().count();
    assert!(entries < 100, "{entries} entries");
    assert_eq!(folder.path().join("out/_stockflow/files").read_dir().unwrap().count(), 2);
    // What a next runner finds is whole, and it removes leftovers only.
    let left = folder.path().join("out/_stockflow/files/segment-g1-12345678.json");
    std::fs::write(&left, "[]").unwrap();
    let next = FileSink::csv(folder.at("out"), SinkMode::Append).unwrap();
    assert_eq!(open(&next, 2).await, Some(token(300)));
    assert!(!left.exists());
    write(&next, 301, &rows(&[&[("A", 301, None)]])).await;
    let counted = query(&place, "SELECT count(*) AS c, sum(n) AS s FROM t").await.unwrap();
    check_table(&counted, &["c|s", "301|45451"]);
    let segment = folder.path().join("out/_stockflow/files").read_dir().unwrap().next().unwrap().unwrap().path();
    std::fs::remove_file(&segment).unwrap();
    let error = ManifestTable::at(place).await.unwrap_err().to_string();
    assert!(error.contains(segment.file_name().unwrap().to_str().unwrap()), "{error}");
}

#[tokio::test]
async fn unfinished_uploads_are_removed() {
    let folder = Folder::new();
    for mode in [SinkMode::Append, SinkMode::Overwrite] {
        let path = folder.at(&format!("{mode}.csv"));
        let sink = FileSink::csv(&path, mode).unwrap();
        open(&sink, 1).await;
        write(&sink, 1, &rows(&[&[("A", 1, None)]])).await;
        let folder = match mode {
            SinkMode::Append => folder.path().join("append.csv/epoch=0000000002"),
            SinkMode::Overwrite => folder.path().join("_stockflow/overwrite.csv"),
        };
        std::fs::create_dir_all(&folder).unwrap();
        // As the store names an upload that a kill interrupts.
        let name = if mode == SinkMode::Append { "part-00000" } else { "staged" };
        let [old, own] = [1, 2].map(|generation| folder.join(format!("{name}-g{generation}-0a0b0c0d.csv#1")));
        let foreign = folder.join("notes.csv#1");
        for file in [&old, &own, &foreign] {
            std::fs::write(file, "half").unwrap();
        }
        let next = FileSink::csv(&path, mode).unwrap();
        assert_eq!(open(&next, 2).await, Some(token(1)));
        assert!(!old.exists() && own.exists() && foreign.exists(), "{mode}");
    }
}
