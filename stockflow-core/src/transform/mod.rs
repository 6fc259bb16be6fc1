//! What happens to rows on the way: rewrites of plans, not loops over rows.

pub mod interval;

mod adjust;
mod aggregate;
mod clean;
mod exchange;
mod expr;
mod function;
mod indicators;
pub(crate) mod normalize;
mod quality;
mod repair;
mod resample;
mod rows;
mod scope;
mod sql;
mod udf;

#[cfg(test)]
mod planned;
#[cfg(test)]
mod testing;

use std::collections::BTreeMap;
use std::fmt::Debug;

use async_trait::async_trait;
use datafusion::prelude::DataFrame;

pub use adjust::{Adjust, AdjustBy};
pub use aggregate::{Aggregate, Period};
pub use clean::{Action, Clean, Rule};
pub use function::{TransformFn, transform_fn};
pub use indicators::Indicators;
pub use interval::{Interval, IntervalUnit};
pub use normalize::{Normalize, SymbolFrom};
pub use quality::{QUALITY_KEY, Quality};
pub use repair::{REPAIR_KEY, Repair, RepairRule, window_functions};
pub use resample::Resample;
pub use rows::{note_frame, reject_frame, reject_frame_with};
pub use scope::scope_of;
pub use sql::Sql;
pub use udf::{DateOrder, aggregate_functions, scalar_functions};

use crate::context::EpochContext;
use crate::error::Result;
use crate::relation::{Relation, Relations};

/// What happens to rows on the way: a rewrite of plans, not a loop over rows.
#[async_trait]
pub trait Transform: Debug + Send + Sync {
    /// Relations in, relations out; rows that it refuses go to the outputs' rejects with a reason.
    ///
    /// Also called at build time over empty relations, to learn the types: it must not read rows to decide on columns.
    async fn apply(&self, inputs: &Relations, epoch: &EpochContext) -> Result<Outputs>;

    /// Names of the relations or reference tables that it reads beside its input.
    fn reads(&self) -> Vec<String> {
        Vec::new()
    }

    /// Which other rows a row of the output depends on.
    fn scope(&self) -> Scope;

    /// Whether everything that it needs of earlier rows is kept by the symbol window operator, so that new rows need no old
    /// ones beside them.
    fn keeps_state(&self) -> bool {
        false
    }

    /// Whether it reads its input once only, and so can take it as it comes.
    fn reads_once(&self) -> bool {
        false
    }

    /// Whether it takes the time at which a row was learned from the column
    /// [`SOURCE_AS_OF`](crate::relation::SOURCE_AS_OF), where its input has one.
    fn takes_source_as_of(&self) -> bool {
        false
    }

    /// What to do where it depends on rows that an epoch does not hold, if it is not what is usually done: to put it after
    /// the history relation.
    fn remedy(&self) -> Option<&str> {
        None
    }

    /// What the transform is, with every parameter that changes its results, as plain data. Has a field `type`.
    fn definition(&self) -> serde_json::Value;
}

/// Which other rows a row of a transform's output depends on. Decides what is computed again when a bar is late or corrected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// On its own row only (duplicates within an epoch aside): may stand before the history relation.
    Row,
    /// On rows of the same symbol: runs over history and epoch of the touched symbols.
    Symbol,
    /// On rows of any symbol: runs over all of history and epoch.
    Everything,
    /// As its plan says: the engine looks at the operators between input and output.
    ByPlan,
}

/// What a transform gives.
#[derive(Debug, Default)]
pub struct Outputs {
    /// The relation that takes the step's name.
    pub output: Option<Relation>,
    /// Further relations, published as `<step>.<name>`.
    pub others: BTreeMap<String, Relation>,
    /// Refused rows in the form of [`reject_frame`]; they become dead letters.
    pub rejects: Vec<DataFrame>,
    /// Counts for the report in the form of [`note_frame`].
    pub notes: Vec<DataFrame>,
}

impl Outputs {
    /// One relation and nothing else.
    pub fn one(output: Relation) -> Self {
        Self { output: Some(output), ..Self::default() }
    }
}
