//! The transforms: what a `[[transform]]` table says, and what is made of it.

use std::sync::Arc;

use stockflow_core::pipeline::Step;
use stockflow_core::schema::Basis;
use stockflow_core::transform::{DateOrder, Interval, Normalize, SymbolFrom, Transform};

use crate::config::Section;

/// A transform, read from the file and ready.
#[derive(Debug, Clone)]
pub(crate) enum StepConfig {
    Normalize(Normalize),
}

impl StepConfig {
    /// Reads the rest of a `[[transform]]` table, whose name and input have been read.
    pub(crate) fn read(section: Section<'_>) -> Self {
        let kinds: [(&str, fn(&Section<'_>) -> StepConfig); 1] = [("normalize", normalize)];
        if !section.has("type") {
            section.problem("type", "is missing");
        }
        let Some(read) = section.choice("type", &kinds) else { return Self::Normalize(Normalize::new()) };
        let step = read(&section);
        section.finish();
        step
    }

    /// The transform itself.
    pub(crate) fn transform(&self) -> Arc<dyn Transform> {
        match self {
            Self::Normalize(transform) => Arc::new(transform.clone()),
        }
    }

    /// The step of a pipeline.
    pub(crate) fn build(&self, name: &str, input: Option<&str>) -> Step {
        let step = match self {
            Self::Normalize(transform) => Step::new(name, transform.clone()),
        };
        match input {
            Some(input) => step.input(input),
            None => step,
        }
    }
}

fn normalize(section: &Section<'_>) -> StepConfig {
    let mut step = Normalize::new();
    for (ours, foreign) in section.pairs("columns").unwrap_or_default() {
        step = step.with_column(ours, foreign);
    }
    let symbol = [("auto", SymbolFrom::Auto), ("file-name", SymbolFrom::FileName)];
    match (section.choice("symbol", &symbol), section.text("symbol_column"), section.text("symbol_is")) {
        (Some(symbol), None, None) => step = step.with_symbol(symbol),
        (None, Some(column), None) => step = step.with_symbol(SymbolFrom::Column(column)),
        (None, None, Some(given)) => step = step.with_symbol(SymbolFrom::Given(given)),
        (None, None, None) => {}
        _ => section.problem("symbol", "is one of `symbol`, `symbol_column` and `symbol_is`, not several"),
    }
    if let Some(interval) = section.parsed::<Interval>("interval") {
        step = step.with_interval(interval);
    }
    if let Some(basis) = section.parsed::<Basis>("basis") {
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
    if let Some(order) = section.choice("date_order", &[("month-first", DateOrder::MonthFirst), ("day-first", DateOrder::DayFirst)]) {
        step = step.with_date_order(order);
    }
    if let Some(comma) = section.flag("decimal_comma") {
        step = step.with_decimal_comma(comma);
    }
    if let Some(zone) = section.text("timezone") {
        step = step.with_timezone(zone);
    }
    StepConfig::Normalize(step)
}
