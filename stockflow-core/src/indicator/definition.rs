//! What a function is, in one form for all: the catalogue's entry, from which everything else is made.
//!
//! The window function, the config form, the Rust builder, `stockflow indicators` and the page in `docs/` all read
//! this definition and nothing else.
//! A function of our own comes in the same form, with its own [`Kernel`].

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::error::IndicatorError;
use super::kernel::Kernel;

/// One function of the catalogue.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Definition {
    /// TA-Lib's name in lower case: `rsi`. The name in a config file and in column names.
    pub name: String,
    /// The name in SQL: the same, or `ta_<name>` where the plain name is SQL's own (`sum`, `ln`, …).
    pub sql_name: String,
    /// Further names that SQL answers to.
    pub aliases: Vec<String>,
    /// The group it is filed under: `Momentum Indicators`.
    pub group: String,
    /// What it computes, in one line.
    pub description: String,
    /// The series it reads, in the order of the SQL arguments.
    pub inputs: Vec<Input>,
    /// The parameters, in the order of the SQL arguments; they may be left out from the right.
    pub parameters: Vec<Parameter>,
    /// The values it gives for each row.
    pub outputs: Vec<Output>,
    /// What a caller should know about its values.
    pub flags: Vec<Flag>,
    /// What it needs to go on with the next bar.
    pub state: State,
    #[serde(skip)]
    pub(crate) kernel: Arc<dyn Kernel>,
}

impl Definition {
    /// Rows before the first value, for these parameters (all of them, in order).
    ///
    /// # Errors
    ///
    /// [`IndicatorError::Call`] if the kernel refuses the combination of values.
    pub fn lookback(&self, values: &[Value]) -> Result<usize, IndicatorError> {
        self.kernel.lookback(values).map_err(|reason| {
            let given: Vec<_> = self.parameters.iter().zip(values).map(|(p, v)| format!("{} = {v}", p.name)).collect();
            IndicatorError::call(&self.name, format!("{} is no valid combination ({reason})", given.join(", ")))
        })
    }

    /// The values that hold where nothing is given.
    pub fn defaults(&self) -> Vec<Value> {
        self.parameters.iter().map(Parameter::default_value).collect()
    }

    /// Rows before the first value with all parameters at their defaults.
    pub fn default_lookback(&self) -> usize {
        self.lookback(&self.defaults()).unwrap_or(0)
    }

    /// Whether it carries this flag.
    pub fn has(&self, flag: Flag) -> bool {
        self.flags.contains(&flag)
    }

    /// How it is called: `atr(high, low, close [, timeperiod = 14])`.
    pub fn signature(&self) -> String {
        let inputs: Vec<_> = self.inputs.iter().map(Input::usual_column).collect();
        let mut text = format!("{}({}", self.sql_name, inputs.join(", "));
        for parameter in &self.parameters {
            text.push_str(&format!(" [, {} = {}", parameter.name, parameter.show(parameter.default_value())));
        }
        text.push_str(&"]".repeat(self.parameters.len()));
        text.push(')');
        text
    }

    /// An example in SQL that runs over a table of bars as it stands.
    pub fn sql_example(&self) -> String {
        let call = super::sample::sample_call(self);
        let window = "OVER (PARTITION BY symbol ORDER BY ts)";
        let pick = |output: &Output| format!("({call} {window})['{}'] AS {}", output.name, output.name);
        match self.outputs.as_slice() {
            [_] => format!("SELECT symbol, ts, {call} {window} AS {} FROM bars", self.name),
            many => format!("SELECT symbol, ts, {} FROM bars", many.iter().map(pick).collect::<Vec<_>>().join(", ")),
        }
    }

    /// The names of the output columns with all parameters at their defaults: `rsi_14`; `macd`, `macd_signal`, ….
    pub fn default_columns(&self) -> Vec<String> {
        super::call::column_names(self, &self.defaults())
    }
}

/// One series that a function reads.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Input {
    /// The argument's name: `high`; `real` where any series will do.
    pub name: String,
    /// The column of a bar that is read unless another one is named; `None` where there is none that makes sense.
    pub column: Option<BarColumn>,
    /// Whether any series will do, and the column is only the usual one.
    pub any_series: bool,
}

impl Input {
    pub(crate) fn new(name: impl Into<String>, column: Option<BarColumn>, any_series: bool) -> Self {
        Self { name: name.into(), column, any_series }
    }

