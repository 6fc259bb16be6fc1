//! The file source: formats, versions, and every way in which a file can be bad.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use parquet::arrow::ArrowWriter;
use stockflow_core::ErrorClass;
use stockflow_core::checkpoint::Checkpoint;
use stockflow_core::source::{EpochLimit, Replay, Source};
use stockflow_io::file::{FileFormat, FileSource};

use crate::support::{Folder, check_table, gzip, read, read_from, zstd};

const BARS: &str = "Date,Open,Volume\n2024-01-02,1.5,100\n2024-01-03,2.5,200\n";

fn parquet(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

async fn plan_error(source: &FileSource) -> stockflow_core::Error {
    source.plan(&Checkpoint::new(), &EpochLimit::default()).await.unwrap_err()
}

#[tokio::test]
async fn csv_is_typed_and_knows_where_it_comes_from() {
    let folder = Folder::new();
    folder.write("AAPL.csv", BARS, 0);
    let source = folder.source("AAPL.csv");
    let all = read(&source, "SELECT * FROM input").await;
    check_table(
        &all.table,
        &[
            "Date|Open|Volume|source_file|source_line|source_seq",
            "2024-01-02|1.5|100.0|AAPL.csv|2|2",
            "2024-01-03|2.5|200.0|AAPL.csv|3|3",
        ],
    );
    let part = read(
        &source,
        "SELECT sum(\"Volume\") AS v, count(*) AS n, arrow_typeof(max(\"Date\")) AS t FROM input WHERE \"Open\" > 1",
    )
    .await;
    check_table(&part.table, &["v|n|t", "300.0|2|Utf8"]);
    assert_eq!(source.replay(), Replay::Exact);
    assert_eq!(source.definition()["type"], "file");
}

#[tokio::test]
async fn all_formats_and_compressions_give_the_same_rows() {
    let folder = Folder::new();
    let ndjson = "{\"Date\":\"2024-01-02\",\"Open\":1.5,\"Volume\":100}\n{\"Date\":\"2024-01-03\",\"Open\":2.5,\"Volume\":200}\n";
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("Date", Arc::new(StringArray::from(vec!["2024-01-02", "2024-01-03"]))),
        ("Open", Arc::new(Float64Array::from(vec![1.5, 2.5]))),
        ("Volume", Arc::new(Int64Array::from(vec![100, 200]))),
    ];
    let members = [gzip(b"Date,Open,Volume\n2024-01-02,1.5,100\n"), gzip(b"2024-01-03,2.5,200\n")].concat();
    let files: Vec<(&str, Vec<u8>)> = vec![
        ("a.csv", BARS.into()),
        ("b.csv.gz", gzip(BARS.as_bytes())),
        ("c.csv.zst", zstd(BARS.as_bytes())),
        ("d.ndjson", ndjson.into()),
        ("e.jsonl.gz", gzip(ndjson.as_bytes())),
        ("f.ndjson.zst", zstd(ndjson.as_bytes())),
        ("g.parquet", parquet(columns)),
        ("two members.csv.gz", members),
        ("sub/h.tsv", BARS.replace(',', "\t").into()),
        ("sub/semicolons é.csv", BARS.replace(',', ";").replace('\n', "\r\n").into()),
        ("sub/bom.csv", format!("\u{feff}{BARS}").into()),
        ("sub/no end.csv", BARS.trim_end().into()),
    ];
    for (name, bytes) in &files {
        folder.write(name, bytes, 0);
    }
    let found = read(&folder.source(""), "SELECT source_file, sum(\"Open\") AS o, sum(\"Volume\") AS v, min(\"Date\") AS d, count(*) AS n FROM input GROUP BY 1 ORDER BY 1").await;
    let mut names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    let expected: Vec<String> = names.iter().map(|name| format!("{name}|4.0|300.0|2024-01-02|2")).collect();
    let mut lines = vec!["source_file|o|v|d|n"];
    lines.extend(expected.iter().map(String::as_str));
    check_table(&found.table, &lines);
    assert_eq!(found.files(), names);
    assert!(found.outcome.rejects.is_empty(), "{:?}", found.reasons());
}

#[tokio::test]
async fn a_second_run_reads_only_what_is_new_or_changed() {
    let folder = Folder::new();
    folder.write("a.csv", "x\n1\n", 0);
    folder.write("b.csv", "x\n2\n", 1);
    let source = folder.source("");
    let sql = "SELECT source_file, x FROM input ORDER BY source_seq";
    let first = read(&source, sql).await;
    check_table(&first.table, &["source_file|x", "a.csv|1", "b.csv|2"]);
    let reached = first.outcome.reached;
    let limit = EpochLimit::default();
    assert!(read_from(&source, &reached, &limit, sql).await.is_none(), "nothing is new");

    folder.write("a.csv", "x\n1\n7\n", 9);
    folder.write("c.csv", "x\n3\n", 5);
    let second = read_from(&source, &reached, &limit, sql).await.unwrap();
    check_table(&second.table, &["source_file|x", "c.csv|3", "a.csv|1", "a.csv|7"]);
    assert_eq!(second.files(), ["a.csv", "b.csv", "c.csv"]);

    let everything = EpochLimit { everything: true, max_partitions: Some(1), ..EpochLimit::default() };
    let full = read_from(&source, &second.outcome.reached, &everything, sql).await.unwrap();
    check_table(&full.table, &["source_file|x", "b.csv|2", "c.csv|3", "a.csv|1", "a.csv|7"]);
}

#[tokio::test]
async fn max_partitions_takes_the_oldest_files_first_and_skips_what_failed() {
    let folder = Folder::new();
    folder.write("new.csv", "x\n1\n", 5);
    folder.write("old.csv", "x\n2\n", 1);
    let mut oldest = gzip("x\n3\n".repeat(100_000).as_bytes());
    oldest.truncate(oldest.len() - 9);
    folder.write("oldest.csv.gz", oldest, 0);
    let source = folder.source("");
    let mut limit = EpochLimit { max_partitions: Some(1), ..EpochLimit::default() };
    let bad = read_from(&source, &Checkpoint::new(), &limit, "SELECT source_line FROM input").await;
    let bad = bad.unwrap();
    assert!(bad.outcome.reached.is_empty() && bad.left_out()[0].starts_with("oldest.csv.gz: "), "{:?}", bad.left_out());
    limit.skip.insert("oldest.csv.gz".into());
    let one = read_from(&source, &Checkpoint::new(), &limit, "SELECT x FROM input").await.unwrap();
    assert_eq!(one.files(), ["old.csv"]);
    let two = read_from(&source, &one.outcome.reached, &limit, "SELECT x FROM input").await.unwrap();
    assert_eq!(two.files(), ["new.csv", "old.csv"]);
    assert!(read_from(&source, &two.outcome.reached, &limit, "SELECT x FROM input").await.is_none());
}

