//! Spans and metrics have stable names, one for every step of an epoch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use metrics::{Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, SharedString, Unit};
use stockflow_core::telemetry;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::support::*;

/// Every metric with its labels, and the sum or last value.
#[derive(Debug, Default, Clone)]
struct Recorder(Arc<Mutex<BTreeMap<String, f64>>>);

struct Cell(Recorder, String);

impl Cell {
    fn change(&self, change: impl Fn(f64) -> f64) {
        let mut all = self.0.0.lock().unwrap();
        let value = all.entry(self.1.clone()).or_default();
        *value = change(*value);
    }
}

impl CounterFn for Cell {
    fn increment(&self, value: u64) {
        self.change(|sum| sum + value as f64);
    }

    fn absolute(&self, value: u64) {
        self.change(|_| value as f64);
    }
}

impl GaugeFn for Cell {
    fn increment(&self, value: f64) {
        self.change(|sum| sum + value);
    }

    fn decrement(&self, value: f64) {
        self.change(|sum| sum - value);
    }

    fn set(&self, value: f64) {
        self.change(|_| value);
    }
}

impl HistogramFn for Cell {
    fn record(&self, _value: f64) {
        self.change(|count| count + 1.0);
    }
}

impl Recorder {
    fn cell(&self, key: &Key) -> Arc<Cell> {
        let labels: BTreeMap<_, _> = key.labels().map(|label| (label.key(), label.value())).collect();
        Arc::new(Cell(self.clone(), format!("{} {labels:?}", key.name())))
    }
}

impl metrics::Recorder for Recorder {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.cell(key))
    }
}

/// The steps that have had a span.
#[derive(Debug, Default, Clone)]
struct Steps(Arc<Mutex<BTreeSet<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Steps {
    fn on_new_span(&self, span: &tracing::span::Attributes<'_>, _: &tracing::span::Id, _: Context<'_, S>) {
        struct Text(String);
        impl Visit for Text {
            fn record_str(&mut self, field: &Field, value: &str) {
                if field.name() == "step" {
                    self.0 = format!(" {value}");
                }
            }

            fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
        }
        let mut step = Text(String::new());
        span.record(&mut step);
        self.0.lock().unwrap().insert(format!("{}{}", span.metadata().name(), step.0));
    }
}

#[test]
fn every_step_of_an_epoch_has_a_span_and_its_metrics() {
    let (recorder, steps) = (Recorder::default(), Steps::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let subscriber = tracing_subscriber::registry().with(steps.clone());
    // While a process has one subscriber only, a place that a thread without it (another test) comes to first counts as
    // of no interest to anybody; with two, all of them are asked.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let world = World::new();
    world.push("AAA", &[(0, 1.0), (1, 2.0)]);
    world.source.push_undecodable("AAA", "x", "no JSON");
    tracing::subscriber::with_default(subscriber, || {
        metrics::with_local_recorder(&recorder, || runtime.block_on(async { world.run().await.unwrap() }))
    });
    let seen = steps.0.lock().unwrap().clone();
    let of_step = |step: &str| format!("{} {step}", telemetry::STEP);
    for span in [telemetry::RUN.to_owned(), telemetry::EPOCH.to_owned()].into_iter().chain(
        [
            "claim",
            "open",
            "plan",
            "history",
            "intent",
            "scan",
            "compare",
            "apply",
            "refuse",
            "stage",
            "dead_letters",
            "state",
            "commit",
            "store_commit",
            "source_commit",
        ]
        .map(of_step),
    ) {
        assert!(seen.contains(&span), "no span `{span}` in {seen:?}");
    }
    let values = recorder.0.lock().unwrap().clone();
    let value = |name: &str, labels: &str| values.get(&format!("{name} {labels}")).copied();
    assert_eq!(value(telemetry::EPOCHS, r#"{"pipeline": "test"}"#), Some(1.0), "{values:?}");
    assert_eq!(value(telemetry::ROWS_READ, r#"{"pipeline": "test"}"#), Some(2.0));
    assert_eq!(value(telemetry::ROWS_WRITTEN, r#"{"pipeline": "test", "sink": "bars"}"#), Some(2.0));
    assert_eq!(value(telemetry::DEAD_LETTERS, r#"{"connector": "memory", "pipeline": "test"}"#), Some(1.0));
    assert_eq!(value(telemetry::LAST_EPOCH, r#"{"pipeline": "test"}"#), Some(1.0));
    assert!(value(telemetry::LAST_COMMIT, r#"{"pipeline": "test"}"#).is_some());
    assert_eq!(
        value(telemetry::STEP_SECONDS, r#"{"pipeline": "test", "step": "stage"}"#),
        Some(3.0),
        "two sinks and the letters"
    );
}
