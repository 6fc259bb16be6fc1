//! Undoes the errors that sources of prices are known for.

mod function;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use arrow::datatypes::DataType;
use async_trait::async_trait;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::functions::expr_fn::{coalesce, concat};
use datafusion::functions_aggregate::expr_fn::{count, last_value};
use datafusion::logical_expr::{JoinType, cast, lit};
use datafusion::prelude::DataFrame;
use datafusion::scalar::ScalarValue;
use serde_json::json;

pub use function::window_functions;
pub use rules::Rule as RepairRule;

use self::function::{ARGUMENTS, CELLS, Type};
use super::exchange::Exchange;
use super::expr::{all_columns, ascending, column, columns, null, one_of, require, shared, whole};
use super::udf::required;
use super::{Outputs, Scope, Transform, note_frame};
use crate::context::EpochContext;
use crate::error::{Error, Result};
use crate::relation::{AS_OF, REVISION, Relation, Relations};
use crate::schema::{BAR_KEY, Basis, PRICE_COLUMNS};

/// What names a row of the relation of repairs.
pub const REPAIR_KEY: [&str; 5] = ["symbol", "interval", "ts", "column", "step"];

/// The name of the relation of repairs beside the bars: `<step>.repairs`.
const REPAIRS: &str = "repairs";

const STEP: &str = "repair";
/// What the function gives for a row, while the transform works.
const DONE: &str = "__repaired";
/// The argument that says where a symbol trades.
const EXCHANGE: &str = "__exchange";

/// Undoes the errors that sources of prices are known for: each value that is changed is recorded.
///
/// # Input
///
/// Bars on basis `raw` or `split`, and optionally corporate actions ([`Repair::with_actions`]) and the exchange's calendar
/// ([`Repair::with_calendar`]). Each symbol and interval is a series of its own; the rules see neither its name nor its source.
///
/// # Rules
///
/// | rule | what it undoes | what it needs |
/// |---|---|---|
/// | `unit` | prices 100 times too large or too small (pence for pounds), in single values, runs of bars, or all bars before a day | for the last on basis `raw`: the actions, or it might be a split |
/// | `split` | a split that was not applied, applied twice, or applied to some bars only; volumes too | the split among the actions |
/// | `dividend` | bars of a day: a dividend missing from the adjusted close, 100 times off, on the wrong day, twice within a week, or with a capital gain within | the dividends among the actions |
/// | `gap` | zeros and numbers that are not finite become NULL; a bar of a day without any price is put together of the symbol's bars within the day, if the input has them; a lost close or adjusted close is worked out from the factor that its neighbours share | |
/// | `calendar` | bars of a day or less on days without trade, which are left out | the calendar |
///
/// All are on; a rule without what it needs does nothing.
///
/// # Output
///
/// The input's bars and columns, without the bars that the rule `calendar` left out. A value that was not repaired is the same
/// bit for bit. Key `(symbol, interval, ts)`, version `revision`.
///
/// Beside it `<step>.repairs`, one row for each change of a value:
///
/// | column | type | meaning |
/// |---|---|---|
/// | `symbol`, `interval` | Utf8, not null | the series |
/// | `ts` | Timestamp(us, UTC), not null | of the bar; for a dividend midnight UTC of its ex-date |
/// | `column` | Utf8, not null | `open`, `high`, `low`, `close`, `adj_close`, `volume`; `row`: the bar was left out, `before` is its close; `dividend`: the amount of an action that is wrong |
/// | `step` | Int64, not null | 1 for the first change of the value, 2 for a change of what came out of it |
/// | `date` | Date32, not null | the bar's trading date, or the ex-date |
/// | `rule` | Utf8, not null | one of the rules above |
/// | `reason` | Utf8, not null | the error that explains the change, in words |
/// | `before`, `after` | Float64 | on the input's terms; NULL where there was or is nothing |
///
/// Key [`REPAIR_KEY`], version `revision`.
/// The actions themselves stay as they are: what is wrong with them is told by rows with the column `dividend`.
///
/// # Basis
///
/// The rules work on split-adjusted prices and dividends: prices on basis `raw`, volumes and dividends are brought there by the
/// splits among the actions, and repaired values are brought back. `adj_close` is taken as the provider gives it.
/// Bars on another basis fail the epoch (note `repair.basis`).
///
/// # Nulls
///
/// A price that nobody has paid is not made up: NULLs stay, but for the rule `gap` above.
/// A series that the rules do not come to rest over (note `repair.unsettled`) stays as it came.
///
/// # Errors
///
/// [`Error::Schema`] if columns or the actions are missing, or prices or volumes are not Float64;
/// [`Error::InvalidParameter`] for an exchange whose calendar is not known.
#[derive(Debug, Clone)]
pub struct Repair {
    rules: BTreeSet<RepairRule>,
    actions: Option<String>,
    exchange: Option<Exchange>,
}

