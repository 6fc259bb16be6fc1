//! Yahoo Finance as a provider.

use std::sync::Arc;

use async_trait::async_trait;
use stockflow_core::schema::Basis;
use stockflow_core::transform::Interval;

use super::{BarRequest, Failure, Found, Provider};
use crate::http::Fetch;
use crate::yahoo::bars::ask;

/// Bars and corporate actions of Yahoo's chart endpoint, with its splits undone where `raw` is wanted.
///
/// # Source
///
/// An endpoint that is not documented and may change. Not tried live.
#[derive(Debug, Clone)]
pub struct Yahoo(Arc<dyn Fetch>);

impl Yahoo {
    /// Asks through this client.
    pub fn new(fetch: Arc<dyn Fetch>) -> Self {
        Self(fetch)
    }
}

#[async_trait]
impl Provider for Yahoo {
    fn name(&self) -> &str {
        "yahoo"
    }

    fn bases(&self) -> &[Basis] {
        &[Basis::Raw, Basis::Split]
    }

    fn has(&self, _: Interval) -> bool {
        true
    }

    async fn bars(&self, request: &BarRequest) -> Result<Found, Failure> {
        ask(self.0.as_ref(), request).await
    }
}
