//! `stockflow_repair(…)`: the rules over all series of a symbol, as a window function over its bars and actions.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, ListArray, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use chrono::{Datelike, NaiveDate};
use datafusion::common::cast::{as_date32_array, as_float64_array, as_string_array, as_timestamp_microsecond_array};
use datafusion::common::exec_datafusion_err;
use datafusion::error::Result;
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{Expr, PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl};

use super::rules::{Action, Bar, Change, Column, Context, Kind, Rule, Rules, Series, Width, repair};
use crate::market::Calendar;
use crate::market::sql::UNIX_EPOCH_DAY;
use crate::schema::Basis;
use crate::transform::expr::instant;
use crate::transform::interval::Interval;

/// The arguments, in this order; those of bars are NULL in the rows of actions and the other way round.
pub(super) const ARGUMENTS: [(&str, Type); 17] = [
    ("interval", Type::Text),
    ("ts", Type::Time),
    ("date", Type::Date),
    ("open", Type::Number),
    ("high", Type::Number),
    ("low", Type::Number),
    ("close", Type::Number),
    ("volume", Type::Number),
    ("adj_close", Type::Number),
    ("basis", Type::Text),
    ("session", Type::Text),
    ("kind", Type::Text),
    ("value", Type::Number),
    ("numerator", Type::Number),
    ("denominator", Type::Number),
    ("exchange", Type::Text),
    ("rules", Type::Text),
];

/// The type of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Text,
    Time,
    Date,
    Number,
}

impl Type {
    pub(super) fn arrow(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Time => instant(),
            Self::Date => DataType::Date32,
            Self::Number => DataType::Float64,
        }
    }
}

/// Stands among the rules if there is a table of actions.
pub(super) const ACTIONS_TOLD: &str = "actions";

/// The columns of a bar that are repaired, in the order of the result's fields.
pub(super) const CELLS: [Column; 6] =
    [Column::Open, Column::High, Column::Low, Column::Close, Column::Volume, Column::AdjClose];

static UDF: LazyLock<Arc<WindowUDF>> = LazyLock::new(|| {
    Arc::new(WindowUDF::new_from_impl(RepairFunction {
        signature: Signature::any(ARGUMENTS.len(), Volatility::Immutable),
    }))
});

/// The call over [`ARGUMENTS`]. A struct of the repaired values, of `kept` (false for a bar that goes), `unsettled` (true on
/// the first bar of a series that the rules do not understand) and `repairs` (a list, NULL where nothing was changed; what was
/// changed of actions stands with the first bar of each series).
pub(super) fn repaired(arguments: Vec<Expr>) -> Expr {
    UDF.call(arguments)
}

/// Every window function of the transforms, for a session or a codec.
pub fn window_functions() -> Vec<Arc<WindowUDF>> {
    vec![Arc::clone(&UDF)]
}

#[derive(Debug)]
struct RepairFunction {
    signature: Signature,
}

// The name says what it does: there is one function of a name.
impl PartialEq for RepairFunction {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for RepairFunction {}

impl Hash for RepairFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

fn repair_fields() -> Fields {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    Fields::from(vec![
        field("ts", instant()),
        field("date", DataType::Date32),
        field("column", DataType::Utf8),
        field("step", DataType::Int64),
        field("rule", DataType::Utf8),
        field("reason", DataType::Utf8),
        field("before", DataType::Float64),
        field("after", DataType::Float64),
    ])
}

fn list_item() -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Struct(repair_fields()), true))
}

fn result_fields() -> Fields {
    let mut fields: Vec<Field> = CELLS.iter().map(|it| Field::new(it.as_str(), DataType::Float64, true)).collect();
    fields.push(Field::new("kept", DataType::Boolean, true));
    fields.push(Field::new("unsettled", DataType::Boolean, true));
    fields.push(Field::new("repairs", DataType::List(list_item()), true));
    Fields::from(fields)
}

impl WindowUDFImpl for RepairFunction {
    fn name(&self) -> &str {
        "stockflow_repair"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(args.name(), DataType::Struct(result_fields()), true)))
    }

    fn partition_evaluator(&self, _args: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Evaluator))
    }
}

/// Repairs the rows of one symbol.
#[derive(Debug)]
struct Evaluator;

impl PartitionEvaluator for Evaluator {
    fn evaluate_all(&mut self, values: &[ArrayRef], num_rows: usize) -> Result<ArrayRef> {
        let rows = Rows::of(values)?;
        let mut found = Found::of(&rows, num_rows);
        found.repair(&rows);
        found.finish()
    }
}

