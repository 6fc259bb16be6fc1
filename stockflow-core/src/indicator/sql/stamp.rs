//! The mark that a checked call carries from analysis to execution.

use std::fmt;
use std::str::FromStr;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use sha2::{Digest, Sha256};

use super::super::error::IndicatorError;

const MARK: &str = "stockflow:1";

/// Says that a call was checked, which hidden arguments follow, and under which key its state is kept.
///
/// It travels as a literal of type LargeUtf8, which no SQL literal has, so it is told from a parameter by its type.
/// After it come the order keys and, if `has_interval`, the column `interval`.
///
/// **Key.** It is made before optimisation, because the optimizer renames expressions: from the function with all
/// its parameters, and from the call as it was written with its arguments, PARTITION BY and ORDER BY.
/// Calls that are written alike have equal keys, wherever they stand in a plan; who keeps state adds their number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// Stable name of the call: `rsi-1f0c9b2a77e01d34`.
    pub key: String,
    /// How many order keys follow.
    pub n_order: usize,
    /// Whether the column `interval` follows them.
    pub has_interval: bool,
}

impl Stamp {
    pub(super) fn new(function: &str, identity: &str, n_order: usize, has_interval: bool) -> Self {
        let digest = Sha256::digest(identity.as_bytes());
        let hex: String = digest.iter().take(8).map(|it| format!("{it:02x}")).collect();
        Self { key: format!("{function}-{hex}"), n_order, has_interval }
    }

    /// The stamp in an argument, if it is one.
    pub fn from_expr(expr: &Expr) -> Option<Self> {
        match expr {
            Expr::Literal(value, _) => Self::from_scalar(value),
            Expr::Alias(alias) => Self::from_expr(&alias.expr),
            _ => None,
        }
    }

    /// The stamp in a literal, if it is one.
    pub fn from_scalar(value: &ScalarValue) -> Option<Self> {
        match value {
            ScalarValue::LargeUtf8(Some(text)) => text.parse().ok(),
            _ => None,
        }
    }

    pub(super) fn to_expr(&self) -> Expr {
        Expr::Literal(ScalarValue::LargeUtf8(Some(self.to_string())), None)
    }

    /// How many hidden arguments follow it.
    pub fn n_hidden(&self) -> usize {
        self.n_order + usize::from(self.has_interval)
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MARK} {} {} {}", self.key, self.n_order, u8::from(self.has_interval))
    }
}

impl FromStr for Stamp {
    type Err = IndicatorError;

    fn from_str(text: &str) -> Result<Self, IndicatorError> {
        let refuse = || IndicatorError::syntax(text, "it is no stamp of a checked call");
        let mut parts = text.strip_prefix(MARK).ok_or_else(refuse)?.split_whitespace();
        let (Some(key), Some(n_order), Some(interval), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(refuse());
        };
        let n_order = n_order.parse().map_err(|_| refuse())?;
        Ok(Self { key: key.to_string(), n_order, has_interval: interval == "1" })
    }
}
