//! The bar: one symbol over one interval.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};

use crate::relation::{AS_OF, RelationSchema};

/// What names a bar.
pub const BAR_KEY: [&str; 3] = ["symbol", "interval", "ts"];

/// The four prices of a bar, in this order.
pub const PRICE_COLUMNS: [&str; 4] = ["open", "high", "low", "close"];

/// The price basis: what has been done to prices as they were traded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// As traded.
    Raw,
    /// Adjusted for splits.
    Split,
    /// Adjusted for splits and dividends: total return.
    Total,
}

impl Basis {
    /// The word in the `basis` column.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Split => "split",
            Self::Total => "total",
        }
    }
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Basis {
    type Err = crate::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "raw" => Ok(Self::Raw),
            "split" => Ok(Self::Split),
            "total" => Ok(Self::Total),
            _ => Err(crate::Error::parameter("prices", "basis", format!("`{text}` is none of raw, split, total"))),
        }
    }
}

/// `Timestamp(us, UTC)`, the only type of points in time.
fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The canonical columns of a bar.
///
/// | column | type | meaning |
/// |---|---|---|
/// | `symbol` | Utf8, not null | our name of the instrument |
/// | `interval` | Utf8, not null | `1d`, `5m`, `1wk`, … |
/// | `ts` | Timestamp(us, UTC), not null | open of the bar; for a day and more: `date` at 00:00 UTC |
/// | `date` | Date32, not null | the exchange's local trading date |
/// | `open high low close` | Float64 | in `currency`, on the price basis `basis` |
/// | `volume` | Float64 | units of the instrument; FX and many funds have 0 |
/// | `adj_close` | Float64 | as the provider gives it (splits and dividends) |
/// | `currency`, `provider`, `session` | Utf8 | session: `regular`, `pre`, `post` |
/// | `basis` | Utf8, not null | `raw`, `split`, `total` |
/// | `is_final` | Boolean, not null | false for the bar that is still forming |
/// | `source_ts` | Timestamp(us, UTC) | the provider's own stamp |
/// | `as_of` | Timestamp(us, UTC), not null | when we learned it |
pub fn bar_schema() -> SchemaRef {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    let number = |name: &str| Field::new(name, DataType::Float64, true);
    Arc::new(Schema::new(vec![
        text("symbol", false),
        text("interval", false),
        Field::new("ts", instant(), false),
        Field::new("date", DataType::Date32, false),
        number("open"),
        number("high"),
        number("low"),
        number("close"),
        number("volume"),
        number("adj_close"),
        text("currency", true),
        text("provider", true),
        text("session", true),
        text("basis", false),
        Field::new("is_final", DataType::Boolean, false),
        Field::new("source_ts", instant(), true),
        Field::new(AS_OF, instant(), false),
    ]))
}

/// Bars as a relation: key `(symbol, interval, ts)`, versioned by `as_of`.
pub fn bar_relation(name: impl Into<String>) -> RelationSchema {
    RelationSchema::new(name, bar_schema()).with_key(BAR_KEY).with_version(AS_OF)
}