#[tokio::test]
async fn a_missing_file_names_the_nearest_one() {
    let folder = Folder::new();
    folder.write("AAPL.csv", BARS, 0);
    let error = plan_error(&folder.source("APPL.csv")).await;
    assert_eq!(error.class(), ErrorClass::Config);
    assert!(error.to_string().contains("does not exist; did you mean `AAPL.csv`?"), "{error}");
    let error = plan_error(&folder.source("no/such/folder")).await;
    assert_eq!(error.class(), ErrorClass::Config);
    let error = plan_error(&folder.source("*.parquet")).await;
    assert!(error.to_string().contains("matches no file"), "{error}");
    let known = Checkpoint::new().with("x.parquet", "1");
    assert!(folder.source("*.parquet").plan(&known, &EpochLimit::default()).await.unwrap().is_none());
}

#[tokio::test]
async fn foreign_hidden_and_underscored_files_are_skipped_and_listed() {
    let folder = Folder::new();
    for name in ["a.csv", ".hidden.csv", "_temporary/b.csv", "readme.md", "deep/er/c.csv", "x.parquet.crc"] {
        folder.write(name, BARS, 0);
    }
    let listing = folder.source("").list().await.unwrap();
    let files: Vec<&str> = listing.files.iter().map(|file| file.file.as_str()).collect();
    assert_eq!(files, ["a.csv", "deep/er/c.csv"]);
    let skipped: Vec<String> = listing.skipped.iter().map(|file| format!("{}: {}", file.file, file.reason)).collect();
    assert_eq!(
        skipped,
        [
            ".hidden.csv: it is hidden",
            "_temporary: its path has a name that begins with `_`",
            "readme.md: its suffix is foreign",
            "x.parquet.crc: its suffix is foreign",
        ]
    );
    let only = Folder::new();
    only.write("prices.xlsx", "PK", 0);
    let error = plan_error(&only.source("")).await;
    assert!(
        error.to_string().contains("holds no csv, parquet or ndjson file; 1 others were skipped, `prices.xlsx`"),
        "{error}"
    );
    let error = plan_error(&only.source("prices.xlsx")).await;
    assert!(error.to_string().contains("set `format`"), "{error}");
    let empty = Folder::new();
    assert!(
        empty.source("").plan(&Checkpoint::new(), &EpochLimit::default()).await.unwrap().is_none(),
        "an empty folder waits"
    );
}

#[tokio::test]
async fn globs_match_below_their_folder() {
    let folder = Folder::new();
    for name in ["2024/AAPL_1d.csv", "2024/MSFT_1d.csv", "2024/AAPL_5m.csv", "2025/AAPL_1d.csv", "a[1].csv"] {
        folder.write(name, BARS, 0);
    }
    let found = async |glob: &str| {
        let listing = folder.source(glob).list().await.unwrap();
        listing.files.into_iter().map(|file| file.file).collect::<Vec<_>>()
    };
    assert_eq!(found("*/*_1d.csv").await, ["2024/AAPL_1d.csv", "2024/MSFT_1d.csv", "2025/AAPL_1d.csv"]);
    assert_eq!(found("2024/AAPL*").await, ["AAPL_1d.csv", "AAPL_5m.csv"]);
    assert_eq!(found("**/AAPL_1d.csv").await.len(), 2);
    assert_eq!(found("a[1].csv").await, ["a[1].csv"], "a file that is really called so");
}

#[tokio::test]
async fn broken_rows_in_the_middle_are_rejects_with_their_lines() {
    let folder = Folder::new();
    let mut text =
        b"Symbol,Open,Close\nAAPL,1,2\nAAPL,3\nAAPL,4,5,6\nMSFT,abc,7\n\nAAPL,\"8,9\nIBM,10,11\nIBM,\"1\"2,3\n"
            .to_vec();
    text.extend(b"X\xff,1,2\n");
    text.extend("GOOG,\"12\",\"13\"\nFB,N/A,NaN\n".as_bytes());
    folder.write("bars.csv", text, 0);
    let found = read(
        &folder.source("bars.csv"),
        "SELECT \"Symbol\", \"Open\", \"Close\", source_line AS line FROM input ORDER BY line",
    )
    .await;
    check_table(
        &found.table,
        &["Symbol|Open|Close|line", "AAPL|1.0|2.0|2", "IBM|10.0|11.0|8", "GOOG|12.0|13.0|11", "FB||NaN|12"],
    );
    assert_eq!(
        found.reasons(),
        [
            "bars.csv@3 line 3: 2 fields where the header has 3",
            "bars.csv@4 line 4: 4 fields where the header has 3",
            "bars.csv@5 line 5: column `Open`: `abc` is not a number",
            "bars.csv@7 line 7: there is text after a closing quote",
            "bars.csv@9 line 9: there is text after a closing quote",
            "bars.csv@10 line 10: column `Symbol` is not UTF-8 text",
        ]
    );
    let symbols: Vec<Option<&str>> = found.outcome.rejects.iter().map(|letter| letter.symbol.as_deref()).collect();
    assert_eq!(symbols[2], Some("MSFT"));
    assert_eq!(found.outcome.rejects[2].payload, "MSFT,abc,7");
    assert_eq!(found.outcome.rejects[2].connector, "file");
    assert_eq!(found.files(), ["bars.csv"]);
}

#[tokio::test]
async fn an_open_quote_at_the_end_costs_one_row() {
    let folder = Folder::new();
    folder.write("bars.csv", "a,b\n1,\"x\n2,y\n3,z\n", 0);
    let found = read(&folder.source("bars.csv"), "SELECT a, b FROM input").await;
    check_table(&found.table, &["a|b", "2|y", "3|z"]);
    assert_eq!(found.reasons(), ["bars.csv@2 line 2: a quote is never closed"]);
}

#[tokio::test]
async fn quoted_line_ends_and_extreme_numbers_survive() {
    let folder = Folder::new();
    folder.write("bars.csv", "name,close\n\"two\nlines\",1e308\n\"a \"\"b\"\"\",-0\nzero,0\nnan,NaN\n", 0);
    let found = read(
        &folder.source("bars.csv"),
        "SELECT name, close, source_line AS line FROM input WHERE name <> 'nan' ORDER BY line",
    )
    .await;
    assert!(found.table.contains("1e308") && found.table.contains("a \"b\""), "{}", found.table);
    assert_eq!(found.rows, 3);
    assert!(found.reasons().is_empty());
}

#[tokio::test]
async fn dates_in_five_formats_and_nonsense_survive_as_text() {
    let folder = Folder::new();
    folder.write(
        "bars.csv",
        "Date,Close\n2024-01-02,1\n01/03/2024,2\n20240104,3\n5 Jan 2024,4\n1704585600,5\nnonsense,6\n",
        0,
    );
    let found = read(&folder.source("bars.csv"), "SELECT \"Date\" FROM input ORDER BY source_line").await;
    check_table(
        &found.table,
        &["Date", "2024-01-02", "01/03/2024", "20240104", "5 Jan 2024", "1704585600", "nonsense"],
    );
}

