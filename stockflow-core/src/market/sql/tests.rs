#![allow(clippy::unwrap_used)]

use arrow::util::pretty::pretty_format_batches;
use chrono::TimeDelta;
use datafusion::prelude::SessionContext;
use datafusion_proto::bytes::{
    logical_plan_from_bytes, logical_plan_to_bytes, physical_plan_from_bytes, physical_plan_to_bytes,
};

use super::*;

/// A session with everything that stockflow registers.
fn session() -> SessionContext {
    let session = SessionContext::new();
    crate::functions::register(&session).unwrap();
    session
}

/// The rows of a query, cells with a blank between; NULL is nothing.
async fn rows(session: &SessionContext, sql: &str) -> Vec<String> {
    let batches = session.sql(sql).await.unwrap().collect().await.unwrap();
    let text = pretty_format_batches(&batches).unwrap().to_string();
    let lines = text.lines().filter(|it| it.starts_with('|')).skip(1);
    lines
        .map(|it| it.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join(" ").trim().to_string())
        .collect()
}

async fn refused(sql: &str) -> String {
    match session().sql(sql).await {
        Ok(frame) => frame.collect().await.unwrap_err().to_string(),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn check<'a>(call: &'a str, expected: &'a str) -> impl Future<Output = ()> + 'a {
    async move { assert_eq!(rows(&session(), &format!("SELECT {call}")).await, [expected], "{call}") }
}

#[tokio::test]
async fn single_values() {
    check("is_session('XNYS', DATE '2024-12-24')", "true").await;
    check("is_session('XNYS', DATE '2024-12-25')", "false").await;
    check("is_session('nyse', '2024-12-24')", "true").await;
    check("is_session('24/7', TIMESTAMP '2024-12-25T10:00:00')", "true").await;
    check("next_session('NYSE', DATE '2024-11-27')", "2024-11-29").await;
    check("sessions_between('NYSE', DATE '2024-11-25', DATE '2024-11-29')", "4").await;
    check("sessions_between('NYSE', DATE '2024-11-29', DATE '2024-11-25')", "0").await;
}

#[tokio::test]
async fn bars_close_with_their_session_or_by_their_width() {
    check("bar_closes_at(TIMESTAMP '2024-11-27', '1d', 'NYSE')", "2024-11-27T21:00:00Z").await;
    check("bar_closes_at(DATE '2024-11-29', '1d', 'NYSE')", "2024-11-29T18:00:00Z").await;
    check("bar_closes_at(DATE '2024-11-28', '1d', 'NYSE')", "").await;
    check("bar_closes_at(DATE '2024-11-25', '1wk', 'NYSE')", "2024-11-29T18:00:00Z").await;
    check("bar_closes_at('2024-03-11T13:30:00Z', '5m', 'NYSE')", "2024-03-11T13:35:00Z").await;
    check("bar_closes_at('2024-11-29T17:58:00Z', '5m', 'NYSE')", "2024-11-29T18:00:00Z").await;
    check("bar_closes_at(DATE '2001-03-01', '1d', 'XETRA')", "").await;
}

#[tokio::test]
async fn columns_of_several_exchanges() {
    let sql = "SELECT e, d, is_session(e, d), next_session(e, d), sessions_between(e, d, DATE '2024-12-27'), \
               bar_closes_at(d, '1d', e) \
               FROM (VALUES ('XNYS', DATE '2024-12-24'), ('LSE', DATE '2024-12-24'), ('XNYS', DATE '2024-12-26'), \
               ('LSE', DATE '2024-12-26'), ('XNYS', NULL), (NULL, DATE '2024-12-26'), ('XNYS', DATE '1950-06-01')) \
               AS t(e, d)";
    assert_eq!(
        rows(&session(), sql).await,
        [
            "XNYS 2024-12-24 true 2024-12-26 3 2024-12-24T18:00:00Z",
            "LSE 2024-12-24 true 2024-12-27 2 2024-12-24T12:30:00Z",
            "XNYS 2024-12-26 true 2024-12-27 2 2024-12-26T21:00:00Z",
            "LSE 2024-12-26 false 2024-12-27 1",
            "XNYS",
            "2024-12-26",
            "XNYS 1950-06-01",
        ]
    );
}

#[tokio::test]
async fn null_gives_null_and_so_does_an_unknown_year() {
    for call in [
        "is_session(NULL, DATE '2024-12-24')",
        "is_session('XNYS', NULL)",
        "next_session('XNYS', NULL)",
        "sessions_between('XNYS', NULL, DATE '2024-12-24')",
        "bar_closes_at(NULL, '1d', 'XNYS')",
        "bar_closes_at(DATE '2024-12-24', NULL, 'XNYS')",
        "is_session('XNYS', DATE '1950-01-03')",
        "next_session('XNYS', DATE '2028-01-03')",
        "sessions_between('XNYS', DATE '1989-12-29', DATE '2024-12-24')",
        "bar_closes_at(TIMESTAMP '1989-12-29T15:00:00', '5m', 'XNYS')",
    ] {
        check(call, "").await;
    }
}

#[tokio::test]
async fn an_unknown_exchange_or_interval_is_an_error() {
    let error = refused("SELECT is_session('XNYSE', DATE '2024-12-24')").await;
    assert!(error.contains("no calendar is known for exchange `XNYSE`; near are `XNYS`"), "{error}");
    let error = refused("SELECT bar_closes_at(ts, '1d', 'TSE') FROM (VALUES (DATE '2024-12-24')) AS t(ts)").await;
    assert!(error.contains("no calendar is known for exchange `TSE`"), "{error}");
    let error = refused("SELECT bar_closes_at(DATE '2024-12-24', '1M', 'XNYS')").await;
    assert!(error.contains("invalid interval"), "{error}");
    let error = refused("SELECT is_session('XNYS')").await;
    assert!(error.contains("`is_session(exchange, date)` does not take (Utf8"), "{error}");
    let error = refused("SELECT is_session('XNYS', 3)").await;
    assert!(error.contains("does not take"), "{error}");
}

#[tokio::test]
async fn every_function_has_an_example_that_says_what_it_gives() {
    for function in scalar_functions() {
        let example = function.documentation().unwrap().sql_example.clone().unwrap();
        let sql = example.trim_start_matches("```sql\n").trim_end_matches("\n```");
        let (sql, expected) = sql.split_once(" -- ").unwrap();
        let expected = expected.split(':').next().filter(|it| !it.contains('T')).unwrap_or(expected);
        assert_eq!(rows(&session(), sql).await, [expected], "{sql}");
    }
}

/// The queries of this module's head, as they stand there.
fn documented() -> Vec<String> {
    let head = include_str!("../sql.rs").lines().take_while(|it| it.starts_with("//!"));
    let text = head.map(|it| it.trim_start_matches("//!").trim()).collect::<Vec<_>>().join("\n");
    let blocks = text.split("```sql\n").skip(1);
    blocks.filter_map(|it| it.split("```").next().map(str::to_string)).collect()
}

#[tokio::test]
async fn the_documented_joins_give_the_newest_bar_that_was_complete() {
    let session = session();
    let days = ["2024-11-25", "2024-11-26", "2024-11-27", "2024-11-29", "2024-12-02"];
    let bars: Vec<(&str, &str, f64)> = days
        .iter()
        .zip([1.0, 2.0, 3.0, 4.0, 5.0])
        .flat_map(|(day, close)| [("A", *day, close), ("B", *day, close * 10.0)])
        .filter(|bar| *bar != ("B", "2024-11-27", 30.0))
        .collect();
    let calendar = Calendar::of("NYSE").unwrap();
    let known = |day: &str| calendar.session(day.parse().unwrap()).unwrap().close;
    // Before, at and after each close; at each open and midnight; long before and long after.
    let mut times: Vec<DateTime<chrono::Utc>> = Vec::new();
    for day in days {
        let (close, micro) = (known(day), TimeDelta::microseconds(1));
        let midnight = day.parse::<NaiveDate>().unwrap().and_hms_opt(0, 0, 0).unwrap().and_utc();
        times.extend([close - micro, close, close + micro, midnight, close - TimeDelta::hours(3)]);
    }
    times
        .extend(["2024-11-01T00:00:00Z", "2024-11-28T15:00:00Z", "2025-01-01T00:00:00Z"].map(|it| it.parse().unwrap()));

    let values = |rows: Vec<String>| rows.join(", ");
    let bar_values =
        values(bars.iter().map(|(s, day, close)| format!("('{s}', TIMESTAMP '{day}', {close})")).collect());
    let create = format!(
        "CREATE TABLE bars AS SELECT column1 AS symbol, arrow_cast(column2, 'Timestamp(Microsecond, Some(\"UTC\"))') \
         AS ts, '1d' AS \"interval\", column3 AS close FROM (VALUES {bar_values})"
    );
    session.sql(&create).await.unwrap().collect().await.unwrap();
    let mut news = Vec::new();
    let mut expected = Vec::new();
    for symbol in ["A", "B", "C"] {
        for at in &times {
            let headline = format!("{symbol}{}", at.timestamp_micros());
            news.push(format!("('{symbol}', '{}', '{headline}')", at.to_rfc3339()));
            // `days` is in order: the last one that is known is the newest.
            let newest = bars.iter().rfind(|(s, day, _)| *s == symbol && known(day) <= *at);
            expected.push(format!("{headline} {}", newest.map_or(String::new(), |it| format!("{:?}", it.2))));
        }
    }
    let create = format!(
        "CREATE TABLE news AS SELECT column1 AS symbol, arrow_cast(column2, 'Timestamp(Microsecond, Some(\"UTC\"))') \
         AS at, column3 AS headline FROM (VALUES {})",
        values(news)
    );
    session.sql(&create).await.unwrap().collect().await.unwrap();
    let mut expected: Vec<_> = expected.iter().map(|it| it.trim().to_string()).collect();
    expected.sort();

    let documented = documented();
    assert_eq!(documented.len(), 2);
    for (query, price) in documented.iter().zip(["last_close", "close"]) {
        let mut found = rows(&session, &format!("SELECT headline, {price} FROM ({query})")).await;
        found.sort();
        assert_eq!(found, expected, "{query}");
    }
}

#[tokio::test]
async fn calls_survive_being_sent_to_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bars.parquet");
    let file = path.to_str().unwrap();
    let session = session();
    let copy = format!(
        "COPY (SELECT 'NYSE' AS exchange, DATE '2024-11-29' AS date, '1d' AS width UNION ALL \
         SELECT 'LSE', DATE '2024-12-26', '5m') TO '{file}'"
    );
    session.sql(&copy).await.unwrap().collect().await.unwrap();
    session.register_parquet("bars", file, Default::default()).await.unwrap();
    let sql = "SELECT is_session(exchange, date) AS a, next_session(exchange, date) AS b, \
               sessions_between(exchange, DATE '2024-11-01', date) AS c, bar_closes_at(date, width, exchange) AS d \
               FROM bars ORDER BY exchange";
    let frame = session.sql(sql).await.unwrap();
    let expected = frame.clone().collect().await.unwrap();

    let plan = frame.logical_plan().clone();
    let back = logical_plan_from_bytes(&logical_plan_to_bytes(&plan).unwrap(), &session.task_ctx()).unwrap();
    assert_eq!(session.execute_logical_plan(back).await.unwrap().collect().await.unwrap(), expected);

    let plan = frame.create_physical_plan().await.unwrap();
    let back = physical_plan_from_bytes(&physical_plan_to_bytes(plan).unwrap(), &session.task_ctx()).unwrap();
    assert_eq!(datafusion::physical_plan::collect(back, session.task_ctx()).await.unwrap(), expected);
}