    /// The usual column's name, or the argument's where there is none.
    pub fn usual_column(&self) -> &str {
        self.column.map_or(self.name.as_str(), |it| it.as_str())
    }
}

/// The numeric columns of a bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum BarColumn {
    Open,
    High,
    Low,
    Close,
    Volume,
}

impl BarColumn {
    /// The column's name in the schema of bars.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::High => "high",
            Self::Low => "low",
            Self::Close => "close",
            Self::Volume => "volume",
        }
    }
}

/// One parameter: its name, what it may be, and what it is if left out.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Parameter {
    /// The name, TA-Lib's in lower case: `timeperiod`.
    pub name: String,
    /// What it does, in one line.
    pub description: String,
    /// What it may be, and its default.
    pub domain: Domain,
}

/// What a parameter may be, and what it is if left out.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Domain {
    /// A whole number in `min..=max`.
    Integer {
        /// Smallest.
        min: i32,
        /// Largest.
        max: i32,
        /// If left out.
        default: i32,
    },
    /// A number in `min..=max`.
    Real {
        /// Smallest.
        min: f64,
        /// Largest.
        max: f64,
        /// If left out.
        default: f64,
    },
    /// One of a list, by name (in any case) or by code.
    Choice {
        /// Code and name, in lower case.
        choices: Vec<(i32, String)>,
        /// If left out.
        default: i32,
    },
}

/// The value of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// Of an integer parameter, or the code of a choice.
    Integer(i32),
    /// Of a real parameter.
    Real(f64),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => value.fmt(f),
            Self::Real(value) => show_real(*value).fmt(f),
        }
    }
}

/// One value for each row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Output {
    /// The field of the struct in SQL: `signal`; `value` where it is the only one.
    pub name: String,
    /// TA-Lib's own name in lower case: `macdsignal`.
    pub native: String,
    /// Float64 or Int32.
    pub kind: OutputKind,
}

/// The type of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum OutputKind {
    /// A number.
    Float64,
    /// A code, a direction or a row number.
    Int32,
}

/// What a caller should know about a function's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Flag {
    /// On the scale of its input, so a chart draws it over the price.
    Overlap,
    /// On the scale of the volume.
    Volume,
    /// Recursive: early values still depend on where the series starts.
    Unstable,
    /// A candlestick pattern: 0, or a signed strength.
    Candlestick,
    /// The value depends for ever on where the series starts.
    PathDependent,
    /// Finite input can have no finite answer; such a row is NULL here.
    NanOutput,
    /// A period of 1 copies the input.
    Period1Identity,
    /// A chart draws an output ahead of or behind its row; the values are not shifted.
    DisplayShift,
    /// Uses transcendental functions: the last bits may differ between machines.
    Transcendental,
    /// Assumes positive input and does not check.
    PositiveInput,
}

impl Flag {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 10] = [
        Self::Overlap,
        Self::Volume,
        Self::Unstable,
        Self::Candlestick,
        Self::PathDependent,
        Self::NanOutput,
        Self::Period1Identity,
        Self::DisplayShift,
        Self::Transcendental,
        Self::PositiveInput,
    ];

    /// One word for tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Overlap => "overlap",
            Self::Volume => "volume",
            Self::Unstable => "recursive",
            Self::Candlestick => "pattern",
            Self::PathDependent => "path-dependent",
            Self::NanOutput => "undefined-null",
            Self::Period1Identity => "period1-copies",
            Self::DisplayShift => "drawn-shifted",
            Self::Transcendental => "transcendental",
            Self::PositiveInput => "positive-input",
        }
    }

    /// One sentence for the documentation.
    pub fn explain(self) -> &'static str {
        match self {
            Self::Overlap => "on the scale of its input: a chart draws it over the price",
            Self::Volume => "on the scale of the volume",
            Self::Unstable => "early values still depend on where the series starts, later ones hardly",
            Self::Candlestick => "0 where there is no pattern, else a signed strength (80, 100, 200)",
            Self::PathDependent => "the value depends for ever on where the series starts",
            Self::NanOutput => "finite input can have no finite answer (0/0, the logarithm of 0): NULL here",
            Self::Period1Identity => "a period of 1 copies the input",
            Self::DisplayShift => "a chart draws an output ahead of or behind its row; the values are not shifted",
            Self::Transcendental => "the last bits may differ between machines",
            Self::PositiveInput => "assumes positive input and does not check it",
        }
    }
}