#[tokio::test]
async fn a_type_that_breaks_after_the_sample_refuses_only_those_rows() {
    let folder = Folder::new();
    let mut text = String::from("id,Close\n");
    (0..3000).for_each(|n| text.push_str(&format!("{n},{n}\n")));
    text.push_str("oops,1\n3001,1.25\n");
    folder.write("bars.csv", text, 0);
    let found =
        read(&folder.source("bars.csv"), "SELECT count(*) AS n, max(id) AS id, min(arrow_typeof(id)) AS t FROM input")
            .await;
    check_table(&found.table, &["n|id|t", "3001|3001|Int64"]);
    assert_eq!(found.reasons(), ["bars.csv@3002 line 3002: column `id`: `oops` is not a whole number"]);
}

#[tokio::test]
async fn without_inference_all_is_text_and_declared_columns_have_their_types() {
    let folder = Folder::new();
    folder.write("bars.csv", "Date,Close,Code\n2024-01-02,1.5,007\n2024-13-02,1.5,1\n", 0);
    let plain = folder.source("bars.csv").with_infer(false);
    let found = read(&plain, "SELECT arrow_typeof(\"Close\") AS t, \"Code\" FROM input LIMIT 1").await;
    check_table(&found.table, &["t|Code", "Utf8|007"]);
    let declared = folder
        .source("bars.csv")
        .with_columns([("date", DataType::Date32), ("extra", DataType::Int64)])
        .with_relation("bars");
    let found = read(&declared, "SELECT date + INTERVAL '1 day' AS next, extra FROM bars").await;
    check_table(&found.table, &["next|extra", "2024-01-03|"]);
    assert_eq!(found.reasons(), ["bars.csv@3 line 3: column `Date`: `2024-13-02` is not a date (year-month-day)"]);
    let wrong = folder.source("bars.csv").with_columns([("x", DataType::Int8)]);
    assert!(plan_error(&wrong).await.to_string().contains("Int8 of `x`"));
}

#[tokio::test]
async fn a_truncated_gzip_gives_no_row_at_all() {
    let folder = Folder::new();
    let mut text = String::from("id,Close\n");
    (0..200_000).for_each(|n| text.push_str(&format!("{n},{}.5\n", n * 7919 % 1009)));
    for (name, bytes) in [("cut.csv.gz", gzip(text.as_bytes())), ("cut.csv.zst", zstd(text.as_bytes()))] {
        folder.write(name, &bytes[..bytes.len() - 20], 0);
    }
    folder.write("good.csv", "id,Close\n1,2\n", 1);
    let source = folder.source("");
    let found = read(&source, "SELECT source_file, count(*) AS n FROM input GROUP BY 1").await;
    check_table(&found.table, &["source_file|n", "good.csv|1"]);
    assert_eq!(found.files(), ["good.csv"], "the cut files stay where they were");
    assert_eq!(
        found.left_out(),
        [
            "cut.csv.gz: the compressed data end in the middle: the file is truncated",
            "cut.csv.zst: the compressed data end in the middle: the file is truncated",
        ]
    );
    folder.write("cut.csv.gz", gzip(text.as_bytes()), 5);
    let mended = read_from(&source, &found.outcome.reached, &EpochLimit::default(), "SELECT count(*) AS n FROM input")
        .await
        .unwrap();
    check_table(&mended.table, &["n", "200000"]);
}

#[tokio::test]
async fn a_corrupt_parquet_file_gives_no_row_at_all() {
    let folder = Folder::new();
    let n = 50_000i64;
    let bytes = || {
        parquet(vec![("close", Arc::new(Float64Array::from_iter_values((0..n).map(|n| (n as f64).sin()))) as ArrayRef)])
    };
    let mut middle = bytes();
    let at = middle.len() / 2;
    middle[4..at].iter_mut().for_each(|byte| *byte ^= 0xa5);
    folder.write("middle.parquet", middle, 0);
    folder.write("cut.parquet", &bytes()[..5000], 0);
    folder.write("empty.parquet", "", 0);
    folder.write("text.parquet", BARS, 0);
    folder.write("good.parquet", bytes(), 0);
    let found = read(&folder.source(""), "SELECT source_file, count(*) AS n FROM input GROUP BY 1").await;
    check_table(&found.table, &["source_file|n", "good.parquet|50000"]);
    assert_eq!(found.files(), ["good.parquet"]);
    let left = found.left_out();
    assert_eq!(left.len(), 4, "{left:?}");
    assert!(left.iter().all(|reason| reason.contains("Parquet file")), "{left:?}");
}

#[tokio::test]
async fn parquet_files_of_other_types_are_united_or_left_out() {
    let folder = Folder::new();
    let text = |values: Vec<Option<&str>>| Arc::new(StringArray::from(values)) as ArrayRef;
    let symbol = |n: usize| text(vec![Some("AAPL"); n]);
    folder.write(
        "a.parquet",
        parquet(vec![("symbol", symbol(1)), ("close", Arc::new(Float64Array::from(vec![1.5])))]),
        0,
    );
    folder.write("b.parquet", parquet(vec![("symbol", symbol(1)), ("close", Arc::new(Int64Array::from(vec![2])))]), 1);
    let mixed = text(vec![Some("3.5"), Some("abc"), None, Some("N/A")]);
    folder.write("c.parquet", parquet(vec![("symbol", symbol(4)), ("close", mixed)]), 2);
    let list = arrow::array::ListArray::from_iter_primitive::<arrow::datatypes::Int64Type, _, _>([Some([Some(1)])]);
    folder.write("d.parquet", parquet(vec![("symbol", symbol(1)), ("close", Arc::new(list))]), 3);
    folder.write("e.parquet", parquet(vec![("Symbol", symbol(1))]), 4);
    folder.write("f.csv", "symbol,close,volume\nMSFT,9,1\n", 5);
    let found =
        read(&folder.source(""), "SELECT source_file AS f, symbol, close, volume FROM input ORDER BY source_seq").await;
    check_table(
        &found.table,
        &[
            "f|symbol|close|volume",
            "a.parquet|AAPL|1.5|",
            "b.parquet|AAPL|2.0|",
            "c.parquet|AAPL|3.5|",
            "c.parquet|AAPL||",
            "c.parquet|AAPL||",
            "e.parquet|AAPL||",
            "f.csv|MSFT|9.0|1.0",
        ],
    );
    assert_eq!(found.reasons(), ["c.parquet@2 row 2: column `close`: `abc` is not Float64"]);
    assert_eq!(found.outcome.rejects[0].payload, "{\"symbol\":\"AAPL\",\"close\":\"abc\"}");
    assert!(found.left_out()[0].starts_with("d.parquet: column `close` has the type List("), "{:?}", found.left_out());
}

#[tokio::test]
async fn empty_files_and_bare_headers_are_read_without_rows() {
    let folder = Folder::new();
    folder.write("empty.csv", "", 0);
    folder.write("empty.ndjson", "", 0);
    folder.write("header.csv", "Date,Close\n", 0);
    folder.write("header without end.csv", "Date,Close", 0);
    folder.write("blank.csv", "\n\r\n  \n", 0);
    folder.write("header.csv.gz", gzip(b"Date,Close\n"), 0);
    folder.write("one.csv", "Date,Close\n2024-01-02,5\n", 0);
    let found = read(&folder.source(""), "SELECT \"Date\", \"Close\" FROM input").await;
    check_table(&found.table, &["Date|Close", "2024-01-02|5.0"]);
    assert_eq!(found.files().len(), 7);
    let alone = read(&folder.source("empty.csv"), "SELECT * FROM input").await;
    assert_eq!((alone.rows, alone.files()), (0, vec!["empty.csv".to_owned()]));
}

