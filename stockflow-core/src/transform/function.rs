//! A closure as a transform.

use std::fmt;
use std::future::Future;

use async_trait::async_trait;
use futures::future::BoxFuture;
use serde_json::json;

use super::{Outputs, Scope, Transform};
use crate::context::EpochContext;
use crate::error::Result;
use crate::relation::Relations;

/// A closure as a transform, of the scope that its plan shows.
///
/// The name stands for what the closure does in the pipeline's identity: change it, or the version, when the results change.
///
/// # Example
///
/// ```
/// use datafusion::prelude::{col, lit};
/// use stockflow_core::transform::{Outputs, Transform, transform_fn};
///
/// let liquid = transform_fn("liquid", |inputs, _epoch| async move {
///     let bars = inputs.input()?;
///     Ok(Outputs::one(bars.with_frame(bars.frame.clone().filter(col("volume").gt(lit(1e6)))?)))
/// });
/// assert_eq!(liquid.definition()["name"], "liquid");
/// ```
pub fn transform_fn<F, R>(name: impl Into<String>, function: F) -> TransformFn
where
    F: Fn(Relations, EpochContext) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Outputs>> + Send + 'static,
{
    let call = Box::new(move |inputs, epoch| Box::pin(function(inputs, epoch)) as BoxFuture<'static, Result<Outputs>>);
    TransformFn { name: name.into(), version: 1, scope: Scope::ByPlan, reads: Vec::new(), call }
}

type Call = dyn Fn(Relations, EpochContext) -> BoxFuture<'static, Result<Outputs>> + Send + Sync;

/// A closure as a transform; made by [`transform_fn`].
pub struct TransformFn {
    name: String,
    version: u32,
    scope: Scope,
    reads: Vec<String>,
    call: Box<Call>,
}

impl TransformFn {
    /// Says which rows a row of the output depends on, instead of reading it off the plan.
    #[must_use]
    pub fn with_scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// Counts the changes of what the closure does.
    #[must_use]
    pub fn with_version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// Names the relations that it reads beside its input.
    #[must_use]
    pub fn with_reads<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.reads = names.into_iter().map(Into::into).collect();
        self
    }
}

impl fmt::Debug for TransformFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransformFn")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Transform for TransformFn {
    async fn apply(&self, inputs: &Relations, epoch: &EpochContext) -> Result<Outputs> {
        (self.call)(inputs.clone(), epoch.clone()).await
    }

    fn reads(&self) -> Vec<String> {
        self.reads.clone()
    }

    fn scope(&self) -> Scope {
        self.scope
    }

    fn definition(&self) -> serde_json::Value {
        json!({ "type": "function", "name": self.name, "version": self.version, "scope": format!("{:?}", self.scope), "reads": self.reads })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use datafusion::logical_expr::lit;

    use super::*;
    use crate::error::Error;
    use crate::transform::expr::column;
    use crate::transform::testing::{apply, csv, epoch, inputs, relation, table};

    #[tokio::test]
    async fn the_closure_sees_the_relations_and_its_errors_come_out() {
        let epoch = epoch();
        let input = relation(&epoch, vec![csv("symbol,close\nA,1\nB,2\n", true)]);
        let dear = transform_fn("dear", |inputs: Relations, _| async move {
            let input = inputs.input()?;
            Ok(Outputs::one(input.with_frame(input.frame.clone().filter(column("close").gt(lit(1)))?)))
        });
        let output = apply(&dear, &epoch, input.clone()).await.output.unwrap();
        assert_eq!(table(&output.frame, &["symbol"]).await, ["B"]);
        let broken = transform_fn("broken", |_, _| async { Err(Error::internal("no")) });
        assert!(broken.apply(&inputs(input), &epoch).await.is_err());
    }

    #[test]
    fn the_definition_tells_versions_apart() {
        let of = |version| {
            transform_fn("f", |_, _| async { Ok(Outputs::default()) })
                .with_version(version)
                .with_scope(Scope::Row)
                .definition()
        };
        assert_ne!(of(1), of(2));
        assert_eq!(of(1), of(1));
        assert_eq!(transform_fn("f", |_, _| async { Ok(Outputs::default()) }).scope(), Scope::ByPlan);
    }
}
