//! The decoders of replies as functions over any bytes: none panics, and what comes out holds together.
//!
//! `fuzz_targets/` hands them to libFuzzer (`scripts/fuzz`); the tests of `stockflow-io` include this file, replay
//! `corpus/` and go on from it with changed bytes.
//!
//! Most take the body of a reply with status 200. [`error`] takes a reply of any status: the first line says which.

use std::sync::LazyLock;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use chrono::{DateTime, Utc};
use stockflow_core::schema::{Basis, DeadLetter};
use stockflow_io::http::{self, Fetch, Replayer, Request};
use stockflow_io::provider::{self, BarRequest, Spellings};
use stockflow_io::yahoo::decode::{self, ChartRequest, Reply, SymbolRequest, undo_splits, undo_splits_of_actions};
use stockflow_io::yahoo::in_main_units;

/// The name of a target and the target.
pub type Target = (&'static str, fn(&[u8]));

/// Every target; each has a folder of its name in `corpus/`.
pub const TARGETS: [Target; 11] = [
    ("alpha_vantage", alpha_vantage),
    ("chart", chart),
    ("crumb", crumb),
    ("error", error),
    ("holders", holders),
    ("insights", insights),
    ("quote", quote),
    ("recording", recording),
    ("search", search),
    ("spellings", spellings),
    ("stooq", stooq),
];

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_704_500_000, 0).unwrap_or_default()
}

fn asked() -> SymbolRequest {
    SymbolRequest::new(["A", "B"], now())
}

/// Yahoo's bars and actions.
pub fn chart(body: &[u8]) {
    chart_reply(&Reply::new(200, body));
}

fn chart_reply(reply: &Reply) {
    for interval in ["1m", "1d", "1wk", "3mo"] {
        let mut request = ChartRequest::new("A", interval.parse().expect("an interval of Yahoo's"), now());
        if interval == "1d" {
            request = request.between(DateTime::UNIX_EPOCH, now());
        }
        if let Ok(symbols) = decode::chart_symbols(reply, &request) {
            assert!(symbols.num_rows() <= 1, "one row a symbol");
        }
        let Ok(chart) = decode::chart(reply, &request) else { continue };
        assert!(is_ascending(&chart.bars), "{interval}: sorted, one bar a key");
        check_rejects(&chart.rejects);
        let bars = undo_splits(&chart.bars, &chart.actions).expect("the columns fit");
        let bars = in_main_units(&bars).expect("the columns fit");
        let actions = undo_splits_of_actions(&chart.actions, &chart.actions).expect("the columns fit");
        assert_eq!((bars.num_rows(), actions.num_rows()), (chart.bars.num_rows(), chart.actions.num_rows()));
    }
}

/// Yahoo's holders.
pub fn holders(body: &[u8]) {
    if let Ok(found) = decode::holders(&Reply::new(200, body), &asked()) {
        check_rejects(&found.rejects);
    }
}

/// Yahoo's insights.
pub fn insights(body: &[u8]) {
    if let Ok(found) = decode::insights(&Reply::new(200, body), &asked()) {
        check_rejects(&found.rejects);
        assert!(found.summary.num_rows() + found.absent.len() <= 2, "one row a symbol");
    }
}

/// Yahoo's quotes.
pub fn quote(body: &[u8]) {
    if let Ok(found) = decode::quote(&Reply::new(200, body), &asked()) {
        check_rejects(&found.rejects);
    }
}

/// Yahoo's search.
pub fn search(body: &[u8]) {
    if let Ok(found) = decode::search(&Reply::new(200, body), now()) {
        check_rejects(&found.rejects);
    }
}

/// Yahoo's crumb.
pub fn crumb(body: &[u8]) {
    if let Ok(crumb) = decode::crumb(&Reply::new(200, body)) {
        assert!(!crumb.is_empty() && !crumb.contains(char::is_whitespace), "a crumb stands in a URL");
    }
}