impl Default for Repair {
    fn default() -> Self {
        Self { rules: BTreeSet::from(RepairRule::ALL), actions: None, exchange: None }
    }
}

impl FromStr for RepairRule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text).ok_or_else(|| {
            let words = Self::ALL.map(Self::as_str);
            Error::parameter(STEP, "rules", format!("`{text}` is not {}", one_of(&words)))
        })
    }
}

impl Repair {
    /// With all rules, no actions and no calendar.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only these rules.
    #[must_use]
    pub fn with_rules(mut self, rules: impl IntoIterator<Item = RepairRule>) -> Self {
        self.rules = rules.into_iter().collect();
        self
    }

    /// Without this rule.
    #[must_use]
    pub fn without(mut self, rule: RepairRule) -> Self {
        self.rules.remove(&rule);
        self
    }

    /// Reads splits and dividends from a relation or a registered table of corporate actions.
    #[must_use]
    pub fn with_actions(mut self, actions: impl Into<String>) -> Self {
        self.actions = Some(actions.into());
        self
    }

    /// The calendar of one exchange, which is that of all symbols: `XNYS`, `NYSE`, `24/7`, or whatever [`Calendar::of`](crate::market::Calendar::of) finds.
    #[must_use]
    pub fn with_calendar(mut self, exchange: impl Into<String>) -> Self {
        self.exchange = Some(Exchange::Given(exchange.into()));
        self
    }

    /// The calendar of the exchange that a text column of the bars names, one a symbol.
    ///
    /// Where it is NULL, or names an exchange that no calendar is known for, every day may be one of trade.
    #[must_use]
    pub fn with_exchange_column(mut self, column: impl Into<String>) -> Self {
        self.exchange = Some(Exchange::Column(column.into()));
        self
    }

    /// The actions, one row a symbol, date and kind, in the arguments' columns.
    async fn actions(&self, inputs: &Relations, epoch: &EpochContext) -> Result<Option<DataFrame>> {
        let Some(name) = &self.actions else { return Ok(None) };
        let actions = match inputs.get(name) {
            Ok(relation) => relation.frame.clone(),
            Err(missing) => epoch.session.table(name.as_str()).await.map_err(|_| missing)?,
        };
        let actions = Relation::new(actions);
        require(STEP, &actions, &["symbol", "date", "kind", "value", "numerator", "denominator"])?;
        // Of an action that was corrected the newest version counts.
        let known = if actions.has(AS_OF) { column(AS_OF) } else { lit(0_i64) };
        let number = |name: &str| cast(column(name), DataType::Float64).alias(name);
        let rows = actions.frame.select(vec![
            cast(column("symbol"), DataType::Utf8).alias("symbol"),
            cast(column("date"), DataType::Date32).alias("date"),
            cast(column("kind"), DataType::Utf8).alias("kind"),
            number("value"),
            number("numerator"),
            number("denominator"),
            known.alias("known"),
        ])?;
        // A row without a kind would be taken for a bar.
        let rows = rows.filter(column("kind").is_not_null().and(column("date").is_not_null()))?;
        let newest = |name: &str| last_value(column(name), vec![column("known").sort(true, true)]).alias(name);
        let newest = vec![newest("value"), newest("numerator"), newest("denominator")];
        Ok(Some(rows.aggregate(columns(["symbol", "date", "kind"]), newest)?))
    }

