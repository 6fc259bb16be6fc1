//! The file sinks: both modes, all formats, repeated epochs, crashes between the steps, and older runners.

use std::sync::Arc;

use datafusion::prelude::{CsvReadOptions, JsonReadOptions, ParquetReadOptions, SessionContext};
use object_store::memory::InMemory;
use stockflow_core::sink::{Fence, Idempotence, Sink, WriteMode};
use stockflow_core::{Error, ErrorClass};
use stockflow_io::file::{FileFormat, FileSink, ManifestTable, SinkMode};
use stockflow_io::location::Location;

use crate::support::{Folder, check_table, open, rows, sink_id, token, write};

const FORMATS: [FileFormat; 3] = [FileFormat::Parquet, FileFormat::Csv, FileFormat::Ndjson];

async fn table(place: &Location) -> String {
    let table = Arc::new(ManifestTable::at(place.clone()).await.unwrap());
    let context = SessionContext::new();
    context.register_table("t", table).unwrap();
    context.sql("SELECT symbol, n, close FROM t ORDER BY n, symbol").await.unwrap().to_string().await.unwrap()
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
        let nan = if format == FileFormat::Ndjson { "C|4|" } else { "C|4|NaN" };
        check_table(&table(&place).await, &["symbol|n|close", "A|1|1.5", "B|2|", "A|3|2.5", nan]);
        let parts = std::fs::read_dir(folder.path().join("out/epoch=0000000001")).unwrap().count();
        assert_eq!(parts, 2, "an empty partition leaves no file");
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
