//! The rules of `Clean`, what each can do with a row, and the conditions that they look for.

use std::fmt;
use std::str::FromStr;

use datafusion::functions::core::expr_fn::coalesce;
use datafusion::functions::expr_fn::{abs, concat, isnan};
use datafusion::logical_expr::{Expr, cast, lit};
use serde::{Deserialize, Serialize};

use super::Clean;
use crate::error::Error;
use crate::schema::PRICE_COLUMNS;
use crate::transform::expr::{column, finite, one_of};
use crate::transform::udf;

/// What is wrong with a row. A row that breaks several rules is counted under the first of them, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Symbol, interval, time stamp or date is NULL. Cannot be switched off: they are the key.
    ///
    /// Rows whose date cannot be read do not come as far as `Clean`:
    /// [`Normalize::with_bad_dates`](crate::transform::Normalize::with_bad_dates) says what becomes of them.
    Date,
    /// The bar is still forming.
    Forming,
    /// One of the four prices is NULL or not finite, or the adjusted close is not finite.
    Missing,
    /// A price or a volume is larger than anything traded: it would swallow the sums that it enters.
    Absurd,
    /// A price, or the adjusted close, is below zero.
    Negative,
    /// A price is zero.
    Zero,
    /// The high is below the low.
    Range,
    /// Open or close lies outside of low..high.
    Inside,
    /// The volume is not above zero, although the instrument has one.
    Volume,
    /// The same bar once more, value by value.
    Duplicate,
    /// A bar of which the epoch holds a newer version, by `as_of`.
    Superseded,
    /// A bar of which the epoch holds other values of the same `as_of`; the later position stays.
    Conflict,
}

impl Rule {
    /// All rules, in the order in which they are asked.
    pub const ALL: [Self; 12] = [
        Self::Date,
        Self::Forming,
        Self::Missing,
        Self::Absurd,
        Self::Negative,
        Self::Zero,
        Self::Range,
        Self::Inside,
        Self::Volume,
        Self::Duplicate,
        Self::Superseded,
        Self::Conflict,
    ];