    /// Bars, and the actions of their symbols laid out beside them, with what the function makes of each.
    async fn repaired(&self, bars: DataFrame, inputs: &Relations, epoch: &EpochContext) -> Result<DataFrame> {
        let own: Vec<String> = bars.schema().fields().iter().map(|it| it.name().clone()).collect();
        let of_actions = ["kind", "value", "numerator", "denominator"];
        let exchange = match &self.exchange {
            Some(exchange) => exchange.expr(),
            None => null(&DataType::Utf8)?,
        };
        let mut of_bars = all_columns(&bars);
        of_bars.push(exchange.alias(EXCHANGE));
        for name in of_actions {
            of_bars.push(null(&argument(name))?.alias(format!("__{name}")));
        }
        let mut rows = bars.clone().select(of_bars)?;
        if let Some(actions) = self.actions(inputs, epoch).await? {
            let symbols = bars.clone().aggregate(vec![column("symbol")], vec![])?;
            let symbols = symbols.select(vec![cast(column("symbol"), DataType::Utf8).alias("__symbol")])?;
            let actions = actions.join(symbols, JoinType::Inner, &["symbol"], &["__symbol"], None)?;
            let mut laid_out = Vec::new();
            for field in bars.schema().fields() {
                let name = field.name().as_str();
                laid_out.push(match name {
                    "symbol" | "date" => cast(column(name), field.data_type().clone()).alias(name),
                    name => lit(ScalarValue::try_from(field.data_type())?).alias(name),
                });
            }
            laid_out.push(null(&DataType::Utf8)?.alias(EXCHANGE));
            laid_out.extend(of_actions.map(|name| column(name).alias(format!("__{name}"))));
            rows = rows.union(actions.select(laid_out)?)?;
        }
        let mut words: Vec<&str> = self.rules.iter().map(|it| it.as_str()).collect();
        words.extend(self.actions.as_ref().map(|_| function::ACTIONS_TOLD));
        let mut arguments = Vec::new();
        for (name, of_type) in ARGUMENTS {
            let value = match name {
                "rules" => lit(words.join(",")),
                "exchange" => column(EXCHANGE),
                "session" if !own.iter().any(|it| it == name) => null(&of_type.arrow())?,
                name if of_actions.contains(&name) => column(format!("__{name}")),
                name => column(name),
            };
            arguments.push(cast(value, of_type.arrow()));
        }
        let done = whole(function::repaired(arguments), &["symbol"], vec![ascending(column("ts"))])?;
        let mut out = columns(own);
        out.extend([column("__kind"), done.alias(DONE)]);
        let rows = rows.select(out)?;
        Ok(rows.filter(column("__kind").is_null())?)
    }
}

/// The values that are repaired must be Float64: in another type those that are not would not come back as they were.
fn numbers(input: &Relation) -> Result<()> {
    let is_cell = |name: &str| CELLS.iter().any(|it| it.as_str() == name);
    let wrong: Vec<String> = input
        .schema()
        .fields()
        .iter()
        .filter(|field| is_cell(field.name()) && field.data_type() != &DataType::Float64)
        .map(|field| format!("`{}` is {}", field.name(), field.data_type()))
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let reason = format!("{}, and not Float64; put `normalize` before it, or cast them with `sql`", wrong.join(", "));
    Err(Error::schema(STEP, reason))
}

fn argument(name: &str) -> DataType {
    ARGUMENTS.iter().find(|(it, _)| *it == name).map_or(Type::Text, |(_, of_type)| *of_type).arrow()
}