/// The arguments of all rows of a symbol.
struct Rows<'a> {
    interval: &'a StringArray,
    ts: &'a TimestampMicrosecondArray,
    date: &'a Date32Array,
    /// In the order of [`CELLS`].
    cells: [&'a Float64Array; 6],
    basis: &'a StringArray,
    session: &'a StringArray,
    kind: &'a StringArray,
    value: &'a Float64Array,
    numerator: &'a Float64Array,
    denominator: &'a Float64Array,
    exchange: &'a StringArray,
    rules: &'a StringArray,
}

impl<'a> Rows<'a> {
    fn of(values: &'a [ArrayRef]) -> Result<Self> {
        let [interval, ts, date, open, high, low, close, volume, adj_close, basis, session, action @ ..] = values
        else {
            return Err(exec_datafusion_err!("stockflow_repair was given {} arguments", values.len()));
        };
        let [kind, value, numerator, denominator, exchange, rules] = action else {
            return Err(exec_datafusion_err!("stockflow_repair was given {} arguments", values.len()));
        };
        Ok(Self {
            interval: as_string_array(interval)?,
            ts: as_timestamp_microsecond_array(ts)?,
            date: as_date32_array(date)?,
            cells: [
                as_float64_array(open)?,
                as_float64_array(high)?,
                as_float64_array(low)?,
                as_float64_array(close)?,
                as_float64_array(volume)?,
                as_float64_array(adj_close)?,
            ],
            basis: as_string_array(basis)?,
            session: as_string_array(session)?,
            kind: as_string_array(kind)?,
            value: as_float64_array(value)?,
            numerator: as_float64_array(numerator)?,
            denominator: as_float64_array(denominator)?,
            exchange: as_string_array(exchange)?,
            rules: as_string_array(rules)?,
        })
    }

    fn rules(&self) -> Rules {
        let words = text(self.rules, 0).unwrap_or_default();
        words.split(',').filter_map(|it| it.parse::<Rule>().ok()).collect()
    }

    /// Whether there is a table of actions, be it one without any of this symbol.
    fn are_actions_told(&self) -> bool {
        text(self.rules, 0).is_some_and(|it| it.split(',').any(|word| word == ACTIONS_TOLD))
    }

    fn date(&self, row: usize) -> Option<NaiveDate> {
        let day = self.date.is_valid(row).then(|| self.date.value(row))?;
        NaiveDate::from_num_days_from_ce_opt(day.checked_add(UNIX_EPOCH_DAY)?)
    }

    /// The actions, as they were stated.
    fn actions(&self) -> Vec<Action> {
        let of = |row: usize| {
            let kind = match text(self.kind, row)? {
                "dividend" => Kind::Dividend,
                "capital_gain" => Kind::CapitalGain,
                "split" => Kind::Split,
                _ => return None,
            };
            let (value, numerator) = (number(self.value, row), number(self.numerator, row));
            Some(Action { date: self.date(row)?, kind, value, numerator, denominator: number(self.denominator, row) })
        };
        (0..self.kind.len()).filter_map(of).collect()
    }
}

fn text(array: &StringArray, row: usize) -> Option<&str> {
    (row < array.len() && array.is_valid(row)).then(|| array.value(row))
}

fn number(array: &Float64Array, row: usize) -> Option<f64> {
    (row < array.len() && array.is_valid(row)).then(|| array.value(row))
}

/// The splits of a symbol: how many shares of today one share of a day has become.
struct Shares(Vec<(NaiveDate, f64)>);

impl Shares {
    fn of(actions: &[Action]) -> Self {
        let ratio = |it: &Action| {
            let ratio = it.numerator? / it.denominator?;
            (it.kind == Kind::Split && ratio.is_finite() && ratio > 0.0).then_some((it.date, ratio))
        };
        let mut splits: Vec<(NaiveDate, f64)> = actions.iter().filter_map(ratio).collect();
        splits.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        // From the end: the product of all splits from each one on.
        let mut product = 1.0;
        for (_, ratio) in splits.iter_mut().rev() {
            product *= *ratio;
            *ratio = product;
        }
        Self(splits)
    }

    /// The product of the splits with an ex-date after a day.
    fn after(&self, date: NaiveDate) -> f64 {
        let later = self.0.partition_point(|(it, _)| *it <= date);
        self.0.get(later).map_or(1.0, |(_, product)| *product).clamp(f64::MIN_POSITIVE, f64::MAX)
    }
}

/// One value that was changed, as the relation of repairs tells it.
struct Told {
    ts: i64,
    date: NaiveDate,
    column: Column,
    step: i64,
    rule: Rule,
    reason: Arc<str>,
    before: Option<f64>,
    after: Option<f64>,
}