#[tokio::test]
async fn columns_stay_although_new_files_do_not_tell_them() {
    let folder = Folder::new();
    folder.write("a.csv", "id,x\n1,2.5\n", 0);
    let source = folder.source("");
    let first = read(&source, "SELECT id, x FROM input").await;
    folder.write("b.csv", "", 1);
    folder.write("c.csv", [0xff, 0xfe, b'a', 0], 2);
    folder.write("d.csv", "id\n", 3);
    let second = read_from(
        &source,
        &first.outcome.reached,
        &EpochLimit::default(),
        "SELECT id, x, arrow_typeof(x) AS t FROM input",
    )
    .await
    .unwrap();
    assert_eq!((second.rows, second.files()), (0, vec!["a.csv".into(), "b.csv".into(), "d.csv".into()]));
    assert_eq!(second.left_out(), ["c.csv: it is UTF-16 text; save it as UTF-8"]);
}

#[tokio::test]
async fn a_first_run_over_nothing_but_bad_files_is_an_error() {
    let folder = Folder::new();
    folder.write("cut.csv.gz", &gzip(b"x\n3\n")[..12], 0);
    let error = plan_error(&folder.source("cut.csv.gz")).await;
    assert_eq!(error.class(), ErrorClass::Data);
    assert!(
        error.to_string().contains("cut.csv.gz: none of 1 files can be read: the compressed data end in the middle"),
        "{error}"
    );
}

#[tokio::test]
async fn files_that_are_not_what_their_name_says_are_left_out() {
    let folder = Folder::new();
    folder.write("gzip.csv", gzip(b"a\n1\n"), 0);
    folder.write("plain.csv.gz", "a\n1\n", 0);
    folder.write("utf16.csv", [0xff, 0xfe, b'a', 0, b'\n', 0], 0);
    folder.write("mac.csv", "a,b\r1,2\r", 0);
    folder.write("good.csv", "a\n1\n", 0);
    let found = read(&folder.source(""), "SELECT count(*) AS n FROM input").await;
    check_table(&found.table, &["n", "1"]);
    let left = found.left_out();
    assert_eq!(left.len(), 4, "{left:?}");
    for expected in [
        "gzip.csv: it is gzip data",
        "mac.csv: its lines end with a bare carriage return",
        "plain.csv.gz: it cannot be decompressed",
        "utf16.csv: it is UTF-16",
    ] {
        assert!(left.iter().any(|reason| reason.starts_with(expected)), "{expected}: {left:?}");
    }
}

#[tokio::test]
async fn bad_lines_of_ndjson_are_rejects() {
    let folder = Folder::new();
    let text = "{\"symbol\":\"AAPL\",\"close\":1.5,\"extra\":{\"a\":[1]}}\n{\"symbol\":\"AAPL\",\"close\":\n[1]\n\n{\"symbol\":\"IBM\",\"close\":\"x\"}\n{\"symbol\":\"FB\",\"close\":\"2.5\",\"extra\":null}\nnonsense\n{\"Symbol\":\"GOOG\"}\n";
    folder.write("bars.ndjson", text, 0);
    let found = read(&folder.source("bars.ndjson"), "SELECT symbol, close, extra FROM input").await;
    check_table(&found.table, &["symbol|close|extra", "AAPL|1.5|{\"a\":[1]}", "FB|2.5|", "GOOG||"]);
    let reasons = found.reasons();
    assert_eq!(reasons.len(), 4, "{reasons:?}");
    assert!(reasons[0].starts_with("bars.ndjson@2 line 2: it is no JSON: EOF while parsing a value"), "{reasons:?}");
    assert_eq!(reasons[1], "bars.ndjson@3 line 3: it is no JSON object");
    assert_eq!(reasons[2], "bars.ndjson@5 line 5: field `close`: `x` is not a number");
    assert_eq!(found.outcome.rejects[2].symbol.as_deref(), Some("IBM"));
}

#[tokio::test]
async fn numbers_of_ndjson_are_read_to_the_last_bit() {
    let folder = Folder::new();
    let values: Vec<f64> = (1..200).map(|n| f64::from(n) * 18.426_7 / 3.0).collect();
    let text: String = values.iter().map(|value| format!("{{\"close\":{value:?}}}\n")).collect();
    folder.write("a.ndjson", &text, 0);
    let found = read(&folder.source("a.ndjson"), "SELECT close FROM input").await;
    let mut read: Vec<f64> =
        found.table.lines().filter_map(|line| line.trim_matches(['|', ' ']).parse().ok()).collect();
    read.sort_by(f64::total_cmp);
    assert_eq!(read, values);
}

#[tokio::test]
async fn a_field_that_comes_late_is_refused_and_not_dropped() {
    let folder = Folder::new();
    let mut text: String = (0..12_000).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    text.push_str("{\"n\":1,\"late\":true}\n");
    folder.write("a.ndjson", &text, 0);
    let found = read(&folder.source("a.ndjson"), "SELECT count(*) AS n FROM input").await;
    check_table(&found.table, &["n", "12000"]);
    assert!(found.reasons()[0].contains("line 12001: field `late` is not among the columns"), "{:?}", found.reasons());
    let declared = folder.source("a.ndjson").with_columns([("late", DataType::Boolean)]);
    let found = read(&declared, "SELECT count(*) AS n, count(late) AS late FROM input").await;
    check_table(&found.table, &["n|late", "12001|1"]);
}

/// Content with a quote somewhere takes another way through the decoder than content without one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_files_are_read_whole_and_in_order() {
    let folder = Folder::new();
    let rows = 120_000u64;
    let mut plain = String::from("n,name\n");
    let mut quoted = String::from("n,name\n");
    for n in 0..rows {
        plain.push_str(&format!("{n},name of {n}\n"));
        quoted.push_str(&format!("{n},\"name, of\n{n}\"\n"));
    }
    folder.write("a.csv", &plain, 0);
    folder.write("b.csv", &quoted, 1);
    folder.write("c.csv.gz", gzip(plain.as_bytes()), 2);
    let sql = "SELECT source_file AS f, count(*) AS c, sum(n) AS s, max(source_line) AS l, sum(CASE WHEN ends_with(name, CAST(n AS VARCHAR)) THEN 1 ELSE 0 END) AS ok, \
        sum(CASE WHEN n = prev + 1 OR prev IS NULL THEN 0 ELSE 1 END) AS gaps \
        FROM (SELECT *, lag(n) OVER (PARTITION BY source_file ORDER BY source_seq) AS prev FROM input) GROUP BY 1 ORDER BY 1";
    let found = read(&folder.source(""), sql).await;
    let sum = rows * (rows - 1) / 2;
    let line = |file: &str, last: u64| format!("{file}|{rows}|{sum}|{last}|{rows}|0");
    check_table(
        &found.table,
        &["f|c|s|l|ok|gaps", &line("a.csv", 120_001), &line("b.csv", 240_000), &line("c.csv.gz", 120_001)],
    );
}

