//! The crash matrix: every pair of source and sink through every crash, judged by an oracle that knows every row.
//!
//! A cell is a pipeline from a source to a sink and one fault. Three parts of input go through it: the first before the fault, the
//! second with it, the third after it. Right after the fault the sink must hold everything that the checkpoint says is out, and of
//! what it does not all or nothing, and in the end everything once, with the poisoned rows and no others among the dead letters.
//!
//! | fault | how |
//! |---|---|
//! | kill -9 before and after every step of the epoch | the pipeline runs in a child process, which kills itself there |
//! | kill -9 in the middle of a write | when half of the rows have been taken by the sink; when all is written and nothing visible, or a part of it where a sink has no transactions |
//! | the server killed and started again | by the child, at such a place; it must wait the outage out and finish |
//! | two runners | the first is held at a step while a second runs to its end; the first must find itself fenced |
//!
//! Each test writes its table to `target/tmp/crash-matrix`, and `scripts/test` prints them.
//!
//! A connector joins by an arm of [`cell::SourceKind`] or [`cell::SinkKind`], and a test below.

mod cell;
mod child;
mod fault;
mod feed;
mod flaw;
mod halfway;
mod hold;
mod judged;
mod listener;
mod outage;
mod run;
mod seen;
mod servers;
mod table;

use self::cell::SinkKind;

#[tokio::test(flavor = "multi_thread")]
async fn to_delta() {
    run::crashes("delta", &[SinkKind::DeltaAppend, SinkKind::DeltaMerge]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn to_kafka() {
    run::crashes("kafka", &[SinkKind::Kafka]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn to_postgres() {
    run::crashes("postgres", &[SinkKind::PostgresAppend, SinkKind::PostgresMerge]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn to_elasticsearch() {
    run::crashes("elasticsearch", &[SinkKind::Elastic]).await;
}