/// The result, row by row.
struct Found {
    /// In the order of [`CELLS`].
    cells: [Vec<Option<f64>>; 6],
    kept: Vec<bool>,
    unsettled: Vec<bool>,
    told: BTreeMap<usize, Vec<Told>>,
}

impl Found {
    fn of(rows: &Rows<'_>, len: usize) -> Self {
        let cells = rows.cells.map(|it| it.iter().collect());
        Self { cells, kept: vec![true; len], unsettled: vec![false; len], told: BTreeMap::new() }
    }

    fn repair(&mut self, rows: &Rows<'_>) {
        let rules = rows.rules();
        let stated = rows.actions();
        let shares = Shares::of(&stated);
        // Dividends are stated on the terms of their day; the rules want all on those of today.
        let per_share = |it: &Action| Action { value: it.value.map(|value| value / shares.after(it.date)), ..*it };
        let actions: Vec<Action> = stated.iter().map(per_share).collect();
        let calendar = (0..rows.exchange.len()).find_map(|row| text(rows.exchange, row)).and_then(Calendar::of);
        let is_session = |date: NaiveDate| calendar.and_then(|it| it.is_session(date));
        // From the narrowest on, so that days can be made of hours that are repaired already.
        let mut within_day: Vec<Bar> = Vec::new();
        for (width, places) in series(rows) {
            let bars: Vec<Bar> = places.iter().filter_map(|row| self.bar(rows, *row, &shares)).collect();
            if bars.len() != places.len() {
                if let Some(first) = places.first() {
                    self.set_unsettled(*first);
                }
                continue;
            }
            let one = Series { bars, actions: actions.clone(), width };
            let finer = if width == Width::Day { whole_days(&within_day) } else { Vec::new() };
            let is_raw = |row: &usize| text(rows.basis, *row) == Some(Basis::Raw.as_str());
            let may_have_splits = !rows.are_actions_told() && places.iter().any(is_raw);
            let context = Context { is_session: Some(&is_session), finer: &finer, may_have_splits };
            let done = repair(&one, rules, context);
            if let Some(first) = places.first().filter(|_| !done.is_settled) {
                self.set_unsettled(*first);
            }
            self.take(rows, &places, &shares, done.repairs);
            if width == Width::Intraday {
                let regular = |row: &&usize| text(rows.session, **row).is_none_or(|it| it == "regular");
                let left = places.iter().filter(regular).filter(|row| self.kept.get(**row) == Some(&true));
                within_day = left.filter_map(|row| self.bar(rows, *row, &shares)).collect();
            }
        }
    }

    fn set_unsettled(&mut self, row: usize) {
        if let Some(cell) = self.unsettled.get_mut(row) {
            *cell = true;
        }
    }

    /// A bar as the rules want it: on the terms of today's shares.
    fn bar(&self, rows: &Rows<'_>, row: usize, shares: &Shares) -> Option<Bar> {
        let date = rows.date(row)?;
        let [open, high, low, close, volume, adj_close] =
            std::array::from_fn(|at| self.cells.get(at).and_then(|it| it.get(row)).copied().flatten());
        let times = self.shares(rows, row, date, shares);
        let price = |it: Option<f64>| it.map(|it| it / times);
        Some(Bar {
            ts: rows.ts.is_valid(row).then(|| rows.ts.value(row))?,
            date,
            open: price(open),
            high: price(high),
            low: price(low),
            close: price(close),
            volume: volume.map(|it| it * times),
            adj_close,
        })
    }

    /// How many shares of today one share of the bar's terms is.
    fn shares(&self, rows: &Rows<'_>, row: usize, date: NaiveDate, shares: &Shares) -> f64 {
        if text(rows.basis, row) == Some(Basis::Raw.as_str()) { shares.after(date) } else { 1.0 }
    }

    /// Writes changes into the result, back on the terms of the input.
    fn take(&mut self, rows: &Rows<'_>, places: &[usize], shares: &Shares, changes: Vec<Change>) {
        let mut steps: BTreeMap<(i64, Column), i64> = BTreeMap::new();
        for change in changes {
            let Some(row) = change.place.map_or_else(|| places.first(), |it| places.get(it)).copied() else { continue };
            let (ts, before, after) = match change.column {
                Column::Dividend => {
                    let times = shares.after(change.date);
                    (midnight(change.date), change.before.map(|it| it * times), change.after.map(|it| it * times))
                }
                Column::Row => {
                    if let Some(kept) = self.kept.get_mut(row) {
                        *kept = false;
                    }
                    (rows.ts.value(row), self.close(row), None)
                }
                column => {
                    let times = self.shares(rows, row, change.date, shares);
                    let times = match column {
                        Column::AdjClose => 1.0,
                        Column::Volume => 1.0 / times,
                        _ => times,
                    };
                    let at = CELLS.iter().position(|it| *it == column);
                    let cell = at.and_then(|at| self.cells.get_mut(at)).and_then(|it| it.get_mut(row));
                    let Some(cell) = cell else { continue };
                    let before = *cell;
                    *cell = change.after.map(|it| it * times);
                    (rows.ts.value(row), before, *cell)
                }
            };
            let step = steps.entry((ts, change.column)).or_default();
            *step += 1;
            let (date, column, rule, step) = (change.date, change.column, change.rule, *step);
            let told = Told { ts, date, column, step, rule, reason: change.why, before, after };
            self.told.entry(row).or_default().push(told);
        }
    }