#[tokio::test]
async fn a_line_without_end_costs_one_row_and_no_memory() {
    let folder = Folder::new();
    let mut text = String::from("a,b\n1,x\n");
    text.push_str(&"y".repeat(3 << 20));
    text.push_str("\n2,z\n");
    folder.write("a.csv", text, 0);
    let found = read(&folder.source("a.csv"), "SELECT a, b, source_line AS l FROM input").await;
    check_table(&found.table, &["a|b|l", "1|x|2", "2|z|4"]);
    assert_eq!(found.reasons().len(), 1);
    assert!(found.outcome.rejects[0].payload.len() < 1000);
}

#[tokio::test]
async fn a_file_that_changes_or_goes_after_planning_is_a_lost_pin() {
    let folder = Folder::new();
    let limit = EpochLimit::default();
    for (name, change) in [("changed.csv", true), ("gone.csv", false), ("changed.csv.gz", true), ("gone.csv.gz", false)]
    {
        let content = if name.ends_with("gz") { gzip(b"x\n1\n") } else { b"x\n1\n".to_vec() };
        let path = folder.write(name, &content, 0);
        let source = folder.source(name);
        let plan = source.plan(&Checkpoint::new(), &limit).await.unwrap().unwrap();
        match change {
            true => drop(folder.write(name, &content, 7)),
            false => std::fs::remove_file(path).unwrap(),
        }
        let scan = source.scan(&plan).await.unwrap();
        let context = datafusion::prelude::SessionContext::new();
        let frame = context.read_table(Arc::clone(&scan.relations["input"])).unwrap();
        let error = stockflow_core::Error::from(frame.collect().await.unwrap_err());
        assert!(error.is_pin_lost(), "{name}: {error:?}");
        let words = if change {
            "it was changed after the epoch was planned"
        } else {
            "it was deleted after the epoch was planned"
        };
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_file_that_grows_while_it_is_read_is_a_lost_pin() {
    let folder = Folder::new();
    let mut text = String::from("x\n");
    (0..800_000).for_each(|n| text.push_str(&format!("{n}\n")));
    let path = folder.write("a.csv", &text, 0);
    let source = folder.source("a.csv");
    let plan = source.plan(&Checkpoint::new(), &EpochLimit::default()).await.unwrap().unwrap();
    let scan = source.scan(&plan).await.unwrap();
    let context = datafusion::prelude::SessionContext::new();
    let frame = context.read_table(Arc::clone(&scan.relations["input"])).unwrap();
    let mut stream = frame.execute_stream().await.unwrap();
    assert!(futures::StreamExt::next(&mut stream).await.unwrap().is_ok(), "the first rows come");
    std::io::Write::write_all(&mut std::fs::File::options().append(true).open(path).unwrap(), b"1\n").unwrap();
    let rest: Result<Vec<_>, _> = futures::TryStreamExt::try_collect(stream).await;
    assert!(stockflow_core::Error::from(rest.unwrap_err()).is_pin_lost());
}

#[tokio::test]
async fn a_limit_does_not_hide_bad_rows() {
    let folder = Folder::new();
    folder.write("a.csv", "id\n1\n2\n", 0);
    folder.write("b.csv", "id,x\n1,2\n5\n", 1);
    let found = read(&folder.source(""), "SELECT id FROM input LIMIT 1").await;
    assert_eq!(found.reasons(), ["b.csv@3 line 3: 1 fields where the header has 2"]);
    assert_eq!(found.files(), ["a.csv", "b.csv"]);
}

/// Runs one test of this binary again as the unprivileged user of `scripts/with-tiny-disk`.
#[cfg(unix)]
fn as_user(test: &str) {
    let (Ok(program), Ok(home)) = (std::env::var("STOCKFLOW_AS_USER"), std::env::var("STOCKFLOW_TEST_HOME")) else {
        return crate::support::left_out(&format!("{test}: runs as root, and STOCKFLOW_AS_USER is not set"));
    };
    let own = std::env::current_exe().unwrap();
    let reachable = std::path::Path::new(&home).join("bin/deps").join(own.file_name().unwrap());
    let done = std::process::Command::new(program)
        .arg(reachable)
        .args(["--exact", test])
        .current_dir(&home)
        .env_remove("STOCKFLOW_AS_USER")
        .env_remove("STOCKFLOW_LEFT_OUT_FILE")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&done.stderr));
}

#[cfg(unix)]
#[tokio::test]
async fn an_unreadable_file_is_left_out() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    folder.write("good.csv", "x\n1\n", 0);
    let path = folder.write("secret.csv", "x\n2\n", 0);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::read(&path).is_ok() {
        // The superuser reads everything.
        return as_user("file_source::an_unreadable_file_is_left_out");
    }
    let found = read(&folder.source(""), "SELECT x FROM input").await;
    check_table(&found.table, &["x", "1"]);
    assert!(found.left_out()[0].starts_with("secret.csv: "), "{:?}", found.left_out());
}

#[tokio::test]
async fn a_declared_format_takes_any_name() {
    let folder = Folder::new();
    folder.write("prices", "a;b\n1;2\n", 0);
    folder.write("more.txt", "a;b\n3;4\n", 0);
    let source = folder.source("prices").with_format(FileFormat::Csv).with_delimiter(b';');
    check_table(&read(&source, "SELECT a, b FROM input").await.table, &["a|b", "1|2"]);
    let source = folder.source("").with_format(FileFormat::Csv);
    assert_eq!(read(&source, "SELECT a FROM input").await.files(), ["more.txt"]);
    let bare = folder.source("more.txt").with_format(FileFormat::Csv).with_header(false);
    check_table(&read(&bare, "SELECT column_1, column_2 FROM input").await.table, &["column_1|column_2", "a|b", "3|4"]);
}

#[tokio::test]
async fn any_object_store_will_do() {
    let store = Arc::new(object_store::memory::InMemory::new());
    let put = async |path: &str, text: &str| {
        object_store::ObjectStoreExt::put(store.as_ref(), &path.into(), text.to_owned().into()).await.unwrap();
    };
    put("data/a.csv", "x\n1\n").await;
    let source = FileSource::in_store(store.clone(), "data/*.csv").unwrap();
    let first = read(&source, "SELECT x FROM input").await;
    check_table(&first.table, &["x", "1"]);
    let limit = EpochLimit::default();
    assert!(read_from(&source, &first.outcome.reached, &limit, "SELECT x FROM input").await.is_none());
    put("data/a.csv", "x\n2\n").await;
    let second = read_from(&source, &first.outcome.reached, &limit, "SELECT x FROM input").await.unwrap();
    check_table(&second.table, &["x", "2"]);
    let error = plan_error(&FileSource::in_store(store, "dota").unwrap()).await;
    assert!(error.to_string().contains("did you mean `data`?"), "{error}");
}

