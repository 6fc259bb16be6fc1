//! The transforms: what a `[[transform]]` table says, and what is made of it.

use std::sync::Arc;

use stockflow_core::pipeline::Step;
use stockflow_core::schema::{Basis, bar_schema};
use stockflow_core::transform::{
    Action, Adjust, Aggregate, Clean, DateOrder, Indicators, Interval, Normalize, Period, Quality, Repair, RepairRule,
    Resample, Rule, Sql, SymbolFrom, Transform,
};

use crate::config::{Moment, Section, hint};

/// A transform, read from the file and ready.
#[derive(Debug, Clone)]
pub(crate) enum StepConfig {
    Normalize(Normalize),
    Clean(Clean),
    Repair(Repair),
    Adjust(Adjust),
    Quality(Quality),
    Indicators(Indicators),
    Aggregate(Aggregate),
    Resample(Resample),
    Sql(Sql),
}

/// Reads the fields of one kind of transform.
type Read = fn(&Section<'_>) -> StepConfig;

const KINDS: [(&str, Read); 9] = [
    ("normalize", normalize),
    ("clean", clean),
    ("repair", repair),
    ("adjust", adjust),
    ("quality", quality),
    ("indicators", indicators),
    ("aggregate", aggregate),
    ("resample", resample),
    ("sql", sql),
];

impl StepConfig {
    /// Reads the rest of a `[[transform]]` table, whose name and input have been read.
    pub(crate) fn read(section: Section<'_>) -> Self {
        // Where the kind is not known, nothing can be said about the other fields.
        let Some(read) = section.kind(&KINDS) else { return unread() };
        let step = read(&section);
        section.finish();
        step
    }

    /// The transform itself.
    pub(crate) fn transform(&self) -> Arc<dyn Transform> {
        match self.clone() {
            Self::Normalize(it) => Arc::new(it),
            Self::Clean(it) => Arc::new(it),
            Self::Repair(it) => Arc::new(it),
            Self::Adjust(it) => Arc::new(it),
            Self::Quality(it) => Arc::new(it),
            Self::Indicators(it) => Arc::new(it),
            Self::Aggregate(it) => Arc::new(it),
            Self::Resample(it) => Arc::new(it),
            Self::Sql(it) => Arc::new(it),
        }
    }

    /// The step of a pipeline.
    pub(crate) fn build(&self, name: &str, input: Option<&str>) -> Step {
        let step = match self.clone() {
            Self::Normalize(it) => Step::new(name, it),
            Self::Clean(it) => Step::new(name, it),
            Self::Repair(it) => Step::new(name, it),
            Self::Adjust(it) => Step::new(name, it),
            Self::Quality(it) => Step::new(name, it),
            Self::Indicators(it) => Step::new(name, it),
            Self::Aggregate(it) => Step::new(name, it),
            Self::Resample(it) => Step::new(name, it),
            Self::Sql(it) => Step::new(name, it),
        };
        match input {
            Some(input) => step.input(input),
            None => step,
        }
    }

    /// Whether it reads text such as `1.234,5`.
    pub(crate) fn has_decimal_comma(&self) -> bool {
        matches!(self, Self::Normalize(_)) && self.transform().definition()["decimal_comma"] == true
    }

    /// Whether it puts prices onto another basis by their adjusted close.
    pub(crate) fn needs_adjusted_close(&self) -> bool {
        matches!(self, Self::Adjust(adjust) if adjust.target() != Basis::Raw)
            && self.transform().definition()["by"] == "ratio"
    }

    /// Says what becomes of rows without a date, unless the step says so itself.
    pub(crate) fn set_bad_dates(&mut self, action: Action) {
        if let Self::Normalize(it) = self {
            *it = it.clone().or_bad_dates(action);
        }
    }

    /// What `clean`'s rule for dates says.
    pub(crate) fn date_rule(&self) -> Option<Action> {
        match self {
            Self::Clean(it) => Some(it.action(Rule::Date)),
            _ => None,
        }
    }

    /// The basis that the step puts prices onto.
    pub(crate) fn basis(&self) -> Option<Basis> {
        match self {
            Self::Adjust(adjust) => Some(adjust.target()),
            _ => None,
        }
    }
}

fn normalize(section: &Section<'_>) -> StepConfig {
    let mut step = Normalize::new();
    let known = bar_schema();
    let known: Vec<&str> = known.fields().iter().map(|field| field.name().as_str()).collect();
    for (ours, foreign) in section.pairs("columns").unwrap_or_default() {
        if !known.contains(&ours.as_str()) {
            section.problem("columns", format!("has `{ours}`, which is no column of a bar; {}", hint(&ours, &known)));
        }
        step = step.with_column(ours, foreign);
    }
    let symbol = section.choice("symbol", &[("auto", SymbolFrom::Auto), ("file-name", SymbolFrom::FileName)]);
    match (symbol, section.text("symbol_column"), section.text("symbol_is")) {
        (None, None, None) => {}
        (Some(symbol), None, None) => step = step.with_symbol(symbol),
        (None, Some(column), None) => step = step.with_symbol(SymbolFrom::Column(column)),
        (None, None, Some(given)) => step = step.with_symbol(SymbolFrom::Given(given)),
        _ => section.problem("symbol", "is one of `symbol`, `symbol_column` and `symbol_is`, not several"),
    }
    if let Some(interval) = section.parsed::<Interval>("interval") {
        step = step.with_interval(interval);
    }
    if let Some(basis) = basis(section, "basis") {
        step = step.with_basis(basis);
    }
    if let Some(provider) = section.text("provider") {
        step = step.with_provider(provider);
    }
    if let Some(currency) = section.text("currency") {
        step = step.with_currency(currency);
    }
    if let Some(session) = section.text("session") {
        step = step.with_session(session);
    }
    if let Some(order) =
        section.choice("date_order", &[("month-first", DateOrder::MonthFirst), ("day-first", DateOrder::DayFirst)])
    {
        step = step.with_date_order(order);
    }
    if let Some(comma) = section.flag("decimal_comma") {
        step = step.with_decimal_comma(comma);
    }
    if let Some(zone) = section.text("timezone") {
        step = step.with_timezone(zone);
    }
    let actions = [("drop", Action::Drop), ("dead-letter", Action::DeadLetter), ("fail", Action::Fail)];
    if let Some(action) = section.choice("bad_dates", &actions) {
        step = step.with_bad_dates(action);
    }
    StepConfig::Normalize(step)
}

fn basis(section: &Section<'_>, key: &'static str) -> Option<Basis> {
    section.choice(key, &[("raw", Basis::Raw), ("split", Basis::Split), ("total", Basis::Total)])
}

fn clean(section: &Section<'_>) -> StepConfig {
    let mut step = Clean::new();
    if let Some(rules) = section.section("rules") {
        let actions =
            [("drop", Action::Drop), ("dead-letter", Action::DeadLetter), ("fail", Action::Fail), ("off", Action::Off)];
        for rule in Rule::ALL {
            if let Some(action) = rules.choice(rule.as_str(), &actions) {
                step = step.with_rule(rule, action);
            }
        }
        rules.finish();
    }
    if let Some(tolerance) = section.number("tolerance") {
        step = step.with_tolerance(tolerance);
    }
    if let Some(price) = section.number("largest_price") {
        step = step.with_largest_price(price);
    }
    if let Some(required) = section.flag("volume_required") {
        step = step.with_volume_required(required);
    }
    for symbol in section.texts("symbols_without_volume").unwrap_or_default() {
        step = step.with_symbol_without_volume(symbol);
    }
    StepConfig::Clean(step)
}

fn repair(section: &Section<'_>) -> StepConfig {
    let mut step = Repair::new();
    match (repair_rules(section, "rules"), repair_rules(section, "without")) {
        (None, None) => {}
        (Some(rules), None) => step = step.with_rules(rules),
        (None, Some(rules)) => step = rules.into_iter().fold(step, Repair::without),
        _ => section.problem("without", "is one of `rules` and `without`, not both"),
    }
    if let Some(actions) = section.text("actions") {
        step = step.with_actions(actions);
    }
    step = exchange(
        section,
        step,
        |step, exchange| step.with_calendar(exchange),
        |step, column| step.with_exchange_column(column),
    );
    StepConfig::Repair(step)
}

/// A list of rules by their words.
fn repair_rules(section: &Section<'_>, key: &'static str) -> Option<Vec<RepairRule>> {
    let known = RepairRule::ALL.map(RepairRule::as_str);
    let words = section.texts(key)?;
    let read = |word: &String| {
        let rule = RepairRule::ALL.into_iter().find(|it| it.as_str() == word);
        if rule.is_none() {
            section.problem(key, format!("has `{word}`, which is no rule of `repair`; {}", hint(word, &known)));
        }
        rule
    };
    Some(words.iter().filter_map(read).collect())
}

fn adjust(section: &Section<'_>) -> StepConfig {
    let to = basis(section, "to").unwrap_or(Basis::Total);
    let by = section.choice("by", &[("ratio", false), ("actions", true)]).unwrap_or(false);
    let actions = section.text("actions");
    if actions.is_some() && !by {
        section.problem("actions", "is only read with `by = \"actions\"`");
    }
    let adjust = if by {
        Adjust::by_actions(to, actions.unwrap_or_else(|| "actions".into()))
    } else {
        Adjust::by_ratio().with_target(to)
    };
    let strict = section.flag("strict");
    StepConfig::Adjust(match section.parsed::<Moment>("as_of") {
        Some(Moment(at)) => adjust.as_of(at, strict.unwrap_or(false)),
        None => {
            if strict.is_some() {
                section.problem("strict", "is only read with `as_of`");
            }
            adjust
        }
    })
}

/// Gives a step the exchange whose calendar counts, if one is named.
fn exchange<T>(
    section: &Section<'_>,
    step: T,
    with_calendar: fn(T, String) -> T,
    with_column: fn(T, String) -> T,
) -> T {
    match (section.text("calendar"), section.text("exchange_column")) {
        (None, None) => step,
        (Some(exchange), None) => with_calendar(step, exchange),
        (None, Some(column)) => with_column(step, column),
        _ => {
            section.problem("calendar", "is one of `calendar` and `exchange_column`, not both");
            step
        }
    }
}

fn quality(section: &Section<'_>) -> StepConfig {
    let mut step = Quality::new();
    if let Some(threshold) = section.number("jump") {
        step = step.with_threshold(threshold);
    }
    if let Some(actions) = section.text("actions") {
        step = step.with_actions(actions);
    }
    step = exchange(
        section,
        step,
        |step, exchange| step.with_calendar(exchange),
        |step, column| step.with_exchange_column(column),
    );
    StepConfig::Quality(step)
}

/// What takes the place of a step that could not be read; the file is refused anyway.
fn unread() -> StepConfig {
    StepConfig::Clean(Clean::new())
}

fn indicators(section: &Section<'_>) -> StepConfig {
    let list = section.texts("list");
    if list.is_none() && !section.has("list") {
        section.problem("list", "is missing");
    }
    let basis = basis(section, "basis");
    // A missing list has been told already.
    let Some(list) = list else { return unread() };
    match Indicators::parse(&list) {
        Ok(step) => StepConfig::Indicators(match basis {
            Some(basis) => step.with_basis(basis),
            None => step,
        }),
        Err(error) => {
            section.problem("list", format!("cannot be used: {}", error.chain().join(": ")));
            unread()
        }
    }
}

fn aggregate(section: &Section<'_>) -> StepConfig {
    let periods = [
        ("all", Period::All),
        ("year", Period::Year),
        ("quarter", Period::Quarter),
        ("month", Period::Month),
        ("week", Period::Week),
        ("52w", Period::Weeks52),
    ];
    if !section.has("period") {
        section.problem("period", "is missing");
    }
    let mut step = Aggregate::new(section.choice("period", &periods).unwrap_or(Period::All));
    if let Some(columns) = section.texts("by") {
        step = step.with_group(columns);
    }
    if let Some(bars) = section.number("bars_per_year") {
        step = step.with_bars_per_year(bars);
    }
    StepConfig::Aggregate(step)
}

fn resample(section: &Section<'_>) -> StepConfig {
    if !section.has("to") {
        section.problem("to", "is missing");
    }
    let mut step = Resample::to(section.parsed::<Interval>("to").unwrap_or(Interval::WEEK));
    if let Some(from) = section.parsed::<Interval>("from") {
        step = step.with_from(from);
    }
    if let Some(minutes) = section.count("session_start_minutes") {
        step = step.with_session_start(u32::try_from(minutes).unwrap_or(u32::MAX));
    }
    if let Some(zone) = section.text("timezone") {
        step = step.with_timezone(zone);
    }
    StepConfig::Resample(step)
}

fn sql(section: &Section<'_>) -> StepConfig {
    let query = section.required("query");
    let (key, version) = (section.texts("key").unwrap_or_default(), section.text("version"));
    // A missing query has been told already.
    if query.is_empty() {
        return unread();
    }
    match Sql::new(query) {
        Ok(step) => {
            let step = step.with_key(key);
            StepConfig::Sql(match version {
                Some(version) => step.with_version(version),
                None => step,
            })
        }
        Err(error) => {
            section.problem("query", format!("cannot be used: {}", error.chain().join(": ")));
            unread()
        }
    }
}