/// What a function needs to go on with the next bar, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct State {
    /// The kind.
    pub kind: StateKind,
    /// Why it is of this kind.
    pub reason: &'static str,
}

/// The kinds of state that the engine keeps between epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StateKind {
    /// The last rows that it can still see.
    Window,
    /// A small struct of ours, saved and restored.
    Recursive,
    /// None kept: recomputed from the history of its relation.
    History,
}

impl StateKind {
    /// One word for tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Window => "window",
            Self::Recursive => "recursive",
            Self::History => "history",
        }
    }
}

impl Parameter {
    /// The value if left out.
    pub fn default_value(&self) -> Value {
        match self.domain {
            Domain::Integer { default, .. } | Domain::Choice { default, .. } => Value::Integer(default),
            Domain::Real { default, .. } => Value::Real(default),
        }
    }

    /// What is allowed, as text: `2..=100000`, `sma, ema, …`.
    pub fn allowed(&self) -> String {
        match &self.domain {
            Domain::Integer { min, max, .. } => format!("{min}..={max}"),
            Domain::Real { min, max, .. } => format!("{}..={}", show_real(*min), show_real(*max)),
            Domain::Choice { choices, .. } => {
                choices.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(", ")
            }
        }
    }

    /// A value as it is written: a choice by its name.
    pub fn show(&self, value: Value) -> String {
        match (&self.domain, value) {
            (Domain::Choice { choices, .. }, Value::Integer(code)) => choices
                .iter()
                .find_map(|(it, name)| (*it == code).then(|| name.clone()))
                .unwrap_or_else(|| code.to_string()),
            (_, value) => value.to_string(),
        }
    }

    /// Checks a number against the parameter's range.
    pub(crate) fn parse_number(&self, function: &str, number: f64) -> Result<Value, IndicatorError> {
        let refuse = |reason: String| Err(IndicatorError::parameter(function, &self.name, reason));
        let shown = show_real(number);
        match &self.domain {
            Domain::Real { min, max, .. } if (*min..=*max).contains(&number) => Ok(Value::Real(number)),
            Domain::Real { .. } => refuse(format!("{shown} is not in {}", self.allowed())),
            _ if number.fract() != 0.0 || !number.is_finite() => refuse(format!("{shown} is not a whole number")),
            Domain::Integer { min, max, .. } if (f64::from(*min)..=f64::from(*max)).contains(&number) => {
                Ok(Value::Integer(number as i32))
            }
            Domain::Integer { .. } => refuse(format!("{shown} is not in {}", self.allowed())),
            Domain::Choice { choices, .. } => match choices.iter().find(|(code, _)| f64::from(*code) == number) {
                Some((code, _)) => Ok(Value::Integer(*code)),
                None => refuse(format!("{shown} is none of {}", self.allowed())),
            },
        }
    }

    /// Reads a value from text: a number, or the name of a choice.
    pub(crate) fn parse_text(&self, function: &str, text: &str) -> Result<Value, IndicatorError> {
        if let Domain::Choice { choices, .. } = &self.domain
            && let Some((code, _)) = choices.iter().find(|(_, name)| name.eq_ignore_ascii_case(text))
        {
            return Ok(Value::Integer(*code));
        }
        match (text.parse::<f64>(), &self.domain) {
            (Ok(number), _) => self.parse_number(function, number),
            (Err(_), Domain::Choice { .. }) => {
                Err(IndicatorError::parameter(function, &self.name, format!("`{text}` is none of {}", self.allowed())))
            }
            (Err(_), _) => Err(IndicatorError::parameter(function, &self.name, format!("`{text}` is not a number"))),
        }
    }

    /// Checks a value that is already of the right shape.
    pub(crate) fn check(&self, function: &str, value: Value) -> Result<Value, IndicatorError> {
        match value {
            Value::Integer(value) => self.parse_number(function, f64::from(value)),
            Value::Real(value) => self.parse_number(function, value),
        }
    }
}

/// A number as short as it can be said: `2`, `0.02`, `3e37`.
pub(crate) fn show_real(value: f64) -> String {
    if value != 0.0 && !(1e-6..1e15).contains(&value.abs()) { format!("{value:e}") } else { value.to_string() }
}