#[tokio::test]
async fn columns_stay_however_many_files_lack_them() {
    let folder = Folder::new();
    folder.write("f0.csv", "k,y\n1,a\n", 0);
    let (source, limit) = (folder.source(""), EpochLimit::default());
    let sql = "SELECT k, y FROM input";
    let first = read(&source, sql).await;
    assert_eq!(first.files(), ["f0.csv"]);
    let mut reached = first.outcome.reached;
    for n in 1..9 {
        folder.write(&format!("f{n}.csv"), format!("k\n{n}\n"), n);
        let next = read_from(&folder.source(""), &reached, &limit, sql).await.unwrap();
        check_table(&next.table, &["k|y", &format!("{n}|")]);
        reached = next.outcome.reached;
    }
    assert!(read_from(&source, &reached, &limit, sql).await.is_none(), "nothing is new");
    // The file that had the column is gone, or has it no more.
    std::fs::remove_file(folder.path().join("f0.csv")).unwrap();
    folder.write("f9.csv", "k\n9\n", 9);
    let gone = read_from(&source, &reached, &limit, sql).await.unwrap();
    folder.write("f0.csv", "k\n0\n", 10);
    let changed = read_from(&source, &gone.outcome.reached, &limit, sql).await.unwrap();
    check_table(&changed.table, &["k|y", "0|"]);
    folder.write("f10.csv", "k\n10\n", 11);
    let last = read_from(&source, &changed.outcome.reached, &limit, sql).await.unwrap();
    check_table(&last.table, &["k|y", "10|"]);
}