    fn close(&self, row: usize) -> Option<f64> {
        let [_, _, _, close, ..] = &self.cells;
        close.get(row).copied().flatten()
    }

    fn finish(self) -> Result<ArrayRef> {
        let Self { cells, kept, unsettled, told } = self;
        let lengths: Vec<usize> = (0..kept.len()).map(|row| told.get(&row).map_or(0, Vec::len)).collect();
        let all: Vec<&Told> = told.values().flatten().collect();
        let all = || all.iter();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(TimestampMicrosecondArray::from_iter_values(all().map(|it| it.ts)).with_timezone("UTC")),
            Arc::new(Date32Array::from_iter_values(all().map(|it| it.date.num_days_from_ce() - UNIX_EPOCH_DAY))),
            Arc::new(StringArray::from_iter_values(all().map(|it| it.column.as_str()))),
            Arc::new(Int64Array::from_iter_values(all().map(|it| it.step))),
            Arc::new(StringArray::from_iter_values(all().map(|it| it.rule.as_str()))),
            Arc::new(StringArray::from_iter_values(all().map(|it| it.reason.as_ref()))),
            Arc::new(all().map(|it| it.before).collect::<Float64Array>()),
            Arc::new(all().map(|it| it.after).collect::<Float64Array>()),
        ];
        let items = StructArray::try_new(repair_fields(), columns, None)?;
        let nulls: NullBuffer = lengths.iter().map(|it| *it > 0).collect();
        let offsets = OffsetBuffer::from_lengths(lengths);
        let repairs = ListArray::try_new(list_item(), offsets, Arc::new(items), Some(nulls))?;
        let mut columns: Vec<ArrayRef> =
            cells.into_iter().map(|it| Arc::new(Float64Array::from(it)) as ArrayRef).collect();
        columns.push(Arc::new(BooleanArray::from(kept)));
        columns.push(Arc::new(BooleanArray::from(unsettled)));
        columns.push(Arc::new(repairs));
        Ok(Arc::new(StructArray::try_new(result_fields(), columns, None)?))
    }
}

fn midnight(date: NaiveDate) -> i64 {
    date.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros()
}

/// The rows of each series, from the narrowest to the widest.
fn series(rows: &Rows<'_>) -> Vec<(Width, Vec<usize>)> {
    let mut found: BTreeMap<(Option<Interval>, &str), Vec<usize>> = BTreeMap::new();
    for (row, interval) in rows.interval.iter().enumerate() {
        // An action has none.
        let Some(interval) = interval else { continue };
        found.entry((interval.parse().ok(), interval)).or_default().push(row);
    }
    let width = |interval: Option<Interval>| match interval {
        Some(it) if it.is_intraday() => Width::Intraday,
        Some(Interval::DAY) => Width::Day,
        // A width that cannot be read is treated as one of which little is known.
        _ => Width::Longer,
    };
    found.into_iter().map(|((interval, _), places)| (width(interval), places)).collect()
}

/// The bars of those days that have at least as many as most: what is cut off at an end must not stand for a day.
///
/// They are stamped from midnight UTC of their trading date on, in their order, as bars of a day are.
fn whole_days(bars: &[Bar]) -> Vec<Bar> {
    let mut days: BTreeMap<NaiveDate, Vec<Bar>> = BTreeMap::new();
    for bar in bars {
        days.entry(bar.date).or_default().push(*bar);
    }
    let mut counts: Vec<usize> = days.values().map(Vec::len).collect();
    counts.sort_unstable();
    let usual = counts.get(counts.len() / 2).copied().unwrap_or(0);
    let stamped = |(date, mut bars): (NaiveDate, Vec<Bar>)| {
        bars.sort_by_key(|it| it.ts);
        let within: Range<i64> = 0..i64::try_from(bars.len()).unwrap_or(i64::MAX);
        bars.into_iter().zip(within).map(move |(bar, at)| Bar { ts: midnight(date).saturating_add(at), ..bar })
    };
    days.into_iter().filter(|(_, bars)| bars.len() >= usual).flat_map(stamped).collect()
}
