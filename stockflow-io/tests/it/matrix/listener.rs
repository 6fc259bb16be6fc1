//! Hears a sink say that it has written everything and makes it visible next, or a part if it has no transactions.

use std::sync::Arc;

use stockflow_core::telemetry::{PART_WRITTEN, WRITTEN};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::fault::{At, Striker};

#[derive(Debug)]
pub(super) struct Listener(pub(super) Arc<Striker>);

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && [WRITTEN, PART_WRITTEN].contains(&metadata.name())
    }

    fn event(&self, event: &Event<'_>) {
        self.0.reached(if event.metadata().name() == WRITTEN { &At::Written } else { &At::PartWritten });
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