#[tokio::test]
async fn types_never_become_narrower() {
    let folder = Folder::new();
    let limit = EpochLimit::default();
    let sql = "SELECT x, arrow_typeof(x) AS t, arrow_typeof(e) AS e FROM input";
    let mut reached = Checkpoint::new();
    for (n, (x, e, expected)) in
        [("1", "", "1|Int64|Utf8"), ("2.5", "", "2.5|Float64|Utf8"), ("3", "7", "3.0|Float64|Utf8")].iter().enumerate()
    {
        folder.write(&format!("f{n}.csv"), format!("x,e\n{x},{e}\n"), n as u64);
        let found = read_from(&folder.source(""), &reached, &limit, sql).await.unwrap();
        check_table(&found.table, &["x|t|e", expected]);
        reached = found.outcome.reached;
    }
    let list = reached.to_string();
    assert!(list.contains(r#"f1.csv@"#) && list.contains(r#" columns=[["x","Float64"],["e","Utf8"]]"#), "{list}");
}

#[tokio::test]
async fn a_checkpoint_without_columns_takes_them_from_the_files_that_it_knows() {
    let folder = Folder::new();
    (0..7).for_each(|n| drop(folder.write(&format!("f{n}.csv"), if n == 0 { "k,y\n1,a\n" } else { "k\n1\n" }, n)));
    let source = folder.source("");
    let known = source.list().await.unwrap().files.into_iter().map(|file| (file.file, file.version));
    let old = Checkpoint::from_iter(known);
    assert!(source.plan(&old, &EpochLimit::default()).await.unwrap().is_none(), "they are read");
    folder.write("g.csv", "k\n2\n", 9);
    let found = read_from(&source, &old, &EpochLimit::default(), "SELECT k, y FROM input").await.unwrap();
    check_table(&found.table, &["k|y", "2|"]);
    assert!(found.outcome.reached.get("g.csv").unwrap().ends_with(r#" columns=[["k","Int64"],["y","Utf8"]]"#));
}

#[tokio::test]
async fn another_file_remembers_the_columns_if_the_first_one_turns_out_to_be_bad() {
    let folder = Folder::new();
    let n = 50_000i64;
    let mut bytes =
        parquet(vec![("y", Arc::new(Float64Array::from_iter_values((0..n).map(|n| (n as f64).sin()))) as ArrayRef)]);
    let at = bytes.len() / 2;
    bytes[4..at].iter_mut().for_each(|byte| *byte ^= 0xa5);
    folder.write("a.parquet", bytes, 0);
    folder.write("b.csv", "k\n1\n", 1);
    let found = read(&folder.source(""), "SELECT k, y FROM input").await;
    assert_eq!(found.files(), ["b.csv"]);
    assert!(found.outcome.reached.get("b.csv").unwrap().contains(r#"["y","Float64"]"#), "{}", found.outcome.reached);
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_was_put_back_as_it_was_is_what_was_pinned() {
    let folder = Folder::new();
    let limit = EpochLimit::default();
    for name in ["a.csv", "b.csv.gz", "c.parquet"] {
        let content = match name {
            "a.csv" => b"x\n1\n".to_vec(),
            "b.csv.gz" => gzip(b"x\n1\n"),
            _ => parquet(vec![("x", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]),
        };
        folder.write(name, &content, 0);
        let source = folder.source(name);
        let plan = source.plan(&Checkpoint::new(), &limit).await.unwrap().unwrap();
        let copy = folder.write("copy", &content, 0);
        std::fs::rename(copy, folder.path().join(name)).unwrap();
        let scan = source.scan(&plan).await.unwrap();
        let context = datafusion::prelude::SessionContext::new();
        let frame = context.read_table(Arc::clone(&scan.relations["input"])).unwrap();
        assert_eq!(frame.count().await.unwrap(), 1, "{name}");
        assert!(source.plan(&plan.upto, &limit).await.unwrap().is_none(), "{name} is nothing new");
    }
}

#[tokio::test]
async fn a_file_that_became_shorter_is_a_lost_pin() {
    let folder = Folder::new();
    let mut text = String::from("x\n");
    (0..800_000).for_each(|n| text.push_str(&format!("{n}\n")));
    let path = folder.write("a.csv", &text, 0);
    let source = folder.source("a.csv");
    let plan = source.plan(&Checkpoint::new(), &EpochLimit::default()).await.unwrap().unwrap();
    std::fs::File::options().write(true).open(path).unwrap().set_len(100).unwrap();
    let scan = source.scan(&plan).await.unwrap();
    let context = datafusion::prelude::SessionContext::new();
    let frame = context.read_table(Arc::clone(&scan.relations["input"])).unwrap();
    let error = stockflow_core::Error::from(frame.collect().await.unwrap_err());
    assert!(error.is_pin_lost(), "{error:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn names_and_links_that_cannot_be_used_do_not_block_the_others() {
    use std::os::unix::ffi::OsStrExt;
    let folder = Folder::new();
    folder.write("in/a.csv", "x\n1\n", 0);
    folder.write("in/sub/b.csv", "x\n2\n", 1);
    folder.write("in/line\nend.csv", "x\n3\n", 2);
    std::fs::write(folder.path().join("in/sub").join(std::ffi::OsStr::from_bytes(b"b\xff.csv")), "x\n4\n").unwrap();
    let link = |to: &str, at: &str| std::os::unix::fs::symlink(to, folder.path().join(at)).unwrap();
    link(".", "in/loop");
    link("../..", "in/sub/up");
    link("sub/b.csv", "in/link.csv");
    link("nowhere", "in/broken.csv");
    let listing = folder.source("in").list().await.unwrap();
    let files: Vec<&str> = listing.files.iter().map(|file| file.file.as_str()).collect();
    assert_eq!(files, ["a.csv", "link.csv", "sub/b.csv"]);
    let skipped: Vec<String> = listing.skipped.iter().map(|file| format!("{}: {}", file.file, file.reason)).collect();
    for expected in [
        "loop: it is a link back to a folder above it",
        "sub/up/in: it is a link back to a folder above it",
        "line\u{fffd}end.csv: its name has a line end or another control character; rename it",
        "sub/b\u{fffd}.csv: its name is not UTF-8 text; rename it",
        "broken.csv: it is a link that leads nowhere: ",
    ] {
        assert!(skipped.iter().any(|line| line.starts_with(expected)), "{expected}: {skipped:?}");
    }
    let flat = folder.source("in/*.csv").list().await.unwrap();
    let names = |listing: &stockflow_io::file::Listing| -> Vec<String> {
        listing
            .files
            .iter()
            .map(|file| file.file.clone())
            .chain(listing.skipped.iter().map(|file| file.file.clone()))
            .collect()
    };
    assert_eq!(
        names(&flat),
        ["a.csv", "link.csv", "broken.csv", "line\u{fffd}end.csv"],
        "only the folder itself is listed"
    );
    let deep = folder.source("in/**/b.csv").list().await.unwrap();
    assert_eq!(names(&deep), ["sub/b.csv", "loop", "sub/up/in"]);
}

#[tokio::test]
async fn folders_may_have_wildcards_in_their_names() {
    let folder = Folder::new();
    folder.write("g[x]b/in/a.csv", "x\n1\n", 0);
    folder.write("gxb/in/b.csv", "x\n2\n", 0);
    folder.write("my dir/a 1.csv", "x\n3\n", 0);
    let found = async |source: FileSource| {
        let listing = source.list().await.unwrap();
        listing.files.into_iter().map(|file| file.file).collect::<Vec<_>>()
    };
    assert_eq!(found(folder.source("g[x]b/in")).await, ["a.csv"]);
    assert_eq!(found(folder.source("g[x]b/in/")).await, ["a.csv"]);
    assert_eq!(found(folder.source("g[x]b/in/a.csv")).await, ["a.csv"]);
    assert_eq!(found(folder.source("g[x]b/*/*.csv")).await, ["in/a.csv"]);
    assert_eq!(found(folder.source("g[y-x]b/../gxb/in/?.csv")).await, ["b.csv"]);
    assert_eq!(found(folder.source("g[a-z]b/in/?.csv")).await, ["gxb/in/b.csv"]);
    let url = |path: &str| FileSource::new(format!("file://{}/{path}", folder.path().display())).unwrap();
    assert_eq!(found(url("my%20dir/a%20*.csv")).await, ["a 1.csv"]);
    assert_eq!(found(url("my%20dir/a%20?.csv")).await, ["a 1.csv"]);
}

#[tokio::test]
async fn files_of_a_table_are_not_read_one_by_one() {
    let folder = Folder::new();
    for (log, what) in [("_delta_log/0.json", "a Delta table"), ("_stockflow/log/1.json", "the output of a file sink")]
    {
        let folder = Folder::new();
        folder.write("lake/bars/a.csv", BARS, 0);
        folder.write(&format!("lake/bars/{log}"), "{}", 0);
        folder.write("lake/b.csv", BARS, 0);
        for (path, place) in [
            ("lake/bars", "is"),
            ("lake/bars/*.csv", "is"),
            ("lake", "has in `bars`"),
            ("lake/*/*.csv", "has in `bars`"),
            ("lake/**/*.csv", "has in `bars`"),
        ] {
            let error = plan_error(&folder.source(path)).await;
            assert_eq!(error.class(), ErrorClass::Config, "{path}");
            let text = error.to_string();
            assert!(text.contains(&format!("{place} {what}")) && text.contains("`[tables]`"), "{path}: {text}");
        }
        assert_eq!(read(&folder.source("lake/*.csv"), "SELECT * FROM input").await.files(), ["b.csv"]);
    }
    // A sink that overwrites single files has a folder of that name, too.
    folder.write("out/a.csv", BARS, 0);
    folder.write("out/_stockflow/a.csv/log/1.json", "{}", 0);
    assert_eq!(read(&folder.source("out"), "SELECT * FROM input").await.files(), ["a.csv"]);

    let store = Arc::new(object_store::memory::InMemory::new());
    for path in ["lake/bars/a.csv", "lake/bars/_delta_log/0.json", "lake/b.csv"] {
        object_store::ObjectStoreExt::put(store.as_ref(), &path.into(), BARS.to_owned().into()).await.unwrap();
    }
    for path in ["lake/bars", "lake/bars/*.csv", "lake", "lake/*/*.csv"] {
        let error = plan_error(&FileSource::in_store(store.clone(), path).unwrap()).await;
        assert!(error.to_string().contains("a Delta table"), "{path}: {error}");
    }
    let flat = FileSource::in_store(store, "lake/*.csv").unwrap();
    assert_eq!(read(&flat, "SELECT * FROM input").await.files(), ["b.csv"]);
}

#[cfg(unix)]
#[tokio::test]
async fn what_is_no_regular_file_is_not_read() {
    let folder = Folder::new();
    folder.write("a.csv", "x\n1\n", 0);
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("s.csv")).unwrap();
    assert_eq!(read(&folder.source(""), "SELECT x FROM input").await.files(), ["a.csv"]);
    let error = plan_error(&folder.source("s.csv")).await;
    assert_eq!(error.class(), ErrorClass::Config);
    assert!(error.to_string().contains("is neither a file nor a folder"), "{error}");
}

#[test]
fn one_folder_is_one_definition() {
    let definition = |path: &str| FileSource::new(path).unwrap().definition();
    assert_eq!(definition("in"), definition("in/"));
    assert_eq!(definition("in"), definition("./in"));
    assert_ne!(definition("in"), definition("in2"));
}

#[tokio::test]
async fn declared_types_do_not_hide_why_nothing_can_be_read() {
    let folder = Folder::new();
    folder.write("cut.csv.gz", &gzip(b"x\n3\n")[..12], 0);
    let source = folder.source("").with_columns([("Close", DataType::Float64)]);
    let error = plan_error(&source).await;
    assert!(error.to_string().contains("none of 1 files can be read: the compressed data end"), "{error}");
    // Another one that can be read is taken, although only one file an epoch is allowed.
    folder.write("good.csv", "Close\n1\n", 1);
    let limit = EpochLimit { max_partitions: Some(1), ..EpochLimit::default() };
    let found = read_from(&source, &Checkpoint::new(), &limit, "SELECT \"Close\" FROM input").await.unwrap();
    check_table(&found.table, &["Close", "1.0"]);
    assert!(found.left_out()[0].starts_with("cut.csv.gz: "), "{:?}", found.left_out());
}

#[tokio::test]
async fn a_field_that_is_there_twice_refuses_its_row() {
    let folder = Folder::new();
    folder.write("a.ndjson", "{\"k\":1,\"s\":\"x\"}\n{\"k\":4,\"K\":5}\n{\"k\":6,\"k\":7}\n{\"k\":null,\"k\":8}\n", 0);
    let found = read(&folder.source("a.ndjson"), "SELECT k FROM input").await;
    check_table(&found.table, &["k", "1"]);
    assert_eq!(
        found.reasons(),
        [
            "a.ndjson@2 line 2: field `K` is there twice (case does not count)",
            "a.ndjson@3 line 3: field `k` is there twice (case does not count)",
            "a.ndjson@4 line 4: field `k` is there twice (case does not count)",
        ]
    );
}

#[tokio::test]
async fn zeros_after_a_gzip_file_are_padding() {
    let folder = Folder::new();
    let padded = |parts: &[&[u8]]| parts.iter().map(|part| gzip(part)).collect::<Vec<_>>().concat();
    folder.write("a.csv.gz", [padded(&[b"x\n1\n", b"2\n"]), vec![0; 3_000_000]].concat(), 0);
    folder.write("b.csv.gz", [padded(&[b"x\n3\n"]), vec![0; 10], padded(&[b"4\n"])].concat(), 1);
    folder.write("c.csv.gz", [padded(&[b"x\n5\n"]), b"garbage".to_vec()].concat(), 2);
    let found = read(&folder.source(""), "SELECT x FROM input ORDER BY source_seq").await;
    check_table(&found.table, &["x", "1", "2", "3", "4"]);
    assert!(found.left_out()[0].starts_with("c.csv.gz: it cannot be decompressed"), "{:?}", found.left_out());
}

#[tokio::test]
async fn utf16_without_a_mark_is_left_out() {
    let folder = Folder::new();
    let units = |text: &str| text.encode_utf16().collect::<Vec<u16>>();
    folder.write("le.csv", units("a,b\n1,2\n").iter().flat_map(|unit| unit.to_le_bytes()).collect::<Vec<_>>(), 0);
    folder.write("be.csv", units("a,b\n1,2\n").iter().flat_map(|unit| unit.to_be_bytes()).collect::<Vec<_>>(), 0);
    folder.write("good.csv", "\u{feff}a;b\r\n1;\"two\r\nlines\"\r\n", 0);
    folder.write("good.ndjson", "\u{feff}{\"a\":2,\"b\":\"x\"}\r\n", 1);
    let found =
        read(&folder.source(""), "SELECT a, replace(b, chr(13) || chr(10), '+') AS b FROM input ORDER BY a").await;
    check_table(&found.table, &["a|b", "1|two+lines", "2|x"]);
    assert_eq!(
        found.left_out(),
        [
            "be.csv: it is UTF-16 text or binary data; save it as UTF-8",
            "le.csv: it is UTF-16 text or binary data; save it as UTF-8",
        ]
    );
}

/// Counts how often objects are opened.
#[derive(Debug, Default)]
struct Counting {
    inner: object_store::memory::InMemory,
    opened: std::sync::atomic::AtomicUsize,
}

impl std::fmt::Display for Counting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "counting {}", self.inner)
    }
}

#[async_trait::async_trait]
impl object_store::ObjectStore for Counting {
    async fn put_opts(
        &self,
        location: &object_store::path::Path,
        payload: object_store::PutPayload,
        options: object_store::PutOptions,
    ) -> object_store::Result<object_store::PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &object_store::path::Path,
        options: object_store::PutMultipartOptions,
    ) -> object_store::Result<Box<dyn object_store::MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(
        &self,
        location: &object_store::path::Path,
        options: object_store::GetOptions,
    ) -> object_store::Result<object_store::GetResult> {
        if !options.head {
            self.opened.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: futures::stream::BoxStream<'static, object_store::Result<object_store::path::Path>>,
    ) -> futures::stream::BoxStream<'static, object_store::Result<object_store::path::Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(
        &self,
        prefix: Option<&object_store::path::Path>,
    ) -> futures::stream::BoxStream<'static, object_store::Result<object_store::ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(
        &self,
        prefix: Option<&object_store::path::Path>,
    ) -> object_store::Result<object_store::ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &object_store::path::Path,
        to: &object_store::path::Path,
        options: object_store::CopyOptions,
    ) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn planning_again_opens_nothing_again() {
    let store = Arc::new(Counting::default());
    let put = async |path: &str, text: &str| {
        object_store::ObjectStoreExt::put(store.as_ref(), &path.into(), text.to_owned().into()).await.unwrap();
    };
    put("in/a.csv", "x\n1\n").await;
    put("in/b.csv", "x\n1\n").await;
    let source = FileSource::in_store(store.clone(), "in").unwrap();
    let limit = EpochLimit::default();
    let opened = || store.opened.load(std::sync::atomic::Ordering::Relaxed);
    let first = source.plan(&Checkpoint::new(), &limit).await.unwrap();
    assert_eq!(opened(), 2);
    assert_eq!(source.plan(&Checkpoint::new(), &limit).await.unwrap(), first);
    assert_eq!(opened(), 2);
    put("in/b.csv", "x\n2.5\n").await;
    assert_ne!(source.plan(&Checkpoint::new(), &limit).await.unwrap(), first);
    assert_eq!(opened(), 3, "another version is another file");
}

/// Blocks are parsed side by side; rows still come in the file's order, whichever reader took their lines.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rows_of_a_large_file_stay_in_order() {
    use std::fmt::Write as _;
    let folder = Folder::new();
    let (mut text, mut expected) = ("Symbol,Date,Close,Volume\n".to_owned(), Vec::new());
    let mut line = 2i64;
    for n in 0..120_000i64 {
        // Quotes only in the middle: blocks before and behind it have none.
        match n % 1_009 {
            3 if (50_000..60_000).contains(&n) => writeln!(text, "\"A\nB\",2024-01-02,{n}.25,{n}").unwrap(),
            7 => writeln!(text, "A,2024-01-02,x,{n}").unwrap(),
            8 => writeln!(text, "A,2024-01-02,N/A,{n}\r").unwrap(),
            _ => writeln!(text, "A,2024-01-02,{n}.25,{n}").unwrap(),
        }
        if n % 1_009 != 7 {
            expected.push((line, n as f64));
        }
        line += if n % 1_009 == 3 && (50_000..60_000).contains(&n) { 2 } else { 1 };
    }
    folder.write("a.csv", &text, 0);
    let source = folder.source("a.csv");
    let plan = source.plan(&Checkpoint::new(), &EpochLimit::default()).await.unwrap().unwrap();
    let scan = source.scan(&plan).await.unwrap();
    let context = datafusion::prelude::SessionContext::new();
    let frame = context.read_table(Arc::clone(&scan.relations["input"])).unwrap();
    let batches = frame.select_columns(&["source_line", "Volume"]).unwrap().collect().await.unwrap();
    let mut found = Vec::new();
    for batch in &batches {
        assert!(batch.num_rows() <= 8_192);
        let line = batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
        let volume = batch.column(1).as_any().downcast_ref::<Float64Array>().unwrap();
        found.extend(line.values().iter().copied().zip(volume.values().iter().copied()));
    }
    assert!(found == expected, "{} rows, not {}", found.len(), expected.len());
    assert_eq!(scan.end.outcome().await.unwrap().rejects.len(), 119);
}