/// A reply of any status, for every decoder: the first line is the status, a blank and the content type.
pub fn error(reply: &[u8]) {
    let end = reply.iter().position(|byte| *byte == b'\n').unwrap_or(reply.len());
    let (head, body) = reply.split_at(end);
    let head = String::from_utf8_lossy(head);
    let (status, content_type) = head.split_once(' ').unwrap_or((&head, ""));
    let reply =
        Reply::new(status.parse().unwrap_or(500), body.get(1..).unwrap_or_default()).with_content_type(content_type);
    chart_reply(&reply);
    let errors = [
        decode::chart_facts(&reply).err(),
        decode::holders(&reply, &asked()).err(),
        decode::insights(&reply, &asked()).err(),
        decode::quote(&reply, &asked()).err(),
        decode::search(&reply, now()).err(),
        decode::crumb(&reply).err(),
    ];
    for error in errors.into_iter().flatten() {
        let text = error.to_string();
        assert!(!text.is_empty() && !text.contains('\n'), "one line: {text}");
    }
    let _ = decode::retry_after(content_type, now());
    assert_eq!(decode::masked(&decode::masked(&head)), decode::masked(&head), "nothing is left to mask");
}

/// A recorded reply.
pub fn recording(file: &[u8]) {
    const URL: &str = "https://query1.finance.yahoo.com/v8/finance/chart/A?interval=1d&period1=0&period2=9";
    static RUNTIME: LazyLock<tokio::runtime::Runtime> =
        LazyLock::new(|| tokio::runtime::Builder::new_current_thread().build().expect("a runtime"));
    static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder"));
    std::fs::write(FOLDER.path().join("reply.json"), file).expect("written");
    let Ok(replayer) = Replayer::open(FOLDER.path()) else { return };
    let request = Request::new(URL.parse().expect("a URL"));
    match RUNTIME.block_on(replayer.get(&request)) {
        Ok(reply) => chart_reply(&Reply::from(&reply)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn wire(body: &[u8]) -> http::Reply {
    http::Reply::new(
        200,
        http::ReplyHeaders::default(),
        body.to_vec().into(),
        "https://a.test/".parse().expect("a URL"),
    )
}

fn intervals() -> impl Iterator<Item = BarRequest> {
    let interval = |text: &str| text.parse().expect("an interval");
    ["1d", "5m", "1wk", "1mo"].into_iter().map(move |text| BarRequest::new("A", interval(text), now()))
}

fn check_found(found: Result<provider::Found, provider::Failure>) {
    match found {
        Ok(found) => {
            assert!(is_ascending(&found.bars), "sorted, one bar a key");
            check_rejects(&found.rejects);
        }
        Err(failure) => assert!(!failure.reason.is_empty()),
    }
}

/// Stooq's CSV.
pub fn stooq(body: &[u8]) {
    let reply = wire(body);
    let _ = provider::judge_stooq(&reply);
    intervals().for_each(|request| check_found(provider::stooq(&reply, &request, Basis::Split)));
}

/// Alpha Vantage's JSON.
pub fn alpha_vantage(body: &[u8]) {
    let reply = wire(body);
    let _ = provider::judge_alpha_vantage(&reply);
    intervals().for_each(|request| check_found(provider::alpha_vantage(&reply, &request)));
}

/// The table of spellings: its pieces of a symbol's dates have no gaps.
pub fn spellings(file: &[u8]) {
    let Ok(spellings) = Spellings::from_csv(&String::from_utf8_lossy(file)) else { return };
    let (from, to) = (DateTime::UNIX_EPOCH.date_naive(), now().date_naive());
    let pieces = spellings.pieces("A", "yahoo", Some(from), Some(to));
    assert_eq!(pieces.first().and_then(|it| it.from), Some(from));
    assert_eq!(pieces.last().and_then(|it| it.to), Some(to));
    for (piece, next) in pieces.iter().zip(pieces.iter().skip(1)) {
        assert_eq!(piece.to.and_then(|it| it.succ_opt()), next.from, "{pieces:?}");
    }
}

fn is_ascending(bars: &RecordBatch) -> bool {
    let ts = bars.column_by_name("ts").expect("bars").as_primitive::<TimestampMicrosecondType>();
    ts.values().windows(2).all(|pair| pair[0] < pair[1])
}

fn check_rejects(rejects: &[DeadLetter]) {
    assert!(rejects.iter().all(|it| !it.reason.is_empty() && !it.partition.is_empty()), "{rejects:?}");
}
