//! What is refused at build time, and what `describe` tells.

use stockflow_core::memory::{MemorySink, MemorySource};
use stockflow_core::pipeline::{Builder, Guarantee, Mode, Pipeline, SinkStep, Step};
use stockflow_core::sink::{Idempotence, WriteMode};
use stockflow_core::testing::bars_relation;

use crate::support::*;

fn refused(builder: Builder) -> String {
    text(&builder.build().unwrap_err())
}

fn plain(sink: MemorySink) -> Builder {
    Pipeline::builder("plain").source(MemorySource::new([bars_relation()])).sink(SinkStep::new("out", sink))
}

#[test]
fn more_than_the_parts_can_give_is_refused() {
    let keyed = MemorySink::new(WriteMode::Merge).with_idempotence(Idempotence::Keyed);
    let reason = refused(plain(keyed).require(Guarantee::ExactlyOnce));
    assert!(reason.contains("exactly-once is required, but sink `out` can only give effectively-once"), "{reason}");
    assert!(plain(MemorySink::new(WriteMode::Merge)).require(Guarantee::ExactlyOnce).build().is_ok());
}

#[test]
fn overwriting_with_only_what_is_new_is_refused() {
    let reason = refused(plain(MemorySink::new(WriteMode::Overwrite)));
    assert!(reason.contains("mode = \"full\""), "{reason}");
    assert!(plain(MemorySink::new(WriteMode::Overwrite)).mode(Mode::Full).build().is_ok());
    assert!(refused(plain(MemorySink::new(WriteMode::Append)).mode(Mode::Full)).contains("double"));
}

#[test]
fn what_needs_history_is_refused_without_one() {
    let reason = refused(plain(MemorySink::new(WriteMode::Merge)).step(Step::new("means", Mean3)));
    assert!(reason.contains("step `means` needs earlier rows"), "{reason}");
}

#[test]
fn names_and_relations_must_fit() {
    let sink = || MemorySink::new(WriteMode::Merge);
    assert!(refused(Pipeline::builder("p").source(MemorySource::new([bars_relation()]))).contains("no sink"));
    assert!(refused(Pipeline::builder("p").sink(SinkStep::new("out", sink()))).contains("no source"));
    assert!(refused(plain(sink()).step(Step::new("bars", Same))).contains("two relations are called `bars`"));
    assert!(refused(plain(sink()).step(Step::new("x", Same).input("nowhere"))).contains("reads `nowhere`"));
    assert!(refused(plain(sink()).sink(SinkStep::new("out", sink()))).contains("`out` is taken"));
    assert!(refused(plain(sink()).sink(SinkStep::new("two", sink()).relation("nowhere"))).contains("takes `nowhere`"));
}

#[tokio::test]
async fn the_description_has_types_scopes_and_guarantees() {
    let world = World::new();
    let description = world.builder().build().unwrap().describe().await.unwrap();
    assert_eq!(
        description.steps.iter().map(|step| step.scope.as_deref().unwrap_or("?")).collect::<Vec<_>>(),
        ["row", "symbol"]
    );
    let means = description.steps[1].output.as_ref().unwrap();
    assert_eq!(
        means.columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["symbol", "interval", "ts", "mean3", "revision"]
    );
    assert!(description.sinks.iter().all(|sink| sink.guarantee == Guarantee::ExactlyOnce && !sink.reason.is_empty()));
    assert!(description.remarks.iter().any(|remark| remark.contains("never atomic with each other")));
    assert_eq!(world.source.scans(), 0, "nothing is read");
}
