//! The console sink, printing into memory.

use std::io::Write;
use std::sync::{Arc, Mutex};

use stockflow_core::sink::{Idempotence, Sink};
use stockflow_io::console::{ConsoleFormat, ConsoleSink};

use crate::support::{open, rows, write};

async fn printed(format: ConsoleFormat, limit: Option<usize>) -> String {
    let output = Arc::new(Mutex::new(Vec::<u8>::new()));
    let sink = ConsoleSink::new().with_format(format).with_limit(limit).with_output(output.clone());
    assert_eq!(open(&sink, 1).await, None);
    let written = write(&sink, 1, &rows(&[&[("A", 1, Some(1.5)), ("B", 2, None)], &[("C", 3, Some(3.0))]])).await;
    assert_eq!(written.rows, 3);
    let text = output.lock().unwrap().clone();
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn prints_every_format() {
    assert_eq!(
        printed(ConsoleFormat::Table, None).await,
        "+--------+---+-------+\n| symbol | n | close |\n+--------+---+-------+\n| A      | 1 | 1.5   |\n| B      | 2 |       |\n| C      | 3 | 3.0   |\n+--------+---+-------+\n"
    );
    assert_eq!(printed(ConsoleFormat::Csv, None).await, "symbol,n,close\nA,1,1.5\nB,2,\nC,3,3.0\n");
    assert_eq!(
        printed(ConsoleFormat::Ndjson, Some(2)).await,
        "{\"symbol\":\"A\",\"n\":1,\"close\":1.5}\n{\"symbol\":\"B\",\"n\":2,\"close\":null}\n"
    );
    assert_eq!(printed(ConsoleFormat::Json, Some(1)).await, "[{\"symbol\":\"A\",\"n\":1,\"close\":1.5}]\n");
    assert!(printed(ConsoleFormat::Table, Some(1)).await.ends_with("… and 2 more rows\n"));
}

#[tokio::test]
async fn a_title_and_some_columns() {
    let output = Arc::new(Mutex::new(Vec::<u8>::new()));
    let sink = ConsoleSink::new().with_title("prices").with_columns(["close", "symbol"]).with_output(output.clone());
    open(&sink, 1).await;
    write(&sink, 1, &rows(&[&[("A", 1, Some(1.5))]])).await;
    let text = String::from_utf8(output.lock().unwrap().clone()).unwrap();
    let table =
        "prices\n+-------+--------+\n| close | symbol |\n+-------+--------+\n| 1.5   | A      |\n+-------+--------+\n";
    assert_eq!(text, table);
    write(&sink, 2, &rows(&[&[]])).await;
    assert!(output.lock().unwrap().ends_with(b"prices: none\n"));
}

#[derive(Debug)]
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_closed_pipe_is_quiet() {
    let sink = ConsoleSink::new().with_output(Arc::new(Mutex::new(Closed)));
    write(&sink, 1, &rows(&[&[("A", 1, None)]])).await;
    assert_eq!(sink.idempotence(), Idempotence::None);
}
