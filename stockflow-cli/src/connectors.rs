//! The connectors: the only file that names them all.
use std::sync::Arc;
use datafusion::datasource::TableProvider;
use stockflow_core::history::History;
use stockflow_core::pipeline::{Builder, SinkStep};
use stockflow_core::source::Source;
use crate::assemble::Opening;
use crate::config::{PipelineConfig, NamedSink, Section};
use crate::exit::Outcome;
#[derive(Debug, Default)]
pub(crate) struct SourceConfig;
impl SourceConfig {
    pub(crate) fn read(_s: Section<'_>) -> Self { Self }
    pub(crate) fn build(&self) -> Outcome<Arc<dyn Source>> { Err(crate::exit::Failure::failed("x")) }
    pub(crate) fn relation(&self) -> &str { "input" }
}
#[derive(Debug)]
pub(crate) struct SinkConfig;
impl SinkConfig {
    pub(crate) fn read(_s: Section<'_>) -> Self { Self }
    pub(crate) fn path(&self) -> Option<&str> { None }
    pub(crate) fn keeps_history(&self) -> bool { true }
    pub(crate) async fn open(&self) -> Outcome<Option<Arc<dyn TableProvider>>> { Ok(None) }
    pub(crate) fn add_dead_letters(&self, b: Builder) -> Outcome<Builder> { Ok(b) }
}
impl NamedSink {
    pub(crate) fn build(&self, _r: &str) -> Outcome<SinkStep> { Err(crate::exit::Failure::failed("x")) }
}
impl PipelineConfig {
    pub(crate) fn history_table(&self, _r: &str) -> Outcome<Arc<dyn History>> { Err(crate::exit::Failure::failed("x")) }
    pub(crate) fn basis(&self) -> Option<&'static str> { None }
    pub(crate) fn basis_text(&self) -> Option<String> { None }
    pub(crate) fn prints_rows(&self) -> bool { false }
}
#[derive(Debug)]
pub(crate) struct TableConfig;
impl TableConfig {
    pub(crate) fn read(_s: Section<'_>) -> Self { Self }
    pub(crate) async fn open(&self, _o: Opening) -> Outcome<Arc<dyn TableProvider>> { Err(crate::exit::Failure::failed("x")) }
}