    /// The word in configuration and in notes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Date => "date",
            Self::Forming => "forming",
            Self::Missing => "missing",
            Self::Absurd => "absurd",
            Self::Negative => "negative",
            Self::Zero => "zero",
            Self::Range => "range",
            Self::Inside => "inside",
            Self::Volume => "volume",
            Self::Duplicate => "duplicate",
            Self::Superseded => "superseded",
            Self::Conflict => "conflict",
        }
    }

    /// What happens to such rows unless something else is said.
    pub fn default_action(self) -> Action {
        match self {
            Self::Forming | Self::Volume | Self::Duplicate | Self::Superseded => Action::Drop,
            _ => Action::DeadLetter,
        }
    }

    /// Whether the row alone shows it; the others compare rows of one key.
    pub(super) fn is_of_one_row(self) -> bool {
        self < Self::Duplicate
    }

    /// The condition under which a row breaks the rule.
    pub(super) fn broken(self, clean: &Clean) -> Expr {
        let any = |conditions: Vec<Expr>| conditions.into_iter().reduce(Expr::or).unwrap_or_else(|| lit(false));
        let each =
            |condition: &dyn Fn(Expr) -> Expr| any(PRICE_COLUMNS.iter().map(|it| condition(column(*it))).collect());
        let not = |condition: Expr| Expr::Not(Box::new(condition));
        let slack = |price: &str| lit(clean.tolerance) * abs(column(price));
        match self {
            Self::Date => any(["symbol", "interval", "ts", "date"].map(|it| column(it).is_null()).to_vec()),
            Self::Forming => column("is_final").is_false(),
            Self::Missing => each(&|price| not(finite(price)))
                .or(column("adj_close").is_not_null().and(not(finite(column("adj_close"))))),
            Self::Absurd => each(&|price| abs(price).gt(lit(clean.largest_price)))
                .or(abs(column("adj_close")).gt(lit(clean.largest_price)))
                // NaN sorts above all numbers, but it is no large volume.
                .or(abs(column("volume")).gt(lit(clean.largest_volume)).and(not(isnan(column("volume"))))),
            Self::Negative => each(&|price| price.lt(lit(0.0))).or(column("adj_close").lt(lit(0.0))),
            Self::Zero => each(&|price| price.eq(lit(0.0))),
            Self::Range => (column("high") + slack("high")).lt(column("low")),
            Self::Inside => any(["open", "close"]
                .map(|it| column(it).gt(column("high") + slack("high")).or(column(it).lt(column("low") - slack("low"))))
                .to_vec()),
            Self::Volume => {
                let idle = column("volume")
                    .is_not_null()
                    .and(not(column("volume").gt(lit(0.0)).and(finite(column("volume")))));
                let idle = if clean.volume_required { idle.or(column("volume").is_null()) } else { idle };
                idle.and(not(no_volume(clean)))
            }
            Self::Duplicate | Self::Superseded | Self::Conflict => lit(false),
        }
    }

    /// The reason in a dead letter, with the values that show it.
    pub(super) fn reason(self) -> Expr {
        let value = |name: &str| coalesce(vec![cast(column(name), arrow::datatypes::DataType::Utf8), lit("NULL")]);
        let prices = |what: &str| {
            concat(vec![
                lit(format!("{what}: open ")),
                value("open"),
                lit(", high "),
                value("high"),
                lit(", low "),
                value("low"),
                lit(", close "),
                value("close"),
            ])
        };
        match self {
            Self::Date => lit("symbol, interval, time or date is missing"),
            Self::Forming => lit("the bar is still forming"),
            Self::Missing => prices("a price is missing or not finite"),
            Self::Absurd => {
                concat(vec![prices("a value is larger than anything traded"), lit(", volume "), value("volume")])
            }
            Self::Negative => {
                concat(vec![prices("a price is below zero"), lit(", adjusted close "), value("adj_close")])
            }
            Self::Zero => prices("a price is zero"),
            Self::Range => concat(vec![lit("high "), value("high"), lit(" is below low "), value("low")]),
            Self::Inside => prices("open or close lies outside of low..high"),
            Self::Volume => concat(vec![lit("volume "), value("volume"), lit(" is not above zero")]),
            Self::Duplicate => lit("the same bar stands there twice"),
            Self::Superseded => lit("the epoch holds a newer version of the bar"),
            Self::Conflict => prices("the epoch holds a later row with other values for the same bar"),
        }
    }
}

/// Whether the row's zero (or missing) volume is what its instrument always has.
pub(super) fn no_volume(clean: &Clean) -> Expr {
    let symbol = || column("symbol");
    let zero = column("volume").eq(lit(0.0)).or(column("volume").is_null());
    let mut named = udf::no_volume(symbol());
    if !clean.without_volume.is_empty() {
        named = named.or(symbol().in_list(clean.without_volume.iter().map(|it| lit(it.clone())).collect(), false));
    }
    zero.and(named).is_true()
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Rule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|it| it.as_str() == text);
        found.ok_or_else(|| {
            Error::parameter("clean", "rule", format!("`{text}` is not {}", one_of(&Self::ALL.map(Self::as_str))))
        })
    }
}

/// What happens to a row that breaks a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The rule is not asked.
    Off,
    /// The row is left out and counted.
    Drop,
    /// The row becomes a dead letter and is counted.
    DeadLetter,
    /// The epoch fails before anything is committed.
    Fail,
}

impl Action {
    const ALL: [(Self, &'static str); 4] =
        [(Self::Off, "off"), (Self::Drop, "drop"), (Self::DeadLetter, "dead_letter"), (Self::Fail, "fail")];
}

impl FromStr for Action {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|(_, word)| *word == text);
        found.map(|(action, _)| action).ok_or_else(|| {
            Error::parameter("clean", "action", format!("`{text}` is not {}", one_of(&Self::ALL.map(|(_, word)| word))))
        })
    }
}