#[async_trait]
impl Transform for Repair {
    async fn apply(&self, inputs: &Relations, epoch: &EpochContext) -> Result<Outputs> {
        if let Some(exchange) = &self.exchange {
            exchange.check(STEP)?;
        }
        let input = inputs.input()?;
        let mut needed = vec!["symbol", "interval", "ts", "date", "volume", "adj_close", "basis"];
        needed.extend(PRICE_COLUMNS);
        if let Some(exchange) = &self.exchange {
            exchange.need(&mut needed);
        }
        require(STEP, input, &needed)?;
        numbers(input)?;
        let bars = shared(epoch, input.frame.clone()).await?;
        let done = shared(epoch, self.repaired(bars.clone(), inputs, epoch).await?).await?;
        let mut out = Vec::new();
        for field in input.schema().fields() {
            let name = field.name().as_str();
            let value =
                if CELLS.iter().any(|it| it.as_str() == name) { get_field(column(DONE), name) } else { column(name) };
            // The rows of actions, which have none of it, are gone again.
            out.push(if field.is_nullable() { value.alias(name) } else { required(value).alias(name) });
        }
        let frame = done.clone().filter(get_field(column(DONE), "kept"))?.select(out)?;
        let mut repaired = Relation::new(frame).with_key(BAR_KEY).with_version(Some(REVISION.into()));
        repaired.unique = input.unique;
        let mut outputs = Outputs::one(repaired);
        outputs.notes.push(wrong_basis(bars)?);
        outputs.notes.push(unsettled(&done)?);
        let repairs = repairs(&done)?;
        outputs.notes.push(counts(repairs.clone())?);
        let mut repairs = Relation::new(repairs).with_key(REPAIR_KEY).with_version(Some(REVISION.into()));
        repairs.unique = input.unique;
        outputs.others = BTreeMap::from([(REPAIRS.to_string(), repairs)]);
        Ok(outputs)
    }

    fn reads(&self) -> Vec<String> {
        self.actions.iter().cloned().collect()
    }

    fn scope(&self) -> Scope {
        Scope::Symbol
    }

    fn definition(&self) -> serde_json::Value {
        let rules: Vec<&str> = self.rules.iter().map(|it| it.as_str()).collect();
        let mut definition = json!({ "type": STEP, "rules": rules, "actions": self.actions });
        if let Some(exchange) = &self.exchange {
            exchange.define(&mut definition);
        }
        definition
    }
}

/// One row for each change.
fn repairs(done: &DataFrame) -> Result<DataFrame> {
    let list = get_field(column(DONE), REPAIRS);
    let rows = done.clone().select(vec![column("symbol"), column("interval"), list.alias(REPAIRS)])?;
    let rows = rows.filter(column(REPAIRS).is_not_null())?.unnest_columns(&[REPAIRS])?;
    let of = |name: &str| get_field(column(REPAIRS), name);
    let text = |name: &str| required(cast(column(name), DataType::Utf8)).alias(name);
    let mut out = vec![text("symbol"), text("interval")];
    out.extend(["ts", "column", "step", "date", "rule", "reason"].map(|name| required(of(name)).alias(name)));
    out.extend(["before", "after"].map(|name| of(name).alias(name)));
    Ok(rows.select(out)?)
}

fn wrong_basis(bars: DataFrame) -> Result<DataFrame> {
    let known = vec![lit(Basis::Raw.as_str()), lit(Basis::Split.as_str())];
    let found = bars
        .filter(column("basis").is_null().or(column("basis").in_list(known, true)))?
        .aggregate(vec![column("symbol"), column("basis")], vec![count(lit(1_i64)).alias("n")])?;
    let text = concat(vec![
        lit("bars on basis `"),
        coalesce(vec![column("basis"), lit("NULL")]),
        lit("` cannot be repaired: put `repair` before `adjust`"),
    ]);
    note_frame(found, lit("repair.basis"), column("symbol"), column("n"), lit("fail"), text)
}

fn unsettled(done: &DataFrame) -> Result<DataFrame> {
    let found = done
        .clone()
        .filter(get_field(column(DONE), "unsettled"))?
        .aggregate(vec![column("symbol")], vec![count(lit(1_i64)).alias("n")])?;
    let text = lit("series hold errors that the rules of repair do not understand, and stay as they came");
    note_frame(found, lit("repair.unsettled"), column("symbol"), column("n"), lit("warning"), text)
}

fn counts(repairs: DataFrame) -> Result<DataFrame> {
    let found = repairs.aggregate(vec![column("symbol"), column("rule")], vec![count(lit(1_i64)).alias("n")])?;
    let kind = concat(vec![lit("repair."), column("rule")]);
    note_frame(
        found,
        kind,
        column("symbol"),
        column("n"),
        lit("info"),
        lit("values are repaired in all bars of the symbol"),
    )
}

#[cfg(test)]
mod tests;
